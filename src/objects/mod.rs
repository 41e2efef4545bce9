//! The parts that leaves are made of: objects in the store, and waiting for them.

pub mod blob;
pub mod buffer;
#[cfg(target_os = "linux")]
pub mod futex;
pub mod handle;
pub mod item;
pub mod length;
pub mod mailbox;
pub mod memory;
pub mod payload;
pub mod pipe;
pub mod process;
pub mod read_ahead;
pub mod readiness;
pub mod refcount;
pub mod shared_region;
pub mod versions;
pub mod wait;
