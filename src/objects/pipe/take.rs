//! The taking side of an end.
//!
//! An item is taken by a BLMOVE into this thread's in-flight list; where many threads take from one end, by standing in a line in
//! which it is handed over, since a store looks through all that wait at a list for each item. It is acknowledged before its value reaches the
//! program: a connection that breaks in between loses nothing, and the items of a process that dies in between go
//! back to the head. A task is acknowledged by the message that is its result, in the same step.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Instant;

use redis::Value;

use super::{PipeEnd, Take, Taken, Wait, kind};
use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::payload;
use crate::objects::process::Process;
use crate::objects::read_ahead::{Arrived, ReadAhead};
use crate::objects::wait::{self, Waited};
use crate::protocol::{self, Item};
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::request::{Slot, text};
use crate::store::scripts;
use crate::store::thread_client::{Consumed, Outcome, Place};

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
    /// Whether it was acknowledged: it was read ahead.
    is_acknowledged: bool,
    /// Whether its acknowledgement is to tell how many more are there.
    tells_rest: bool,
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
        process: &'static Process,
        wait: Wait,
        what: Take,
        seen: impl Fn(),
    ) -> Result<Taken> {
        let result = match what {
            Take::Items => match self.take_ahead(process) {
                Ok(None) => self.take_next(process, wait, what, seen),
                Ok(Some(taken)) => Ok(taken),
                Err(e) => Err(e),
            },
            _ => self.take_next(process, wait, what, seen),
        };
        if result.is_err() {
            self.be_unsure(process);
        }
        result
    }

    /// The next item that was read ahead, or is now.
    fn take_ahead(&self, process: &'static Process) -> Result<Option<Taken>> {
        let Some(ahead) = self.ahead(process).filter(|_| process.may_read_ahead()) else {
            return Ok(None);
        };
        let caller = process.with_link_unordered(|link| Ok(link.caller.clone()))?;
        if let Some(taken) = self.deliver_ahead(process, ahead, &caller)? {
            return Ok(Some(taken));
        }
        let most = if self.is_at_end() { 1 } else { ahead.most() };
        if most == 1 {
            return Ok(None);
        }
        self.consumed(process)?;
        let began = Instant::now();
        let items: VecDeque<Vec<u8>> = self.ask_for_many(process, most, true)?.into();
        if items.is_empty() {
            ahead.saw(false);
            return Ok(None);
        }
        let all = &process.reads_ahead;
        ahead.fill(&process.client, all, &caller, items, began.elapsed())?;
        self.deliver_ahead(process, ahead, &caller)
    }

    fn deliver_ahead(
        &self,
        process: &Process,
        ahead: &ReadAhead,
        caller: &str,
    ) -> Result<Option<Taken>> {
        let item = ahead.next(process, caller, |Arrived { count, size }| {
            let done = process.script(&scripts::TAKE_DONE, &self.id);
            done.arg(self.end).arg(size).arg("").arg(count).post()
        })?;
        let Some(item) = item else { return Ok(None) };
        let how = How {
            is_acknowledged: true,
            ..How::default()
        };
        match self.received(process, &item, &how, Take::Item) {
            Err(e) if e.is_raised() => {
                ahead.put_back(item);
                Err(e)
            }
            result => result.map(Some),
        }
    }

    fn take_next(
        &self,
        process: &Process,
        wait: Wait,
        what: Take,
        seen: impl Fn(),
    ) -> Result<Taken> {
        if self.is_at_end() {
            return Err(Error::Eof);
        }
        let caller = process.with_link_unordered(|link| Ok(link.caller.clone()))?;
        let Consumed { place, is_unsure } = self.consumed(process)?;
        let (block, deadline) = match wait {
            Wait::No => (false, None),
            Wait::Until(deadline) => (true, deadline),
        };
        let mut look = !block || is_unsure || self.must_look(process);
        let mut with_result = match what {
            Take::Task => self.taken_with_result(process, &caller)?,
            _ => None,
        };
        loop {
            let mut how = How {
                tells_rest: what == Take::Items,
                ..How::default()
            };
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
                let base = process.key(&self.id);
                let items = keys::items(&base, self.end);
                let take = process.take_head(items, keys::in_flight(&base, &caller), deadline);
                match take.block(Until::default())? {
                    Outcome::Reply(Value::Nil) => {
                        self.length(process)?; // an absent object is an error, not an empty queue
                        return Ok(Taken::Nothing);
                    }
                    Outcome::Reply(value) => value,
                    Outcome::Again if wait::is_over(deadline) => {
                        // It may have taken one all the same.
                        self.be_unsure(process);
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
                    if look && is_unsure {
                        // There may be more of them.
                        self.be_unsure(process);
                    }
                    return self.received(process, &item, &how, what);
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
    fn taken_with_result(&self, process: &Process, caller: &str) -> Result<Option<Value>> {
        let slot = match &*self.next_task.locked() {
            Some((who, slot)) if who == caller => slot.clone(),
            _ => return Ok(None),
        };
        let reply = process.reply_in(&slot)?;
        *self.next_task.locked() = None;
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
        let found = self.ask_for_many(process, most, false)?;
        let how = How {
            together: Some(RefCell::default()),
            ..How::default()
        };
        let items = found
            .iter()
            .map(|item| self.received(process, item, &how, Take::Item))
            .collect();
        if let Some(together) = how.together {
            self.acknowledge(process, together.into_inner(), &How::default())?;
        }
        Ok(items)
    }

    fn ask_for_many(&self, process: &Process, most: usize, ahead: bool) -> Result<Vec<Vec<u8>>> {
        let script = process.script(&scripts::TAKE_MANY, &self.id);
        let Value::Array(found) = script.arg(self.end).arg(most).arg(ahead).call()? else {
            return Ok(Vec::new());
        };
        let items = found.into_iter().filter_map(|item| match item {
            Value::BulkString(item) => Some(item),
            _ => None,
        });
        Ok(items.collect())
    }

    /// Makes this thread's in-flight list ready for what it will take.
    fn consumed(&self, process: &Process) -> Result<Consumed> {
        let known = process.with_link_unordered(|link| Ok(link.consumed(&self.id)))?;
        let consumed = match known {
            Some(known) if !known.is_unsure => return Ok(known),
            Some(unsure) => unsure,
            None => self.open(process)?,
        };
        // It is looked at now.
        process.with_link_unordered(|link| {
            let is_unsure = false;
            link.set_consumed(
                &self.id,
                Consumed {
                    is_unsure,
                    ..consumed
                },
            );
            Ok(())
        })?;
        Ok(consumed)
    }

    /// Begins to take, when nobody else has read ahead.
    fn open(&self, process: &Process) -> Result<Consumed> {
        loop {
            let script = process.script(&scripts::TAKE_OPEN, &self.id);
            let open = script.arg(self.end).arg(MOST_AT_LIST);
            let reply = open.or_undo(wait::FOR_NEWS.late).text()?;
            if let Some(waiter) = protocol::waiter(reply.as_bytes()) {
                let until = Until::default();
                let news = &wait::FOR_NEWS;
                if let Waited::Stopped(e) = wait::token(process, &self.id, waiter, until, news)? {
                    return Err(e);
                }
                continue;
            }
            // Nobody would take one out of a line who is not cleared up after.
            let stands_in_line = reply == "line" && process.session.parent.is_some();
            return Ok(Consumed {
                place: if stands_in_line {
                    Place::Line
                } else {
                    Place::List
                },
                is_unsure: true,
            });
        }
    }

    /// This thread's in-flight list is to be looked at before the next take.
    fn be_unsure(&self, process: &Process) {
        let _ = process.with_link_unordered(|link| {
            if let Some(known) = link.consumed(&self.id) {
                let is_unsure = true;
                link.set_consumed(&self.id, Consumed { is_unsure, ..known });
            }
            Ok(())
        });
    }

    /// This thread takes no more.
    pub fn forget_in_flight(&self, process: &Process) {
        let _ = process.with_link_unordered(|link| {
            link.forget_consumed(&self.id);
            Ok(())
        });
    }

    /// Decodes an item of the in-flight list, acknowledges it and applies its versions. An item that is refused is
    /// acknowledged as well.
    fn received(&self, process: &Process, item: &[u8], how: &How, what: Take) -> Result<Taken> {
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
            Ok(protocol::Entry::Item(payload)) => self.opened(process, &payload, how, what),
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
        what: Take,
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
        if what == Take::Task && message.is_ok() && payload.is_task {
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
        if how.is_acknowledged {
            return self.acknowledge(
                process,
                Together {
                    blobs,
                    ..Together::default()
                },
                how,
            );
        }
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
        self.acknowledge(process, one, how)
    }

    fn acknowledge(&self, process: &Process, arrived: Together, how: &How) -> Result<()> {
        if arrived.count > 0 {
            let script = process.script(&scripts::TAKE_DONE, &self.id);
            let script = script.arg(self.end).arg(arrived.size).arg(&how.waiter);
            let script = script.arg(arrived.count);
            if how.tells_rest {
                script.post_for(&self.rest_slot(process))?;
            } else {
                script.post()?;
            }
        }
        let mut blobs = arrived.blobs.iter();
        blobs.try_for_each(|blob| process.script(&scripts::DROP, blob).post())
    }

    /// Where it is to come how many more are there. What has come since the take before is heard.
    fn rest_slot(&self, process: &Process) -> Slot {
        let slot = Slot::default();
        let before = self.rest.locked().replace(slot.clone());
        let reply = before.and_then(|before| before.get().cloned());
        if let (Some(reply), Some(ahead)) = (reply, self.ahead(process)) {
            ahead.saw(text(&reply) != "0");
        }
        slot
    }
}
