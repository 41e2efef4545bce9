//! The sending side of an end.
//!
//! A pipe has a bound. A sender that waits for the store's answer also waits for capacity; a sender that posts asks for
//! capacity now and then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::pace::Share;
use super::{Asked, PipeEnd, Sent, SentResult, kind};
use crate::error::{Error, Result};
use crate::kept;
use crate::locked::Locked;
use crate::objects::batch::Batch;
use crate::objects::blob;
use crate::objects::deferred::Acknowledgement;
use crate::objects::item;
use crate::objects::payload::{self, Packed};
use crate::objects::process::Process;
use crate::objects::shared_region::SharedRegion;
use crate::objects::shared_region::publish::Written;
use crate::objects::wait::{self, Waited};
use crate::protocol::{IS_BROKEN, OK, Reply};
use crate::store::command::Cmd;
use crate::store::conn::Until;
use crate::store::request::{Slot, is_on_its_way, text};
use crate::store::scripts;
use crate::store::thread_client::Place;

/// A sender that posts asks for capacity after this many bytes, by which it may exceed a pipe's bound.
const CHECK_EVERY: usize = 1 << 20;

impl PipeEnd {
    /// Sends one message, and waits until the store has it.
    pub fn send(&self, process: &Process, payload: &[u8]) -> Result<()> {
        let regions = process.memory.regions();
        let versions = if regions.is_empty() || !payload::is_inline(payload) {
            process.memory.publish(process)?
        } else {
            match self.send_with_writes(process, payload, &regions)? {
                Some(versions) => versions,
                None => return Ok(()),
            }
        };
        let packed = self.pack(process, Sent::Message, &versions, payload)?;
        let sent = self.deliver(process, &packed, item::size(payload.len()));
        kept::give(packed.item);
        if sent.is_err() {
            self.drop_blobs(process, packed.blob)?;
        }
        sent
    }

    /// Sends a message together with this process' writes to small regions. If there are none, or if it cannot be done in one
    /// step, the writes are published; then it returns the versions to send along.
    fn send_with_writes(
        &self,
        process: &Process,
        payload: &[u8],
        regions: &[Arc<SharedRegion>],
    ) -> Result<Option<String>> {
        let (written, versions) = process.memory.written_for_message(process, regions)?;
        if written.is_empty() {
            return Ok(Some(versions));
        }
        let packed = self.pack(process, Sent::Message, &versions, payload)?;
        let waiting = self.waiting_of_this_thread(process)?;
        // Other threads may need the regions to take the messages that make room.
        let script = self
            .script(
                process,
                None,
                true,
                item::size(payload.len()),
                waiting.as_ref(),
            )
            .fails_when_full();
        let script = written
            .iter()
            .fold(script.arg(1).bytes(packed.item), |script, one| {
                one.add_to_message(script)
            });
        let reply = script.text();
        if !matches!(reply.as_deref(), Ok(OK | IS_BROKEN)) {
            self.keep_waiting(process, waiting);
        }
        match reply {
            Ok(reply) if reply == OK => {
                written.into_iter().try_for_each(Written::sent_by_message)?;
                Ok(None)
            }
            Ok(reply) if reply == IS_BROKEN => {
                drop(written);
                broken(process)
            }
            Ok(_) | Err(Error::Memory(_)) => {
                drop(written);
                process.memory.publish(process).map(Some)
            }
            Err(e) => Err(e),
        }
    }

    /// Sends an item, and repeats it whenever there may be capacity.
    fn deliver(&self, process: &Process, packed: &Packed, size: usize) -> Result<()> {
        let mut waiting = self.waiting_of_this_thread(process)?;
        loop {
            let mut script = self.script(process, None, true, size, waiting.as_ref());
            if let Some(blob) = &packed.blob {
                script = script.key(process.key(blob));
            }
            let mut copy = kept::take(packed.item.len());
            copy.extend_from_slice(&packed.item);
            let sent = script.arg(1).bytes(copy).text();
            let acknowledgement = waiting.take();
            if sent.is_err() {
                self.keep_waiting(process, acknowledgement);
            }
            let reply = sent?;
            match Reply::decode(&reply)? {
                Reply::Wait(waiter) => self.wait_until_not_full(process, waiter)?,
                Reply::Broken => return broken(process),
                _ => return Ok(()),
            }
        }
    }

