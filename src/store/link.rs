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
use crate::store::endpoint::{CONNECT, Place};
use crate::store::posted::Posted;
use crate::store::request::{Request, checked, error_code};
use crate::store::retry::{Patience, Repeat};
use crate::store::scripts::Script;
use crate::store::shared::Shared;

/// Commands that may be on their way unread before we wait for them: bounds what a reconnect repeats.
const UNREAD: usize = 256;
const UNREAD_BYTES: usize = 4 << 20;

/// How long a reply may take before signals are looked at, and before the store counts as silent.
const PROMPT: Duration = Duration::from_millis(900);

#[derive(Default)]
struct Lane {
    conn: Option<Conn>,
    /// The number of a connection that broke.
    lost: Option<i64>,
    /// Sent, reply not read.
    unread: VecDeque<Request>,
    bytes: usize,
}

pub struct Link {
    /// `process.thread`: whose commands the scripts tell apart.
    pub caller: String,
    lanes: HashMap<String, Lane>,
    /// How far its commands have come: other threads look at it.
    pub posted: Arc<Posted>,
    /// The pipes that have an in-flight list of this link.
    taking: HashSet<String>,
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

impl Link {
    pub fn new(caller: String) -> Self {
        Self {
            caller,
            lanes: HashMap::new(),
            posted: Arc::default(),
            taking: HashSet::new(),
            deferred: None,
        }
    }

    /// Whether this link has taken from a pipe before; from now on it has.
    pub fn takes_from(&mut self, object: &str) -> bool {
        self.taking.contains(object) || !self.taking.insert(object.to_owned())
    }

    pub fn doubt(&mut self, object: &str) {
        self.taking.remove(object);
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
                        request.renumber(shared.next_number());
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
        let lane = self.lanes.entry(place.to_string()).or_default();
        lane.bytes += request.size();
        lane.unread.push_back(request);
        self.posted.add();
        shared.unread.fetch_add(1, Ordering::AcqRel);
        let sent = match &mut lane.conn {
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
        let lane = self.lanes.get_mut(&place.to_string()).expect("made above");
        if !sent {
            lane.conn = None;
        }
        if !sent || lane.unread.len() > UNREAD || lane.bytes > UNREAD_BYTES {
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
            .lanes
            .iter()
            .filter(|(_, l)| !l.unread.is_empty())
            .map(|(n, _)| n.clone())
            .collect();
        for name in names {
            shared.cluster.count(|c| &c.round_trips, 1);
            let mut patience = Patience::new(&shared.health);
            loop {
                let place = shared.cluster.route(&self.lanes[&name].unread[0].keys[0]);
                let result = if place.to_string() == name {
                    self.connect(shared, &place)
                        .map_err(Failure::Stream)
                        .and_then(|()| self.read_unread(shared, &name))
                } else {
                    // The slot has moved since.
                    self.repost(shared, &name);
                    break;
                };
                match result {
                    Ok(()) => break,
                    Err(Failure::Stream(e)) => {
                        self.drop_conn(&name);
                        patience.after(e)?;
                    }
                    Err(Failure::Fatal(e)) => return Err(e),
                }
            }
        }
        Ok(())
    }

    /// There is no order between the nodes of a cluster: what was posted to others comes before what is sent to this one.
    fn settle_elsewhere(&mut self, shared: &Shared, key: &str) -> Result<()> {
        let is_elsewhere = self.lanes.len() > 1 && self.posted.is_unread() && {
            let name = shared.cluster.route(key).to_string();
            let mut lanes = self.lanes.iter();
            lanes.any(|(n, lane)| *n != name && !lane.unread.is_empty())
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
            Patience::new(&shared.health).after(e)?;
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
            other.send(&ask).is_ok() && matches!(other.read(soon()), Ok(Value::Int(_)))
        });
        let conn = self.conn(&name);
        if let Ok(value) = if told {
            conn.read(soon())
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
            deadline: Some(Instant::now() + PROMPT),
            deaf: true,
            ..Until::default()
        };
        let result = match conn.read(short) {
            Err(Ended::Deadline) => {
                let look = || shared.health.silent();
                conn.read(Until {
                    look: Some(&look),
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
        while !self.lanes[name].unread.is_empty() {
            let value = self.read(shared, name)?;
            let lane = self.lanes.get_mut(name).expect("it has unread commands");
            let request = lane.unread.pop_front().expect("not empty");
            lane.bytes -= request.size();
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
                            number: shared.next_number(),
                            ..request
                        },
                    )
                    .map_err(Failure::Fatal)?;
            }
        }
        Ok(())
    }

    /// Posted commands whose node no longer serves their slot.
    fn repost(&mut self, shared: &Shared, name: &str) {
        let lane = self.lanes.remove(name).unwrap_or_default();
        let n = lane.unread.len();
        for request in lane.unread {
            if let Err(e) = self.call(shared, &request) {
                self.deferred.get_or_insert(e);
            }
        }
        self.posted.were_read(n);
        shared.unread.fetch_sub(n, Ordering::AcqRel);
    }

    /// A connection to the node; a new one is sent everything that was unread on the old one.
    fn connect(&mut self, shared: &Shared, place: &Place) -> Result<()> {
        let name = place.to_string();
        let lane = self.lanes.entry(name).or_default();
        if lane.conn.is_some() {
            return Ok(());
        }
        let mut conn = Conn::open(&shared.cluster.endpoint, place)?;
        if let Some(old) = lane.lost {
            // A wait that the server still believes in would take an item for nobody.
            conn.send(
                &cmd("CLIENT")
                    .arg("KILL")
                    .arg("ID")
                    .arg(old)
                    .get_packed_command(),
            )?;
            conn.read(soon())
                .map_err(|_| Error::Unreachable("the store does not answer".into()))?;
            lane.lost = None;
        }
        for request in &lane.unread {
            let packed = request.pack(&self.caller);
            shared.cluster.count(|c| &c.commands, 1);
            conn.send(&packed)?;
        }
        lane.conn = Some(conn);
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

    /// The connection of a lane that is known to have one.
    fn conn(&mut self, name: &str) -> &mut Conn {
        let lane = self.lanes.get_mut(name);
        lane.and_then(|l| l.conn.as_mut())
            .expect("connected before")
    }

    fn drop_conn(&mut self, name: &str) {
        if let Some(lane) = self.lanes.get_mut(name) {
            lane.lost = lane.conn.take().map(|c| c.id).or(lane.lost);
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
        match conn.read(soon()) {
            Ok(value) => drop(checked(value)?),
            Err(_) => return Err(Error::Unreachable("the store does not answer".into())),
        }
    }
    Ok(())
}

/// For a reply that comes at once and must not be missed, whatever signal arrives.
fn soon() -> Until<'static> {
    Until {
        deadline: Some(Instant::now() + CONNECT),
        deaf: true,
        ..Until::default()
    }
}
