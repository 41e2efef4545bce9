//! One end of a pipe, as a process uses it: takes items, and sends items to the other end.

mod arrive;
mod delivered;
mod pace;
mod results;
mod send;
mod take;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use redis::Value;

use self::delivered::Delivered;
use self::pace::Pace;
use crate::error::Result;
use crate::objects::batch::{Batch, Results};
use crate::objects::length;
use crate::objects::payload::Message;
use crate::objects::process::Process;
use crate::objects::read_ahead::ReadAhead;
use crate::objects::wait;
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::request::Slot;
use crate::store::thread_client::Outcome;

pub struct PipeEnd {
    pub id: String,
    pub end: u8,
    /// Whether the end of file was seen: then there is nothing to wait for.
    eof: AtomicBool,
    /// The blob of the task in work.
    blob: Mutex<Option<String>>,
    delivered: Delivered,
    /// How often the cluster's slots had been read at the last look at the store: since then the items may have moved.
    looked_with: AtomicU64,
    /// The last result, until the next task is taken.
    result: Mutex<Option<SentResult>>,
    /// The results of the tasks that were taken together.
    results: Mutex<Option<Results>>,
    pace: Mutex<Pace>,
    /// The slot for the number of items that were left after a take.
    rest: Mutex<Option<Slot>>,
    /// Bytes posted since the pipe was asked whether it is full.
    bytes_since_check: AtomicUsize,
    /// The process that made this end, and what it has read ahead. A child of its own `fork()` uses none of it.
    origin: &'static Process,
    ahead: Arc<ReadAhead>,
    /// The same of the other end.
    other_ahead: Arc<ReadAhead>,
}

/// A task's result that was sent.
struct SentResult {
    /// The thread that has sent it.
    caller: String,
    /// The slot of the command.
    slot: Slot,
    /// Set if the command takes the next tasks.
    asked: Option<Asked>,
}

/// The next tasks are on their way.
#[derive(Clone)]
struct Asked {
    since: Instant,
    /// What they are called if there are several.
    batch: Batch,
}

/// The result of a take.
pub enum Taken {
    Message(Message),
    /// A task that killed its workers: the exit code of the last one, and the task.
    Died(i32, Message),
    Nothing,
}

/// How long a take waits for an item.
#[derive(Clone, Copy)]
pub enum Wait {
    No,
    /// Until a deadline, or without one for ever.
    Until(Option<Instant>),
}

/// The kind of a take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// A message, which is acknowledged before it is delivered.
    Item,
    /// The same; several messages may be taken for this take and the next ones.
    Items,
    /// A task, which is acknowledged by its result.
    Task,
}

/// The kind of a message to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Message,
    /// A task, which is acknowledged by its result.
    Task,
    /// The result of the task that this thread took last.
    Result,
}

/// The direction of an item, which its seal covers.
pub const fn kind(end: u8) -> &'static str {
    if end == 0 { "to 0" } else { "to 1" }
}

/// Makes a pipe that holds about `bound` bytes for each end. This process holds both ends.
pub fn create(process: &Process, bound: usize) -> Result<String> {
    let id = process.new_object(None);
    process.create(&id, 2, &[(keys::BOUND, bound)])?;
    Ok(id)
}

impl PipeEnd {
    pub fn new(origin: &'static Process, id: String, end: u8) -> Self {
        Self {
            ahead: origin.reads_ahead.of(&id, end),
            other_ahead: origin.reads_ahead.of(&id, 1 - end),
            origin,
            id,
            end,
            eof: AtomicBool::new(false),
            blob: Mutex::new(None),
            delivered: Delivered::default(),
            looked_with: AtomicU64::new(0),
            result: Mutex::default(),
            results: Mutex::default(),
            pace: Mutex::default(),
            rest: Mutex::default(),
            bytes_since_check: AtomicUsize::new(0),
        }
    }

    /// Whether the end of file was seen.
    pub fn is_at_end(&self) -> bool {
        self.eof.load(Ordering::Acquire)
    }

    /// Whether the slots of a cluster were read since the last look.
    fn must_look(&self, process: &Process) -> bool {
        let readings = process.shared.cluster.readings();
        self.looked_with.swap(readings, Ordering::AcqRel) != readings
    }

    /// How many items wait, and whether the end of file follows them.
    pub fn length(&self, process: &Process) -> Result<(i64, bool)> {
        length::ask(process, &self.id, self.end)
    }

    /// Whether there is something to take without asking the store: items that were read ahead, or the end of file.
    pub fn has_something(&self, process: &Process) -> bool {
        self.is_at_end() || self.ahead(process).is_some_and(|ahead| ahead.has_items())
    }

    /// Gives back what was read ahead.
    pub fn give_back(&self, process: &Process) -> Result<()> {
        self.ahead(process)
            .map_or(Ok(()), |ahead| ahead.give_back(process, false))
    }

    fn ahead(&self, process: &Process) -> Option<&Arc<ReadAhead>> {
        std::ptr::eq(self.origin, process).then_some(&self.ahead)
    }

    /// Waits until there is something to take, the end of file included; false if the time is over.
    pub fn wait(&self, process: &Process, until: Until<'_>) -> Result<bool> {
        if self.has_something(process) {
            return Ok(true);
        }
        let key = keys::items(&process.key(&self.id), self.end);
        loop {
            if self.must_look(process) && self.length(process).map(|(n, eof)| n > 0 || eof)? {
                return Ok(true);
            }
            let peek = process.take_head(key.clone(), key.clone(), until.deadline);
            match peek.block(wait::waking(until))? {
                Outcome::Reply(Value::Nil) => {
                    return self.length(process).map(|(n, eof)| n > 0 || eof);
                }
                Outcome::Reply(_) => return Ok(true),
                Outcome::Again if wait::is_over(until.deadline) => return Ok(false),
                // The store may have no memory for a blocked client.
                Outcome::Again => {
                    let question = length::question(process, &self.id, self.end);
                    let (n, eof) = length::read(&question.by(until.deadline).call()?);
                    if n > 0 || eof {
                        return Ok(true);
                    }
                }
                Outcome::Stopped(e, _) => return Err(e),
            }
        }
    }
}
