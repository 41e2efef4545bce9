//! The taking side of an end.
//!
//! An item is taken by a BLMOVE into this thread's in-flight list; where many threads take from one end, by standing in a line in
//! which it is handed over, since a store looks through all that wait at a list for each item. It is acknowledged before its value reaches the
//! program: a connection that breaks in between loses nothing, and the items of a process that dies in between go
//! back to the head. A task is acknowledged by the message that is its result, in the same step.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::time::Instant;

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
use crate::store::scripts;
use crate::store::thread_client::{Outcome, Place};

/// So many threads wait at an end's list of items; the others stand in the line.
const MOST_AT_LIST: usize = 16;

/// How an item has come.
#[derive(Default)]
struct How {
    /// Those that come together are acknowledged together.
    together: Option<RefCell<Together>>,
    /// The waiter that it was handed to in the line; empty where it was not.
    waiter: String,
    /// Whether it counts as taken already: a task that came with the last result.
    is_counted: bool,
}

/// What is to be acknowledged.
#[derive(Default)]
struct Together {
    count: usize,
    size: usize,
    /// They are needed no more then.
    blobs: Vec<String>,
}

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
        let (in_flight, place, known) = self.in_flight(process)?;
        let (block, deadline) = match wait {
            Wait::No => (false, None),
            Wait::Until(deadline) => (true, deadline),
        };
        let mut look = !block || !known || self.must_look(process);
        let mut with_result = match acknowledged {
            Acknowledged::ByResult => self.taken_with_result(process)?,
            Acknowledged::ByTaking => None,
        };
        loop {
            let mut how = How::default();
            let value = if let Some(reply) = with_result.take() {
                let (value, waiter) = self.await_token(process, reply, deadline)?;
                how.is_counted = waiter.is_none();
                how.waiter = waiter.unwrap_or_default();
                value
            } else if look {
                // It also returns an item that was taken on a connection which then broke.
                let script = process.script(&scripts::TAKE_NOW, &self.id);
                script.arg(self.end).by(deadline).call()?
            } else if place == Place::Line {
                let (value, waiter) = self.take_in_line(process, deadline)?;
                how.waiter = waiter.unwrap_or_default();
                value
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
                            script.arg(self.end).arg("LEFT").arg("").call()?;
                        }
                        return Err(e);
                    }
                }
            };
            seen();
            match value {
                Value::BulkString(item) => {
                    return self.received(process, &item, &how, acknowledged);
                }
                _ if !block => return Ok(Taken::Nothing),
                _ if look && wait::is_over(deadline) => {
                    return Ok(Taken::Nothing);
                }
                _ => look = !look,
            }
        }
    }

    /// The next item for one who stands in the line, and the waiter that it was handed to. Nil where it is to be looked for.
    fn take_in_line(
        &self,
        process: &Process,
        deadline: Option<Instant>,
    ) -> Result<(Value, Option<String>)> {
        let script = process.script(&scripts::TAKE_IN_LINE, &self.id);
        let script = script.arg(self.end).by(deadline);
        let reply = script.or_undo(wait::FOR_ITEM.late).call()?;
        self.await_token(process, reply, deadline)
    }

    /// What came of the last result's taking of the next task; None where there was none, and nobody stands in the line.
    fn taken_with_result(&self, process: &Process) -> Result<Option<Value>> {
        let reply = process.kept_reply(&self.id)?;
        Ok(reply.filter(|reply| !matches!(reply, Value::BulkString(text) if text == b"none")))
    }

    /// The item that a script has replied, or the one that is handed over to the waiter which it has replied.
    fn await_token(
        &self,
        process: &Process,
        reply: Value,
        deadline: Option<Instant>,
    ) -> Result<(Value, Option<String>)> {
        let Value::BulkString(bytes) = &reply else {
            return Ok((Value::Nil, None));
        };
        let Some(waiter) = protocol::waiter(bytes) else {
            return Ok((reply, None));
        };
        let key = keys::token(&process.key(&self.id), waiter);
        let ended = process
            .take_head(key.clone(), key, deadline)
            .block(Until::default());
        if let Ok(Outcome::Reply(item @ Value::BulkString(_))) = ended {
            return Ok((item, Some(waiter.to_owned())));
        }
        // What is handed over too late goes back to the head.
        wait::cancel_wait(process, &self.id, waiter, &wait::FOR_ITEM);
        match ended {
            Err(e) | Ok(Outcome::Stopped(e, _)) => Err(e),
            Ok(_) => Ok((Value::Nil, None)),
        }
    }

    /// Takes up to so many items that are there, for an end with one reader whose in-flight list is known. Each has a
    /// result of its own: where one is refused the others are good.
    pub fn take_many(&self, process: &Process, most: usize) -> Result<Vec<Result<Taken>>> {
        let script = process.script(&scripts::TAKE_MANY, &self.id);
        let Value::Array(found) = script.arg(self.end).arg(most).call()? else {
            return Ok(Vec::new());
        };
        let how = How {
            together: Some(RefCell::default()),
            ..How::default()
        };
        let items = found.iter().filter_map(|item| match item {
            Value::BulkString(item) => {
                Some(self.received(process, item, &how, Acknowledged::ByTaking))
            }
            _ => None,
        });
        let items = items.collect();
        if let Some(together) = how.together {
            self.acknowledge(process, together.into_inner(), "")?;
        }
        Ok(items)
    }

    /// This thread's in-flight list, made ready for what it will take; where it waits; and whether the list is known to be empty.
    fn in_flight(&self, process: &Process) -> Result<(String, Place, bool)> {
        let (caller, known) =
            process.with_link(|link| Ok((link.caller.clone(), link.place(&self.id))))?;
        let place = known.map_or_else(|| self.open(process), Ok)?;
        let list = keys::in_flight(&process.key(&self.id), &caller);
        Ok((list, place, known.is_some()))
    }

    fn open(&self, process: &Process) -> Result<Place> {
        let script = process.script(&scripts::TAKE_OPEN, &self.id);
        let open = script.arg(self.end).arg(MOST_AT_LIST);
        let place = if process.session.parent.is_none() {
            // Nobody would take it out of a line if it were killed.
            open.post()?;
            Place::List
        } else if open.text()? == "line" {
            Place::Line
        } else {
            Place::List
        };
        process.with_link(|link| {
            link.set_place(&self.id, place);
            Ok(())
        })?;
        Ok(place)
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
        how: &How,
        acknowledged: Acknowledged,
    ) -> Result<Taken> {
        match protocol::Entry::decode(item) {
            Ok(protocol::Entry::EndOfFile) => {
                self.eof.store(true, Ordering::Release);
                let script = process.script(&scripts::TAKE_BACK, &self.id);
                script.arg(self.end).arg("RIGHT").arg(&how.waiter).post()?;
                Err(Error::Eof)
            }
            Ok(protocol::Entry::Died(code, task)) => {
                let task = payload::unpack(process, &self.id, kind(1 - self.end), &task);
                let blob = task.as_ref().ok().and_then(|task| task.blob.clone());
                self.taken(process, 0, blob, how)?;
                Ok(Taken::Died(code, task?))
            }
            Ok(protocol::Entry::Item(payload)) => self.opened(process, &payload, how, acknowledged),
            Err(_) => {
                self.taken(process, 0, None, how)?;
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
        how: &How,
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
            if !how.is_counted {
                let script = process.script(&scripts::TASK_BEGUN, &self.id);
                let script = script.arg(self.end).arg(payload.size);
                script.arg(&how.waiter).post()?;
            }
        } else {
            self.taken(process, payload.size, blob, how)?;
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

    /// An item of this end has arrived.
    fn taken(&self, process: &Process, size: usize, blob: Option<String>, how: &How) -> Result<()> {
        let blobs = blob.into_iter().collect();
        if let Some(together) = &how.together {
            let mut together = together.borrow_mut();
            together.count += 1;
            together.size += size;
            together.blobs.extend::<Vec<String>>(blobs);
            return Ok(());
        }
        let one = Together {
            count: 1,
            size,
            blobs,
        };
        self.acknowledge(process, one, &how.waiter)
    }

    fn acknowledge(&self, process: &Process, arrived: Together, waiter: &str) -> Result<()> {
        if arrived.count > 0 {
            let script = process.script(&scripts::TAKE_DONE, &self.id);
            let script = script.arg(self.end).arg(arrived.size).arg(waiter);
            script.arg(arrived.count).post()?;
        }
        let mut blobs = arrived.blobs.iter();
        blobs.try_for_each(|blob| process.script(&scripts::DROP, blob).post())
    }
}
