//! One thread's way to the store: a connection to each node it talks to.
//!
//! Three ways to send a command. `call` waits for the reply. `post` does not: the command is kept until its reply
//! was read, and sent again on a new connection, after NOSCRIPT and after MOVED. `block` is a wait without end.
//! Every script answers a repeated command as it was answered before, so sending again is safe.

mod block;
mod pipeline;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::{Value, cmd};

use crate::error::{Error, Result};
use crate::store::conn::{Conn, Until};
use crate::store::posted::Posted;
use crate::store::request::{Request, checked, error_code};
use crate::store::retry::{Backoff, Repeat};
use crate::store::scripts::Script;
use crate::store::shared::Shared;

pub use block::Outcome;
use pipeline::{Failure, NodePipeline};

/// Commands that may be on their way unread before we wait for them: bounds what a reconnect repeats.
const UNREAD: usize = 256;
const UNREAD_BYTES: usize = 4 << 20;

pub struct ThreadClient {
    /// `process.thread`: whose commands the scripts tell apart.
    pub caller: String,
    pipelines: HashMap<String, NodePipeline>,
    /// How far its commands have come: other threads look at it.
    pub posted: Arc<Posted>,
    /// The pipes that have an in-flight list of this link.
    consumed: HashSet<String>,
    /// The first error of a posted command that was not raised yet.
    deferred: Option<Error>,
}

impl ThreadClient {
    pub fn new(caller: String) -> Self {
        Self {
            caller,
            pipelines: HashMap::new(),
            posted: Arc::default(),
            consumed: HashSet::new(),
            deferred: None,
        }
    }

    /// Whether this link has taken from a pipe before; from now on it has.
    pub fn register_consumer(&mut self, object: &str) -> bool {
        self.consumed.contains(object) || !self.consumed.insert(object.to_owned())
    }

    pub fn invalidate_in_flight(&mut self, object: &str) {
        self.consumed.remove(object);
    }

    /// The error of a command that was posted before: raised before anything else is done, so that the effect of
    /// what is asked now cannot be lost with it.
    pub fn raise_deferred(&mut self) -> Result<()> {
        self.deferred.take().map_or(Ok(()), Err)
    }

    /// Sends a command and waits for its reply.
    pub fn call(&mut self, shared: &Shared, request: &Request) -> Result<Value> {
        self.raise_deferred()?;
        self.settle_elsewhere(shared, &request.keys[0])?;
        let mut request = Repeat::new(&shared.health, request);
        loop {
            match self.attempt(shared, request.get()) {
                Ok(value) => match error_code(&value) {
                    Some("NOSCRIPT") => {
                        self.load(shared, request.get())?;
                        request.renew_seq(shared.next_seq());
                    }
                    Some(
                        "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN",
                    ) => {
                        request.pause(&value)?;
                        shared.cluster.refresh()?;
                    }
                    Some(_) => {
                        // One error is raised: of what was posted just before, it is mostly the cause.
                        self.deferred = None;
                        return checked(value);
                    }
                    None => return Ok(value),
                },
                Err(Failure::Stream(e)) => request.after(e)?,
                Err(Failure::Fatal(e)) => return Err(e),
            }
        }
    }

    /// Sends commands that change nothing, all at once where they go to one node, and waits for their replies.
    pub fn call_all(&mut self, shared: &Shared, requests: &[Request]) -> Result<Vec<Value>> {
        self.raise_deferred()?;
        // A request that fails among others is sent again by itself.
        let mut replies = self
            .attempt_all(shared, requests)
            .unwrap_or_default()
            .into_iter();
        requests
            .iter()
            .map(|request| match replies.next() {
                Some(value) if error_code(&value).is_none() => Ok(value),
                _ => self.call(shared, request),
            })
            .collect()
    }

