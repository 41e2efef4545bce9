//! One thread's way to the store: a connection to each node that it uses.
//!
//! There are three ways to send a command. `call` waits for the reply. `post` does not: the command is kept until its reply
//! was read. `block` waits without a time limit.
//!
//! If a connection breaks, or a store refuses a command that it may run later, everything from that command on is sent again,
//! in order and with the same seqs. A numbered script knows a repetition by its seq and answers it as before. By the seq of a
//! command's predecessor it knows that the predecessor is missing, and refuses. So no command runs twice, and none runs before
//! its predecessor.

mod block;
#[cfg(test)]
mod model;
mod pipeline;
mod sequence;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use redis::Value;

use crate::error::{Error, Result};
use crate::kept::Bytes;
use crate::store::endpoint::NodeAddr;
use crate::store::posted::Posted;
use crate::store::request::{Refusal, Request};
use crate::store::retry::Backoff;
use crate::store::scripts::UNDO;
use crate::store::shared::Shared;

pub use block::Outcome;
use pipeline::{Failure, NodePipeline};
use sequence::Sequence;

/// How many commands and bytes may be unread before the thread waits for replies: it bounds what a reconnect repeats.
const UNREAD: usize = 256;
const UNREAD_BYTES: usize = 4 << 20;

/// Where a thread waits for the items of a pipe.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the list of items.
    List,
    /// In the queue of takers, for a token of its own.
    Line,
}

/// The state of a thread in a pipe from which it takes.
#[derive(Clone, Copy)]
pub struct Consumed {
    /// The end from which it takes, until it takes from the other one.
    pub end: u8,
    pub place: Place,
    /// Whether its in-flight list may hold an item that the thread does not know of.
    pub is_unsure: bool,
}

pub struct ThreadClient {
    /// `process.thread`, by which the scripts tell callers apart.
    pub caller: String,
    pipelines: HashMap<String, NodePipeline>,
    /// The progress of its commands, for other threads.
    pub posted: Arc<Posted>,
    /// The pipes in which this client has an in-flight list.
    consumed: HashMap<String, Consumed>,
    /// The first error of a posted command that was not raised yet.
    deferred: Option<Error>,
    sequence: Sequence,
}

impl ThreadClient {
    pub fn new(caller: String) -> Self {
        Self {
            caller,
            pipelines: HashMap::new(),
            posted: Arc::default(),
            consumed: HashMap::new(),
            deferred: None,
            sequence: Sequence::default(),
        }
    }

    /// The state of this client in a pipe, if it has an in-flight list there.
    pub fn consumed(&self, object: &str) -> Option<Consumed> {
        self.consumed.get(object).copied()
    }

    pub fn set_consumed(&mut self, object: &str, consumed: Consumed) {
        self.consumed.insert(object.to_owned(), consumed);
    }

    pub fn forget_consumed(&mut self, object: &str) {
        self.consumed.remove(object);
    }

    /// Raises the error of a command that was posted before. It is raised before anything else is done, so that the effect of
    /// the next command cannot be lost with it.
    pub fn raise_deferred(&mut self) -> Result<()> {
        self.deferred.take().map_or(Ok(()), Err)
    }

    /// Sends a command and waits for its reply.
    pub fn call(&mut self, shared: &Shared, mut request: Request) -> Result<Value> {
        // Commands that were posted to other nodes may have failed, too.
        self.settled_place(shared, &request.keys[0])?;
        self.raise_deferred()?;
        let is_settled = !self.posted.is_unread();
        self.sequence
            .give(&mut request, is_settled, || shared.next_seq());
        let result = self.repeat(shared, &request);
        if !matches!(result, Ok(Some(_))) {
            self.has_failed(&request.keys[0]);
            if let Some(late) = request.undo {
                // Sent after the command on the same connection, or on its replacement.
                let args = vec![request.seq.to_string().into(), late.into()];
                self.keep(shared, Request::new(Some(&UNDO), request.keys, args));
            }
        }
        result.map(|value| value.unwrap_or(Value::Nil))
    }

