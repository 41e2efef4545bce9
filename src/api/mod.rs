//! The functions for Python. They have no logic: each is one call of a layer below.

pub mod blobs;
pub mod events;
pub mod introspect;
pub mod names;
pub mod session;
