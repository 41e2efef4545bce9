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
    /// Something was raised during the wait. A token that had come was passed on.
    Stopped(Error),
}

/// A kind of wait: how a waiter leaves its queue, and what happens to a token that came too late.
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

/// Removes a waiter from its queue, now or when the store answers again. Until then a token may be given to it.
pub fn cancel_wait(client: &Client, object: &str, waiter: &str, kind: &'static WaitKind) {
    let cancel = client.script(kind.cancel, object);
    cancel.arg(waiter).arg(kind.late).when_possible();
}

/// The moment at which a time-out in seconds is over. A negative time-out is over now.
pub fn deadline(timeout: Option<f64>) -> Result<Option<Instant>> {
    if timeout.is_some_and(f64::is_nan) {
        return Err(Error::Value("cannot convert float NaN to integer".into()));
    }
    // A year stands for infinity, which the clock cannot add.
    Ok(timeout.map(|t| Instant::now() + Duration::from_secs_f64(t.clamp(0.0, 3e7))))
}

/// The same for what is a semaphore in `CPython`: the error is that of the system.
pub fn sem_deadline(timeout: Option<f64>) -> Result<Option<Instant>> {
    deadline(timeout).map_err(|_| Error::Invalid("Invalid argument".into()))
}

/// Whether the time of a wait is over.
pub fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// A wait that ends at a deadline.
pub fn by(deadline: Option<Instant>) -> Until<'static> {
    Until {
        deadline,
        ..Until::default()
    }
}

/// A wait without its deadline, which the server watches.
pub const fn waking(until: Until<'_>) -> Until<'_> {
    Until {
        deadline: None,
        ..until
    }
}

/// The reply of a script; if it says that a token will come, that token. None if the time is over first.
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

/// Waits for the token of a waiter that a script has queued.
pub fn token(
    client: &Client,
    object: &str,
    waiter: &str,
    until: Until<'_>,
    kind: &'static WaitKind,
) -> Result<Waited> {
    // A waiter that gave up may hold what this one waits for.
    client.send_owed();
    let base = client.key(object);
    let key = keys::token(&base, waiter);
    loop {
        // This peeks: the token stays until it is acknowledged.
        let peek = client.take_head(key.clone(), key.clone(), until.deadline);
        match peek.block(waking(until)) {
            Ok(Outcome::Again) if is_over(until.deadline) => {
                cancel_wait(client, object, waiter, kind);
                return Ok(Waited::Timeout);
            }
            // The store may have no memory for a blocked client, or the token has moved with its slot.
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

/// Acknowledges a token, which the store then no longer needs. If something is raised here, the token is passed on.
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
            if kind.late == FOR_UNIT.late && token != protocol::NO.as_bytes() {
                let release = client.script(&scripts::SEM_RELEASE, object);
                let release = release.arg(i32::MAX).arg("").arg(0).arg(true);
                release.when_possible();
            }
            Waited::Stopped(e)
        }
        Err(e) => {
            cancel_wait(client, object, waiter, kind);
            Waited::Stopped(e)
        }
    }
}