    /// Keeps a command, to be sent with the next one or by the heartbeat.
    fn keep(&mut self, shared: &Shared, request: Request) {
        let place = shared.cluster.route(&request.keys[0]).to_string();
        self.drop_conn(&place);
        let pipeline = self.pipelines.entry(place).or_default();
        pipeline.bytes += request.size();
        pipeline.unread.push_back(request);
        self.posted.add();
        shared.unread.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that it is unknown whether the last command on an object has run.
    fn has_failed(&mut self, object: &str) {
        let unread = self
            .pipelines
            .values()
            .flat_map(|pipeline| &pipeline.unread);
        let of_object = unread.filter(|one| one.is_numbered() && one.keys[0] == object);
        let last = of_object.map(|one| one.seq).max();
        self.sequence.failed(object, last);
    }

    /// Sends a command until it has run; None if its time is over first.
    fn repeat(&mut self, shared: &Shared, request: &Request) -> Result<Option<Value>> {
        let mut backoff = Backoff::new(&shared.health);
        loop {
            let place = self.settled_place(shared, &request.keys[0])?;
            match self.attempt(shared, request, &place) {
                Ok(value) => return Ok(Some(value)),
                Err(Failure::Fatal(e)) if e.is_raised() => return Err(e),
                // One error is raised: that of a command that was posted just before is usually the cause.
                Err(Failure::Fatal(e)) => return Err(self.deferred.take().unwrap_or(e)),
                Err(_) if request.deadline.is_some_and(|d| d <= Instant::now()) => return Ok(None),
                Err(failure) => self.pause(shared, failure, &mut backoff)?,
            }
        }
    }

    /// Pauses before the next attempt. A node that refuses may no longer be the right one.
    fn pause(&self, shared: &Shared, failure: Failure, backoff: &mut Backoff<'_>) -> Result<()> {
        let is_refused = matches!(failure, Failure::Refused(..));
        failure.pause(backoff)?;
        if is_refused && let Err(e) = shared.cluster.refresh() {
            backoff.after(e)?;
        }
        Ok(())
    }

    /// Sends commands that may be repeated and waits for their replies; adjacent commands for one node are sent together.
    pub fn call_all(&mut self, shared: &Shared, requests: &[Request]) -> Result<Vec<Value>> {
        self.raise_deferred()?;
        let mut all = Vec::with_capacity(requests.len());
        let node = |request: &Request| shared.cluster.route(&request.keys[0]).to_string();
        for some in requests.chunk_by(|one, next| node(one) == node(next)) {
            // A request that fails among others is sent again by itself.
            let mut replies = match self.attempt_all(shared, some) {
                Ok(replies) => replies,
                Err(Failure::Fatal(e)) => return Err(e),
                Err(_) => Vec::new(),
            }
            .into_iter();
            for request in some {
                all.push(match replies.next() {
                    Some(value) if !matches!(value, Value::ServerError(_)) => value,
                    _ => self.call(shared, request.clone())?,
                });
            }
        }
        Ok(all)
    }

    fn attempt_all(
        &mut self,
        shared: &Shared,
        requests: &[Request],
    ) -> std::result::Result<Vec<Value>, Failure> {
        let place = self
            .settled_place(shared, &requests[0].keys[0])
            .map_err(Failure::Fatal)?;
        let name = place.to_string();
        self.connect(shared, &place)
            .map_err(Failure::of_connecting)?;
        shared.cluster.count(|c| &c.commands, requests.len());
        shared.cluster.count(|c| &c.round_trips, 1);
        let packed: Vec<Bytes> = requests.iter().map(|r| self.pack(&name, r)).collect();
        let packed = packed
            .iter()
            .map(|one| &one[..])
            .collect::<Vec<_>>()
            .concat();
        let conn = self.conn(&name);
        let result = conn
            .send(&packed)
            .map_err(|e| Failure::Stream(e.into()))
            .and_then(|()| self.read_unread(shared, &name))
            .and_then(|()| requests.iter().map(|_| self.read(shared, &name)).collect());
        if result.is_err() {
            self.drop_conn(&name);
        }
        result
    }

    /// Sends a command and returns; its reply is read before anything that could be observed elsewhere. A command that is held is
    /// written with the next one.
    pub fn post(&mut self, shared: &Shared, mut request: Request, is_held: bool) -> Result<()> {
        let place = self.settled_place(shared, &request.keys[0])?;
        let is_settled = !self.posted.is_unread();
        self.sequence
            .give(&mut request, is_settled, || shared.next_seq());
        let pipeline = self.pipelines.entry(place.to_string()).or_default();
        let packed = pipeline
            .conn
            .as_ref()
            .map(|(_, names)| request.pack(names, &self.caller));
        pipeline.bytes += request.size();
        pipeline.unread.push_back(request);
        self.posted.add();
        shared.unread.fetch_add(1, Ordering::AcqRel);
        let sent = match pipeline.conn.as_mut().zip(packed) {
            Some(((conn, _), packed)) => {
                shared.cluster.count(|c| &c.commands, 1);
                shared.cluster.count(|c| &c.bytes, packed.len());
                let sent = if is_held {
                    conn.hold(&packed)
                } else {
                    conn.send(&packed)
                };
                sent.is_ok()
            }
            // Connecting sends what is unread.
            None => match self.connect(shared, &place) {
                // The exception of a signal handler must not be lost; the command is kept, and sent with the next one.
                Err(e) if e.is_raised() => return Err(e),
                connected => connected.is_ok(),
            },
        };
        let pipeline = &self.pipelines[&place.to_string()];
        let (unread, bytes) = (pipeline.unread.len(), pipeline.bytes);
        if !sent {
            self.drop_conn(&place.to_string());
        }
        if !sent || unread > UNREAD || bytes > UNREAD_BYTES {
            return self.settle(shared);
        }
        Ok(())
    }

    /// Reads the replies of all commands that were posted.
    pub fn settle(&mut self, shared: &Shared) -> Result<()> {
        self.read_all(shared, true)?;
        self.raise_deferred()
    }

    /// The same for another thread, which the errors of this one do not concern. It does not wait for room, which the other
    /// thread may have to make.
    pub fn settle_for_others(&mut self, shared: &Shared) -> Result<()> {
        self.read_all(shared, false)
    }

    fn read_all(&mut self, shared: &Shared, waits_for_memory: bool) -> Result<()> {
        let names: Vec<String> = self
            .pipelines
            .iter()
            .filter(|(_, l)| !l.unread.is_empty())
            .map(|(n, _)| n.clone())
            .collect();
        for name in names {
            shared.cluster.count(|c| &c.round_trips, 1);
            let mut backoff = Backoff::new(&shared.health);
            while let Some(first) = self.pipelines[&name].unread.front() {
                let place = shared.cluster.route(&first.keys[0]);
                if place.to_string() != name {
                    // The slot has moved since.
                    self.resend(shared, &name)?;
                    break;
                }
                let result = self
                    .connect(shared, &place)
                    .map_err(Failure::of_connecting)
                    .and_then(|()| self.read_unread(shared, &name));
                let Err(failure) = result else { break };
                if let Failure::Fatal(e) = failure {
                    return Err(e);
                }
                self.drop_conn(&name);
                if !waits_for_memory && matches!(failure, Failure::Refused(Refusal::Full, _)) {
                    return Ok(());
                }
                self.pause(shared, failure, &mut backoff)?;
            }
        }
        Ok(())
    }

    /// The node for a command on a key. There is no order between the nodes of a cluster: commands that were posted to other
    /// nodes must be answered first, and so must those that this node no longer serves. The command goes to this node even if
    /// another thread learns of another one meanwhile.
    fn settled_place(&mut self, shared: &Shared, key: &str) -> Result<NodeAddr> {
        let place = shared.cluster.route(key);
        let is_elsewhere = shared.cluster.endpoint.cluster && self.posted.is_unread() && {
            let name = place.to_string();
            let mut pipelines = self.pipelines.iter();
            pipelines.any(|(n, pipeline)| {
                pipeline.unread.front().is_some_and(|first| {
                    *n != name || shared.cluster.route(&first.keys[0]).to_string() != name
                })
            })
        };
        if is_elsewhere {
            self.read_all(shared, true)?;
        }
        Ok(place)
    }

    fn attempt(
        &mut self,
        shared: &Shared,
        request: &Request,
        place: &NodeAddr,
    ) -> std::result::Result<Value, Failure> {
        let name = place.to_string();
        self.connect(shared, place)
            .map_err(Failure::of_connecting)?;
        let packed = self.pack(&name, request);
        shared.cluster.count(|c| &c.commands, 1);
        shared.cluster.count(|c| &c.round_trips, 1);
        shared.cluster.count(|c| &c.bytes, packed.len());
        let conn = self.conn(&name);
        let result = conn
            .send(&packed)
            .map_err(|e| Failure::Stream(e.into()))
            .and_then(|()| self.read_unread(shared, &name))
            .and_then(|()| self.read(shared, &name));
        let Ok(value) = result else {
            self.drop_conn(&name);
            return result;
        };
        let result = pipeline::refused(value, request.still_waits_for_memory());
        if result.is_ok() {
            shared.health.answered(request.is_write());
        }
        if matches!(
            result,
            Err(Failure::Refused(Refusal::Unknown | Refusal::Unable, _))
        ) {
            // Another connection may reach another node under the same name; it asks for the scripts' names again.
            self.drop_conn(&name);
        }
        result
    }

    /// Sends posted commands again whose node no longer serves their slot.
    fn resend(&mut self, shared: &Shared, name: &str) -> Result<()> {
        self.drop_conn(name);
        let pipeline = self.pipelines.entry(name.to_owned()).or_default();
        let mut unread = std::mem::take(&mut pipeline.unread);
        let mut result = Ok(());
        while let Some(request) = unread.front() {
            match self.repeat(shared, request) {
                Err(e) if e.is_raised() => {
                    result = Err(e);
                    break;
                }
                Err(e) => {
                    tracing::warn!(error = %e, key = request.keys[0], "a posted command failed");
                    request.answered(Value::Nil);
                    self.deferred.get_or_insert(e);
                }
                Ok(reply) => request.answered(reply.unwrap_or(Value::Nil)),
            }
            self.posted.were_read(1);
            shared.unread.fetch_sub(1, Ordering::AcqRel);
            unread.pop_front();
        }
        let pipeline = self.pipelines.entry(name.to_owned()).or_default();
        pipeline.bytes = unread.iter().map(Request::size).sum();
        pipeline.unread = unread;
        self.posted.set_full(false);
        result
    }
}
