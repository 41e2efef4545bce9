//! A session: its beginning and end, its lease, the processes that this one has started.

pub mod heartbeat;
pub mod jobs;
pub mod open;
