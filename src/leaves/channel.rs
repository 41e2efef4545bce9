//! `_core.Channel`: one end of a pipe of messages.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::truth::Truth;
use crate::error::{Error, Result};
use crate::kept::Bytes;
use crate::locked::Locked;
use crate::objects::handle::{Handle, current_process};
use crate::objects::length;
use crate::objects::pipe::{self, PipeEnd, Sent, Take, Taken, Wait};
use crate::objects::process::{self, Process};
use crate::objects::readiness::ReadinessFd;
use crate::objects::wait;
use crate::store::conn::Until;
use crate::store::keys;

/// The store is asked about this many ends at most. If there are more, hearing their bells is faster.
const FEW: usize = 8;

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Channel {
    origin: &'static Process,
    pipe: PipeEnd,
    handle: Mutex<Option<Handle>>,
    readiness: Mutex<Option<ReadinessFd>>,
}

impl Channel {
    fn with(handle: Handle, id: String, end: u8) -> Self {
        let origin = handle.process;
        Self {
            origin,
            pipe: PipeEnd::new(origin, id, end),
            handle: Mutex::new(Some(handle)),
            readiness: Mutex::default(),
        }
    }

    fn open(id: String, end: u8) -> Result<Self> {
        Ok(Self::with(Handle::attach(id.clone(), end)?, id, end))
    }

    /// The same for a pipe that any process may open, since it knows the name.
    fn open_known(id: String, end: u8) -> Result<Self> {
        let channel = Self::open(id, end)?;
        channel.pipe.share(channel.origin)?;
        Ok(channel)
    }

    fn current_process(&self) -> Result<&'static Process> {
        current_process(self.origin)
    }

    fn check_open(&self) -> Result<()> {
        if self.handle.locked().is_none() {
            return Err(Error::State("the channel is closed".into()));
        }
        Ok(())
    }

    /// Takes the next message; None if there is none in time.
    fn take(&self, wait: Wait) -> Result<Option<Bytes>> {
        self.check_open()?;
        let process = self.current_process()?;
        // The descriptor looks at the store, and would not see items that were read ahead.
        let what = if self.readiness.locked().is_some() {
            Take::Item
        } else {
            Take::Items
        };
        let item = self.pipe.take(process, wait, what, || {
            if let Some(readiness) = self.readiness.locked().as_ref() {
                readiness.taken();
            }
        })?;
        if what == Take::Items && self.readiness.locked().is_some() {
            // The descriptor was made meanwhile. Items that cannot be given back now go back later.
            let _ = self.pipe.give_back(process);
        }
        Ok(match item {
            Taken::Message(message) => Some(message.payload),
            Taken::Died(..) | Taken::Nothing => None,
        })
    }

    /// How many items wait, and whether the end of file follows them. What was written before they were sent is visible then.
    fn length(&self) -> Result<(i64, bool)> {
        let process = self.current_process()?;
        let question = length::question(process, &self.pipe.id, self.pipe.end);
        let replies = process.memory.ask(process, vec![question])?;
        Ok(length::read(&replies[0]))
    }

    /// Whether there is something to take, the end of file included.
    fn ready(&self, until: Until<'_>, block: bool) -> Result<bool> {
        self.check_open()?;
        let process = self.current_process()?;
        if block {
            let ready = self.pipe.wait(process, until)?;
            process.memory.look_around(process)?;
            return Ok(ready);
        }
        let signals = self.signals();
        let ready =
            self.pipe.has_something(process) || self.length().map(|(n, eof)| n > 0 || eof)?;
        self.seen(ready, signals);
        Ok(ready)
    }

    /// Whether there is a descriptor that is not readable.
    fn is_armed(&self) -> bool {
        let readiness = self.readiness.locked();
        readiness.as_ref().is_some_and(ReadinessFd::is_armed)
    }

    /// How often the descriptor was signalled, if there is one.
    fn signals(&self) -> u64 {
        let readiness = self.readiness.locked();
        readiness.as_ref().map_or(0, ReadinessFd::signals)
    }

    /// Tells the descriptor the result of a look, and how often it had been signalled before the look.
    fn seen(&self, ready: bool, signals: u64) {
        if let Some(readiness) = self.readiness.locked().as_ref() {
            readiness.seen(ready, signals);
        }
    }

    /// This end's descriptor, which is made when it is first asked for.
    fn descriptor(&self) -> Result<i32> {
        self.pipe.give_back(self.current_process()?)?;
        let mut readiness = self.readiness.locked();
        match readiness.as_ref() {
            Some(readiness) if readiness.is_current() => Ok(readiness.fd()),
            _ => {
                let new = {
                    let process = self.current_process()?;
                    let (id, end) = (self.pipe.id.clone(), self.pipe.end);
                    process.bells.descriptor(&process.client, id, end)?
                };
                Ok(readiness.insert(new).fd())
            }
        }
    }

    /// Gives the end up. What this process has written before is visible to those who notice.
    fn shut(&self) -> Result<()> {
        let mut published = Ok(());
        if let Ok(process) = self.current_process()
            && self.handle.locked().is_some()
        {
            published = process.memory.publish(process).map(drop);
            // Without a store nobody takes the items.
            let _ = self.pipe.give_back(process);
            self.pipe.forget_in_flight(process);
        }
        self.handle.locked().take();
        self.readiness.locked().take();
        published.or_else(|e| if e.is_raised() { Err(e) } else { Ok(()) })
    }
}

