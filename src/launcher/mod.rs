//! Launchers: what makes some machine run `worker(job)`. Each is one file.

pub mod lambda;
mod local;

use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::error::Result;
use crate::session::jobs::Job;
use crate::session::process::Process;

/// A launched worker: its process id, and where the launcher says how it ended.
pub struct Launched {
    pub pid: i32,
    pub word: OwnedFd,
}

pub enum Launcher {
    /// Processes of this machine, made by the warm parent that listens at this path.
    Local { path: String },
    /// Invocations of a function.
    Lambda(Arc<lambda::Fleet>),
}

impl Launcher {
    /// Has a worker started. `event` and `descriptors` are for a worker on this machine.
    pub fn launch(
        &self,
        p: &'static Process,
        job: &Arc<Job>,
        event: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Launched> {
        match self {
            Self::Local { path } => local::launch(path, event, descriptors),
            Self::Lambda(fleet) => fleet.launch(p, job),
        }
    }

    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::Lambda(_))
    }

    pub const fn name(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::Lambda(_) => "lambda",
        }
    }
}

/// What a launcher says in the end, written to its descriptor: the exit code in four bytes, then words for the
/// program's user. No code: the launcher knows nothing, and what the worker left in the store counts.
#[derive(Default)]
pub struct Word {
    pub code: Option<i32>,
    pub message: String,
}

impl Word {
    /// Reads it from a readable descriptor, whose other end is closed after it.
    pub fn read(fd: OwnedFd) -> Self {
        let mut bytes = Vec::new();
        let mut file = std::fs::File::from(fd);
        // A broken connection says nothing either.
        let _ = file.read_to_end(&mut bytes);
        let Some((code, message)) = bytes.split_first_chunk() else {
            return Self::default();
        };
        Self {
            code: Some(i32::from_ne_bytes(*code)),
            message: String::from_utf8_lossy(message).into_owned(),
        }
    }
}
