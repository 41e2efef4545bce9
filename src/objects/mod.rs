//! What the leaves stand on: objects in the store, and waiting for them.

pub mod handle;
pub mod item;
pub mod readiness;
pub mod refcount;
pub mod versions;
pub mod wait;
