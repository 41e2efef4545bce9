//! `_core.Acquiring`: takes a lock for a task of asyncio. A thread waits for the unit, and a descriptor tells the loop.

use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use nix::fcntl::OFlag;
use nix::unistd::{pipe2, write};
use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::leaves::semlock::SemLock;
use crate::locked::Locked;
use crate::signals;
use crate::store::conn::Until;
use crate::store::threads;

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Acquiring {
    shared: Arc<Shared>,
    /// The thread writes a byte at its end.
    done: OwnedFd,
    /// A byte in it ends the thread's wait.
    cancelled: OwnedFd,
    /// A child of the program's own `fork()` has a copy, and no part in it.
    owner: u32,
}

struct Shared {
    lock: Py<SemLock>,
    state: Mutex<State>,
}

enum State {
    Waiting,
    Taken,
    Failed(Error),
    /// The task has the lock, or wants it no more.
    Over,
}

impl Shared {
    fn acquire(&self, until: Until<'_>) {
        let lock = self.lock.get();
        let result = lock.take_from_store(true, until);
        let mut state = self.state.locked();
        match (&*state, result) {
            (State::Waiting, Ok(true)) => *state = State::Taken,
            (State::Waiting, Ok(false)) => {
                *state = State::Failed(Error::State("a wait for a lock was ended".into()));
            }
            (State::Waiting, Err(e)) => *state = State::Failed(e),
            (_, Ok(true)) => {
                drop(state);
                // A session that has ended has no locks.
                let _ = lock.give_back();
            }
            (_, Ok(false) | Err(_)) => {}
        }
    }
}

impl Acquiring {
    fn start(lock: Py<SemLock>) -> Result<Self> {
        let (done, ended) = pipe2(OFlag::O_CLOEXEC)?;
        let (stop, cancelled) = pipe2(OFlag::O_CLOEXEC)?;
        let state = Mutex::new(State::Waiting);
        let shared = Arc::new(Shared { lock, state });
        let theirs = shared.clone();
        threads::spawn("serverless_mp-acquire", 512 << 10, move || {
            theirs.acquire(Until {
                wake_fd: Some(stop.as_fd()),
                defer_signals: true,
                ..Until::default()
            });
            // The end of the file would not tell: a child of the program's own `fork()` may have the descriptor as well.
            let _ = write(&ended, b"x");
        })?;
        Ok(Self {
            shared,
            done,
            cancelled,
            owner: std::process::id(),
        })
    }
}

#[pymethods]
impl Acquiring {
    #[new]
    fn new(lock: Py<SemLock>) -> PyResult<Self> {
        Ok(Self::start(lock)?)
    }

    /// Readable when the wait has ended.
    fn fileno(&self) -> i32 {
        self.done.as_raw_fd()
    }

    /// The task wants the lock no more, unless it has it.
    fn cancel(&self) {
        if self.owner != std::process::id() {
            return;
        }
        let mut state = self.shared.state.locked();
        let was = mem::replace(&mut *state, State::Over);
        if let State::Waiting = was {
            // Under the lock, without which the thread does not end and close its descriptor.
            let _ = write(&self.cancelled, b"x");
        }
        drop(state);
        if let State::Taken = was {
            // A session that has ended has no locks.
            let _ = signals::without_gil(|| self.shared.lock.get().give_back());
        }
    }

    /// Gives the lock to the task.
    fn finish(&self) -> PyResult<()> {
        let mut state = self.shared.state.locked();
        match mem::replace(&mut *state, State::Over) {
            State::Taken => {
                self.shared.lock.get().adopt();
                Ok(())
            }
            State::Failed(e) => Err(e.into()),
            State::Waiting | State::Over => {
                Err(Error::State("the wait for the lock has not ended, or is over".into()).into())
            }
        }
    }
}

impl Drop for Acquiring {
    fn drop(&mut self) {
        self.cancel();
    }
}
