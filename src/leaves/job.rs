//! `_core.Job`: one process, from its record in the store to its exit code.

#![allow(unsafe_code, reason = "descriptors that Python owns")]

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::unistd::pipe2;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use redis::Value;

use crate::error::{Error, Result};
use crate::launcher::{Launched, Launcher};
use crate::leaves::function::Lambda;
use crate::objects::mailbox;
use crate::objects::payload;
use crate::objects::process::{self, Process};
use crate::objects::wait;
use crate::protocol::{Command, Event, ExitRecord, Payload};
use crate::session::jobs;
use crate::store::client::Args;
use crate::store::conn::{Ended, Until, ready};
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;

/// What seals of records and events vouch for.
const RECORD: &str = "record";

/// Which launcher, as Python names it.
#[derive(FromPyObject)]
enum Choice<'py> {
    Local(String),
    Lambda(Bound<'py, Lambda>),
}

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Job {
    process: &'static Process,
    state: Arc<jobs::Job>,
    sentinel: OwnedFd,
    launcher: &'static str,
    /// Whether the map of its end was applied here.
    joined: AtomicBool,
}

impl Job {
    /// What the end of the process released becomes visible with the first look at its exit code.
    fn code(&self) -> Result<Option<i32>> {
        let Some((code, map)) = self.state.exit() else {
            return Ok(None);
        };
        if !self.joined.swap(true, Ordering::AcqRel) && self.process.is_current() {
            self.process.memory.acquire(self.process, &map)?;
        }
        Ok(Some(code))
    }

    /// Until it has ended, or the time is over.
    fn until_ended(&self, until: &Until<'_>) -> Result<()> {
        // SAFETY: the descriptor is owned by this object.
        let fd = unsafe { BorrowedFd::borrow_raw(self.sentinel.as_raw_fd()) };
        match ready(fd, PollFlags::POLLIN, until) {
            Err(Ended::Failed(e)) => Err(e),
            _ => Ok(()),
        }
    }

    fn send_signal(&self, number: i32) -> Result<()> {
        let p = self.process;
        if self.state.has_ended() {
            return Ok(());
        }
        let job = keys::job(&self.state.number);
        if [nix::libc::SIGKILL, nix::libc::SIGTERM, nix::libc::SIGINT].contains(&number) {
            // Where no worker has it yet, none will.
            let reply = p.call(&scripts::CLAIM, &job, &Args(&[b"cancelled:"]))?;
            if text(&reply) != "taken" {
                return self.state.complete(p, -number, "");
            }
        }
        let claim = text(&p.plain(p.key(&job), &Args(&[b"HGET", b"claim"]))?);
        match claim.split_once(':') {
            Some((_, supervisor)) if !supervisor.is_empty() => {
                let job = &self.state.number;
                mailbox::send(
                    p,
                    supervisor,
                    &Command::Signal { job, number }.encode(),
                    true,
                )
            }
            _ => Ok(()),
        }
    }
}

fn write_record(p: &Process, number: &str, child: &str, content: &[u8]) -> Result<()> {
    let job = keys::job(number);
    p.create(&keys::process(child), 0, &[b"n0", b"1", b"n1", b"1"])?;
    let record = payload::pack(p, &job, RECORD, false, content)?;
    p.create(&job, 0, &[b"record", &record.item])?;
    p.settle()
}

