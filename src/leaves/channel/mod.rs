//! `_core.Channel`: one end of a pipe of messages.
//!
//! An item is taken by a BLMOVE into this thread's in-flight list, and acknowledged before its value reaches the
//! program: a connection that breaks in between loses nothing, and the items of a process that dies in between go
//! back to the head. A task (`hold`) is acknowledged by the message that is its result, in the same step.

mod send;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use redis::Value;

use crate::error::{Error, Result, log};
use crate::leaves::aio;
use crate::objects::handle::{Held, now};
use crate::objects::item::{self, Message};
use crate::objects::readiness::Bell;
use crate::objects::wait;
use crate::session::process::{self, Args, Process};
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::link::Outcome;
use crate::store::scripts::{self, Script};

/// Items that `recv_many` takes at once.
const MANY: usize = 256;
#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Channel {
    origin: &'static Process,
    id: String,
    end: u8,
    held: Mutex<Option<Held>>,
    /// The end of file was seen: there is nothing to wait for any more.
    eof: AtomicBool,
    /// The blob of the task in work.
    blob: Mutex<Option<String>>,
    /// Bytes sent without waiting since there was room.
    unasked: AtomicUsize,
    bell: Mutex<Option<Bell>>,
}

/// What one take gave.
enum Item {
    Message(Message),
    /// A task that killed its workers: the exit code of the last, and the task.
    Died(i32, Message),
    Nothing,
}

impl Channel {
    fn with(held: Held, id: String, end: u8) -> Self {
        let origin = held.process;
        Self {
            origin,
            id,
            end,
            held: Mutex::new(Some(held)),
            eof: AtomicBool::new(false),
            blob: Mutex::default(),
            unasked: AtomicUsize::new(0),
            bell: Mutex::default(),
        }
    }

    pub fn open(id: String, end: u8) -> Result<Self> {
        Ok(Self::with(Held::hold(id.clone(), end)?, id, end))
    }

