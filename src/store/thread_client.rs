//! One thread's way to the store: a connection to each node it talks to.
//!
//! Three ways to send a command. `call` waits for the reply. `post` does not: the command is kept until its reply
//! was read, and sent again on a new connection, after NOSCRIPT and after MOVED. `block` is a wait without end.
//! Every script answers a repeated command as it was answered before, so sending again is safe.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::{Value, cmd};

use crate::error::{Error, Result};
use crate::store::conn::{Conn, Ended, TICK, Until};
use crate::store::endpoint::{CONNECT_TIMEOUT, NodeAddr};
use crate::store::posted::Posted;
use crate::store::request::{Request, checked, error_code};
use crate::store::retry::{Backoff, Repeat};
use crate::store::scripts::Script;
use crate::store::shared::Shared;

/// Commands that may be on their way unread before we wait for them: bounds what a reconnect repeats.
const UNREAD: usize = 256;
const UNREAD_BYTES: usize = 4 << 20;

/// How long a reply may take before signals are looked at, and before the store counts as silent.
const PROMPT_REPLY: Duration = Duration::from_millis(900);

#[derive(Default)]
struct NodePipeline {
    conn: Option<Conn>,
    /// The server's id of a connection that broke.
    lost: Option<i64>,
    /// Sent, reply not read.
    unread: VecDeque<Request>,
    bytes: usize,
}

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

/// How a wait ended.
pub enum Outcome {
    Reply(Value),
    /// The connection was renewed: what the lost one may have taken must be looked for first.
    Again,
    /// Something else than a reply ended the wait; a reply that came all the same is here.
    Stopped(Error, Value),
}

enum Failure {
    /// The stream, before the reply: to be sent again.
    Stream(Error),
    Fatal(Error),
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
        // What fails in company is asked again by itself.
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
                // What a signal's handler raised is not to be lost; the command is kept, and sent with the next.
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

    /// A blocking command. Only its reply, or what `until` names, ends it.
    pub fn block(
        &mut self,
        shared: &Shared,
        request: &Request,
        until: Until<'_>,
    ) -> Result<Outcome> {
        self.settle_elsewhere(shared, &request.keys[0])?;
        let place = shared.cluster.route(&request.keys[0]);
        let name = place.to_string();
        if let Err(e) = self.connect(shared, &place) {
            self.drop_conn(&name);
            Backoff::new(&shared.health).after(e)?;
            return Ok(Outcome::Again);
        }
        let packed = request.pack(&self.caller);
        shared.cluster.count(|c| &c.commands, 1);
        shared.cluster.count(|c| &c.round_trips, 1);
        let conn = self.conn(&name);
        if conn.send(&packed).is_err() {
            self.drop_conn(&name);
            return Ok(Outcome::Again);
        }
        match self.read_unread(shared, &name) {
            Ok(()) => {}
            Err(Failure::Stream(_)) => {
                self.drop_conn(&name);
                return Ok(Outcome::Again);
            }
            Err(Failure::Fatal(e)) => {
                self.drop_conn(&name);
                return Err(e);
            }
        }
        let conn = self.conn(&name);
        let ended = match conn.read(until) {
            Ok(value) => {
                shared.health.answered();
                return Self::blocked(shared, value);
            }
            Err(ended) => ended,
        };
        let reason = match ended {
            Ended::Failed(Error::Io(_)) => {
                self.drop_conn(&name);
                return Ok(Outcome::Again);
            }
            Ended::Failed(e) => e,
            Ended::Woken | Ended::Deadline => Error::State("woken".into()),
        };
        // The server is told to end the wait, and its reply says whether an item came before it did.
        let id = conn.id;
        let ask = cmd("CLIENT").arg("UNBLOCK").arg(id).get_packed_command();
        let told = Conn::open(&shared.cluster.endpoint, &place).is_ok_and(|mut other| {
            other.send(&ask).is_ok() && matches!(other.read(until_prompt()), Ok(Value::Int(_)))
        });
        let conn = self.conn(&name);
        if let Ok(value) = if told {
            conn.read(until_prompt())
        } else {
            Err(Ended::Deadline)
        } {
            Ok(Outcome::Stopped(reason, value))
        } else {
            self.drop_conn(&name);
            Ok(Outcome::Stopped(reason, Value::Nil))
        }
    }

