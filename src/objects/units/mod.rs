//! The units of a semaphore, or the one of a lock: in this process until it is shared, then in the store.

mod loan;

use std::iter;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use loan::Loan;
use redis::Value;

use crate::error::{Error, Result};
use crate::objects::futex::{Futex, MOMENT, WaitResult};
use crate::objects::handle::Handle;
use crate::objects::shareable::Shareable;
use crate::objects::unshared::Unshared;
use crate::objects::wait;
use crate::protocol::{Grant, OK, Reply, waiter};
use crate::signals;
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;

pub struct Units {
    object: Unshared,
    here: Futex,
    most: u32,
    /// Whether the unit comes back when the process that has it dies.
    is_robust: bool,
    loan: Loan,
}

/// How long a caller that would not wait waits to learn whether a lock that is lent is held, and how long a release waits between
/// two attempts.
const RECALL_TIMEOUT: Duration = Duration::from_secs(1);
const RECALL_PAUSE: Duration = Duration::from_millis(1);

/// Whether a unit was taken, or given back.
pub enum Done {
    Yes,
    No,
    /// The units are in the store.
    InStore,
}

pub fn too_many() -> Error {
    Error::Value("semaphore or lock released too many times".into())
}

impl Units {
    /// Makes `value` units, of which there may be `most`; `beside` names an object whose slot of a cluster they share. A lock that
    /// `is_robust` is free again when its holder dies.
    pub fn new(value: u32, most: u32, beside: Option<&str>, is_robust: bool) -> Result<Arc<Self>> {
        let units = Arc::new(Self {
            object: Unshared::new(beside)?,
            here: Futex::of_this_process(value),
            most,
            is_robust: is_robust && most == 1,
            loan: Loan::default(),
        });
        let one: Arc<dyn Shareable> = units.clone();
        units.object.process.unshared.note(Arc::downgrade(&one));
        Ok(units)
    }

    /// The units of a semaphore that is shared.
    pub fn attach(id: String, most: u32) -> Result<Arc<Self>> {
        let object = Unshared::attach(id)?;
        let here = Futex::of_this_process(0);
        let _ = here.leave();
        Ok(Arc::new(Self {
            object,
            here,
            most,
            is_robust: false, // the store knows
            loan: Loan::default(),
        }))
    }

    pub fn id(&self) -> &str {
        &self.object.id
    }

    /// The handle on the units in the store; moves them there if they are still here. The GIL must not be held.
    pub fn in_store(&self) -> Result<&Handle> {
        self.object.shared_by(|| {
            // From now on, a thread that finds no units here waits until they are in the store.
            let value = self.here.leave().unwrap_or(0);
            let (process, id) = (self.object.process, self.object.id.clone());
            // If it is taken, it was taken here.
            let holder = self
                .is_robust
                .then_some((keys::TAKEN_BY, process.id.clone()));
            let fields = iter::once((keys::VALUE, value.to_string())).chain(holder);
            let made = Handle::create(process, id, &fields.collect::<Vec<_>>());
            if made.is_err() {
                self.here.set(value);
            }
            self.here.wake_all();
            made
        })
    }

    /// Takes a unit if one is here, without waiting.
    pub fn take_now(&self) -> bool {
        let is_taken = self.here.try_take();
        if is_taken {
            self.used();
        }
        is_taken
    }

    /// Takes a unit; waits for it until a deadline.
    pub fn take(&self, block: bool, deadline: Option<Instant>) -> Result<Done> {
        let patience = Instant::now();
        loop {
            if self.take_now() {
                return Ok(Done::Yes);
            }
            if self.here.is_gone() {
                return Ok(Done::InStore);
            }
            if !block {
                if self.here.is_aside() && patience.elapsed() < RECALL_TIMEOUT {
                    thread::sleep(MOMENT);
                    signals::check()?;
                    continue;
                }
                return Ok(Done::No);
            }
            match self.here.take(deadline)? {
                WaitResult::Taken => {
                    self.used();
                    return Ok(Done::Yes);
                }
                WaitResult::TimedOut => return Ok(Done::No),
                WaitResult::Gone => return Ok(Done::InStore),
                WaitResult::Interrupted => signals::check()?,
            }
        }
    }

    /// Gives a unit back, if the units are here and not lent by the store. It never waits.
    pub fn give_now(&self) -> bool {
        !self.is_lent() && self.here.give(self.most)
    }

    /// Gives a unit back, unless there are as many as there may be. A raised exception does not prevent that.
    pub fn give(&self) -> (Done, Result<()>) {
        let published = if self.is_lent() {
            self.before_release()
        } else {
            Ok(())
        };
        let done = if self.here.give(self.most) {
            Done::Yes
        } else if self.here.is_gone() {
            Done::InStore
        } else {
            Done::No
        };
        (done, published)
    }

