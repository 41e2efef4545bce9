//! What is sent again to a store that does not answer, and for how long: until its session's lease is over.
//!
//! An outage is the process', whichever thread meets it: it begins with the first failure, ends with the first reply, is
//! told after some seconds, and when it has lasted as long as the lease the session is lost for all threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::Value;

use crate::error::{Error, Result};
use crate::session::process::Process;
use crate::store::conn::TICK;
use crate::store::endpoint::VARIABLE;
use crate::store::link::{Request, checked};

/// From when on an outage is told.
const TOLD_AFTER: Duration = Duration::from_secs(5);

/// A request that may be sent again, for a time.
pub struct Repeat<'a> {
    first: &'a Request,
    again: Option<Request>,
    patience: Patience<'a>,
}

impl<'a> Repeat<'a> {
    pub const fn new(p: &'a Process, first: &'a Request) -> Self {
        Self {
            first,
            again: None,
            patience: Patience::new(p),
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

/// The pauses between the tries of one command.
pub struct Patience<'a> {
    process: &'a Process,
    pause: Duration,
}

impl<'a> Patience<'a> {
    pub const fn new(process: &'a Process) -> Self {
        Self {
            process,
            pause: Duration::from_millis(1),
        }
    }

    /// Waits a little before the next try, or gives up with the error.
    pub fn after(&mut self, e: Error) -> Result<()> {
        if !matches!(e, Error::Io(_) | Error::Unreachable(_) | Error::Store(_)) {
            return Err(e);
        }
        if let Err(lost) = self.process.outage.goes_on(self.process) {
            return Err(match e {
                Error::Store(_) => e,
                _ => lost,
            });
        }
        crate::signals::check()?;
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(TICK);
        Ok(())
    }
}

/// The time since the store has answered, while it does not.
#[derive(Default)]
pub struct Outage {
    is_on: AtomicBool,
    since: Mutex<Option<Since>>,
}

struct Since {
    begin: Instant,
    is_told: bool,
}

impl Outage {
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// The store has answered.
    pub fn ends(&self) {
        if self.is_on.swap(false, Ordering::AcqRel) {
            *self.since.lock().expect("no panic under this lock") = None;
        }
    }

    /// The store has not answered. An error once it has not for as long as the session's lease.
    pub fn goes_on(&self, p: &Process) -> Result<()> {
        p.healthy()?;
        let mut since = self.since.lock().expect("no panic under this lock");
        self.is_on.store(true, Ordering::Release);
        let since = since.get_or_insert_with(|| Since {
            begin: Instant::now(),
            is_told: false,
        });
        let (lasts, limit) = (since.begin.elapsed(), p.patience());
        if lasts >= limit || p.store.is_gone() {
            p.set_lost("the store does not answer");
            return p.healthy();
        }
        // One for the program: its workers wait as it does.
        if lasts >= TOLD_AFTER && !since.is_told && p.session.parent.is_none() {
            since.is_told = true;
            eprintln!(
                "serverless_mp: the store at {} ({VARIABLE}) has not answered for {} s; waiting for it, for {} s in all",
                p.store.endpoint.first[0],
                lasts.as_secs(),
                limit.as_secs(),
            );
        }
        Ok(())
    }
}