    fn blocked(shared: &Shared, value: Value) -> Result<Outcome> {
        match error_code(&value) {
            Some(
                "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN"
                | "UNBLOCKED",
            ) => {
                std::thread::sleep(TICK / 2);
                shared.cluster.refresh()?;
                Ok(Outcome::Again)
            }
            _ => checked(value).map(Outcome::Reply),
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

    fn read(&mut self, shared: &Shared, name: &str) -> std::result::Result<Value, Failure> {
        let conn = self.conn(name);
        // A reply that is on its way is waited for: without it nobody would know whether the lock was taken. Only
        // where the store is silent does a signal's handler come first.
        let short = Until {
            deadline: Some(Instant::now() + PROMPT_REPLY),
            defer_signals: true,
            ..Until::default()
        };
        let result = match conn.read(short) {
            Err(Ended::Deadline) => {
                let on_tick = || shared.health.silent();
                conn.read(Until {
                    on_tick: Some(&on_tick),
                    ..Until::default()
                })
            }
            prompt => prompt,
        };
        if result.is_ok() {
            shared.health.answered();
        }
        result.map_err(|ended| match ended {
            Ended::Failed(Error::Io(e)) => Failure::Stream(Error::Io(e)),
            Ended::Failed(e) => Failure::Fatal(e),
            _ => Failure::Stream(Error::Unreachable("the store does not answer".into())),
        })
    }

    /// Reads what stands before the reply that the caller wants.
    fn read_unread(&mut self, shared: &Shared, name: &str) -> std::result::Result<(), Failure> {
        let mut again = Vec::new();
        while !self.pipelines[name].unread.is_empty() {
            let value = self.read(shared, name)?;
            let pipeline = self
                .pipelines
                .get_mut(name)
                .expect("it has unread commands");
            let request = pipeline.unread.pop_front().expect("not empty");
            pipeline.bytes -= request.size();
            self.posted.were_read(1);
            shared.unread.fetch_sub(1, Ordering::AcqRel);
            match error_code(&value) {
                Some("NOSCRIPT" | "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN") => {
                    again.push(request);
                }
                Some(_) => self.deferred = self.deferred.take().or(checked(value).err()),
                None => {}
            }
        }
        if !again.is_empty() {
            // A link of its own: on this one the reply that the caller waits for comes next.
            let mut other = Self::new(self.caller.clone());
            for request in again {
                other
                    .call(
                        shared,
                        &Request {
                            seq: shared.next_seq(),
                            ..request
                        },
                    )
                    .map_err(Failure::Fatal)?;
            }
        }
        Ok(())
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

    /// A connection to the node; a new one is sent everything that was unread on the old one.
    fn connect(&mut self, shared: &Shared, place: &NodeAddr) -> Result<()> {
        let name = place.to_string();
        let pipeline = self.pipelines.entry(name).or_default();
        if pipeline.conn.is_some() {
            return Ok(());
        }
        let mut conn = Conn::open(&shared.cluster.endpoint, place)?;
        if let Some(old) = pipeline.lost {
            // A wait that the server still believes in would take an item for nobody.
            conn.send(
                &cmd("CLIENT")
                    .arg("KILL")
                    .arg("ID")
                    .arg(old)
                    .get_packed_command(),
            )?;
            conn.read(until_prompt())
                .map_err(|_| Error::Unreachable("the store does not answer".into()))?;
            pipeline.lost = None;
        }
        for request in &pipeline.unread {
            let packed = request.pack(&self.caller);
            shared.cluster.count(|c| &c.commands, 1);
            conn.send(&packed)?;
        }
        pipeline.conn = Some(conn);
        Ok(())
    }

    fn load(&mut self, shared: &Shared, request: &Request) -> Result<()> {
        let Some(script) = request.script else {
            return Ok(());
        };
        let place = shared.cluster.route(&request.keys[0]);
        let mut conn = Conn::open(&shared.cluster.endpoint, &place)?;
        load(&mut conn, &[script])
    }

    /// The connection of a pipeline that is known to have one.
    fn conn(&mut self, name: &str) -> &mut Conn {
        let pipeline = self.pipelines.get_mut(name);
        pipeline
            .and_then(|l| l.conn.as_mut())
            .expect("connected before")
    }

    fn drop_conn(&mut self, name: &str) {
        if let Some(pipeline) = self.pipelines.get_mut(name) {
            pipeline.lost = pipeline.conn.take().map(|c| c.id).or(pipeline.lost);
        }
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
        match conn.read(until_prompt()) {
            Ok(value) => drop(checked(value)?),
            Err(_) => return Err(Error::Unreachable("the store does not answer".into())),
        }
    }
    Ok(())
}

/// For a reply that comes at once and must not be missed, whatever signal arrives.
fn until_prompt() -> Until<'static> {
    Until {
        deadline: Some(Instant::now() + CONNECT_TIMEOUT),
        defer_signals: true,
        ..Until::default()
    }
}