    /// Sends messages, in order, without waiting.
    pub fn post(&self, process: &Process, sent: Sent, payloads: &[&[u8]]) -> Result<()> {
        self.post_for(process, sent, payloads, &Slot::default())
    }

    fn post_for(
        &self,
        process: &Process,
        sent: Sent,
        payloads: &[&[u8]],
        slot: &Slot,
    ) -> Result<()> {
        let versions = process.memory.publish(process)?;
        let mut packed = Vec::with_capacity(payloads.len());
        for payload in payloads {
            match self.pack(process, sent, &versions, payload) {
                Ok(one) => packed.push(one),
                Err(e) => {
                    self.drop_blobs(process, packed.into_iter().filter_map(|one| one.blob))?;
                    return Err(e);
                }
            }
        }
        let size = payloads.iter().map(|p| item::size(p.len())).sum();
        if sent == Sent::Result {
            self.drop_task_blob(process)?;
        }
        self.bytes_since_check.fetch_add(size, Ordering::AcqRel);
        let results = (sent == Sent::Result)
            .then(|| Ok::<_, Error>(self.results_sent(&process.caller()?)))
            .transpose()?;
        let mut script = self
            .script(process, results, false, size, None)
            .arg(packed.len());
        let mut blobs = Vec::new();
        for Packed { item, blob } in packed {
            script = script.bytes(item);
            if let Some(blob) = blob {
                script = script.key(process.key(&blob));
                blobs.push(blob);
            }
        }
        if blobs.is_empty() {
            return script.post_for(slot);
        }
        // A blob that nobody will take must be deleted: the sender waits for the reply.
        let reply = script.post_for(slot).and_then(|()| process.reply_in(slot));
        let is_sent = reply.and_then(|reply| {
            let reply = reply.map(|reply| text(&reply)).unwrap_or_default();
            Ok(!matches!(Reply::decode(&reply)?, Reply::Broken))
        });
        // If a signal handler has raised, the items are on their way.
        if !is_sent
            .as_ref()
            .map_or_else(Error::is_raised, |is_sent| *is_sent)
        {
            self.drop_blobs(process, blobs)?;
        }
        is_sent.map(drop)
    }

    /// Sends the result of the task that this thread took last. If the thread has no further task, it takes up to `most` tasks
    /// in the same step, for `take`. It does not wait. Returns whether the next take does not begin to wait for a task.
    pub fn post_result(&self, process: &Process, payload: &[u8], most: u32) -> Result<bool> {
        let (caller, consumed) = process.with_thread_client(|thread_client| {
            Ok((
                thread_client.caller.clone(),
                thread_client.consumed(&self.id),
            ))
        })?;
        self.pace.locked().ends();
        let has_further = self.has_further_tasks(process, &caller)?;
        // A signal handler raised when the task's result was sent, which is on its way. This second result is dropped.
        if matches!(&*self.result.locked(), Some(sent) if sent.caller == caller && is_on_its_way(&sent.slot))
        {
            return Ok(true);
        }
        let slot = Slot::default();
        let may_take = most > 0 && !has_further && payload::is_inline(payload);
        let consumed = consumed.filter(|_| may_take);
        let batch = Batch::new();
        *self.result.locked() = Some(SentResult {
            caller: caller.clone(),
            slot: slot.clone(),
            asked: consumed.map(|_| Asked {
                since: Instant::now(),
                batch: batch.clone(),
            }),
        });
        if has_further
            && payload::is_inline(payload)
            && self.post_to_batch(process, &caller, payload, &slot)?
        {
            return Ok(true);
        }
        let Some(consumed) = consumed else {
            self.post_for(process, Sent::Result, &[payload], &slot)?;
            if !has_further {
                self.end_batch(process, &caller);
            }
            return Ok(has_further);
        };
        let share = match self.ahead(process) {
            Some(ahead) if !ahead.pauses() => self.pace.locked().next(most),
            _ => Share::ONE,
        };
        let versions = process.memory.publish(process)?;
        let packed = self.pack(process, Sent::Result, &versions, payload)?;
        self.drop_task_blob(process)?;
        let sent = self.end_batch(process, &caller);
        process
            .script(&scripts::WORK, &self.id)
            .waits_for_memory()
            .arg(1 - self.end)
            .arg(consumed.place == Place::Line)
            .arg(item::size(payload.len()))
            .bytes(packed.item)
            .arg(share.most)
            .arg(share.least)
            .arg(batch.name)
            .arg(sent)
            .post_for(&slot)?;
        Ok(true)
    }