#[pymethods]
impl Job {
    /// Writes the record and launches a worker for it: of the zygote at a path, or an invocation.
    ///
    /// `number` and `process` name the job and its worker's process in the session. `holds` are the ends of objects
    /// that the record refers to: held here until the child has attached. `descriptors` go to a local worker.
    #[staticmethod]
    #[pyo3(signature = (number, process, record, event, launcher, *, holds, descriptors, attempts))]
    #[allow(
        clippy::too_many_arguments,
        reason = "one call from one place, all by keyword or in the order of its text"
    )]
    fn start(
        py: Python<'_>,
        number: String,
        process: String,
        record: &[u8],
        event: &[u8],
        launcher: Choice<'_>,
        holds: Vec<(String, u8)>,
        descriptors: Vec<i32>,
        attempts: u32,
    ) -> PyResult<Self> {
        let launcher = match launcher {
            Choice::Local(path) => Launcher::Local { path },
            Choice::Lambda(lambda) => Launcher::Lambda(lambda.get().invoker.clone()),
        };
        Ok(py.detach(|| {
            let p = process::current()?;
            let table = jobs::of(p);
            table.begin()?;
            for (object, end) in &holds {
                p.acquire_ref(object, *end)?;
            }
            write_record(p, &number, &process, record)?;
            // SAFETY: the caller keeps them open during the call.
            let descriptors: Vec<BorrowedFd<'_>> = descriptors
                .iter()
                .map(|fd| unsafe { BorrowedFd::borrow_raw(*fd) })
                .collect();
            let (sentinel, write) = pipe2(OFlag::O_CLOEXEC)?;
            let state = Arc::new(jobs::Job::new(
                number,
                process,
                attempts,
                launcher.is_remote(),
                write,
                holds,
            ));
            // Before it is launched, so that no event of it is missed.
            table.enter(&state);
            match launcher.launch(p, &state, event, &descriptors) {
                Ok(Launched { pid, report }) => table.watch(&state, pid, report),
                Err(e) => {
                    table.give_up(&state);
                    return Err(e);
                }
            }
            Ok::<_, Error>(Self {
                process: p,
                state,
                sentinel,
                launcher: launcher.name(),
                joined: AtomicBool::new(false),
            })
        })?)
    }

    #[getter]
    fn pid(&self) -> i32 {
        self.state.pid()
    }

    #[getter]
    fn launcher(&self) -> &'static str {
        self.launcher
    }

    /// Readable once the process has ended.
    #[getter]
    fn sentinel(&self) -> i32 {
        self.sentinel.as_raw_fd()
    }

    fn has_ended(&self) -> bool {
        self.state.has_ended()
    }

    fn exitcode(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        Ok(py.detach(|| self.code())?)
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<i32>> {
        Ok(py.detach(|| {
            self.until_ended(&wait::by(wait::deadline(timeout)?))?;
            self.code()
        })?)
    }

    /// Ends a remote process, or has its supervisor send it another signal.
    fn signal(&self, py: Python<'_>, number: i32) -> PyResult<()> {
        Ok(py.detach(|| match self.send_signal(number) {
            // It has just ended, and was cleared away.
            Err(Error::Lost(_)) => Ok(()),
            result => result,
        })?)
    }

    /// In the worker: takes the job's record, once. None: another worker has it.
    #[staticmethod]
    fn claim<'py>(
        py: Python<'py>,
        number: &str,
        claimant: &str,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let payload = py.detach(|| {
            let p = process::current()?;
            let job = keys::job(number);
            let claimed = p.call(&scripts::CLAIM, &job, &Args(&[claimant.as_bytes()]));
            match claimed.or_else(|e| match e {
                // Ended before it began, and cleared away.
                Error::Lost(_) => Ok(Value::BulkString(b"taken".to_vec())),
                e => Err(e),
            })? {
                Value::BulkString(reply) if reply == b"taken" => Ok(None),
                Value::BulkString(item) => {
                    let record = payload::unpack(p, &job, RECORD, &Payload::decode(&item)?)?;
                    tracing::info!(job = number, claimant, "claimed");
                    p.memory.acquire(p, &record.map)?;
                    if let Some(blob) = record.blob {
                        p.post(&scripts::DROP, &blob, &Args(&[]))?;
                    }
                    Ok(Some(record.payload))
                }
                _ => Err(Error::Lost(format!("the record of job {number}"))),
            }
        })?;
        Ok(payload.map(|p| PyBytes::new(py, &p)))
    }

    /// In the worker: it holds by itself what its record referred to.
    #[staticmethod]
    fn attached(py: Python<'_>, number: &str, parent: &str) -> PyResult<()> {
        let event = Event::Attached { job: number }.encode();
        Ok(py.detach(|| mailbox::send(process::current()?, parent, &event, false))?)
    }

    /// In the worker: writes the exit record, after everything else that this process had to say.
    #[staticmethod]
    fn finish(
        py: Python<'_>,
        number: &str,
        parent: &str,
        code: i32,
        attempts: u32,
    ) -> PyResult<()> {
        Ok(py.detach(|| {
            let p = process::current()?;
            let map = p.memory.publish(p)?;
            p.release_all_refs(code, attempts)?;
            tracing::info!(job = number, code, "finished");
            let record = ExitRecord { code, map: &map };
            p.post(
                &scripts::FINISH,
                &keys::job(number),
                &Args(&[record.encode().as_bytes()]),
            )?;
            let event = Event::Exited {
                job: number,
                record,
            };
            mailbox::send(p, parent, &event.encode(), true)
        })?)
    }
}
