//! The lives of objects: who makes, holds and leaves them, and what an ended process leaves behind.

use std::sync::atomic::Ordering;

use redis::{ToRedisArgs, Value};

use crate::error::Result;
use crate::locked::Locked;
use crate::store::client::Client;
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;

/// So many objects are remembered that were let go of.
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

    /// Makes an object that is no part of the session's index: another one lives and goes with it.
    pub fn create_unlisted<V: ToRedisArgs>(
        &self,
        object: &str,
        ends: u8,
        fields: &[(&str, V)],
    ) -> Result<()> {
        let mut create = self.script(&scripts::CREATE, object);
        if ends == 0 {
            // Of a message, a job, a process: as a message.
            create = create.waits_for_room();
        }
        let create = create.arg(self.session.ttl).arg(&self.id).arg(ends);
        let with_fields = fields.iter().fold(create, |create, (field, value)| {
            create.arg(field).arg(value)
        });
        with_fields.post()
    }

    /// Makes an object, held by this process at each of its ends. Nothing is waited for.
    pub fn create<V: ToRedisArgs>(
        &self,
        object: &str,
        ends: u8,
        fields: &[(&str, V)],
    ) -> Result<()> {
        self.create_unlisted(object, ends, fields)?;
        if self.session.ttl > 0 {
            self.note(keys::INDEX, object)?;
        }
        if ends > 0 {
            self.note_held(object)?;
            let mut handles = self.handles.locked();
            for end in 0..ends {
                handles.insert((object.to_owned(), end), 1);
            }
        }
        Ok(())
    }

    /// One handle more on an end of an object that another process made, or this one.
    pub fn acquire_ref(&self, object: &str, end: u8) -> Result<()> {
        {
            let mut handles = self.handles.locked();
            let count = handles.entry((object.to_owned(), end)).or_insert(0);
            *count += 1;
            if *count > 1 {
                return Ok(());
            }
        }
        self.note_held(object)?;
        self.acquire_ref_as(object, end, &self.id)
    }

    /// A hold in the name of something else than a process: of a handle on its way in a message.
    pub fn acquire_ref_as(&self, object: &str, end: u8, holder: &str) -> Result<()> {
        let attach = self.script(&scripts::ATTACH, object);
        attach.arg(holder).arg(end).post()
    }

    pub fn release_ref_of(&self, object: &str, end: u8, holder: &str) -> Result<()> {
        let detach = self.script(&scripts::DETACH, object);
        detach.arg(holder).arg(end).post()
    }

    /// One handle less.
    pub fn release_ref(&self, object: &str, end: u8) -> Result<()> {
        {
            let mut handles = self.handles.locked();
            let key = (object.to_owned(), end);
            let Some(count) = handles.get_mut(&key) else {
                return Ok(());
            };
            *count -= 1;
            if *count > 0 {
                return Ok(());
            }
            handles.remove(&key);
        }
        if self.session.parent.is_some() {
            let mut left = self.left.locked();
            if left.len() < MOST_LEFT {
                left.insert(object.to_owned());
            }
        }
        self.release_ref_of(object, end, &self.id)
    }

    /// The index by which an ended process' holds are found.
    fn note_held(&self, object: &str) -> Result<()> {
        if self.session.parent.is_none() {
            return Ok(()); // nobody looks after it: with the owner ends the session
        }
        self.note(&keys::process(&self.id), object)
    }

    /// Notes an object in an index.
    fn note(&self, index: &str, object: &str) -> Result<()> {
        self.script(&scripts::NOTE, index).arg(object).post()
    }

    /// Everything that this process still holds, before its exit record: as if it had died, since threads of it may
    /// still wait for a lock, and a task that it leaves unfinished has no other worker.
    pub fn release_all_refs(&self, exit_code: i32, attempts: u32) -> Result<()> {
        // What is answered from the notes of this process must not come after them.
        self.settle_all()?;
        let mut held = std::mem::take(&mut *self.left.locked());
        held.extend(self.handles.locked().drain().map(|((object, _), _)| object));
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

    /// The same of one object.
    pub fn reap_object(&self, object: &str, id: &str, exit_code: i32, attempts: u32) -> Result<()> {
        let reap = self.script(&scripts::REAP, object);
        reap.arg(id).arg(exit_code).arg(attempts).post()
    }
}
