//! `_core.CountDownLatch`: a count whose waiters pass when it is zero.
//!
//! An `Event` is a latch at 0 (set) or 1 (clear); the unfinished tasks of a `JoinableQueue` are another.

use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::objects::handle::Handle;
use crate::objects::wait;
use crate::protocol::Reply;
use crate::store::keys;
use crate::store::scripts;

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct CountDownLatch {
    handle: Handle,
}

impl CountDownLatch {
    fn change(&self, how: &str, amount: i64, wait: bool) -> Result<()> {
        let process = self.handle.current_process()?;
        let id = &self.handle.id;
        let (versions, until) = process.memory.publish_for(process, id)?;
        let script = process.script(&scripts::LATCH_CHANGE, id);
        let script = script.arg(how).arg(amount).arg(versions);
        let reply = if wait {
            script.text().map(Some)
        } else {
            script.post().map(|()| None)
        }?;
        if let Some(Reply::Under) = reply.as_deref().map(Reply::decode).transpose()? {
            return Err(Error::Value("the count would be less than zero".into()));
        }
        process.memory.sent_to(id, until);
        Ok(())
    }

    fn pass(&self, block: bool, timeout: Option<f64>) -> Result<bool> {
        let process = self.handle.current_process()?;
        let deadline = wait::sem_deadline(timeout)?;
        let script = if block {
            process.script(&scripts::LATCH_WAIT, &self.handle.id)
        } else {
            let changes = process.memory.changes(&self.handle.id);
            let script = process.script(&scripts::LATCH_STATE, &self.handle.id);
            script.arg(changes)
        };
        let reply = script.or_undo(wait::FOR_NEWS.late).bytes_of_reply()?;
        let until = wait::by(deadline);
        let token = wait::reply_or_token(process, &self.handle.id, reply, until, &wait::FOR_NEWS)?;
        let Some(token) = token else {
            return process.memory.look_around(process).map(|()| false);
        };
        let token = String::from_utf8_lossy(&token);
        let (is_zero, versions) = match Reply::decode(&token)? {
            Reply::Ok(versions) => (true, versions),
            Reply::No(versions) => (false, versions),
            _ => return Ok(false),
        };
        let memory = &process.memory;
        memory.acquire_from(process, &self.handle.id, versions)?;
        Ok(is_zero)
    }
}

#[pymethods]
impl CountDownLatch {
    #[new]
    #[pyo3(signature = (count, *, id=None))]
    fn new(py: Python<'_>, count: i64, id: Option<String>) -> PyResult<Self> {
        let handle = py.detach(|| Handle::new(id, None, &[(keys::COUNT, count)]))?;
        Ok(Self { handle })
    }

    #[getter]
    fn id(&self) -> &str {
        &self.handle.id
    }

    /// Sets the count.
    fn put(&self, py: Python<'_>, count: i64) -> PyResult<()> {
        Ok(py.detach(|| self.change("=", count, true))?)
    }

    /// Adds to the count; waits for the reply only if the count falls.
    fn add(&self, py: Python<'_>, amount: i64) -> PyResult<()> {
        Ok(py.detach(|| self.change("+", amount, amount < 0))?)
    }

    fn is_zero(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(py.detach(|| self.pass(false, None))?)
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let block = timeout.is_none_or(|t| t > 0.0);
        Ok(py.detach(|| self.pass(block, timeout))?)
    }
}
