//! The classes for Python: each file goes from a class' Python signature down to its script.

pub mod aio;
pub mod barrier;
pub mod channel;
pub mod condition;
pub mod job;
#[cfg(feature = "aws")]
pub mod lambda_function;
pub mod latch;
#[cfg(target_os = "linux")]
mod native_calls;
#[cfg(target_os = "linux")]
pub mod native_semlock;
pub mod region;
pub mod semlock;
pub mod shm_name;
pub mod task_queue;
mod truth;
