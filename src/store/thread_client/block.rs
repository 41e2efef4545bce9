//! A blocking command: a wait without a time limit, which signals, a descriptor or a deadline may end.

use redis::{Value, cmd};

use super::ThreadClient;
use super::pipeline::{self, Failure};
use crate::error::{Error, Result};
use crate::store::conn::{Conn, Ended, TICK, Until};
use crate::store::request::{Refusal, Request};
use crate::store::retry::Backoff;
use crate::store::shared::Shared;

/// How a wait ended.
pub enum Outcome {
    Reply(Value),
    /// The connection was renewed: the caller must first look for what the lost one may have taken.
    Again,
    /// Something other than the reply ended the wait; the value is the reply, if it came nevertheless.
    Stopped(Error, Value),
}

impl ThreadClient {
    /// Sends a blocking command. Only its reply, or what `until` names, ends the wait.
    pub fn block(
        &mut self,
        shared: &Shared,
        request: &Request,
        until: Until<'_>,
    ) -> Result<Outcome> {
        let place = self.settled_place(shared, &request.keys[0])?;
        let name = place.to_string();
        if let Err(e) = self.connect(shared, &place) {
            self.drop_conn(&name);
            Failure::of_connecting(e).pause(&mut Backoff::new(&shared.health))?;
            return Ok(Outcome::Again);
        }
        let packed = self.pack(&name, request);
        shared.cluster.count(|c| &c.commands, 1);
        shared.cluster.count(|c| &c.round_trips, 1);
        let conn = self.conn(&name);
        if conn.send(&packed).is_err() {
            self.drop_conn(&name);
            return Ok(Outcome::Again);
        }
        match self.read_unread(shared, &name) {
            // While this thread waits, nobody else would tell the others.
            Ok(()) => self.posted.notify(),
            Err(failure) => {
                self.drop_conn(&name);
                return self
                    .pause(shared, failure, &mut Backoff::new(&shared.health))
                    .map(|()| Outcome::Again);
            }
        }
        let conn = self.conn(&name);
        let ended = match conn.read(until) {
            Ok(value) => match pipeline::refused(value, request.still_waits_for_memory()) {
                Ok(value) => {
                    shared.health.answered(request.is_write());
                    return Ok(Outcome::Reply(value));
                }
                Err(Failure::Fatal(e)) => return Err(e),
                Err(failure) => {
                    if !matches!(
                        failure,
                        Failure::Refused(Refusal::Elsewhere | Refusal::Full, _)
                    ) {
                        self.drop_conn(&name);
                    }
                    self.pause(shared, failure, &mut Backoff::new(&shared.health))?;
                    std::thread::sleep(TICK / 2);
                    return Ok(Outcome::Again);
                }
            },
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
        // The server is told to end the wait; its reply says whether an item came before.
        let id = conn.id;
        let ask = cmd("CLIENT").arg("UNBLOCK").arg(id).get_packed_command();
        let told = Conn::open(&shared.cluster.endpoint, &place).is_ok_and(|mut other| {
            other.send(&ask).is_ok() && matches!(other.read(Until::prompt()), Ok(Value::Int(_)))
        });
        let conn = self.conn(&name);
        if let Ok(value) = if told {
            conn.read(Until::prompt())
        } else {
            Err(Ended::Deadline)
        } {
            Ok(Outcome::Stopped(reason, value))
        } else {
            self.drop_conn(&name);
            Ok(Outcome::Stopped(reason, Value::Nil))
        }
    }
}
