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
#[cfg(feature = "aws")]
use crate::leaves::lambda_function::Lambda;
use crate::objects::blob;
use crate::objects::mailbox;
use crate::objects::payload;
use crate::objects::process::{self, Process};
use crate::objects::wait;
use crate::protocol::{CANCELLED, Claim, Command, Event, ExitRecord, Item, TAKEN};
use crate::session::started_job::{self, StartedJob};
use crate::session::{exit_record, jobs};
use crate::store::conn::{Ended, Until, ready};
use crate::store::keys;
use crate::store::scripts;

/// The kind of a record, which its seal covers.
const RECORD: &str = "record";

/// The launcher, as Python names it.
#[derive(FromPyObject)]
enum Choice {
    Local(String),
    #[cfg(feature = "aws")]
    Lambda(Py<Lambda>),
    Program(Py<Program>),
}

/// The program, as the launcher of processes that its workers start.
#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Program {
    process: String,
}

#[pymethods]
impl Program {
    #[new]
    const fn new(process: String) -> Self {
        Self { process }
    }
}

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Job {
    process: &'static Process,
    state: Arc<StartedJob>,
    sentinel: OwnedFd,
    launcher: &'static str,
    /// Whether the versions of its exit were applied here.
    joined: AtomicBool,
}

impl Job {
    /// The exit code. The first call makes visible what the process had written.
    fn code(&self) -> Result<Option<i32>> {
        let Some((code, versions)) = self.state.exit() else {
            return Ok(None);
        };
        if !self.joined.swap(true, Ordering::AcqRel) && self.process.is_current() {
            self.process.memory.acquire(self.process, &versions)?;
            if versions.is_empty() {
                // A process that was killed has left none. What it had published is there.
                self.process.memory.look_around(self.process)?;
            }
        }
        Ok(Some(code))
    }

    /// Waits until the process has ended, or the time is over.
    fn until_ended(&self, until: &Until<'_>) -> Result<()> {
        // SAFETY: the descriptor is owned by this object.
        let fd = unsafe { BorrowedFd::borrow_raw(self.sentinel.as_raw_fd()) };
        match ready(fd, PollFlags::POLLIN, until) {
            Err(Ended::Failed(e)) => Err(e),
            _ => Ok(()),
        }
    }

    fn send_signal(&self, signum: i32) -> Result<()> {
        let process = self.process;
        if self.state.has_ended() {
            return Ok(());
        }
        let job = keys::job(&self.state.id);
        if [nix::libc::SIGKILL, nix::libc::SIGTERM, nix::libc::SIGINT].contains(&signum) {
            // If no worker has claimed the job yet, none will.
            let script = process.script(&scripts::CLAIM, &job);
            if script.arg(CANCELLED).text()? != TAKEN {
                return self.state.complete(process, -signum, "");
            }
        }
        let question = process.plain("HGET", process.key(&job));
        let claim = question.arg(keys::CLAIM).text()?;
        let supervisor = Claim::decode(&claim).supervisor;
        if supervisor.is_empty() {
            return Ok(());
        }
        let job = &self.state.id;
        let command = Command::Signal { job, signum }.encode();
        mailbox::send(process, supervisor, &command, true)
    }
}

fn write_record(process: &Process, id: &str, content: &[u8]) -> Result<()> {
    let job = keys::job(id);
    let record = payload::pack(process, &job, RECORD, false, content)?;
    let mut fields = vec![(keys::RECORD.to_owned(), record.item)];
    if let Some(blob) = record.blob {
        let (field, pieces) = blob::named(process, &blob, content.len());
        fields.push((field, pieces.to_string().into()));
    }
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    process.create(&job, 0, &fields)?;
    process.settle()
}

