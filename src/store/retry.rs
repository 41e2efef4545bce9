//! Retries of a command while the store does not answer: with pauses, until the session is over.

use std::time::Duration;

use redis::Value;

use crate::error::{Error, Result};
use crate::store::conn::TICK;
use crate::store::health::Health;
use crate::store::request::{Request, checked};

/// A request that may be sent again, for a time.
pub struct Repeat<'a> {
    first: &'a Request,
    again: Option<Request>,
    backoff: Backoff<'a>,
}

impl<'a> Repeat<'a> {
    pub const fn new(health: &'a Health, first: &'a Request) -> Self {
        Self {
            first,
            again: None,
            backoff: Backoff::new(health),
        }
    }

    pub fn get(&self) -> &Request {
        self.again.as_ref().unwrap_or(self.first)
    }

    /// It did not run, and later ones may have: it takes its place after them.
    pub fn renew_seq(&mut self, seq: u64) {
        let old = self.get();
        let (script, keys, args) = (old.script, old.keys.clone(), old.args.clone());
        self.again = Some(Request {
            script,
            keys,
            args,
            seq,
        });
    }

    pub fn pause(&mut self, value: &Value) -> Result<()> {
        let text = checked(value.clone())
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        self.backoff.after(Error::Store(text))
    }

    pub fn after(&mut self, e: Error) -> Result<()> {
        self.backoff.after(e)
    }
}

/// The pauses between the tries of one command.
pub struct Backoff<'a> {
    health: &'a Health,
    pause: Duration,
}

impl<'a> Backoff<'a> {
    pub const fn new(health: &'a Health) -> Self {
        Self {
            health,
            pause: Duration::from_millis(1),
        }
    }

    /// Waits a little before the next try, or gives up with the error.
    pub fn after(&mut self, e: Error) -> Result<()> {
        if !matches!(e, Error::Io(_) | Error::Unreachable(_) | Error::Store(_)) {
            return Err(e);
        }
        if let Err(lost) = self.health.silent() {
            return Err(match e {
                Error::Store(_) => e,
                _ => lost,
            });
        }
        tracing::info!(error = %e, pause = ?self.pause, "the store does not answer; it is tried again");
        crate::signals::check()?;
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(TICK);
        Ok(())
    }
}
