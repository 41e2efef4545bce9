//! One node as a thread sees it: a connection, and the commands on it whose replies are unread.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::{Value, cmd};

use super::ThreadClient;
use crate::error::{Error, Result};
use crate::store::conn::{Conn, Ended, Until};
use crate::store::endpoint::NodeAddr;
use crate::store::request::{Request, checked, error_code};
use crate::store::shared::Shared;

/// How long a reply may take before signals are looked at, and before the store counts as silent.
const PROMPT_REPLY: Duration = Duration::from_millis(900);

/// Why a command has no reply.
pub enum Failure {
    /// The stream, before the reply: to be sent again.
    Stream(Error),
    Fatal(Error),
}

#[derive(Default)]
pub struct NodePipeline {
    pub conn: Option<Conn>,
    /// The server's id of a connection that broke.
    lost: Option<i64>,
    /// Sent, reply not read.
    pub unread: VecDeque<Request>,
    pub bytes: usize,
}

impl ThreadClient {
    /// A connection to the node; a new one is sent everything that was unread on the old one.
    pub(super) fn connect(&mut self, shared: &Shared, place: &NodeAddr) -> Result<()> {
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
            conn.read(Until::prompt())
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

    pub(super) fn read(
        &mut self,
        shared: &Shared,
        name: &str,
    ) -> std::result::Result<Value, Failure> {
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
    pub(super) fn read_unread(
        &mut self,
        shared: &Shared,
        name: &str,
    ) -> std::result::Result<(), Failure> {
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

    /// The connection of a pipeline that is known to have one.
    pub(super) fn conn(&mut self, name: &str) -> &mut Conn {
        let pipeline = self.pipelines.get_mut(name);
        pipeline
            .and_then(|l| l.conn.as_mut())
            .expect("connected before")
    }

    pub(super) fn drop_conn(&mut self, name: &str) {
        if let Some(pipeline) = self.pipelines.get_mut(name) {
            pipeline.lost = pipeline.conn.take().map(|c| c.id).or(pipeline.lost);
        }
    }
}