    fn attempt_all(
        &mut self,
        shared: &Shared,
        requests: &[Request],
    ) -> std::result::Result<Vec<Value>, Failure> {
        let mut places = requests.iter().map(|r| shared.cluster.route(&r.keys[0]));
        let Some(place) = places.next() else {
            return Ok(Vec::new());
        };
        let name = place.to_string();
        if places.any(|other| other.to_string() != name) {
            return Ok(Vec::new());
        }
        self.settle_elsewhere(shared, &requests[0].keys[0])
            .map_err(Failure::Fatal)?;
        self.connect(shared, &place).map_err(Failure::Stream)?;
        shared.cluster.count(|c| &c.commands, requests.len());
        shared.cluster.count(|c| &c.round_trips, 1);
        let packed: Vec<u8> = requests.iter().flat_map(|r| r.pack(&self.caller)).collect();
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

    /// Sends a command and returns; its reply is read before anything that could be observed elsewhere.
    pub fn post(&mut self, shared: &Shared, request: Request) -> Result<()> {
        self.settle_elsewhere(shared, &request.keys[0])?;
        let place = shared.cluster.route(&request.keys[0]);
        let packed = request.pack(&self.caller);
        let pipeline = self.pipelines.entry(place.to_string()).or_default();
        pipeline.bytes += request.size();
        pipeline.unread.push_back(request);
        self.posted.add();
        shared.unread.fetch_add(1, Ordering::AcqRel);
        let sent = match &mut pipeline.conn {
            Some(conn) => {
                shared.cluster.count(|c| &c.commands, 1);
                shared.cluster.count(|c| &c.bytes, packed.len());
                conn.send(&packed).is_ok()
            }
            // Connecting sends what is unread.
            None => match self.connect(shared, &place) {
                // The exception of a signal's handler must not be lost; the command is kept, and sent with the next.
                Err(e) if e.is_raised() => return Err(e),
                connected => connected.is_ok(),
            },
        };
        let pipeline = self
            .pipelines
            .get_mut(&place.to_string())
            .expect("made above");
        if !sent {
            pipeline.conn = None;
        }
        if !sent || pipeline.unread.len() > UNREAD || pipeline.bytes > UNREAD_BYTES {
            return self.settle(shared);
        }
        Ok(())
    }

    /// Reads the replies of all commands that were posted.
    pub fn settle(&mut self, shared: &Shared) -> Result<()> {
        self.settle_for_others(shared)?;
        self.raise_deferred()
    }

    /// The same for another thread, whom the errors of this one do not concern.
    pub fn settle_for_others(&mut self, shared: &Shared) -> Result<()> {
        let names: Vec<String> = self
            .pipelines
            .iter()
            .filter(|(_, l)| !l.unread.is_empty())
            .map(|(n, _)| n.clone())
            .collect();
        for name in names {
            shared.cluster.count(|c| &c.round_trips, 1);
            let mut backoff = Backoff::new(&shared.health);
            loop {
                let place = shared
                    .cluster
                    .route(&self.pipelines[&name].unread[0].keys[0]);
                let result = if place.to_string() == name {
                    self.connect(shared, &place)
                        .map_err(Failure::Stream)
                        .and_then(|()| self.read_unread(shared, &name))
                } else {
                    // The slot has moved since.
                    self.resend(shared, &name);
                    break;
                };
                match result {
                    Ok(()) => break,
                    Err(Failure::Stream(e)) => {
                        self.drop_conn(&name);
                        backoff.after(e)?;
                    }
                    Err(Failure::Fatal(e)) => return Err(e),
                }
            }
        }
        Ok(())
    }

    /// There is no order between the nodes of a cluster: what was posted to others comes before what is sent to this one.
    fn settle_elsewhere(&mut self, shared: &Shared, key: &str) -> Result<()> {
        let is_elsewhere = self.pipelines.len() > 1 && self.posted.is_unread() && {
            let name = shared.cluster.route(key).to_string();
            let mut pipelines = self.pipelines.iter();
            pipelines.any(|(n, pipeline)| *n != name && !pipeline.unread.is_empty())
        };
        if is_elsewhere {
            self.settle(shared)
        } else {
            Ok(())
        }
    }

    fn attempt(
        &mut self,
        shared: &Shared,
        request: &Request,
    ) -> std::result::Result<Value, Failure> {
        let place = shared.cluster.route(&request.keys[0]);
        let name = place.to_string();
        self.connect(shared, &place).map_err(Failure::Stream)?;
        let packed = request.pack(&self.caller);
        shared.cluster.count(|c| &c.commands, 1);
        shared.cluster.count(|c| &c.round_trips, 1);
        shared.cluster.count(|c| &c.bytes, packed.len());
        let conn = self.conn(&name);
        let result = conn
            .send(&packed)
            .map_err(|e| Failure::Stream(e.into()))
            .and_then(|()| self.read_unread(shared, &name))
            .and_then(|()| self.read(shared, &name));
        if result.is_err() {
            self.drop_conn(&name);
        }
        result
    }

    /// Posted commands whose node no longer serves their slot.
    fn resend(&mut self, shared: &Shared, name: &str) {
        let pipeline = self.pipelines.remove(name).unwrap_or_default();
        let n = pipeline.unread.len();
        for request in pipeline.unread {
            if let Err(e) = self.call(shared, &request) {
                self.deferred.get_or_insert(e);
            }
        }
        self.posted.were_read(n);
        shared.unread.fetch_sub(n, Ordering::AcqRel);
    }

    fn load(&mut self, shared: &Shared, request: &Request) -> Result<()> {
        let Some(script) = request.script else {
            return Ok(());
        };
        let place = shared.cluster.route(&request.keys[0]);
        let mut conn = Conn::open(&shared.cluster.endpoint, &place)?;
        load(&mut conn, &[script])
    }
}

/// Loads scripts on one node.
pub fn load(conn: &mut Conn, scripts: &[&Script]) -> Result<()> {
    for script in scripts {
        conn.send(
            &cmd("SCRIPT")
                .arg("LOAD")
                .arg(&script.body)
                .get_packed_command(),
        )?;
    }
    for _ in scripts {
        match conn.read(Until::prompt()) {
            Ok(value) => drop(checked(value)?),
            Err(_) => return Err(Error::Unreachable("the store does not answer".into())),
        }
    }
    Ok(())
}
