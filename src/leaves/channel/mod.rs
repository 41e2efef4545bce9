//! `_core.Channel`: one end of a pipe of messages.
//!
mod send;

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use redis::Value;

use crate::error::{Error, Result, log};
use crate::locked::Locked;
use crate::objects::handle::{Handle, current_process};
use crate::objects::length;
use crate::objects::pipe::{Item, PipeEnd};
use crate::objects::process::{self, Process};
use crate::objects::readiness::ReadinessFd;
use crate::objects::wait;
use crate::store::client::Args;
use crate::store::conn::Until;
use crate::store::scripts;

/// Items that `recv_many` takes at once.
const MANY: usize = 256;
#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Channel {
    origin: &'static Process,
    pipe: PipeEnd,
    handle: Mutex<Option<Handle>>,
    /// Bytes sent without waiting since there was room.
    bytes_since_check: AtomicUsize,
    readiness: Mutex<Option<ReadinessFd>>,
}

impl Channel {
    fn with(handle: Handle, id: String, end: u8) -> Self {
        let origin = handle.process;
        Self {
            origin,
            pipe: PipeEnd::new(id, end),
            handle: Mutex::new(Some(handle)),
            bytes_since_check: AtomicUsize::new(0),
            readiness: Mutex::default(),
        }
    }

    fn open(id: String, end: u8) -> Result<Self> {
        Ok(Self::with(Handle::attach(id.clone(), end)?, id, end))
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

    /// Takes the next item.
    fn take(
        &self,
        block: bool,
        deadline: Option<Instant>,
        wake: Until<'_>,
        hold: bool,
    ) -> Result<Item> {
        self.check_open()?;
        let p = self.current_process()?;
        self.pipe.take(p, block, deadline, wake, hold, || {
            if let Some(readiness) = self.readiness.locked().as_ref() {
                readiness.taken();
            }
        })
    }

    /// How many items wait, and whether the end of file stands behind them.
    fn length(&self) -> Result<(i64, bool)> {
        self.pipe.length(self.current_process()?)
    }

    /// Whether there is something to take, the end of file included.
    fn ready(&self, until: Until<'_>, block: bool) -> Result<bool> {
        self.check_open()?;
        if block {
            return self.pipe.wait(self.current_process()?, until);
        }
        let signals = self.signals();
        let ready = self.pipe.is_at_end() || self.length().map(|(n, eof)| n > 0 || eof)?;
        self.seen(ready, signals);
        Ok(ready)
    }

    /// How often the descriptor was signalled, if there is one.
    fn signals(&self) -> u64 {
        let readiness = self.readiness.locked();
        readiness.as_ref().map_or(0, ReadinessFd::signals)
    }

    /// Tells the descriptor what was seen since it had been signalled so often.
    fn seen(&self, ready: bool, signals: u64) {
        if let Some(readiness) = self.readiness.locked().as_ref() {
            readiness.seen(ready, signals);
        }
    }

    /// This end's descriptor, which is made when it is first asked for.
    fn descriptor(&self) -> Result<i32> {
        let mut readiness = self.readiness.locked();
        match readiness.as_ref() {
            Some(readiness) if readiness.is_current() => Ok(readiness.fd()),
            _ => {
                let new = {
                    let p = self.current_process()?;
                    ReadinessFd::new(
                        &p.readiness_fds,
                        &p.client,
                        self.pipe.id.clone(),
                        self.pipe.end,
                    )?
                };
                Ok(readiness.insert(new).fd())
            }
        }
    }

    fn shut(&self) {
        if let Ok(p) = self.current_process() {
            p.invalidate_in_flight(&self.pipe.id); // this thread need not remember it any more
        }
        self.handle.locked().take();
        self.readiness.locked().take();
    }
}

/// The descriptors of all of these ends, each telling what is there by now: in one round trip.
fn descriptors(channels: &[&Channel]) -> Result<Vec<i32>> {
    let p = process::current()?;
    let mut fds = Vec::with_capacity(channels.len());
    for channel in channels {
        channel.check_open()?;
        channel.current_process()?;
        fds.push(channel.descriptor()?);
    }
    let signals: Vec<u64> = channels.iter().map(|channel| channel.signals()).collect();
    let each: Vec<_> = channels
        .iter()
        .map(|channel| {
            (
                channel.pipe.id.as_str(),
                channel.pipe.end.to_string().into_bytes(),
            )
        })
        .collect();
    let replies = p.call_each(&scripts::LENGTH, &each)?;
    for ((channel, signals), reply) in channels.iter().zip(signals).zip(&replies) {
        let (n, eof) = length::read(reply);
        channel.seen(n > 0 || eof || channel.pipe.is_at_end(), signals);
    }
    Ok(fds)
}

#[pymethods]
impl Channel {
    #[new]
    fn new(py: Python<'_>, id: String, end: u8) -> PyResult<Self> {
        Ok(py.detach(|| Self::open(id, end))?)
    }

