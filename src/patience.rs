//! How long a store that cannot be reached is tried, and what is sent to it again.

use std::time::{Duration, Instant};

use redis::Value;

use crate::conn::TICK;
use crate::endpoint::{CONNECT, VARIABLE};
use crate::error::{Error, Result};
use crate::link::{Request, checked};
use crate::process::Process;

/// A request that may be sent again, for a time.
pub struct Repeat<'a> {
    first: &'a Request,
    again: Option<Request>,
    patience: Patience,
}

impl<'a> Repeat<'a> {
    pub fn new(first: &'a Request) -> Self {
        Self {
            first,
            again: None,
            patience: Patience::new(),
        }
    }

    pub fn get(&self) -> &Request {
        self.again.as_ref().unwrap_or(self.first)
    }

    /// It did not run, and later ones may have: it takes its place after them.
    pub fn renumber(&mut self, p: &Process) {
        let old = self.get();
        let (script, keys, args) = (old.script, old.keys.clone(), old.args.clone());
        self.again = Some(Request {
            script,
            keys,
            args,
            number: p.next_number(),
        });
    }

    pub fn pause(&mut self, value: &Value) -> Result<()> {
        let text = checked(value.clone())
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        self.patience.after(Error::Store(text))
    }

    pub fn after(&mut self, e: Error) -> Result<()> {
        self.patience.after(e)
    }
}

/// Bounds how long a store that cannot be reached is tried.
pub struct Patience {
    until: Option<Instant>,
    pause: Duration,
}

impl Patience {
    pub const fn new() -> Self {
        Self {
            until: None,
            pause: Duration::from_millis(1),
        }
    }

    /// Waits a little before the next try, or gives up with the error.
    pub fn after(&mut self, e: Error) -> Result<()> {
        if !matches!(e, Error::Io(_) | Error::Unreachable(_) | Error::Store(_)) {
            return Err(e);
        }
        let until = *self.until.get_or_insert_with(|| Instant::now() + CONNECT);
        if Instant::now() > until {
            return Err(match e {
                Error::Io(e) => {
                    Error::Unreachable(format!("the store does not answer ({VARIABLE}): {e}"))
                }
                e => e,
            });
        }
        crate::signals::check()?;
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(TICK);
        Ok(())
    }
}