    /// Which way an item goes: part of what its seal vouches for.
    fn kind(end: u8) -> &'static str {
        if end == 0 { "to 0" } else { "to 1" }
    }

    fn now(&self) -> Result<&'static Process> {
        now(self.origin)
    }

    fn check_open(&self) -> Result<()> {
        if self
            .held
            .lock()
            .expect("no panic under this lock")
            .is_none()
        {
            return Err(Error::State("the channel is closed".into()));
        }
        Ok(())
    }

    /// Takes the next item. `hold` leaves its acknowledgement to the result. After an error the next take first looks
    /// for what this one may have taken.
    fn take(
        &self,
        block: bool,
        deadline: Option<Instant>,
        wake: Until<'_>,
        hold: bool,
    ) -> Result<Item> {
        let result = self.take_next(block, deadline, wake, hold);
        if result.is_err()
            && let Ok(p) = self.now()
        {
            p.doubt(&self.id);
        }
        result
    }

    fn take_next(
        &self,
        block: bool,
        deadline: Option<Instant>,
        wake: Until<'_>,
        hold: bool,
    ) -> Result<Item> {
        self.check_open()?;
        if self.eof.load(Ordering::Acquire) {
            return Err(Error::Eof);
        }
        let p = self.now()?;
        let (flying, known) = p.in_flight(&self.id, self.end)?;
        let base = p.key(&self.id);
        let end = self.end.to_string();
        let mut look = !block || !known;
        loop {
            let value = if look {
                // What a lost connection may have taken comes from here, too.
                p.call(&scripts::TAKE_NOW, &self.id, &Args(&[end.as_bytes()]))?
            } else {
                let keys = vec![keys::items(&base, self.end), flying.clone()];
                let timeout = wait::server_timeout(deadline);
                match p.block(
                    keys,
                    &Args(&[b"BLMOVE", b"LEFT", b"LEFT", timeout.as_bytes()]),
                    wake,
                )? {
                    Outcome::Reply(Value::Nil) => {
                        self.length()?; // an absent object is an error, not an empty queue
                        return Ok(Item::Nothing);
                    }
                    Outcome::Reply(value) => value,
                    Outcome::Again => Value::Nil,
                    Outcome::Stopped(e, value) => {
                        if value != Value::Nil {
                            p.call(
                                &scripts::TAKE_BACK,
                                &self.id,
                                &Args(&[end.as_bytes(), b"LEFT"]),
                            )?;
                        }
                        return Err(e);
                    }
                }
            };
            if let Some(bell) = self.bell.lock().expect("no panic under this lock").as_ref() {
                bell.taken();
            }
            match value {
                Value::BulkString(item) => return self.received(&item, hold),
                _ if !block => return Ok(Item::Nothing),
                _ if look && deadline.is_some_and(|d| d <= Instant::now()) => {
                    return Ok(Item::Nothing);
                }
                _ => look = !look,
            }
        }
    }

    fn received(&self, item: &[u8], hold: bool) -> Result<Item> {
        let p = self.now()?;
        if item == b"E" {
            self.eof.store(true, Ordering::Release);
            let end = self.end.to_string();
            p.post(
                &scripts::TAKE_BACK,
                &self.id,
                &Args(&[end.as_bytes(), b"RIGHT"]),
            )?;
            return Err(Error::Eof);
        }
        if let Some(dead) = item.strip_prefix(b"D") {
            self.count_taken(&scripts::TAKE_DONE, 0)?;
            let (code, task) = dead.split_at(dead.iter().position(|b| *b == b' ').unwrap_or(0));
            let code = String::from_utf8_lossy(code).parse().unwrap_or(1);
            let task = item::decode(
                p,
                &self.id,
                Self::kind(1 - self.end),
                task.get(1..).unwrap_or_default(),
            )?;
            return Ok(Item::Died(code, task));
        }
        let decoded = item::decode(p, &self.id, Self::kind(self.end), item);
        let weight = item::weight_of(item).map_or(0, |(weight, _)| weight);
        let blob = decoded.as_ref().ok().and_then(|m| m.blob.clone());
        if hold && decoded.is_ok() && matches!(item[0], b'P' | b'Q') {
            *self.blob.lock().expect("no panic under this lock") = blob;
            self.count_taken(&scripts::TASK_TAKEN, weight)?;
        } else {
            // A payload that is refused is not offered again either.
            self.count_taken(&scripts::TAKE_DONE, weight)?;
            if let Some(blob) = blob {
                p.post(&scripts::DROP, &blob, &Args(&[]))?;
            }
        }
        let message = decoded?;
        p.memory.acquire(p, &message.map)?;
        Ok(Item::Message(message))
    }

    /// Has what was taken from this end acknowledged, or counted as a task in work.
    fn count_taken(&self, script: &'static Script, weight: usize) -> Result<()> {
        let args = [self.end.to_string(), weight.to_string()];
        self.now()?.post(
            script,
            &self.id,
            &Args(&args.each_ref().map(String::as_bytes)),
        )
    }

    fn drop_blob(&self) -> Result<()> {
        let blob = self.blob.lock().expect("no panic under this lock").take();
        blob.map_or(Ok(()), |blob| {
            self.now()?.post(&scripts::DROP, &blob, &Args(&[]))
        })
    }

    /// How many items wait, and whether the end of file stands behind them.
    fn length(&self) -> Result<(i64, bool)> {
        length(self.now()?, &self.id, self.end)
    }

    /// Whether there is something to take, the end of file included.
    fn ready(&self, until: Until<'_>, block: bool) -> Result<bool> {
        self.check_open()?;
        let eof = self.eof.load(Ordering::Acquire);
        if !block {
            let rings = self.rings();
            let ready = eof || self.length().map(|(n, eof)| n > 0 || eof)?;
            self.seen(ready, rings);
            return Ok(ready);
        }
        if eof {
            return Ok(true);
        }
        let p = self.now()?;
        let key = keys::items(&p.key(&self.id), self.end);
        loop {
            let timeout = wait::server_timeout(until.deadline);
            // A peek that blocks: the head moves to where it is.
            let command = Args(&[b"BLMOVE", b"LEFT", b"LEFT", timeout.as_bytes()]);
            match p.block(
                vec![key.clone(), key.clone()],
                &command,
                wait::waking(until),
            )? {
                Outcome::Reply(Value::Nil) => return self.length().map(|(n, eof)| n > 0 || eof),
                Outcome::Reply(_) => return Ok(true),
                Outcome::Again => {}
                Outcome::Stopped(e, _) => return Err(e),
            }
        }
    }

    /// How often the bell was rung, if there is one.
    fn rings(&self) -> u64 {
        let bell = self.bell.lock().expect("no panic under this lock");
        bell.as_ref().map_or(0, Bell::rings)
    }

    /// Tells the bell what was seen since it had been rung so often.
    fn seen(&self, ready: bool, rings: u64) {
        if let Some(bell) = self.bell.lock().expect("no panic under this lock").as_ref() {
            bell.seen(ready, rings);
        }
    }

    /// Of this end's bell, which is made when it is first asked for.
    fn descriptor(&self) -> Result<i32> {
        let mut bell = self.bell.lock().expect("no panic under this lock");
        match bell.as_ref() {
            Some(bell) if bell.is_current() => Ok(bell.fd()),
            _ => {
                let new = Bell::new(self.now()?, self.id.clone(), self.end)?;
                Ok(bell.insert(new).fd())
            }
        }
    }

    /// The next message, for a thread of ours.
    pub fn next(&self, wake: Until<'_>) -> Result<Vec<u8>> {
        loop {
            if let Item::Message(message) = self.take(true, None, wake, false)? {
                return Ok(message.payload);
            }
        }
    }

    pub fn shut(&self) {
        if let Ok(p) = self.now() {
            p.doubt(&self.id); // this thread need not remember it any more
        }
        self.held.lock().expect("no panic under this lock").take();
        self.bell.lock().expect("no panic under this lock").take();
    }
}

