//! `_core.Barrier`: arrival, release and breaking of `multiprocessing.Barrier`, each one script.

use pyo3::prelude::*;
use redis::Value;

use crate::error::{Error, Result};
use crate::objects::handle::Handle;
use crate::objects::wait::{self, Waited};
use crate::protocol::{Arrival, Reply};
use crate::store::client::Args;
use crate::store::request::text;
use crate::store::scripts;

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Barrier {
    handle: Handle,
    parties: usize,
}

impl Barrier {
    /// Arrives. The index and how it went: "ok", "act" (the caller is to run the action), "broken".
    fn arrive(&self, action: bool, timeout: Option<f64>) -> Result<(usize, &'static str)> {
        let p = self.handle.current_process()?;
        let map = p.memory.publish(p)?;
        let parties = self.parties.to_string();
        let flag: &[u8] = if action { b"1" } else { b"0" };
        let deadline = wait::sem_deadline(timeout)?;
        let reply = p.ask(
            &scripts::BARRIER_WAIT,
            &self.handle.id,
            &Args(&[parties.as_bytes(), flag, map.as_bytes()]),
        )?;
        match Arrival::decode(&reply)? {
            Arrival::Passed(index, map) => p.memory.acquire(p, map).map(|()| (index, "ok")),
            Arrival::Act(index) => Ok((index, "act")),
            Arrival::Broken => Ok((0, "broken")),
            Arrival::Wait(index, waiter) => {
                let until = wait::by(deadline);
                match wait::token(p, &self.handle.id, waiter, until, &wait::FOR_PARTIES)? {
                    Waited::Token(token) => match Reply::decode(&token)? {
                        Reply::Ok(map) => p.memory.acquire(p, map).map(|()| (index, "ok")),
                        _ => Ok((index, "broken")),
                    },
                    Waited::Timeout => Ok((index, "broken")),
                    Waited::Stopped(e) => Err(e),
                }
            }
        }
    }

    fn finish(&self, how: &str) -> Result<()> {
        let p = self.handle.current_process()?;
        let map = p.memory.publish(p)?;
        p.ask(
            &scripts::BARRIER_END,
            &self.handle.id,
            &Args(&[how.as_bytes(), map.as_bytes()]),
        )
        .map(|_| ())
    }
}

#[pymethods]
impl Barrier {
    #[new]
    #[pyo3(signature = (parties, *, id=None))]
    fn new(py: Python<'_>, parties: usize, id: Option<String>) -> PyResult<Self> {
        let handle = py.detach(|| Handle::new(id, None, &[b"count", b"0", b"broken", b"0"]))?;
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

    /// `go`: the action has run; `break`; `reset`.
    fn end(&self, py: Python<'_>, how: &str) -> PyResult<()> {
        Ok(py.detach(|| self.finish(how))?)
    }

    /// How many parties wait, and whether the barrier is broken.
    fn state(&self, py: Python<'_>) -> PyResult<(usize, bool)> {
        let p = self.handle.current_process()?;
        let reply = py.detach(|| {
            p.plain(
                p.key(&self.handle.id),
                &Args(&[b"HMGET", b"count", b"broken"]),
            )
        })?;
        let Value::Array(fields) = reply else {
            return Err(Error::Lost("a barrier".into()).into());
        };
        if matches!(fields[0], Value::Nil) {
            return Err(Error::Lost(format!("barrier {}", self.handle.id)).into());
        }
        Ok((
            text(&fields[0]).parse().unwrap_or(0),
            text(&fields[1]) == "1",
        ))
    }
}
