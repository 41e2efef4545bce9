//! One end of a pipe, as a process takes from it.
//!
//! An item is taken by a BLMOVE into this thread's in-flight list, and acknowledged before its value reaches the
//! program: a connection that breaks in between loses nothing, and the items of a process that dies in between go
//! back to the head. A task (`hold`) is acknowledged by the message that is its result, in the same step.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use redis::Value;

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::length;
use crate::objects::payload::{self, Message};
use crate::objects::process::Process;
use crate::objects::wait;
use crate::protocol::{self, Payload};
use crate::store::client::Args;
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::scripts::{self, Script};
use crate::store::thread_client::Outcome;

pub struct PipeEnd {
    pub id: String,
    pub end: u8,
    /// The end of file was seen: there is nothing to wait for any more.
    eof: AtomicBool,
    /// The blob of the task in work.
    blob: Mutex<Option<String>>,
}

/// What one take gave.
pub enum Item {
    Message(Message),
    /// A task that killed its workers: the exit code of the last, and the task.
    Died(i32, Message),
    Nothing,
}

/// Which way an item goes: part of what its seal vouches for.
pub const fn kind(end: u8) -> &'static str {
    if end == 0 { "to 0" } else { "to 1" }
}

impl PipeEnd {
    pub const fn new(id: String, end: u8) -> Self {
        Self {
            id,
            end,
            eof: AtomicBool::new(false),
            blob: Mutex::new(None),
        }
    }

    /// Whether the end of file was seen.
    pub fn is_at_end(&self) -> bool {
        self.eof.load(Ordering::Acquire)
    }

    /// Takes the next item. `hold` leaves its acknowledgement to the result. After an error the next take first looks
    /// for what this one may have taken.
    pub fn take(
        &self,
        p: &Process,
        block: bool,
        deadline: Option<Instant>,
        wake: Until<'_>,
        hold: bool,
        seen: impl Fn(),
    ) -> Result<Item> {
        let result = self.take_next(p, block, deadline, wake, hold, seen);
        if result.is_err() {
            p.invalidate_in_flight(&self.id);
        }
        result
    }

    fn take_next(
        &self,
        p: &Process,
        block: bool,
        deadline: Option<Instant>,
        wake: Until<'_>,
        hold: bool,
        seen: impl Fn(),
    ) -> Result<Item> {
        if self.is_at_end() {
            return Err(Error::Eof);
        }
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
                        self.length(p)?; // an absent object is an error, not an empty queue
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
            seen();
            match value {
                Value::BulkString(item) => return self.received(p, &item, hold),
                _ if !block => return Ok(Item::Nothing),
                _ if look && deadline.is_some_and(|d| d <= Instant::now()) => {
                    return Ok(Item::Nothing);
                }
                _ => look = !look,
            }
        }
    }

    /// What an item means that is in the in-flight list: it is acknowledged, and its map applied. One that is refused is
    /// not offered again either.
    pub fn received(&self, p: &Process, item: &[u8], hold: bool) -> Result<Item> {
        match protocol::Item::decode(item) {
            Ok(protocol::Item::EndOfFile) => {
                self.eof.store(true, Ordering::Release);
                let end = self.end.to_string();
                p.post(
                    &scripts::TAKE_BACK,
                    &self.id,
                    &Args(&[end.as_bytes(), b"RIGHT"]),
                )?;
                Err(Error::Eof)
            }
            Ok(protocol::Item::Died(code, task)) => {
                self.count_taken(p, &scripts::TAKE_DONE, 0)?;
                let task = payload::unpack(p, &self.id, kind(1 - self.end), &task)?;
                Ok(Item::Died(code, task))
            }
            Ok(protocol::Item::Payload(payload)) => self.opened(p, &payload, hold),
            Err(_) => {
                self.count_taken(p, &scripts::TAKE_DONE, 0)?;
                Err(Error::Seal(format!(
                    "payload refused: no item of object {}",
                    self.id
                )))
            }
        }
    }

    fn opened(&self, p: &Process, payload: &Payload<'_>, hold: bool) -> Result<Item> {
        let message = payload::unpack(p, &self.id, kind(self.end), payload);
        let blob = message.as_ref().ok().and_then(|m| m.blob.clone());
        if hold && message.is_ok() && payload.is_task {
            *self.blob.locked() = blob;
            self.count_taken(p, &scripts::TASK_TAKEN, payload.weight)?;
        } else {
            self.count_taken(p, &scripts::TAKE_DONE, payload.weight)?;
            if let Some(blob) = blob {
                p.post(&scripts::DROP, &blob, &Args(&[]))?;
            }
        }
        let message = message?;
        p.memory.acquire(p, &message.map)?;
        Ok(Item::Message(message))
    }

    /// Has what was taken from this end acknowledged, or counted as a task in work.
    fn count_taken(&self, p: &Process, script: &'static Script, weight: usize) -> Result<()> {
        let args = [self.end.to_string(), weight.to_string()];
        p.post(
            script,
            &self.id,
            &Args(&args.each_ref().map(String::as_bytes)),
        )
    }

    /// The task in work has its result: what it lay in goes.
    pub fn drop_blob(&self, p: &Process) -> Result<()> {
        let blob = self.blob.locked().take();
        blob.map_or(Ok(()), |blob| p.post(&scripts::DROP, &blob, &Args(&[])))
    }

    /// How many items wait, and whether the end of file stands behind them.
    pub fn length(&self, p: &Process) -> Result<(i64, bool)> {
        length::ask(p, &self.id, self.end)
    }

    /// Waits until there is something to take, the end of file included; false when the time is over.
    pub fn wait(&self, p: &Process, until: Until<'_>) -> Result<bool> {
        if self.is_at_end() {
            return Ok(true);
        }
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
                Outcome::Reply(Value::Nil) => return self.length(p).map(|(n, eof)| n > 0 || eof),
                Outcome::Reply(_) => return Ok(true),
                Outcome::Again => {}
                Outcome::Stopped(e, _) => return Err(e),
            }
        }
    }
}