/// The descriptors of these ends, brought up to date in one round trip, and whether one of them is readable.
fn descriptors(channels: &[&Channel]) -> Result<(Vec<i32>, bool)> {
    let process = process::current()?;
    let mut fds = Vec::with_capacity(channels.len());
    for channel in channels {
        channel.check_open()?;
        channel.current_process()?;
        fds.push(channel.descriptor()?);
    }
    let mut asked = channels.to_vec();
    if channels.len() > FEW && process.bells.hear(process)? {
        // The others have nothing.
        asked.retain(|channel| !channel.is_armed() || channel.pipe.is_at_end());
    }
    let signals: Vec<u64> = asked.iter().map(|channel| channel.signals()).collect();
    let questions = asked
        .iter()
        .map(|channel| length::question(process, &channel.pipe.id, channel.pipe.end))
        .collect();
    let replies = process.memory.ask(process, questions)?;
    let mut is_any_ready = false;
    for ((channel, signals), reply) in asked.iter().zip(signals).zip(&replies) {
        let is_ready = length::is_some(reply) || channel.pipe.is_at_end();
        channel.seen(is_ready, signals);
        is_any_ready |= is_ready;
    }
    Ok((fds, is_any_ready))
}

#[pymethods]
impl Channel {
    #[new]
    fn new(py: Python<'_>, id: String, end: u8) -> PyResult<Self> {
        Ok(py.detach(|| Self::open(id, end))?)
    }

    /// One end of the pipe of events of a process of the session.
    #[staticmethod]
    fn of_process(py: Python<'_>, process: &str, end: u8) -> PyResult<Self> {
        Ok(py.detach(|| Self::open_known(keys::process(process), end))?)
    }

    /// One end of the session's own pipe.
    #[staticmethod]
    fn of_session(py: Python<'_>, end: u8) -> PyResult<Self> {
        Ok(py.detach(|| Self::open_known(keys::SESSION.into(), end))?)
    }

    /// Both ends of a new pipe, which holds about `bound` bytes in each direction.
    #[staticmethod]
    fn pair(py: Python<'_>, bound: usize) -> PyResult<(Self, Self)> {
        Ok(py.detach(|| {
            let process = process::current()?;
            let id = pipe::create(process, bound)?;
            let end = |end| Self::with(Handle::created(process, id.clone(), end), id.clone(), end);
            Ok::<_, Error>((end(0), end(1)))
        })?)
    }

    #[getter]
    fn id(&self) -> &str {
        &self.pipe.id
    }

    #[getter]
    const fn end(&self) -> u8 {
        self.pipe.end
    }

    /// Sends one message and waits until the store has it.
    fn send(&self, py: Python<'_>, payload: &[u8]) -> PyResult<()> {
        Ok(py.detach(|| {
            self.check_open()?;
            self.pipe.send(self.current_process()?, payload)
        })?)
    }

    /// Waits while the pipe is full. `post` does not wait: a caller that sends much by it calls this first.
    fn wait_for_capacity(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.pipe.wait_for_capacity(self.current_process()?))?)
    }

    /// Sends messages, in order, without waiting.
    fn post(&self, py: Python<'_>, payloads: Vec<PyBackedBytes>) -> PyResult<()> {
        let payloads: Vec<&[u8]> = payloads.iter().map(|payload| &**payload).collect();
        Ok(py.detach(|| {
            self.check_open()?;
            let process = self.current_process()?;
            self.pipe.post(process, Sent::Message, &payloads)
        })?)
    }

    /// The next message; None if the time is over.
    #[pyo3(signature = (block=Truth(true), timeout=None), text_signature = "($self, block=True, timeout=None)")]
    fn recv<'py>(
        &self,
        py: Python<'py>,
        block: Truth,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let message = py.detach(|| {
            let deadline = wait::deadline(timeout.filter(|_| block.0))?;
            self.take(if block.0 && timeout.is_none_or(|t| t > 0.0) {
                Wait::Until(deadline)
            } else {
                Wait::No
            })
        })?;
        Ok(message.map(|message| PyBytes::new(py, &message)))
    }

    #[pyo3(signature = (timeout=Some(0.0)))]
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let block = timeout.is_none_or(|t| t > 0.0);
        Ok(py.detach(|| self.ready(wait::by(wait::deadline(timeout)?), block))?)
    }

    /// How many messages can be taken.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let (n, _) = py.detach(|| self.length())?;
        Ok(usize::try_from(n).unwrap_or(0))
    }

    /// The descriptors of many ends, in one round trip, and whether one of them is readable.
    #[staticmethod]
    fn filenos(py: Python<'_>, channels: Vec<Py<Self>>) -> PyResult<(Vec<i32>, bool)> {
        let channels: Vec<&Self> = channels.iter().map(Py::get).collect();
        Ok(py.detach(|| descriptors(&channels))?)
    }

    /// A file descriptor that is readable while there is something to take. Without `look` it may become so a little later.
    #[pyo3(signature = (*, look=true))]
    fn fileno(&self, py: Python<'_>, look: bool) -> PyResult<i32> {
        Ok(py.detach(|| {
            self.check_open()?;
            let fd = self.descriptor()?;
            if look {
                self.ready(Until::default(), false)?;
            }
            Ok::<_, Error>(fd)
        })?)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.shut())?)
    }

    /// Holds this end for a handle on its way in a message, in the name of `holder`.
    fn transfer_ref(&self, py: Python<'_>, holder: &str) -> PyResult<()> {
        Ok(py.detach(|| {
            let process = self.current_process()?;
            self.pipe.share(process)?;
            process.acquire_ref_as(&self.pipe.id, self.pipe.end, holder)
        })?)
    }

    /// The handle has arrived: `holder` no longer holds this end.
    fn accept_ref(&self, py: Python<'_>, holder: &str) -> PyResult<()> {
        Ok(py.detach(|| {
            self.current_process()?
                .release_ref_of(&self.pipe.id, self.pipe.end, holder)
        })?)
    }
}
