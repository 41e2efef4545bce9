//! The taking side of an end.
//!
//! An item is taken by a BLMOVE into this thread's in-flight list. If many threads take from one end, some of them queue as
//! takers instead, and items are handed to them: for each item, a store looks through all clients that wait at a list.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;

use super::arrive::How;
use super::{Asked, PipeEnd, Take, Taken, Wait};
use crate::error::{Error, Result};
use crate::kept::Bytes;
use crate::locked::Locked;
use crate::objects::batch::{Batch, Results};
use crate::objects::process::Process;
use crate::objects::read_ahead::ReadAhead;
use crate::objects::wait::{self, Waited};
use crate::protocol::{self, LINE, NONE};
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::scripts;
use crate::store::thread_client::{Consumed, Outcome, Place};

/// How many threads may wait at an end's list of items; the others queue as takers.
const MOST_AT_LIST: usize = 16;

/// How long a take without waiting gives another thread to put back what it has read ahead.
const HANDOVER: Duration = Duration::from_secs(1);

impl PipeEnd {
    /// Takes the next item. `seen` is called after each look that the store has answered. After an error the next take first
    /// looks for an item that this one may have taken.
    pub fn take(
        &self,
        process: &'static Process,
        wait: Wait,
        what: Take,
        seen: impl Fn(),
    ) -> Result<Taken> {
        let caller = process.caller()?;
        self.acknowledge_deferred(process)?;
        if let Some(other) = self.ahead(process).map(|_| &self.other_ahead) {
            other.leave(process, &caller)?;
        }
        let result = match self.take_ahead(process, &caller, wait, what) {
            Ok(None) => self.take_next(process, &caller, wait, what, seen),
            Ok(Some(taken)) => Ok(taken),
            Err(e) => Err(e),
        };
        match &result {
            Ok(Taken::Message(_)) if what == Take::Task => {
                *self.result.locked() = None;
                self.pace.locked().begins();
            }
            Ok(Taken::Nothing) if matches!(wait, Wait::Until(_)) => {
                process.memory.look_around(process)?;
            }
            Ok(_) => {}
            Err(_) => self.be_unsure(process),
        }
        result
    }

    /// The next item that was read ahead; if there is none, items are read ahead now, if that may be done.
    fn take_ahead(
        &self,
        process: &'static Process,
        caller: &str,
        wait: Wait,
        what: Take,
    ) -> Result<Option<Taken>> {
        let Some(ahead) = self.ahead(process).filter(|_| process.may_read_ahead()) else {
            return Ok(None);
        };
        if let Some(taken) = self.deliver_ahead(process, ahead, caller, what)? {
            return Ok(Some(taken));
        }
        if what != Take::Items || self.is_at_end() {
            return Ok(None);
        }
        let most = ahead.most();
        if most == 1 {
            return Ok(None);
        }
        if self.consumed(process, wait)?.is_none() {
            return Ok(Some(Taken::Nothing));
        }
        let began = Instant::now();
        let batch = Batch::new();
        let items = match self.ask_for_many(process, most, Some(&batch)) {
            Ok(items) => items,
            Err(e) => {
                ahead.lost_sight(caller);
                process.reads_ahead.watch(&process.client, ahead)?;
                return Err(e);
            }
        };
        match (items.len(), items.front()) {
            (_, None) => {
                ahead.saw(false);
                Ok(None)
            }
            // If others take from this end there may be more items: the reply to the acknowledgement tells.
            (1, Some(item)) => {
                let how = How {
                    tells_rest: true,
                    ..How::default()
                };
                self.received(process, item, &how, what).map(Some)
            }
            _ => {
                ahead.fill(caller, items, Some(batch), began.elapsed());
                process.reads_ahead.watch(&process.client, ahead)?;
                self.deliver_ahead(process, ahead, caller, what)
            }
        }
    }

    fn deliver_ahead(
        &self,
        process: &'static Process,
        ahead: &Arc<ReadAhead>,
        caller: &str,
        what: Take,
    ) -> Result<Option<Taken>> {
        let is_task = what == Take::Task;
        let item = ahead.next(process, caller);
        if item.is_err() {
            process.reads_ahead.watch(&process.client, ahead)?;
        }
        let Some(item) = item? else { return Ok(None) };
        let how = How {
            is_acknowledged: !is_task,
            is_counted: is_task,
            ..How::default()
        };
        match self.received(process, &item, &how, what) {
            Err(e) if e.is_raised() => {
                ahead.put_back(item);
                Err(e)
            }
            result => result.map(Some),
        }
    }