    /// Takes one unit from the store, which has the units or gets them now; false if the time is over. The lock may be lent to
    /// this process if it `may_borrow`.
    pub fn take_from_store(
        self: &Arc<Self>,
        block: bool,
        until: Until<'_>,
        may_borrow: bool,
    ) -> Result<bool> {
        let handle = self.in_store()?;
        let (process, id) = (handle.current_process()?, &handle.id);
        let loan = self.wanted_loan().filter(|_| may_borrow);
        let script = process.script(&scripts::SEM_ACQUIRE, id);
        let sent = process.memory.sent();
        let reply = script
            .arg(block)
            .arg(process.memory.changes(id))
            .arg(loan.map(|number| number.to_string()).unwrap_or_default())
            .by(until.deadline)
            .or_undo(wait::FOR_UNIT.late)
            .bytes_of_reply()?;
        if reply.is_empty() {
            return Ok(false);
        }
        if waiter(&reply).is_some() {
            self.loan.has_waited();
        }
        let until = if block {
            until
        } else {
            wait::by(Some(Instant::now() + RECALL_TIMEOUT))
        };
        let token = wait::reply_or_token(process, id, reply, until, &wait::FOR_UNIT)?;
        let Some(token) = token else {
            return Ok(false);
        };
        let Some(grant) = Grant::decode(&token)? else {
            return Ok(false);
        };
        if let Err(e) = process.memory.granted(process, id, &grant, sent) {
            // The caller does not have it.
            self.give_to_store(false).1?;
            return Err(e);
        }
        if grant.is_lent
            && let Some(number) = loan
        {
            self.begin_loan(process, number);
        }
        Ok(true)
    }

    /// Gives one unit to the store. It does not wait if this process holds one: then the count cannot exceed the maximum. Also
    /// returns whether the unit is on its way, even if a signal handler has raised.
    pub fn give_to_store(&self, is_held: bool) -> (bool, Result<()>) {
        self.give_after(is_held, None)
    }

    /// The same; `before_parts` as in `Memory::release`.
    fn give_after(&self, is_held: bool, before_parts: Option<&dyn Fn()>) -> (bool, Result<()>) {
        let handle = self.in_store();
        let (process, id) = match handle.and_then(|h| Ok((h.current_process()?, &h.id))) {
            Ok(found) => found,
            Err(e) => return (false, Err(e)),
        };
        loop {
            let script = process.script(&scripts::SEM_RELEASE, id).arg(self.most);
            let memory = &process.memory;
            let (is_sent, reply) = memory.release(process, id, script, is_held, before_parts);
            let reply = match reply {
                Ok(reply) => reply.unwrap_or_default(),
                Err(e) => return (is_sent, Err(e)),
            };
            match Reply::decode(reply.split(' ').next().unwrap_or(OK)) {
                Ok(Reply::Over) => return (is_sent, Err(too_many())),
                // Another process holds it, or will give it back.
                Ok(Reply::Lent(_)) => thread::sleep(RECALL_PAUSE),
                _ => return (is_sent, Ok(())),
            }
            if let Err(e) = signals::check() {
                return (false, Err(e));
            }
        }
    }

    /// The number of units; None if they are in the store.
    pub fn value(&self) -> Option<u32> {
        let value = self.here.value();
        (!self.here.is_gone()).then_some(value)
    }

    /// The number of units in the store. A lock that is lent to another process is recalled first.
    pub fn value_in_store(self: &Arc<Self>) -> Result<i64> {
        let handle = self.in_store()?;
        let process = handle.current_process()?;
        let ask = || {
            let fields = process.plain("HMGET", process.key(&handle.id));
            let question = fields.arg(keys::VALUE).arg(keys::LENT_TO);
            let found = process.memory.ask(process, vec![question])?;
            let Some(Value::Array(fields)) = found.first() else {
                return Ok((String::new(), false));
            };
            let is_lent = fields.get(1).is_some_and(|lent_to| *lent_to != Value::Nil);
            Ok::<_, Error>((fields.first().map(text).unwrap_or_default(), is_lent))
        };
        let (mut value, is_lent) = ask()?;
        if is_lent {
            let script = process.script(&scripts::SEM_ACQUIRE, &handle.id);
            let script = script.arg("?").arg("").arg("").or_undo(wait::FOR_UNIT.late);
            let reply = script.bytes_of_reply()?;
            let until = wait::by(Some(Instant::now() + RECALL_TIMEOUT));
            wait::reply_or_token(process, &handle.id, reply, until, &wait::FOR_UNIT)?;
            (value, _) = ask()?;
        }
        let gone = || Error::ObjectGone(format!("semaphore {}", handle.id));
        value.parse().map_err(|_| gone())
    }
}

impl Shareable for Units {
    fn share(&self) -> Result<()> {
        self.in_store().map(drop)
    }
}
