//! Launchers: each starts a worker for a job, on some machine.

#[cfg(any(feature = "aws", test))]
pub mod invocation_queue;
#[cfg(feature = "aws")]
pub mod lambda;
mod local;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::error::Result;
use crate::objects::process::Process;
use crate::session::jobs::StartedJob;

/// A launched worker: its process id, and where the launcher says how it ended.
pub struct Launched {
    pub pid: i32,
    pub report: OwnedFd,
}

pub enum Launcher {
    /// Processes of this machine, made by the zygote that listens at this path.
    Local { path: String },
    /// Invocations of a function.
    #[cfg(feature = "aws")]
    Lambda(Arc<lambda::Invoker>),
}

impl Launcher {
    /// Starts a worker. `event` and `descriptors` are for a worker on this machine.
    pub fn launch(
        &self,
        process: &'static Process,
        job: &Arc<StartedJob>,
        event: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Launched> {
        match self {
            Self::Local { path } => local::launch(path, event, descriptors),
            #[cfg(feature = "aws")]
            Self::Lambda(invoker) => invoker.launch(process, job),
        }
    }

    pub const fn is_remote(&self) -> bool {
        !matches!(self, Self::Local { .. })
    }

    pub const fn name(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            #[cfg(feature = "aws")]
            Self::Lambda(_) => "lambda",
        }
    }
}
