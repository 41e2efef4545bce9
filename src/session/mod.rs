//! What this process has of its session: its jobs, its lease, what it holds.

pub mod heartbeat;
pub mod jobs;
pub mod process;
