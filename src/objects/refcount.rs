//! The lives of objects: who makes, holds and leaves them, and what an ended process leaves behind.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use redis::Value;

use crate::error::Result;
use crate::locked::Locked;
use crate::store::client::{Args, Client};
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;

impl Client {
    /// A name for a new object, under the tag of another one or under its own.
    pub fn new_object(&self, beside: Option<&str>) -> String {
        let n = self.objects.fetch_add(1, Ordering::Relaxed);
        match beside {
            Some(other) => format!(
                "{}/{}-{n}",
                other.split('/').next().unwrap_or(other),
                self.number
            ),
            None => format!("{}-{n}", self.number),
        }
    }

    /// Makes an object, held by this process at each of its ends. Nothing is waited for.
    pub fn create(&self, object: &str, ends: u8, fields: &[&[u8]]) -> Result<()> {
        let (ttl, ends_text) = (self.session.ttl.to_string(), ends.to_string());
        let mut args: Vec<&[u8]> =
            vec![ttl.as_bytes(), self.number.as_bytes(), ends_text.as_bytes()];
        args.extend_from_slice(fields);
        self.post(&scripts::CREATE, object, &Args(&args))?;
        if self.session.ttl > 0 {
            self.post(&scripts::NOTE, keys::INDEX, &Args(&[object.as_bytes()]))?;
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
        self.acquire_ref_as(object, end, &self.number)
    }

    /// A hold in the name of something else than a process: of a handle on its way in a message.
    pub fn acquire_ref_as(&self, object: &str, end: u8, holder: &str) -> Result<()> {
        self.post(
            &scripts::ATTACH,
            object,
            &Args(&[holder.as_bytes(), end.to_string().as_bytes()]),
        )
    }

    pub fn release_ref_of(&self, object: &str, end: u8, holder: &str) -> Result<()> {
        self.post(
            &scripts::DETACH,
            object,
            &Args(&[holder.as_bytes(), end.to_string().as_bytes()]),
        )
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
        self.release_ref_of(object, end, &self.number)
    }

    /// The index by which an ended process' holds are found.
    fn note_held(&self, object: &str) -> Result<()> {
        if self.session.parent.is_none() {
            return Ok(()); // nobody looks after it: with the owner ends the session
        }
        self.post(
            &scripts::NOTE,
            &keys::process(&self.number),
            &Args(&[object.as_bytes()]),
        )
    }

    /// Everything that this process still holds, before its exit record: as if it had died, since threads of it may
    /// still stand in line for a lock, and a task that it leaves unfinished has no other worker.
    pub fn release_all_refs(&self, exit_code: i32, attempts: u32) -> Result<()> {
        let held: HashSet<String> = {
            let mut handles = self.handles.locked();
            handles.drain().map(|((object, _), _)| object).collect()
        };
        for object in held {
            self.reap_object(&object, &self.number, exit_code, attempts)?;
        }
        self.settle()
    }

    /// What another process, which has ended without this, still held.
    pub fn reap(&self, number: &str, exit_code: i32, attempts: u32) -> Result<()> {
        let process = self.key(&keys::process(number));
        let held = self.plain(keys::held(&process), &Args(&[b"SMEMBERS"]))?;
        if let Value::Array(objects) | Value::Set(objects) = held {
            for object in objects {
                self.reap_object(&text(&object), number, exit_code, attempts)?;
            }
        }
        self.post(&scripts::DROP, &keys::process(number), &Args(&[]))?;
        self.settle()
    }

    /// The same of one object.
    pub fn reap_object(
        &self,
        object: &str,
        number: &str,
        exit_code: i32,
        attempts: u32,
    ) -> Result<()> {
        let args = [
            number.to_owned(),
            exit_code.to_string(),
            attempts.to_string(),
        ];
        self.post(
            &scripts::REAP,
            object,
            &Args(&args.each_ref().map(String::as_bytes)),
        )
    }
}
