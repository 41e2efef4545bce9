//! `_core.Condition`: the waiting side of `multiprocessing.Condition`, under the tag of its lock.

use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::leaves::semlock::SemLock;
use crate::objects::handle::Handle;
use crate::objects::wait::{self, Waited};
use crate::protocol::Reply;
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::scripts;

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Condition {
    handle: Handle,
}

impl Condition {
    fn wait_for_token(&self, lock: &SemLock, timeout: Option<f64>) -> Result<bool> {
        let process = self.handle.current_process()?;
        let deadline = wait::sem_deadline(timeout)?;
        let lock_id = &lock.in_store()?.id;
        let (versions, until) = process.memory.publish_for(process, lock_id)?;
        let count = lock.set_aside();
        let script = process.script(&scripts::COND_WAIT, &self.handle.id);
        let script = script.key(process.key(lock_id));
        let reply = script.arg(lock.maxvalue).arg(versions).text();
        let waiter = match reply.as_deref().map(Reply::decode) {
            Ok(Ok(Reply::Wait(waiter))) => {
                process.memory.sent_to(lock_id, until);
                waiter
            }
            // The caller still holds the lock.
            not_waiting => {
                lock.take_up(count);
                return Err(match not_waiting {
                    Ok(Err(e)) => e,
                    Ok(Ok(_)) => Error::Value("semaphore or lock released too many times".into()),
                    Err(_) => reply.expect_err("it is one"),
                });
            }
        };
        let ended = wait::token(
            process,
            &self.handle.id,
            waiter,
            wait::by(deadline),
            &wait::FOR_NOTIFICATION,
        )
        .unwrap_or_else(Waited::Stopped);
        // However the wait ended, the caller must hold the lock again.
        let mut raised = None;
        while let Err(e) = lock.take_from_store(true, Until::default()) {
            if !e.is_raised() {
                if process.healthy().is_err() {
                    // Nobody has the lock any more. Its release then raises the same error, and not one of the lock's own.
                    lock.take_up(count);
                }
                return Err(e);
            }
            raised = Some(e);
        }
        lock.take_up(count);
        match ended {
            Waited::Stopped(e) => Err(e),
            Waited::Token(_) => raised.map_or(Ok(true), Err),
            Waited::Timeout => {
                raised.map_or_else(|| process.memory.look_around(process).map(|()| false), Err)
            }
        }
    }

    fn wake(&self, n: usize) -> Result<()> {
        let process = self.handle.current_process()?;
        let script = process.script(&scripts::NOTIFY, &self.handle.id);
        script.arg(n).call().map(drop)
    }
}

#[pymethods]
impl Condition {
    #[new]
    #[pyo3(signature = (lock, *, id=None))]
    fn new(py: Python<'_>, lock: &SemLock, id: Option<String>) -> PyResult<Self> {
        let make = || {
            lock.never_borrow();
            Handle::new(id, Some(&lock.in_store()?.id), &[])
        };
        Ok(Self {
            handle: py.detach(make)?,
        })
    }

    #[getter]
    fn id(&self) -> &str {
        &self.handle.id
    }

    #[pyo3(signature = (lock, timeout=None))]
    fn wait(&self, py: Python<'_>, lock: &SemLock, timeout: Option<f64>) -> PyResult<bool> {
        Ok(py.detach(|| self.wait_for_token(lock, timeout))?)
    }

    fn notify(&self, py: Python<'_>, n: usize) -> PyResult<()> {
        Ok(py.detach(|| self.wake(n))?)
    }

    /// The number of waiters.
    fn waiting(&self, py: Python<'_>) -> PyResult<usize> {
        let process = self.handle.current_process()?;
        let waiters = keys::waiters(&process.key(&self.handle.id));
        let length = py.detach(|| process.plain("LLEN", waiters).text())?;
        Ok(length.parse().unwrap_or(0))
    }
}
