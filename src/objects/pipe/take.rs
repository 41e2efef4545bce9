//! The taking side of an end.
//!
//! An item is taken by a BLMOVE into this thread's in-flight list, and acknowledged before its value reaches the
//! program: a connection that breaks in between loses nothing, and the items of a process that dies in between go
//! back to the head. A task is acknowledged by the message that is its result, in the same step.

use std::sync::atomic::Ordering;

use redis::Value;

use super::{Acknowledged, PipeEnd, Taken, Wait, kind};
use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::payload;
use crate::objects::process::Process;
use crate::objects::wait;
use crate::protocol::{self, Item};
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::scripts::{self, Script};
use crate::store::thread_client::Outcome;

impl PipeEnd {
    /// Takes the next item. `seen` is called with each look that the store has answered. After an error the next take
    /// first looks for what this one may have taken.
    pub fn take(
        &self,
        process: &Process,
        wait: Wait,
        acknowledged: Acknowledged,
        seen: impl Fn(),
    ) -> Result<Taken> {
        let result = self.take_next(process, wait, acknowledged, seen);
        if result.is_err() {
            self.forget_in_flight(process);
        }
        result
    }

    fn take_next(
        &self,
        process: &Process,
        wait: Wait,
        acknowledged: Acknowledged,
        seen: impl Fn(),
    ) -> Result<Taken> {
        if self.is_at_end() {
            return Err(Error::Eof);
        }
        let (in_flight, known) = self.in_flight(process)?;
        let (block, deadline) = match wait {
            Wait::No => (false, None),
            Wait::Until(deadline) => (true, deadline),
        };
        let mut look = !block || !known || self.must_look(process);
        loop {
            let value = if look {
                // It also returns an item that was taken on a connection which then broke.
                let script = process.script(&scripts::TAKE_NOW, &self.id);
                script.arg(self.end).by(deadline).call()?
            } else {
                let items = keys::items(&process.key(&self.id), self.end);
                let take = process.take_head(items, in_flight.clone(), deadline);
                match take.block(Until::default())? {
                    Outcome::Reply(Value::Nil) => {
                        self.length(process)?; // an absent object is an error, not an empty queue
                        return Ok(Taken::Nothing);
                    }
                    Outcome::Reply(value) => value,
                    Outcome::Again if wait::is_over(deadline) => {
                        // It may have taken one all the same.
                        self.forget_in_flight(process);
                        return Ok(Taken::Nothing);
                    }
                    Outcome::Again => Value::Nil,
                    Outcome::Stopped(e, value) => {
                        if value != Value::Nil {
                            let script = process.script(&scripts::TAKE_BACK, &self.id);
                            script.arg(self.end).arg("LEFT").call()?;
                        }
                        return Err(e);
                    }
                }
            };
            seen();
            match value {
                Value::BulkString(item) => return self.received(process, &item, acknowledged),
                _ if !block => return Ok(Taken::Nothing),
                _ if look && wait::is_over(deadline) => {
                    return Ok(Taken::Nothing);
                }
                _ => look = !look,
            }
        }
    }

    /// Takes up to so many items that are there, for an end with one reader whose in-flight list is known. Each has a
    /// result of its own: where one is refused the others are good.
    pub fn take_many(&self, process: &Process, most: usize) -> Result<Vec<Result<Taken>>> {
        let script = process.script(&scripts::TAKE_MANY, &self.id);
        let Value::Array(found) = script.arg(self.end).arg(most).call()? else {
            return Ok(Vec::new());
        };
        let items = found.iter().filter_map(|item| match item {
            Value::BulkString(item) => Some(self.received(process, item, Acknowledged::ByTaking)),
            _ => None,
        });
        Ok(items.collect())
    }

    /// This thread's in-flight list, made ready for what it will take; and whether it is known to be empty.
    fn in_flight(&self, process: &Process) -> Result<(String, bool)> {
        let (caller, known) = process
            .with_link(|link| Ok((link.caller.clone(), link.register_consumer(&self.id))))?;
        if !known {
            let script = process.script(&scripts::TAKE_OPEN, &self.id);
            script.arg(self.end).post()?;
        }
        Ok((keys::in_flight(&process.key(&self.id), &caller), known))
    }

    /// This thread's in-flight list is to be looked at before the next take; or there will be none.
    pub fn forget_in_flight(&self, process: &Process) {
        let _ = process.with_link(|link| {
            link.invalidate_in_flight(&self.id);
            Ok(())
        });
    }

    /// Decodes an item of the in-flight list, acknowledges it and applies its versions. An item that is refused is
    /// acknowledged as well.
    fn received(
        &self,
        process: &Process,
        item: &[u8],
        acknowledged: Acknowledged,
    ) -> Result<Taken> {
        match protocol::Entry::decode(item) {
            Ok(protocol::Entry::EndOfFile) => {
                self.eof.store(true, Ordering::Release);
                let script = process.script(&scripts::TAKE_BACK, &self.id);
                script.arg(self.end).arg("RIGHT").post()?;
                Err(Error::Eof)
            }
            Ok(protocol::Entry::Died(code, task)) => {
                self.count_taken(process, &scripts::TAKE_DONE, 0)?;
                let task = payload::unpack(process, &self.id, kind(1 - self.end), &task)?;
                if let Some(blob) = &task.blob {
                    process.script(&scripts::DROP, blob).post()?;
                }
                Ok(Taken::Died(code, task))
            }
            Ok(protocol::Entry::Item(payload)) => self.opened(process, &payload, acknowledged),
            Err(_) => {
                self.count_taken(process, &scripts::TAKE_DONE, 0)?;
                Err(Error::Seal(format!(
                    "payload refused: no item of object {}",
                    self.id
                )))
            }
        }
    }

    fn opened(
        &self,
        process: &Process,
        payload: &Item<'_>,
        acknowledged: Acknowledged,
    ) -> Result<Taken> {
        let message = payload::unpack(process, &self.id, kind(self.end), payload);
        let message = message.and_then(|message| {
            process.memory.acquire(process, &message.versions)?;
            Ok(message)
        });
        // A signal's handler came in between: it stays in flight, and is looked for by the next take.
        let message = match message {
            Err(e) if e.is_raised() => return Err(e),
            message => message,
        };
        let blob = message.as_ref().ok().and_then(|m| m.blob.clone());
        if acknowledged == Acknowledged::ByResult && message.is_ok() && payload.is_task {
            *self.blob.locked() = blob;
            self.count_taken(process, &scripts::TASK_BEGUN, payload.size)?;
        } else {
            self.count_taken(process, &scripts::TAKE_DONE, payload.size)?;
            if let Some(blob) = blob {
                process.script(&scripts::DROP, &blob).post()?;
            }
        }
        let message = message?;
        // A task may come again: it was given back.
        if !payload.is_task && !self.delivered.note(payload.sealed) {
            return Err(Error::Seal(format!(
                "payload refused: it was delivered before, by object {}",
                self.id
            )));
        }
        Ok(Taken::Message(message))
    }

    /// Runs the script that acknowledges an item of this end, or counts it as a task in work.
    fn count_taken(&self, process: &Process, script: &'static Script, size: usize) -> Result<()> {
        let script = process.script(script, &self.id);
        script.arg(self.end).arg(size).post()
    }
}
