//! One process that this one has started: what the parent holds for it, and its end.

use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::error::Result;
use crate::locked::Locked;
use crate::objects::process::Process;
use crate::store::keys;
use crate::store::scripts;

static ENDED: AtomicU64 = AtomicU64::new(0);

/// How many jobs of this process have ended.
pub fn count_ended() -> u64 {
    ENDED.load(Ordering::Acquire)
}

pub struct StartedJob {
    pub id: String,
    /// The id of its worker's process.
    pub worker: String,
    /// Set once it is launched.
    pid: AtomicI32,
    /// Whether it runs on another machine. Then all news of it comes as events of this process, in order: its output comes
    /// before its end, also if its launcher reports the end.
    pub is_remote: bool,
    /// How often a task may be begun before it counts as having killed its workers.
    pub attempts: u32,
    /// For a function: the name of what its worker may have imported already; empty for nothing.
    pub preload: String,
    end: Mutex<Ending>,
}

struct Ending {
    /// Whether its end is known, and the store is told to delete what it has of the job.
    is_cleared: bool,
    /// Closed at the end: the sentinel is the other end of this pipe.
    sentinel: Option<OwnedFd>,
    /// The ends that the child holds since its start: it may end before it knows.
    holds: Vec<(String, u8)>,
    exit: Option<(i32, String)>,
}

impl StartedJob {
    pub fn new(
        id: String,
        worker: String,
        attempts: u32,
        preload: String,
        is_remote: bool,
        sentinel: OwnedFd,
        holds: Vec<(String, u8)>,
    ) -> Self {
        let end = Mutex::new(Ending {
            is_cleared: false,
            sentinel: Some(sentinel),
            holds,
            exit: None,
        });
        Self {
            id,
            worker,
            pid: AtomicI32::new(0),
            is_remote,
            attempts,
            preload,
            end,
        }
    }

    /// A job that a worker watches.
    pub fn of_worker(id: &str, worker: &str, attempts: u32, preload: &str) -> Self {
        Self {
            id: id.to_owned(),
            worker: worker.to_owned(),
            pid: AtomicI32::new(0),
            is_remote: true,
            attempts,
            preload: preload.to_owned(),
            end: Mutex::new(Ending {
                is_cleared: false,
                sentinel: None,
                holds: Vec::new(),
                exit: None,
            }),
        }
    }

    /// Notes the process id of its worker.
    pub fn launched(&self, pid: i32) {
        self.pid.store(pid, Ordering::Release);
    }

    /// In a child of the program's own `fork()`: the sentinel is the parent's. A job that another thread was using keeps it.
    pub fn forget_sentinel(&self) {
        if let Ok(mut end) = self.end.try_lock() {
            end.sentinel = None;
        }
    }

    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    pub fn is_cleared(&self) -> bool {
        self.end.locked().is_cleared
    }

    pub fn has_ended(&self) -> bool {
        self.end.locked().exit.is_some()
    }

    /// The exit code and the versions that came with it.
    pub fn exit(&self) -> Option<(i32, String)> {
        self.end.locked().exit.clone()
    }

    /// Deletes what the store has of the job, and notes its end.
    pub fn complete(&self, process: &Process, code: i32, versions: &str) -> Result<()> {
        let cleared = self.clear(process, code).and_then(|()| settle(process));
        // This is done even if the store is gone.
        self.ended(code, versions);
        cleared
    }

    /// Notes its end, for which the program may wait.
    pub fn ended(&self, code: i32, versions: &str) {
        tracing::info!(job = self.id, code, "ended");
        let mut end = self.end.locked();
        if end.exit.is_none() {
            end.exit = Some((code, versions.to_owned()));
            ENDED.fetch_add(1, Ordering::Release);
        }
        end.sentinel = None;
    }

    /// Deletes what the store has of the job. This does not wait.
    pub fn clear(&self, process: &Process, code: i32) -> Result<()> {
        let holds = {
            let mut end = self.end.locked();
            end.is_cleared = true;
            std::mem::take(&mut end.holds)
        };
        for (object, end) in &holds {
            process.release_ref_of(object, *end, &self.worker)?;
        }
        process
            .script(&scripts::DROP, &keys::job(&self.id))
            .post()?;
        process
            .script(&scripts::DROP, &keys::process(&self.worker))
            .post()?;
        // The answers to the worker's commands are deleted.
        process.reap_object(
            &keys::process(&process.id),
            &self.worker,
            code,
            self.attempts,
        )
    }
}

/// Waits until the store has done what `clear` has sent. Only then may the program see that the jobs have ended.
pub fn settle(process: &Process) -> Result<()> {
    process.settle()?;
    process.bells.catch_up(process);
    Ok(())
}
