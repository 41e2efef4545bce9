//! The lives of objects: creation, holding, release, and the release of what an ended process held.

use std::sync::atomic::Ordering;

use redis::{ToRedisArgs, Value};

use crate::error::Result;
use crate::locked::Locked;
use crate::store::client::{Client, is_nested};
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;

/// How many released objects are remembered.
const MOST_LEFT: usize = 256;

impl Client {
    /// A name for a new object, under the tag of another one or under its own.
    pub fn new_object(&self, beside: Option<&str>) -> String {
        let n = self.objects.fetch_add(1, Ordering::Relaxed);
        match beside {
            Some(other) => format!(
                "{}/{}-{n}",
                other.split('/').next().unwrap_or(other),
                self.id
            ),
            None => format!("{}-{n}", self.id),
        }
    }

    /// Makes an object that is not in the session's index: it lives and goes with another one, which renews it; until then it
    /// lives for `ttl` ms.
    pub fn create_unlisted<V: ToRedisArgs>(
        &self,
        object: &str,
        ends: u8,
        ttl: u64,
        fields: &[(&str, V)],
    ) -> Result<()> {
        let mut create = self.script(&scripts::CREATE, object);
        if ends == 0 {
            // A part of a message, a job, or a process: it waits for room as a message does.
            create = create.waits_for_memory();
        }
        let create = create.arg(ttl).arg(&self.id).arg(ends);
        let with_fields = fields.iter().fold(create, |create, (field, value)| {
            create.arg(field).arg(value)
        });
        with_fields.post()
    }

    /// Makes an object whose ends are held by this process, without waiting.
    pub fn create<V: ToRedisArgs>(
        &self,
        object: &str,
        ends: u8,
        fields: &[(&str, V)],
    ) -> Result<()> {
        self.create_unlisted(object, ends, self.session.ttl, fields)?;
        if self.session.ttl > 0 {
            self.note(keys::INDEX, object)?;
        }
        if ends > 0 {
            self.note_held(object)?;
            (0..ends).for_each(|end| self.handles.insert(object, end));
        }
        Ok(())
    }

    /// Adds a handle on an end of an object that this or another process made.
    pub fn acquire_ref(&self, object: &str, end: u8) -> Result<()> {
        let is_first = |count: usize| (count + 1, count == 0);
        let told = self.handles.change(object, end, is_nested(), is_first, || {
            self.note_held(object)?;
            self.acquire_ref_as(object, end, &self.id)
        });
        told.unwrap_or(Ok(()))
    }

    /// Enters another process as a holder, which has a process object.
    pub fn acquire_ref_for(&self, object: &str, end: u8, process: &str) -> Result<()> {
        self.note(&keys::process(process), object)?;
        self.acquire_ref_as(object, end, process)
    }

    /// Holds an end in another name than a process', such as that of a handle on its way in a message.
    pub fn acquire_ref_as(&self, object: &str, end: u8, holder: &str) -> Result<()> {
        let attach = self.script(&scripts::ATTACH, object);
        attach.arg(holder).arg(end).post()
    }

    pub fn release_ref_of(&self, object: &str, end: u8, holder: &str) -> Result<()> {
        let detach = self.script(&scripts::DETACH, object);
        detach.arg(holder).arg(end).post()
    }

    /// Removes a handle.
    pub fn release_ref(&self, object: &str, end: u8) -> Result<()> {
        let is_last = |count: usize| (count.saturating_sub(1), count == 1);
        let told = self.handles.change(object, end, is_nested(), is_last, || {
            if self.session.parent.is_some() {
                let mut left = self.left.locked();
                if left.len() < MOST_LEFT {
                    left.insert(object.to_owned());
                }
            }
            self.release_ref_of(object, end, &self.id)
        });
        told.unwrap_or(Ok(()))
    }

    /// Adds an object to the index by which the holds of an ended process are found.
    fn note_held(&self, object: &str) -> Result<()> {
        if self.session.parent.is_none() {
            return Ok(()); // nobody clears up after the owner: the session ends with it
        }
        self.note(&keys::process(&self.id), object)
    }

    /// Adds an object to an index.
    fn note(&self, index: &str, object: &str) -> Result<()> {
        self.script(&scripts::NOTE, index).arg(object).post()
    }

    /// Releases all that this process still holds, before its exit record. The store is told as if the process had died: its
    /// threads may still wait for a lock, and a task that it leaves unfinished must go to another worker.
    pub fn release_all_refs(&self, exit_code: i32, attempts: u32) -> Result<()> {
        // Commands whose answers depend on the notes about this process must be answered first.
        self.settle_all()?;
        self.shared.health.end_process();
        let mut held = std::mem::take(&mut *self.left.locked());
        held.extend(self.handles.drain());
        for object in held {
            self.reap_object(&object, &self.id, exit_code, attempts)?;
        }
        self.settle()
    }

    /// Releases what another process still held when it ended.
    pub fn reap(&self, id: &str, exit_code: i32, attempts: u32) -> Result<()> {
        let process = self.key(&keys::process(id));
        let held = self.plain("SMEMBERS", keys::held(&process)).call()?;
        if let Value::Array(objects) | Value::Set(objects) = held {
            for object in objects {
                self.reap_object(&text(&object), id, exit_code, attempts)?;
            }
        }
        self.script(&scripts::DROP, &keys::process(id)).post()?;
        self.settle()
    }

    /// Releases what a process that has ended still held of one object.
    pub fn reap_object(&self, object: &str, id: &str, exit_code: i32, attempts: u32) -> Result<()> {
        let reap = self.script(&scripts::REAP, object);
        reap.arg(id).arg(exit_code).arg(attempts).post()
    }
}
