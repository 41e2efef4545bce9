//! Launchers: each starts a worker for a job, on some machine.

#[cfg(any(feature = "aws", test))]
pub mod invocation_queue;
#[cfg(feature = "aws")]
pub mod lambda;
mod local;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::error::Result;
use crate::objects::mailbox;
use crate::objects::process::Process;
use crate::protocol::Event;
use crate::session::started_job::StartedJob;

/// A launched worker: its process id, and the descriptor on which the launcher reports its end.
pub struct Launched {
    pub pid: i32,
    pub report: OwnedFd,
}

pub enum Launcher {
    /// Processes of this machine, forked by the zygote that listens at this path.
    Local { path: String },
    /// Invocations of a function.
    #[cfg(feature = "aws")]
    Lambda(Arc<lambda::Invoker>),
    /// The program, by the id of its process, which launches for its workers.
    Program(String),
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
            Self::Program(program) => through_program(program, process, job),
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
            Self::Program(_) => "program",
        }
    }
}

/// A worker needs no permission for the service that runs jobs, and no way to it. The end of the launched process comes as an
/// event, from the program if it could not be launched.
fn through_program(program: &str, process: &Process, job: &StartedJob) -> Result<Launched> {
    let pid = process.next_pid()?;
    let event = Event::Launch {
        job: &job.id,
        worker: &job.worker,
        pid,
        attempts: job.attempts,
        parent: &process.id,
        preload: &job.preload,
    };
    mailbox::send(process, program, &event.encode(), true)?;
    // This report stays empty.
    let (report, _) = pipe2(OFlag::O_CLOEXEC)?;
    Ok(Launched { pid, report })
}
