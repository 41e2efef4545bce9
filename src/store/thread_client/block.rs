//! A blocking command: a wait without a time limit, which signals, a descriptor or a deadline may end.

use std::time::{Duration, Instant};

use redis::{Value, cmd};

use super::ThreadClient;
use super::pipeline::{self, Failure};
use crate::error::{Error, Result};
use crate::store::conn::{Conn, Ended, TICK, Until};
use crate::store::request::{Refusal, Request};
use crate::store::retry::Backoff;
use crate::store::shared::Shared;

/// A server that has nothing to do notices late that the time of a wait is over; it notices when a command comes. So long after
/// that time it is sent one, and again after twice as long.
const NUDGE_AFTER: Duration = Duration::from_millis(1);
const MOST_NUDGES: u32 = 3;

/// How a wait ended.
pub enum Outcome {
    Reply(Value),
    /// The connection was renewed: the caller must first look for what the lost one may have taken.
    Again,
    /// Something other than the reply ended the wait; the value is the reply, if it came nevertheless.
    Stopped(Error, Value),
}

impl ThreadClient {
    /// Sends a blocking command. Only its reply, or what `until` names, ends the wait. `answer_by`: when the server ends it.
    pub fn block(
        &mut self,
        shared: &Shared,
        request: &Request,
        until: Until<'_>,
        answer_by: Option<Instant>,
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
        let (read, nudges) = read_nudging(self.conn(&name), until, answer_by);
        if read.is_ok() {
            self.skip_replies(&name, nudges);
        }
        let ended = match read {
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
        let id = self.conn(&name).id;
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
            self.skip_replies(&name, nudges);
            Ok(Outcome::Stopped(reason, value))
        } else {
            self.drop_conn(&name);
            Ok(Outcome::Stopped(reason, Value::Nil))
        }
    }

    /// Skips replies that nobody wants. What is not read would be taken for the reply to the next command.
    fn skip_replies(&mut self, name: &str, count: u32) {
        let is_read = |_| self.conn(name).read(Until::prompt()).is_ok();
        if !(0..count).all(is_read) {
            self.drop_conn(name);
        }
    }
}

/// Reads the reply of a blocking command. Returns also how many other replies follow it.
fn read_nudging(
    conn: &mut Conn,
    until: Until<'_>,
    answer_by: Option<Instant>,
) -> (std::result::Result<Value, Ended>, u32) {
    let Some(answer_by) = answer_by else {
        return (conn.read(until), 0);
    };
    for nudges in 0..MOST_NUDGES {
        let deadline = Some(answer_by + NUDGE_AFTER * ((2 << nudges) - 1));
        match conn.read(Until { deadline, ..until }) {
            Err(Ended::Deadline) => {}
            ended => return (ended, nudges),
        }
        if let Err(e) = conn.send(&cmd("PING").get_packed_command()) {
            return (Err(Ended::Failed(e.into())), nudges);
        }
    }
    (conn.read(until), MOST_NUDGES)
}