    fn take_next(
        &self,
        process: &'static Process,
        caller: &str,
        wait: Wait,
        what: Take,
        seen: impl Fn(),
    ) -> Result<Taken> {
        if self.is_at_end() {
            return Err(Error::Eof);
        }
        let Some(Consumed {
            place, is_unsure, ..
        }) = self.consumed(process, wait)?
        else {
            return Ok(Taken::Nothing);
        };
        if what == Take::Task {
            self.pass_on_results(process, caller)?;
        }
        if place == Place::Line {
            // The waiter to be cancelled may be this thread's own, still in the queue.
            process.send_owed();
        }
        let (block, deadline) = match wait {
            Wait::No => (false, None),
            Wait::Until(deadline) => (true, deadline),
        };
        let mut look = !block || is_unsure || self.must_look(process);
        let mut with_result = match what {
            Take::Task => self.taken_with_result(process, caller)?,
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
                // This also returns an item that was taken on a connection which then broke.
                let script = process.script(&scripts::TAKE_NOW, &self.id);
                script.arg(self.end).by(deadline).call()?
            } else if place == Place::Line {
                let (value, waiter) = self.take_in_line(process, deadline)?;
                how.waiter = waiter.unwrap_or_default();
                value
            } else {
                let base = process.key(&self.id);
                let items = keys::items(&base, self.end);
                let take = process.take_head(items, keys::in_flight(&base, caller), deadline);
                match take.block(Until::default())? {
                    Outcome::Reply(Value::Nil) => {
                        self.length(process)?; // an absent object is an error, not an empty queue
                        return Ok(Taken::Nothing);
                    }
                    Outcome::Reply(value) => value,
                    Outcome::Again if wait::is_over(deadline) => {
                        // It may have taken an item all the same.
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
                        // There may be more such items.
                        self.be_unsure(process);
                    }
                    return self.received(process, &Bytes::from(item), &how, what);
                }
                _ if !block => return Ok(Taken::Nothing),
                _ if look && wait::is_over(deadline) => {
                    return Ok(Taken::Nothing);
                }
                _ => look = !look,
            }
        }
    }

    /// Takes the next item as a queued taker. Returns it and the waiter that it was handed to; Nil if the item must be looked
    /// for.
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

    /// The first task that the last result has taken, or the waiter as which it has queued this thread; None if it did neither.
    fn taken_with_result(&self, process: &'static Process, caller: &str) -> Result<Option<Value>> {
        let (slot, asked) = match &*self.result.locked() {
            Some(sent) if sent.caller == caller => (sent.slot.clone(), sent.asked.clone()),
            _ => return Ok(None),
        };
        let Some(Asked { since, batch }) = asked else {
            return Ok(None);
        };
        let reply = process.reply_in(&slot)?;
        *self.result.locked() = None;
        let Some(Value::Array(tasks)) = reply else {
            let is_none =
                |reply: &Value| matches!(reply, Value::BulkString(text) if text == NONE.as_bytes());
            return Ok(reply.filter(|reply| !is_none(reply)));
        };
        self.pace.locked().arrived_after(since.elapsed());
        let mut tasks = items(tasks);
        let first = tasks.pop_front().map(Value::BulkString);
        if let Some(ahead) = self.ahead(process).filter(|_| !tasks.is_empty()) {
            *self.results.locked() = Some(Results::new(caller, batch));
            ahead.fill(caller, tasks, None, since.elapsed());
            process.reads_ahead.watch(&process.client, ahead)?;
        }
        Ok(first)
    }

    /// The item in a script's reply, or the item that is handed to the waiter in that reply.
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
        // An item that is handed over too late goes back to the head.
        wait::cancel_wait(process, &self.id, waiter, &wait::FOR_ITEM);
        match ended {
            Err(e) | Ok(Outcome::Stopped(e, _)) => Err(e),
            Ok(_) => Ok((Value::Nil, None)),
        }
    }

    /// Takes up to `most` items that are there, for an end with one reader whose in-flight list is known. Each item has a
    /// result of its own: if one is refused, the others are still good.
    pub fn take_many(&self, process: &Process, most: usize) -> Result<Vec<Result<Taken>>> {
        let found = self.ask_for_many(process, most, None)?;
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

    fn ask_for_many(
        &self,
        process: &Process,
        most: usize,
        batch: Option<&Batch>,
    ) -> Result<VecDeque<Vec<u8>>> {
        let script = process.script(&scripts::TAKE_MANY, &self.id);
        let batch = batch.map_or_else(String::new, |batch| batch.name.to_string());
        Ok(match script.arg(self.end).arg(most).arg(batch).call()? {
            Value::Array(found) => items(found),
            _ => VecDeque::new(),
        })
    }

    /// Whether this thread has taken more tasks than the one in work.
    pub(super) fn has_further_tasks(&self, process: &Process, caller: &str) -> Result<bool> {
        self.ahead(process)
            .map_or(Ok(false), |ahead| ahead.has_items_of(process, caller))
    }

    /// Prepares this thread's in-flight list for a take. None if the time is over first.
    fn consumed(&self, process: &Process, wait: Wait) -> Result<Option<Consumed>> {
        let known = process
            .with_thread_client_unordered(|thread_client| Ok(thread_client.consumed(&self.id)))?;
        let consumed = match known.filter(|known| known.end == self.end) {
            Some(known) if !known.is_unsure => return Ok(Some(known)),
            Some(unsure) => unsure,
            None => match self.open(process, wait)? {
                Some(new) => new,
                None => return Ok(None),
            },
        };
        // This take looks at the list.
        process.with_thread_client_unordered(|thread_client| {
            let is_unsure = false;
            thread_client.set_consumed(
                &self.id,
                Consumed {
                    is_unsure,
                    ..consumed
                },
            );
            Ok(())
        })?;
        Ok(Some(consumed))
    }

    /// Begins to take, once no other thread has read ahead. None if the time is over first.
    fn open(&self, process: &Process, wait: Wait) -> Result<Option<Consumed>> {
        let until = wait::by(match wait {
            Wait::No => Some(Instant::now() + HANDOVER),
            Wait::Until(deadline) => deadline,
        });
        loop {
            let script = process.script(&scripts::TAKE_OPEN, &self.id);
            let open = script.arg(self.end).arg(MOST_AT_LIST);
            let reply = open.or_undo(wait::FOR_NEWS.late).text()?;
            if let Some(waiter) = protocol::waiter(reply.as_bytes()) {
                match wait::token(process, &self.id, waiter, until, &wait::FOR_NEWS)? {
                    Waited::Token(_) => continue,
                    Waited::Timeout => return Ok(None),
                    Waited::Stopped(e) => return Err(e),
                }
            }
            // A thread of a process that nobody clears up after does not queue: its entry might stay for ever.
            let stands_in_line = reply == LINE && process.session.parent.is_some();
            return Ok(Some(Consumed {
                end: self.end,
                place: if stands_in_line {
                    Place::Line
                } else {
                    Place::List
                },
                is_unsure: true,
            }));
        }
    }

    /// Has this thread's in-flight list looked at before the next take.
    fn be_unsure(&self, process: &Process) {
        let _ = process.with_thread_client_unordered(|thread_client| {
            if let Some(known) = thread_client.consumed(&self.id) {
                let is_unsure = true;
                thread_client.set_consumed(&self.id, Consumed { is_unsure, ..known });
            }
            Ok(())
        });
    }

    /// Forgets this thread's in-flight list: the thread takes no more.
    pub fn forget_in_flight(&self, process: &Process) {
        let _ = process.with_thread_client_unordered(|thread_client| {
            thread_client.forget_consumed(&self.id);
            Ok(())
        });
    }
}

/// The items in a reply.
fn items(reply: Vec<Value>) -> VecDeque<Vec<u8>> {
    let items = reply.into_iter().filter_map(|item| match item {
        Value::BulkString(item) => Some(item),
        _ => None,
    });
    items.collect()
}
