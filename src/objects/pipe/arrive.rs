//! The arrival of an item: it is decoded and acknowledged, and its versions are applied.
//!
//! An item is acknowledged before its value reaches the program. A connection that breaks before the acknowledgement loses
//! nothing, and the items of a process that dies before it go back to the head. A task is acknowledged by its result.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use super::{PipeEnd, Take, Taken, kind};
use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::deferred::{self, Acknowledgement};
use crate::objects::payload;
use crate::objects::process::Process;
use crate::protocol::{self, Item};
use crate::store::request::{Slot, text};
use crate::store::scripts;

/// How an item came.
#[derive(Default)]
pub(super) struct How {
    /// The items that came together with it, to be acknowledged together.
    pub(super) together: Option<RefCell<Together>>,
    /// The waiter that the item was handed to in the queue of takers; else empty.
    pub(super) waiter: String,
    /// Whether a task counts as taken already: it came with the last result.
    pub(super) is_counted: bool,
    /// Whether the item was acknowledged: it was read ahead.
    pub(super) is_acknowledged: bool,
    /// Whether the reply to its acknowledgement is to tell how many more items there are. Such an acknowledgement may wait for
    /// the next message.
    pub(super) tells_rest: bool,
}

/// The items to be acknowledged.
#[derive(Default)]
pub(super) struct Together {
    pub(super) count: usize,
    pub(super) size: usize,
    /// Their blobs, which are then deleted.
    pub(super) blobs: Vec<String>,
}

impl PipeEnd {
    /// Decodes an item of the in-flight list, acknowledges it and applies its versions. An item that is refused is
    /// acknowledged as well.
    pub(super) fn received(
        &self,
        process: &Process,
        item: &[u8],
        how: &How,
        what: Take,
    ) -> Result<Taken> {
        match protocol::Entry::decode(item) {
            Ok(protocol::Entry::EndOfFile) => {
                self.eof.store(true, Ordering::Release);
                let script = process.script(&scripts::TAKE_BACK, &self.id);
                script.arg(self.end).arg("RIGHT").arg(&how.waiter).post()?;
                process.memory.look_around(process)?;
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
        // A signal handler has raised: the item stays in flight, and the next take looks for it.
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
            let is_counted = how.is_counted && payload.is_task;
            let size = if is_counted { 0 } else { payload.size };
            self.taken(process, size, blob, how)?;
        }
        let message = message?;
        // A task may come again, after it was given back.
        if !payload.is_task && !self.delivered.note(payload.sealed) {
            return Err(Error::Seal(format!(
                "payload refused: it was delivered before, by object {}",
                self.id
            )));
        }
        Ok(Taken::Message(message))
    }

    /// Acknowledges an item of this end, or adds it to those that are acknowledged together.
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
        if how.tells_rest
            && how.waiter.is_empty()
            && blobs.is_empty()
            && let Some(ahead) = self.ahead(process)
            && ahead.deferred.defer(Acknowledgement {
                caller: process.caller()?,
                size,
            })
        {
            return Ok(());
        }
        let one = Together {
            count: 1,
            size,
            blobs,
        };
        self.acknowledge(process, one, how)
    }

    /// Sends the acknowledgements that wait for the next message.
    pub(super) fn acknowledge_deferred(&self, process: &Process) -> Result<()> {
        self.ahead(process).map_or(Ok(()), |ahead| {
            ahead.acknowledge_deferred(process, || self.rest_slot(process))
        })
    }

    /// Other processes will get this end.
    pub fn share(&self, process: &Process) -> Result<()> {
        self.ahead(process)
            .map_or(Ok(()), |ahead| ahead.share(process))
    }

    pub(super) fn acknowledge(
        &self,
        process: &Process,
        arrived: Together,
        how: &How,
    ) -> Result<()> {
        if arrived.count > 0 {
            let (caller, size) = (process.caller()?, arrived.size);
            let script =
                deferred::acknowledge(process, &self.id, self.end, &caller, size, arrived.count);
            let script = script.arg(how.tells_rest);
            let script = if how.waiter.is_empty() {
                script
            } else {
                script.arg(&how.waiter)
            };
            if how.tells_rest {
                script.post_for(&self.rest_slot(process))?;
            } else {
                script.post()?;
            }
        }
        self.drop_blobs(process, arrived.blobs)
    }

    /// The slot for what is left. Takes note of what came since the take before.
    fn rest_slot(&self, process: &Process) -> Slot {
        let slot = Slot::default();
        let before = self.rest.locked().replace(slot.clone());
        let reply = before.and_then(|before| before.get().cloned());
        if let (Some(reply), Some(ahead)) = (reply, self.ahead(process)) {
            let (items, holders) = protocol::left(&text(&reply)).unwrap_or_default();
            ahead.saw(items > 0);
            ahead.deferred.saw_holders(holders);
        }
        slot
    }
}