/// How many items wait for an end, and whether the end of file stands behind them.
pub fn length(p: &Process, id: &str, end: u8) -> Result<(i64, bool)> {
    let reply = p.call(&scripts::LENGTH, id, &Args(&[end.to_string().as_bytes()]))?;
    Ok(read_length(&reply))
}

fn read_length(reply: &Value) -> (i64, bool) {
    match reply {
        Value::Array(row) => match row.as_slice() {
            [Value::Int(n), Value::Int(eof)] => (*n, *eof == 1),
            _ => (0, false),
        },
        _ => (0, false),
    }
}

/// The descriptors of all of these ends, each telling what is there by now: in one round trip.
fn descriptors(channels: &[&Channel]) -> Result<Vec<i32>> {
    let p = process::current()?;
    let mut fds = Vec::with_capacity(channels.len());
    for channel in channels {
        channel.check_open()?;
        channel.now()?;
        fds.push(channel.descriptor()?);
    }
    let rings: Vec<u64> = channels.iter().map(|channel| channel.rings()).collect();
    let each: Vec<_> = channels
        .iter()
        .map(|channel| (channel.id.as_str(), channel.end.to_string().into_bytes()))
        .collect();
    let replies = p.call_each(&scripts::LENGTH, &each)?;
    for ((channel, rings), reply) in channels.iter().zip(rings).zip(&replies) {
        let (n, eof) = read_length(reply);
        channel.seen(n > 0 || eof || channel.eof.load(Ordering::Acquire), rings);
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
            let end = |end| Self::with(Held::created(p, id.clone(), end), id.clone(), end);
            Ok::<_, Error>((end(0), end(1)))
        })?)
    }

    #[getter]
    fn id(&self) -> &str {
        &self.id
    }

    #[getter]
    const fn end(&self) -> u8 {
        self.end
    }

    /// Sends one message and waits until the store has it.
    #[pyo3(name = "send")]
    fn py_send(&self, py: Python<'_>, payload: &[u8]) -> PyResult<()> {
        Ok(py.detach(|| self.send(&[payload], false, false, true))?)
    }

    /// Waits while the pipe is full. `post` and `post_task` do not: who sends much by them calls this first.
    fn wait_for_room(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.room())?)
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
            let p = self.now()?;
            let mut items = vec![self.take(true, None, Until::default(), false)?];
            let args = [self.end.to_string(), MANY.to_string()];
            let more = p.call(
                &scripts::TAKE_MANY,
                &self.id,
                &Args(&args.each_ref().map(String::as_bytes)),
            )?;
            if let Value::Array(more) = more {
                for item in more {
                    if let Value::BulkString(item) = item {
                        match self.received(&item, false) {
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

    /// For asyncio: an awaitable of the moment when there is something to take, the end of file included.
    fn readable(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        let (py, channel) = (slf.py(), slf.unbind());
        aio::awaitable(py, move |given_up| {
            channel.get().ready(aio::until(given_up), true)
        })
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
    fn lend(&self, py: Python<'_>, holder: &str) -> PyResult<()> {
        Ok(py.detach(|| self.now()?.hold_as(&self.id, self.end, holder))?)
    }

    /// The handle has arrived: this end is held by itself.
    fn arrived(&self, py: Python<'_>, holder: &str) -> PyResult<()> {
        Ok(py.detach(|| self.now()?.drop_hold_of(&self.id, self.end, holder))?)
    }
}
