//! Launchers: what makes some machine run `worker(job)`. Each is one file.

mod local;

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::Result;

pub use local::Word;

/// A launched worker: its process id, and where the launcher says how it ended.
pub struct Launched {
    pub pid: i32,
    pub word: OwnedFd,
}

pub enum Launcher {
    /// Processes of this machine, made by the warm parent that listens at this path.
    Local { path: String },
}

impl Launcher {
    /// Has a worker started for the event; `descriptors` go to a worker on this machine.
    pub fn launch(&self, event: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Launched> {
        match self {
            Self::Local { path } => local::launch(path, event, descriptors),
        }
    }

    pub const fn name(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
        }
    }
}