#[pymethods]
impl Job {
    /// Writes the record and launches a worker for it: through the zygote at a path, by an invocation, or through the program.
    ///
    /// `job` and `worker` are the ids of the job and of its process in the session. `holds` are the ends of objects that the
    /// record refers to; from now on the child holds them. `event` and `descriptors` go to a local worker;
    /// `preload` names what a worker in a function may have imported already.
    #[staticmethod]
    #[pyo3(signature = (job, worker, record, event, launcher, *, holds, descriptors, attempts, preload))]
    #[allow(
        clippy::too_many_arguments,
        reason = "one call from one place, all by keyword or in the order of its text"
    )]
    fn start(
        py: Python<'_>,
        job: String,
        worker: String,
        record: &[u8],
        event: &[u8],
        launcher: Choice,
        holds: Vec<(String, u8)>,
        descriptors: Vec<i32>,
        attempts: u32,
        preload: String,
    ) -> PyResult<Self> {
        let launcher = match launcher {
            Choice::Local(path) => Launcher::Local { path },
            #[cfg(feature = "aws")]
            Choice::Lambda(lambda) => Launcher::Lambda(lambda.get().invoker.clone()),
            Choice::Program(program) => Launcher::Program(program.get().process.clone()),
        };
        Ok(py.detach(|| {
            let process = process::current()?;
            let table = jobs::of(process);
            table.begin()?;
            if !launcher.is_remote() {
                process.memory.offer_bases(process)?;
            }
            // SAFETY: the caller keeps them open during the call.
            let descriptors: Vec<BorrowedFd<'_>> = descriptors
                .iter()
                .map(|fd| unsafe { BorrowedFd::borrow_raw(*fd) })
                .collect();
            let (sentinel, write) = pipe2(OFlag::O_CLOEXEC)?;
            let state = Arc::new(StartedJob::new(
                job,
                worker,
                attempts,
                preload,
                launcher.is_remote(),
                write,
                holds.clone(),
            ));
            let launch = || {
                mailbox::create(process, &keys::process(&state.worker))?;
                for (object, end) in &holds {
                    process.reads_ahead.of(object, *end).share(process)?;
                    process.acquire_ref_for(object, *end, &state.worker)?;
                }
                write_record(process, &state.id, record)?;
                // Entered before the launch, so that no event is missed.
                table.enter(&state);
                let Launched { pid, report } =
                    launcher.launch(process, &state, event, &descriptors)?;
                table.watch(&state, pid, report)
            };
            launch().inspect_err(|_| table.abandon(&state))?;
            Ok::<_, Error>(Self {
                process,
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

    /// Becomes readable when the process has ended.
    #[getter]
    fn sentinel(&self) -> i32 {
        self.sentinel.as_raw_fd()
    }

    fn has_ended(&self) -> bool {
        self.state.has_ended()
    }

    /// How many jobs of this process have ended.
    #[staticmethod]
    fn count_ended() -> u64 {
        started_job::count_ended()
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

    /// Has a remote process' supervisor send it a signal. A signal that ends processes also ends one that no worker has
    /// claimed.
    fn signal(&self, py: Python<'_>, signum: i32) -> PyResult<()> {
        Ok(py.detach(|| match self.send_signal(signum) {
            // The process has just ended, and was cleared away.
            Err(Error::ObjectGone(_)) => Ok(()),
            result => result,
        })?)
    }

    /// In the worker: takes the job's record, once. None if another worker has it.
    #[staticmethod]
    fn claim<'py>(
        py: Python<'py>,
        id: &str,
        claimant: &str,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let payload = py.detach(|| {
            let process = process::current()?;
            let job = keys::job(id);
            let script = process.script(&scripts::CLAIM, &job);
            match script.arg(claimant).call().or_else(|e| match e {
                // The job ended before it began, and was cleared away.
                Error::ObjectGone(_) => Ok(Value::BulkString(TAKEN.into())),
                e => Err(e),
            })? {
                Value::BulkString(reply) if reply == TAKEN.as_bytes() => Ok(None),
                Value::BulkString(item) => {
                    let record = payload::unpack(process, &job, RECORD, &Item::decode(&item)?)?;
                    tracing::info!(job = id, claimant, "claimed");
                    process.memory.acquire(process, &record.versions)?;
                    if let Some(blob) = record.blob {
                        blob::drop(process, &blob, Some(&job))?;
                    }
                    Ok(Some(record.payload))
                }
                _ => Err(Error::ObjectGone(format!("the record of job {id}"))),
            }
        })?;
        Ok(payload.map(|payload| PyBytes::new(py, &payload)))
    }

    /// In the worker: writes the exit record, after everything else that this process sends.
    #[staticmethod]
    fn finish(py: Python<'_>, id: &str, parent: &str, code: i32, attempts: u32) -> PyResult<()> {
        Ok(py.detach(|| {
            let process = process::current()?;
            process.memory.loans.recall();
            let versions = process.memory.publish(process)?;
            process.memory.freshness.close();
            process.release_all_refs(code, attempts)?;
            tracing::info!(job = id, code, "finished");
            let record = ExitRecord {
                code,
                versions: &versions,
            };
            let script = process.script(&scripts::FINISH, &keys::job(id));
            let sealed = exit_record::seal(process, id, record);
            script.arg(sealed).post()?;
            let event = Event::Exited { job: id, record };
            mailbox::send(process, parent, &event.encode(), true)
        })?)
    }
}
