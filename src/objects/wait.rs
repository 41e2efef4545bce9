//! Waiting for a token: how a lock, an event, a condition or a barrier wakes a process.

use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::session::process::{Args, Process};
use crate::store::cluster::text;
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::link::Outcome;
use crate::store::scripts::{self, Script};
use redis::Value;

/// How a wait for a token ended.
pub enum Waited {
    Token(String),
    Timeout,
    /// Something was raised while waiting. A token that had come has gone where it is of use.
    Stopped(Error),
}

/// A kind of line: how a waiter leaves it, and what becomes of a token that came too late.
pub struct Line {
    cancel: &'static LazyLock<Script>,
    late: &'static str,
}

pub static FOR_UNIT: Line = Line {
    cancel: &scripts::CANCEL,
    late: "unit",
};
pub static FOR_NOTIFICATION: Line = Line {
    cancel: &scripts::CANCEL,
    late: "notification",
};
pub static FOR_NEWS: Line = Line {
    cancel: &scripts::CANCEL,
    late: "news",
};
pub static FOR_PARTIES: Line = Line {
    cancel: &scripts::BARRIER_CANCEL,
    late: "news",
};

/// Waiters that gave up while the store did not answer: they still stand in line, and would be handed a token.
#[derive(Default)]
pub struct Debts(Mutex<Vec<(String, String, &'static Line)>>);

impl Debts {
    /// Takes them out of their lines, now that the store answers.
    pub fn settle(&self, p: &Process) {
        if p.outage.is_on() {
            return;
        }
        let owed = std::mem::take(&mut *self.0.lock().expect("no panic under this lock"));
        for (object, waiter, line) in owed {
            give_up(p, &object, &waiter, line);
        }
    }
}

fn give_up(p: &Process, object: &str, waiter: &str, line: &'static Line) {
    let args = [waiter, line.late].map(str::as_bytes);
    let is_told = !p.outage.is_on()
        && match p.ask(line.cancel, object, &Args(&args)) {
            // An object that is gone has no line.
            Ok(_) | Err(Error::Lost(_)) => true,
            Err(_) => false,
        };
    if !is_told {
        let mut owed = p.debts.0.lock().expect("no panic under this lock");
        owed.push((object.to_owned(), waiter.to_owned(), line));
    }
}

/// A time-out in seconds as the moment when it is over. Negative is over now.
pub fn deadline(timeout: Option<f64>) -> Result<Option<Instant>> {
    if timeout.is_some_and(f64::is_nan) {
        return Err(Error::Value("cannot convert float NaN to integer".into()));
    }
    // A year is "for ever" to the clock, which cannot add infinity.
    Ok(timeout.map(|t| Instant::now() + Duration::from_secs_f64(t.clamp(0.0, 3e7))))
}

/// The same for what is a semaphore in `CPython`, to which the system refuses it.
pub fn sem_deadline(timeout: Option<f64>) -> Result<Option<Instant>> {
    deadline(timeout).map_err(|_| Error::Invalid("Invalid argument".into()))
}

/// The server's own time-out until a deadline: seconds, 0 for ever.
pub fn server_timeout(deadline: Option<Instant>) -> String {
    let left = deadline.map(|d| {
        d.saturating_duration_since(Instant::now())
            .as_secs_f64()
            .max(0.001)
    });
    format!("{:.3}", left.unwrap_or(0.0))
}

/// As a wait that ends at a time.
pub fn by(deadline: Option<Instant>) -> Until<'static> {
    Until {
        deadline,
        ..Until::default()
    }
}

/// The server watches the time.
pub const fn waking(until: Until<'_>) -> Until<'_> {
    Until {
        deadline: None,
        ..until
    }
}

/// Waits for the token of a waiter that a script has put in line.
pub fn token(
    p: &Process,
    object: &str,
    waiter: &str,
    until: Until<'_>,
    line: &'static Line,
) -> Result<Waited> {
    // It may be such a waiter that has what this one waits for.
    p.debts.settle(p);
    let base = p.key(object);
    let key = keys::token(&base, waiter);
    loop {
        let timeout = server_timeout(until.deadline);
        // A peek: the token stays where it is until it is acknowledged.
        let command = Args(&[b"BLMOVE", b"LEFT", b"LEFT", timeout.as_bytes()]);
        match p.block(vec![key.clone(), key.clone()], &command, waking(until)) {
            Ok(Outcome::Again) if until.deadline.is_some_and(|d| d <= Instant::now()) => {
                give_up(p, object, waiter, line);
                return Ok(Waited::Timeout);
            }
            Ok(Outcome::Again) => {}
            Ok(Outcome::Reply(Value::Nil)) => {
                let reply = p.ask(line.cancel, object, &Args(&[waiter.as_bytes(), b""]))?;
                return Ok(if reply == "gone" {
                    Waited::Timeout
                } else {
                    Waited::Token(reply)
                });
            }
            Ok(Outcome::Reply(value)) => {
                p.post_plain(key, &Args(&[b"DEL"]))?;
                p.post_plain(base, &Args(&[b"HDEL", format!("g:{waiter}").as_bytes()]))?;
                return Ok(Waited::Token(text(&value)));
            }
            Ok(Outcome::Stopped(e, _)) | Err(e) => {
                give_up(p, object, waiter, line);
                return Ok(Waited::Stopped(e));
            }
        }
    }
}
