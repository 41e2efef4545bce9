//! The store: connections, commands, keys and scripts.

pub mod client;
pub mod cluster;
pub mod command;
pub mod conn;
pub mod counters;
pub mod endpoint;
pub mod handles;
pub mod health;
pub mod keys;
pub mod posted;
pub mod replies;
pub mod request;
pub mod retry;
pub mod scripts;
pub mod seal;
pub mod shared;
pub mod subscriber;
pub mod thread_client;
pub mod threads;
pub mod tls;
