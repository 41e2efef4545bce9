//! The functions for Python. They have no logic: each is one call of a layer below.

pub mod blobs;
pub mod buffers;
pub mod events;
pub mod names;
pub mod session;
