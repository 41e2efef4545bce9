//! One node as a thread sees it: a connection, and the commands on it whose replies are unread.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::Value;

use super::ThreadClient;
use crate::error::{Error, Result};
use crate::kept::Bytes;
use crate::store::conn::{Conn, Ended, Until};
use crate::store::endpoint::NodeAddr;
use crate::store::request::{Names, Refusal, Request, checked, refusal};
use crate::store::retry::Backoff;
use crate::store::shared::Shared;

/// How long a reply may take before signals are checked, and before the store counts as silent.
const PROMPT_REPLY: Duration = Duration::from_millis(900);

/// The reason why a command has no valid reply.
pub enum Failure {
    /// The stream failed before the reply: the command is sent again.
    Stream(Error),
    /// The command did not run, but later ones may have: they are sent again, in order.
    Refused(Refusal, Error),
    Fatal(Error),
}

impl Failure {
    /// The failure to connect. A node may have no memory for the functions.
    pub const fn of_connecting(e: Error) -> Self {
        match e {
            Error::Memory(_) => Self::Refused(Refusal::Full, e),
            e => Self::Stream(e),
        }
    }

    /// Pauses before the next attempt, or gives up.
    pub fn pause(self, backoff: &mut Backoff<'_>) -> Result<()> {
        match self {
            Self::Stream(e) => backoff.after(e),
            Self::Refused(refusal, e) => backoff.refused(refusal, e),
            Self::Fatal(e) => Err(e),
        }
    }
}

#[derive(Default)]
pub struct NodePipeline {
    pub conn: Option<(Conn, Names)>,
    /// The server's id of a connection that broke.
    lost: Option<i64>,
    /// The commands that were sent and whose replies are unread.
    pub unread: VecDeque<Request>,
    pub bytes: usize,
}

impl ThreadClient {
    /// Connects to the node; a new connection is sent everything that was unread on the old one.
    pub(super) fn connect(&mut self, shared: &Shared, place: &NodeAddr) -> Result<()> {
        let name = place.to_string();
        let pipeline = self.pipelines.entry(name).or_default();
        if pipeline.conn.is_some() {
            return Ok(());
        }
        let client = format!("serverless_mp:{}", self.caller);
        let (mut conn, names) = Conn::for_commands(&shared.cluster.endpoint, place, &client)?;
        if let Some(old) = pipeline.lost {
            // A wait that the server still believes in would take an item for nobody.
            conn.kill(old, &client)?;
            pipeline.lost = None;
            // The heartbeat checks whether the store still has the session.
            shared.health.wake();
        }
        for request in &pipeline.unread {
            let packed = request.pack(&names, &self.caller);
            shared.cluster.count(|c| &c.commands, 1);
            conn.send(&packed)?;
        }
        pipeline.conn = Some((conn, names));
        Ok(())
    }

    pub(super) fn read(
        &mut self,
        shared: &Shared,
        name: &str,
    ) -> std::result::Result<Value, Failure> {
        let conn = self.conn(name);
        // A prompt reply is waited for even if a signal arrives: without it nobody would know whether the lock was taken. Only
        // if the store is silent, a signal handler runs first.
        let short = Until {
            deadline: Some(Instant::now() + PROMPT_REPLY),
            defer_signals: true,
            ..Until::default()
        };
        let result = match conn.read(short) {
            Err(Ended::Deadline) => {
                let on_tick = || shared.health.silent(&Error::Unreachable(String::new()));
                conn.read(Until {
                    on_tick: Some(&on_tick),
                    ..Until::default()
                })
            }
            prompt => prompt,
        };
        result.map_err(|ended| match ended {
            Ended::Failed(Error::Io(e)) => Failure::Stream(Error::Io(e)),
            Ended::Failed(e) => Failure::Fatal(e),
            _ => Failure::Stream(Error::Unreachable("the store does not answer".into())),
        })
    }

    /// Reads the replies before the one that the caller wants. After a refusal the rest stays unread.
    pub(super) fn read_unread(
        &mut self,
        shared: &Shared,
        name: &str,
    ) -> std::result::Result<(), Failure> {
        while let Some(request) = self.pipelines[name].unread.front() {
            let waits = request.still_waits_for_memory();
            let value = self.read(shared, name)?;
            let failed = refused(value, waits);
            if let Err(refused @ Failure::Refused(..)) = failed {
                if matches!(refused, Failure::Refused(Refusal::Full, _)) {
                    self.posted.set_full(true);
                    // The heartbeat tries it again.
                    shared.health.wake();
                }
                return Err(refused);
            }
            self.posted.set_full(false);
            let pipeline = self
                .pipelines
                .get_mut(name)
                .expect("it has unread commands");
            let request = pipeline.unread.pop_front().expect("not empty");
            shared.health.answered(request.is_write());
            // Stored first: a thread that sees the command as read finds its reply.
            let failed = match failed {
                Ok(reply) => {
                    request.answered(reply);
                    None
                }
                Err(Failure::Fatal(e)) => {
                    request.answered(Value::Nil);
                    Some(e)
                }
                Err(_) => None,
            };
            pipeline.bytes -= request.size();
            self.posted.were_read(1);
            shared.unread.fetch_sub(1, Ordering::AcqRel);
            if let Some(e) = failed {
                // The command was sent again after it had run, and a later command had deleted the object.
                let has_gone = matches!(e, Error::ObjectGone(_))
                    && pipeline
                        .unread
                        .iter()
                        .any(|later| later.may_end(&request.keys[0]));
                if !has_gone {
                    tracing::warn!(error = %e, key = request.keys[0], "a posted command failed");
                    self.deferred.get_or_insert(e);
                }
                if request.is_numbered() {
                    self.has_failed(&request.keys[0]);
                }
            }
        }
        Ok(())
    }

    /// The connection of a pipeline that is known to have one.
    pub(super) fn conn(&mut self, name: &str) -> &mut Conn {
        let pipeline = self.pipelines.get_mut(name);
        pipeline
            .and_then(|l| l.conn.as_mut())
            .map(|(conn, _)| conn)
            .expect("connected before")
    }

    /// Packs a request for the node of a pipeline that is known to have a connection.
    pub(super) fn pack(&self, name: &str, request: &Request) -> Bytes {
        let (_, names) = self.pipelines[name]
            .conn
            .as_ref()
            .expect("connected before");
        request.pack(names, &self.caller)
    }

    pub(super) fn drop_conn(&mut self, name: &str) {
        if let Some(pipeline) = self.pipelines.get_mut(name) {
            pipeline.lost = pipeline
                .conn
                .take()
                .map(|(conn, _)| conn.id)
                .or(pipeline.lost);
        }
    }
}

/// The reply, if the command has run. If the store's memory is full, a command that still waits for room did not run; any
/// other failed.
pub(super) fn refused(value: Value, waits_for_memory: bool) -> std::result::Result<Value, Failure> {
    let refusal = refusal(&value).filter(|refusal| *refusal != Refusal::Full || waits_for_memory);
    checked(value).map_err(|e| match refusal {
        Some(refusal) => Failure::Refused(refusal, e),
        None => Failure::Fatal(e),
    })
}
