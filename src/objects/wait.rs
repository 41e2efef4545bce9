//! Waiting for a token: how a lock, an event, a condition or a barrier wakes a process.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::protocol::{self, GONE};
use crate::store::client::Client;
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::request::{Slot, bytes, is_on_its_way};
use crate::store::scripts::{self, Script};
use crate::store::thread_client::Outcome;
use redis::Value;

/// How a wait for a token ended.
pub enum Waited {
    Token(Vec<u8>),
    Timeout,
    /// Something was raised while waiting. A token that had come has gone where it is of use.
    Stopped(Error),
}

/// A kind of wait: how a waiter leaves its queue, and what becomes of a token that came too late.
pub struct WaitKind {
    cancel: &'static Script,
    pub late: &'static str,
}

pub static FOR_UNIT: WaitKind = WaitKind {
    cancel: &scripts::CANCEL,
    late: protocol::LATE_UNIT,
};
pub static FOR_NOTIFICATION: WaitKind = WaitKind {
    cancel: &scripts::CANCEL,
    late: protocol::LATE_NOTIFICATION,
};
pub static FOR_NEWS: WaitKind = WaitKind {
    cancel: &scripts::CANCEL,
    late: protocol::LATE_NEWS,
};
pub static FOR_ITEM: WaitKind = WaitKind {
    cancel: &scripts::CANCEL,
    late: protocol::LATE_ITEM,
};
pub static FOR_PARTIES: WaitKind = WaitKind {
    cancel: &scripts::BARRIER_CANCEL,
    late: protocol::LATE_NEWS,
};

/// Takes a waiter out of its queue: now, or when the store answers again. Until then it would be handed a token.
pub fn cancel_wait(client: &Client, object: &str, waiter: &str, kind: &'static WaitKind) {
    let cancel = client.script(kind.cancel, object);
    cancel.arg(waiter).arg(kind.late).when_possible();
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

/// Whether the time of a wait is over.
pub fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
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

/// A script's reply; where it says that a token will come, that token. None when the time is over first.
pub fn reply_or_token(
    client: &Client,
    object: &str,
    reply: Vec<u8>,
    until: Until<'_>,
    kind: &'static WaitKind,
) -> Result<Option<Vec<u8>>> {
    let Some(waiter) = protocol::waiter(&reply) else {
        return Ok(Some(reply));
    };
    match token(client, object, waiter, until, kind)? {
        Waited::Token(token) => Ok(Some(token)),
        Waited::Timeout => Ok(None),
        Waited::Stopped(e) => Err(e),
    }
}

/// Waits for the token of a waiter that a script has put into a queue.
pub fn token(
    client: &Client,
    object: &str,
    waiter: &str,
    until: Until<'_>,
    kind: &'static WaitKind,
) -> Result<Waited> {
    // It may be a waiter that gave up which has what this one waits for.
    client.send_owed();
    let base = client.key(object);
    let key = keys::token(&base, waiter);
    loop {
        // A peek: the token stays where it is until it is acknowledged.
        let peek = client.take_head(key.clone(), key.clone(), until.deadline);
        match peek.block(waking(until)) {
            Ok(Outcome::Again) if is_over(until.deadline) => {
                cancel_wait(client, object, waiter, kind);
                return Ok(Waited::Timeout);
            }
            // The store may have no memory for a wait, or the token has gone elsewhere with its slot.
            Ok(Outcome::Again) => {
                let look = client.plain("LINDEX", key.clone()).arg(0);
                match look.by(until.deadline).call() {
                    Ok(Value::BulkString(token)) => {
                        return Ok(acknowledged(client, object, key, waiter, token, kind));
                    }
                    Ok(_) => {}
                    Err(e) => {
                        cancel_wait(client, object, waiter, kind);
                        return Ok(Waited::Stopped(e));
                    }
                }
            }
            Ok(Outcome::Reply(Value::Nil)) => {
                let cancel = client.script(kind.cancel, object);
                return Ok(match cancel.arg(waiter).arg("").bytes_of_reply()? {
                    reply if reply == GONE.as_bytes() => Waited::Timeout,
                    reply => Waited::Token(reply),
                });
            }
            Ok(Outcome::Reply(value)) => {
                return Ok(acknowledged(
                    client,
                    object,
                    key,
                    waiter,
                    bytes(value),
                    kind,
                ));
            }
            Ok(Outcome::Stopped(e, _)) | Err(e) => {
                cancel_wait(client, object, waiter, kind);
                return Ok(Waited::Stopped(e));
            }
        }
    }
}

/// The token was seen, and is no longer needed in the store. What it brought goes where it is of use, if something is raised here.
fn acknowledged(
    client: &Client,
    object: &str,
    key: String,
    waiter: &str,
    token: Vec<u8>,
    kind: &'static WaitKind,
) -> Waited {
    let slot = Slot::default();
    let granted = keys::granted(&client.key(object));
    let done = client
        .plain("DEL", key)
        .post_for(&slot)
        .and_then(|()| client.plain("HDEL", granted).arg(waiter).post());
    match done {
        Ok(()) => Waited::Token(token),
        Err(e) if is_on_its_way(&slot) => {
            if kind.late == FOR_UNIT.late {
                let release = client.script(&scripts::SEM_RELEASE, object);
                release.arg(i32::MAX).arg("").arg(0).when_possible();
            }
            Waited::Stopped(e)
        }
        Err(e) => {
            cancel_wait(client, object, waiter, kind);
            Waited::Stopped(e)
        }
    }
}
