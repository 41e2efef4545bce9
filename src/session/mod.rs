//! A session: its beginning and end, its lease, the processes that this one has started.

pub mod exit_record;
pub mod heartbeat;
pub mod jobs;
pub mod open;
pub mod started_job;
mod supervisor_lease;