    /// Both ends of a new pipe, which holds about so many bytes in each direction.
    #[staticmethod]
    fn pair(py: Python<'_>, bound: usize) -> PyResult<(Self, Self)> {
        Ok(py.detach(|| {
            let p = process::current()?;
            let id = p.new_object(None);
            p.create(&id, 2, &[b"bound", bound.to_string().as_bytes()])?;
            let end = |end| Self::with(Handle::created(p, id.clone(), end), id.clone(), end);
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
    #[pyo3(name = "send")]
    fn py_send(&self, py: Python<'_>, payload: &[u8]) -> PyResult<()> {
        Ok(py.detach(|| self.send(&[payload], false, false, true))?)
    }

    /// Waits while the pipe is full. `post` and `post_task` do not: who sends much by them calls this first.
    fn wait_for_room(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.wait_until_there_is_capacity())?)
    }

    /// Sends messages, in order, without waiting.
    fn post(&self, py: Python<'_>, payloads: Vec<Vec<u8>>) -> PyResult<()> {
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        Ok(py.detach(|| self.send(&payloads, false, false, false))?)
    }

    /// Sends a task, which must be acknowledged by its result, without waiting.
    fn post_task(&self, py: Python<'_>, payload: &[u8]) -> PyResult<()> {
        Ok(py.detach(|| self.send(&[payload], true, false, false))?)
    }

    /// Sends the result of the task that this thread has taken last, without waiting.
    fn post_result(&self, py: Python<'_>, payload: &[u8]) -> PyResult<()> {
        Ok(py.detach(|| self.send(&[payload], false, true, false))?)
    }

    /// The next message; None when the time is over.
    #[pyo3(signature = (block=true, timeout=None, hold=false))]
    fn recv<'py>(
        &self,
        py: Python<'py>,
        block: bool,
        timeout: Option<f64>,
        hold: bool,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let block = block && timeout.is_none_or(|t| t > 0.0);
        match py.detach(|| self.take(block, wait::deadline(timeout)?, Until::default(), hold))? {
            Item::Message(m) => Ok(Some(PyBytes::new(py, &m.payload))),
            Item::Died(..) | Item::Nothing => Ok(None),
        }
    }

    /// Waits for one message and takes what else is there, for an end with one reader.
    /// Each with the exit code of its last worker where it is a task that was begun too often.
    fn recv_many<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyBytes>, Option<i32>)>> {
        let items = py.detach(|| {
            let p = self.current_process()?;
            let mut items = vec![self.take(true, None, Until::default(), false)?];
            let args = [self.pipe.end.to_string(), MANY.to_string()];
            let more = p.call(
                &scripts::TAKE_MANY,
                &self.pipe.id,
                &Args(&args.each_ref().map(String::as_bytes)),
            )?;
            if let Value::Array(more) = more {
                for item in more {
                    if let Value::BulkString(item) = item {
                        match self.pipe.received(p, &item, false) {
                            Ok(item) => items.push(item),
                            // The others of the batch are good.
                            Err(Error::Seal(text)) => log(&text),
                            Err(e) => return Err(e),
                        }
                    }
                }
            }
            Ok::<_, Error>(items)
        })?;
        Ok(items
            .into_iter()
            .filter_map(|item| match item {
                Item::Message(m) => Some((PyBytes::new(py, &m.payload), None)),
                Item::Died(code, m) => Some((PyBytes::new(py, &m.payload), Some(code))),
                Item::Nothing => None,
            })
            .collect())
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

    /// The descriptors of many ends, in one round trip.
    #[staticmethod]
    fn filenos(py: Python<'_>, channels: Vec<Py<Self>>) -> PyResult<Vec<i32>> {
        let channels: Vec<&Self> = channels.iter().map(Py::get).collect();
        Ok(py.detach(|| descriptors(&channels))?)
    }

    /// A file descriptor that is readable while there is something to take.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        Ok(py.detach(|| {
            let fd = self.descriptor()?;
            self.ready(Until::default(), false)?;
            Ok::<_, Error>(fd)
        })?)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.shut());
    }

    /// Keeps this end alive for a handle on its way in a message, in the name of `holder`.
    fn transfer_ref(&self, py: Python<'_>, holder: &str) -> PyResult<()> {
        Ok(py.detach(|| {
            self.current_process()?
                .acquire_ref_as(&self.pipe.id, self.pipe.end, holder)
        })?)
    }

    /// The handle has arrived: this end holds itself.
    fn accept_ref(&self, py: Python<'_>, holder: &str) -> PyResult<()> {
        Ok(py.detach(|| {
            self.current_process()?
                .release_ref_of(&self.pipe.id, self.pipe.end, holder)
        })?)
    }
}
