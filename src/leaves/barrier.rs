//! `_core.Barrier`: arrival, release and breaking of `multiprocessing.Barrier`, each one script.

use pyo3::prelude::*;
use redis::Value;

use crate::error::{Error, Result};
use crate::objects::handle::Handle;
use crate::objects::process::Process;
use crate::objects::wait::{self, Waited};
use crate::protocol::{ACT, Arrival, BREAK, IS_BROKEN, OK, PASS, RESET, Reply};
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Barrier {
    handle: Handle,
    parties: usize,
}

impl Barrier {
    /// Arrives. Returns the index and the outcome: "ok", "act" (the caller must run the action), "broken".
    fn arrive(&self, action: bool, timeout: Option<f64>) -> Result<(usize, &'static str)> {
        let process = self.handle.current_process()?;
        let versions = process.memory.publish(process)?;
        let deadline = wait::sem_deadline(timeout)?;
        let script = process.script(&scripts::BARRIER_WAIT, &self.handle.id);
        let reply = script.arg(self.parties).arg(action).arg(versions).text()?;
        match Arrival::decode(&reply)? {
            Arrival::Passed(index, versions) => process
                .memory
                .acquire_from(process, &self.handle.id, versions)
                .map(|()| (index, OK)),
            Arrival::Act(index, versions) => process
                .memory
                .acquire_from(process, &self.handle.id, versions)
                // Nobody else ends the round.
                .inspect_err(|_| _ = self.finish(BREAK))
                .map(|()| (index, ACT)),
            Arrival::Broken => broken(process, 0),
            Arrival::Wait(index, waiter) => {
                let until = wait::by(deadline);
                match wait::token(process, &self.handle.id, waiter, until, &wait::FOR_PARTIES)? {
                    Waited::Token(token) => {
                        match Reply::decode(&String::from_utf8_lossy(&token))? {
                            Reply::Ok(versions) => process
                                .memory
                                .acquire_from(process, &self.handle.id, versions)
                                .map(|()| (index, OK)),
                            _ => broken(process, index),
                        }
                    }
                    Waited::Timeout => broken(process, index),
                    Waited::Stopped(e) => Err(e),
                }
            }
        }
    }

    fn finish(&self, how: &str) -> Result<()> {
        if ![PASS, BREAK, RESET].contains(&how) {
            return Err(Error::Value(format!(
                "a barrier's round does not end by {how:?}"
            )));
        }
        let process = self.handle.current_process()?;
        let versions = process.memory.publish(process)?;
        let script = process.script(&scripts::BARRIER_END, &self.handle.id);
        script.arg(how).arg(versions).call().map(drop)
    }
}

/// The outcome of a wait at a barrier that is broken. What the others did before is visible then.
fn broken(process: &Process, index: usize) -> Result<(usize, &'static str)> {
    process.memory.look_around(process)?;
    Ok((index, IS_BROKEN))
}

#[pymethods]
impl Barrier {
    #[new]
    #[pyo3(signature = (parties, *, id=None))]
    fn new(py: Python<'_>, parties: usize, id: Option<String>) -> PyResult<Self> {
        let handle =
            py.detach(|| Handle::new(id, None, &[(keys::ARRIVED, 0), (keys::BROKEN, 0)]))?;
        Ok(Self { handle, parties })
    }

    #[getter]
    fn id(&self) -> &str {
        &self.handle.id
    }

    #[pyo3(signature = (action, timeout=None))]
    fn wait(
        &self,
        py: Python<'_>,
        action: bool,
        timeout: Option<f64>,
    ) -> PyResult<(usize, &'static str)> {
        Ok(py.detach(|| self.arrive(action, timeout))?)
    }

    /// Ends a round: `go` if the action has run; `break`; `reset`.
    fn end(&self, py: Python<'_>, how: &str) -> PyResult<()> {
        Ok(py.detach(|| self.finish(how))?)
    }

    /// How many parties wait, and whether the barrier is broken.
    fn state(&self, py: Python<'_>) -> PyResult<(usize, bool)> {
        let process = self.handle.current_process()?;
        let reply = py.detach(|| {
            let question = process.plain("HMGET", process.key(&self.handle.id));
            let question = question.arg(keys::ARRIVED).arg(keys::BROKEN);
            process.memory.ask(process, vec![question])
        })?;
        let Some(Value::Array(fields)) = reply.first() else {
            return Err(Error::ObjectGone("a barrier".into()).into());
        };
        if matches!(fields[0], Value::Nil) {
            return Err(Error::ObjectGone(format!("barrier {}", self.handle.id)).into());
        }
        Ok((
            text(&fields[0]).parse().unwrap_or(0),
            text(&fields[1]) == "1",
        ))
    }
}
