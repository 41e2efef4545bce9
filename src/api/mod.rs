//! The functions that Python calls. No logic: each is one call of what stands below.

pub mod blobs;
pub mod events;
pub mod names;
pub mod session;
