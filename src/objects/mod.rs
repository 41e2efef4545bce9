//! The parts that leaves are made of: objects in the store, and waiting for them.

pub mod batch;
pub mod bells;
pub mod blob;
pub mod buffer;
pub mod deferred;
pub mod freshness;
#[cfg_attr(not(target_os = "linux"), path = "no_futex.rs")]
pub mod futex;
pub mod granule;
pub mod handle;
pub mod item;
pub mod length;
pub mod loans;
pub mod mailbox;
pub mod memory;
#[cfg(target_os = "linux")]
mod overlay;
#[cfg(target_os = "linux")]
mod pagemap;
#[cfg_attr(not(target_os = "linux"), path = "no_pages.rs")]
pub mod pages;
pub mod payload;
pub mod pipe;
pub mod process;
pub mod read_ahead;
pub mod readiness;
pub mod refcount;
pub mod shareable;
pub mod shared_region;
pub mod span;
pub mod twin;
pub mod units;
pub mod unshared;
pub mod versions;
pub mod wait;