    /// Deletes the blob of the task in work.
    pub(super) fn drop_task_blob(&self, process: &Process) -> Result<()> {
        let blob = self.blob.locked().take();
        self.drop_blobs(process, blob)
    }

    /// Deletes blobs that nobody will take.
    pub(super) fn drop_blobs(
        &self,
        process: &Process,
        blobs: impl IntoIterator<Item = String>,
    ) -> Result<()> {
        let mut blobs = blobs.into_iter();
        blobs.try_for_each(|blob| blob::drop(process, &blob, Some(&self.id)))
    }

    /// For a sender that posts: now and then waits until the pipe is not full.
    pub fn wait_for_capacity(&self, process: &Process) -> Result<()> {
        if self.bytes_since_check.load(Ordering::Acquire) < CHECK_EVERY {
            return Ok(());
        }
        self.bytes_since_check.store(0, Ordering::Release);
        match self.check_capacity(process)? {
            Some(waiter) => self.wait_until_not_full(process, &waiter),
            None => Ok(()),
        }
    }

    pub(super) fn pack(
        &self,
        process: &Process,
        sent: Sent,
        versions: &str,
        payload: &[u8],
    ) -> Result<Packed> {
        let (to, is_task) = (kind(1 - self.end), sent == Sent::Task);
        payload::pack_with(process, &self.id, to, is_task, versions, payload)
    }

    /// The acknowledgement that goes with this thread's next message.
    fn waiting_of_this_thread(&self, process: &Process) -> Result<Option<Acknowledgement>> {
        let Some(ahead) = self.ahead(process) else {
            return Ok(None);
        };
        Ok(ahead.deferred.take_of(&process.caller()?))
    }

    /// Keeps an acknowledgement that may not have been sent. To acknowledge the item once more does nothing.
    fn keep_waiting(&self, process: &Process, unsent: Option<Acknowledgement>) {
        if let (Some(unsent), Some(ahead)) = (unsent, self.ahead(process))
            && !ahead.deferred.put_back(unsent)
        {
            // If this fails as well, the next take sends it.
            let _ = self.acknowledge_deferred(process);
        }
    }

    /// The sending script, without the items; it may acknowledge an item. `results`: how many results of a batch of tasks were sent
    /// before this one.
    fn script<'p>(
        &self,
        process: &'p Process,
        results: Option<u64>,
        waits_for_capacity: bool,
        size: usize,
        acknowledged: Option<&Acknowledgement>,
    ) -> Cmd<'p> {
        process
            .script(&scripts::SEND, &self.id)
            .waits_for_memory()
            .arg(1 - self.end)
            .arg(results.map_or_else(String::new, |sent| sent.to_string()))
            .arg(waits_for_capacity)
            .arg(size)
            .arg(acknowledged.map_or_else(String::new, |one| one.size.to_string()))
    }

    /// Waits as this waiter, and again if others were faster. Asking costs less than sending the messages.
    fn wait_until_not_full(&self, process: &Process, waiter: &str) -> Result<()> {
        let mut waiter = waiter.to_owned();
        loop {
            let ended = wait::token(
                process,
                &self.id,
                &waiter,
                Until::default(),
                &wait::FOR_NEWS,
            )?;
            if let Waited::Stopped(e) = ended {
                return Err(e);
            }
            match self.check_capacity(process)? {
                Some(next) => waiter = next,
                None => return Ok(()),
            }
        }
    }

    /// None if there is capacity; else the waiter that now waits for it.
    fn check_capacity(&self, process: &Process) -> Result<Option<String>> {
        let script = process.script(&scripts::CAPACITY, &self.id);
        let reply = script
            .arg(1 - self.end)
            .or_undo(wait::FOR_NEWS.late)
            .text()?;
        Ok(match Reply::decode(&reply)? {
            Reply::Wait(waiter) => Some(waiter.to_owned()),
            _ => None,
        })
    }
}

/// Nobody holds the other end. What was done before it was closed is visible then.
fn broken<T>(process: &Process) -> Result<T> {
    process.memory.look_around(process)?;
    Err(Error::Broken)
}
