//! The door to the store: scripts and commands on objects, from whichever thread.

use std::sync::atomic::Ordering;

use redis::Value;

use crate::error::Result;
use crate::session::process::{Args, Process};
use crate::store::cluster::text;
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::link::{Link, Outcome, Request};
use crate::store::scripts::{self, Script};

impl Process {
    /// Runs a script on an object and waits for its reply.
    pub fn call(&self, script: &'static Script, object: &str, args: &Args<'_>) -> Result<Value> {
        self.call_with(script, vec![self.key(object)], args)
    }

    /// Runs a script that changes nothing on each of some objects, in one round trip where they are on one node.
    pub fn call_each(
        &self,
        script: &'static Script,
        each: &[(&str, Vec<u8>)],
    ) -> Result<Vec<Value>> {
        let requests: Vec<Request> = each
            .iter()
            .map(|(object, argument)| {
                self.request(Some(script), vec![self.key(object)], &Args(&[argument]))
            })
            .collect();
        self.with_link(|link| link.call_all(self, &requests))
    }

    /// The same with further keys of the same tag.
    pub fn call_with(
        &self,
        script: &'static Script,
        keys: Vec<String>,
        args: &Args<'_>,
    ) -> Result<Value> {
        let request = self.request(Some(script), keys, args);
        self.with_link(|link| link.call(self, &request))
    }

    /// The same, its reply as text.
    pub fn ask(&self, script: &'static Script, object: &str, args: &Args<'_>) -> Result<String> {
        self.call(script, object, args).map(|v| text(&v))
    }

    /// Runs a script on an object without waiting.
    pub fn post(&self, script: &'static Script, object: &str, args: &Args<'_>) -> Result<()> {
        let request = self.request(Some(script), vec![self.key(object)], args);
        self.with_link(|link| link.post(self, request))
    }

    /// A plain command on a key: its name, then its arguments. Only such as may be repeated.
    pub fn plain(&self, key: String, args: &Args<'_>) -> Result<Value> {
        let request = self.request(None, vec![key], args);
        self.with_link(|link| link.call(self, &request))
    }

    /// A plain question that no other thread's commands need come before.
    pub fn peek(&self, key: String, args: &Args<'_>) -> Result<Value> {
        let request = self.request(None, vec![key], args);
        self.with_link_unordered(|link| link.call(self, &request))
    }

    pub fn post_plain(&self, key: String, args: &Args<'_>) -> Result<()> {
        let request = self.request(None, vec![key], args);
        self.with_link(|link| link.post(self, request))
    }

    /// A blocking plain command on keys of one tag.
    pub fn block(&self, keys: Vec<String>, args: &Args<'_>, until: Until<'_>) -> Result<Outcome> {
        let request = self.request(None, keys, args);
        let look = || self.healthy();
        let until = Until {
            look: Some(&look),
            ..until
        };
        self.with_link(|link| link.block(self, &request, until))
    }

    /// Reads the replies of everything that any thread has posted, and raises the error of what this one has.
    pub fn settle(&self) -> Result<()> {
        if self.unread.load(Ordering::Acquire) == 0 {
            // Another thread may have read the replies of this one.
            return self.with_link_unordered(Link::raise_deferred);
        }
        self.with_link(|link| link.settle(self))
    }

    /// This thread's in-flight list of a pipe, made ready for what it will take from one end; and whether it is known
    /// to be empty.
    pub fn in_flight(&self, object: &str, end: u8) -> Result<(String, bool)> {
        let (caller, known) =
            self.with_link(|link| Ok((link.caller.clone(), link.takes_from(object))))?;
        if !known {
            self.post(
                &scripts::TAKE_OPEN,
                object,
                &Args(&[end.to_string().as_bytes()]),
            )?;
        }
        Ok((keys::in_flight(&self.key(object), &caller), known))
    }

    /// This thread's last take from a pipe ended in an error: its in-flight list is to be looked at.
    pub fn doubt(&self, object: &str) {
        let _ = self.with_link(|link| {
            link.doubt(object);
            Ok(())
        });
    }

    fn request(
        &self,
        script: Option<&'static Script>,
        keys: Vec<String>,
        args: &Args<'_>,
    ) -> Request {
        let args = args.0.iter().map(|a| a.to_vec()).collect();
        Request {
            script,
            keys,
            args,
            number: self.next_number(),
        }
    }
}
