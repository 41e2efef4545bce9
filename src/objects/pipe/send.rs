//! The sending side of an end.
//!
//! A pipe has a bound. A sender that waits for the store's answer also waits for capacity; a sender that posts asks for
//! capacity now and then.

use std::sync::atomic::Ordering;

use super::{PipeEnd, Sent, kind};
use crate::error::{Error, Result};
use crate::kept;
use crate::locked::Locked;
use crate::objects::blob;
use crate::objects::item;
use crate::objects::payload::{self, Packed};
use crate::objects::process::Process;
use crate::objects::wait::{self, Waited};
use crate::protocol::Reply;
use crate::store::command::Cmd;
use crate::store::conn::Until;
use crate::store::request::{Slot, is_on_its_way};
use crate::store::scripts;
use crate::store::thread_client::Place;

/// A sender that posts asks for capacity after this many bytes, by which it may exceed a pipe's bound.
const CHECK_EVERY: usize = 1 << 20;

impl PipeEnd {
    /// Sends one message, and waits until the store has it.
    pub fn send(&self, process: &Process, payload: &[u8]) -> Result<()> {
        let versions = process.memory.publish(process)?;
        let packed = self.pack(process, Sent::Message, &versions, payload)?;
        let sent = self.deliver(process, &packed, item::size(payload.len()));
        kept::give(packed.item);
        if sent.is_err() {
            self.drop_blobs(process, packed.blob)?;
        }
        sent
    }

    /// Sends an item, and repeats it whenever there may be capacity.
    fn deliver(&self, process: &Process, packed: &Packed, size: usize) -> Result<()> {
        loop {
            let mut script = self.script(process, Sent::Message, true, size);
            if let Some(blob) = &packed.blob {
                script = script.key(process.key(blob));
            }
            let mut copy = kept::take(packed.item.len());
            copy.extend_from_slice(&packed.item);
            let reply = script.bytes(copy).text()?;
            match Reply::decode(&reply)? {
                Reply::Wait(waiter) => self.wait_until_not_full(process, waiter)?,
                Reply::Broken => return Err(Error::Broken),
                _ => return Ok(()),
            }
        }
    }

    /// Sends messages, in order, without waiting.
    pub fn post(&self, process: &Process, sent: Sent, payloads: &[&[u8]]) -> Result<()> {
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
        let mut script = self.script(process, sent, false, size);
        let mut blobs = Vec::new();
        for Packed { item, blob } in packed {
            script = script.bytes(item);
            if let Some(blob) = blob {
                script = script.key(process.key(&blob));
                blobs.push(blob);
            }
        }
        if blobs.is_empty() {
            return script.post();
        }
        // A blob that nobody will take must be deleted: the sender waits for the reply.
        let is_sent = script
            .text()
            .and_then(|reply| match Reply::decode(&reply)? {
                Reply::Broken => Ok(false),
                _ => Ok(true),
            });
        if !matches!(is_sent, Ok(true)) {
            self.drop_blobs(process, blobs)?;
        }
        is_sent.map(drop)
    }

    /// Sends the result of the task that this thread took last, and takes the next task in the same step, for `take`. It does
    /// not wait.
    pub fn post_result_and_go_on(&self, process: &Process, payload: &[u8]) -> Result<()> {
        let (caller, consumed) = process.with_thread_client(|thread_client| {
            Ok((
                thread_client.caller.clone(),
                thread_client.consumed(&self.id),
            ))
        })?;
        let (Some(consumed), true) = (consumed, payload::is_inline(payload)) else {
            return self.post(process, Sent::Result, &[payload]);
        };
        let versions = process.memory.publish(process)?;
        let packed = self.pack(process, Sent::Result, &versions, payload)?;
        self.drop_task_blob(process)?;
        // The task's result is on its way already: a signal handler raised when it was sent. This second result is dropped.
        if matches!(&*self.next_task.locked(), Some((who, slot)) if *who == caller && is_on_its_way(slot))
        {
            return Ok(());
        }
        let slot = Slot::default();
        *self.next_task.locked() = Some((caller, slot.clone()));
        process
            .script(&scripts::WORK, &self.id)
            .waits_for_memory()
            .arg(1 - self.end)
            .arg(consumed.place == Place::Line)
            .arg(item::size(payload.len()))
            .bytes(packed.item)
            .post_for(&slot)
    }

    /// Deletes the blob of the task in work.
    fn drop_task_blob(&self, process: &Process) -> Result<()> {
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

    fn pack(
        &self,
        process: &Process,
        sent: Sent,
        versions: &str,
        payload: &[u8],
    ) -> Result<Packed> {
        let (to, is_task) = (kind(1 - self.end), sent == Sent::Task);
        payload::pack_with(process, &self.id, to, is_task, versions, payload)
    }

    /// The sending script, without the items.
    fn script<'p>(
        &self,
        process: &'p Process,
        sent: Sent,
        waits_for_capacity: bool,
        size: usize,
    ) -> Cmd<'p> {
        process
            .script(&scripts::SEND, &self.id)
            .waits_for_memory()
            .arg(1 - self.end)
            .arg(sent == Sent::Result)
            .arg(waits_for_capacity)
            .arg(size)
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
