//! The units of a semaphore, or the one of a lock: in this process until it is shared, then in the store.

use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::objects::futex::{Futex, WaitResult};
use crate::objects::handle::Handle;
use crate::objects::shareable::Shareable;
use crate::objects::unshared::Unshared;
use crate::objects::wait;
use crate::protocol::{Grant, Reply};
use crate::signals;
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::scripts;

pub struct Units {
    object: Unshared,
    here: Futex,
    most: u32,
}

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
    /// Makes `value` units, of which there may be `most`; `beside` names an object whose slot of a cluster they share.
    pub fn new(value: u32, most: u32, beside: Option<&str>) -> Result<Arc<Self>> {
        let units = Arc::new(Self {
            object: Unshared::new(beside)?,
            here: Futex::of_this_process(value),
            most,
        });
        let one: Arc<dyn Shareable> = units.clone();
        units.object.process.unshared.note(Arc::downgrade(&one));
        Ok(units)
    }

    /// The units of a semaphore that is shared.
    pub fn attach(id: String, most: u32) -> Result<Arc<Self>> {
        let object = Unshared::attach(id)?;
        let here = Futex::of_this_process(0);
        here.leave();
        Ok(Arc::new(Self { object, here, most }))
    }

    pub fn id(&self) -> &str {
        &self.object.id
    }

    /// The handle on the units in the store; moves them there if they are still here. The GIL must not be held.
    pub fn in_store(&self) -> Result<&Handle> {
        self.object.shared_by(|| {
            // From now on, a thread that finds no units here waits until they are in the store.
            let value = self.here.leave();
            let (process, id) = (self.object.process, self.object.id.clone());
            let made = Handle::create(process, id, &[(keys::VALUE, value)]);
            if made.is_err() {
                self.here.set(value);
            }
            self.here.wake_all();
            made
        })
    }

    /// Takes a unit if one is here, without waiting.
    pub fn take_now(&self) -> bool {
        self.here.try_take()
    }

    /// Takes a unit; waits for it until a deadline.
    pub fn take(&self, block: bool, deadline: Option<Instant>) -> Result<Done> {
        loop {
            if self.here.try_take() {
                return Ok(Done::Yes);
            }
            if self.here.is_gone() {
                return Ok(Done::InStore);
            }
            if !block {
                return Ok(Done::No);
            }
            match self.here.take(deadline)? {
                WaitResult::Taken => return Ok(Done::Yes),
                WaitResult::TimedOut => return Ok(Done::No),
                WaitResult::Gone => return Ok(Done::InStore),
                WaitResult::Interrupted => signals::check()?,
            }
        }
    }

    /// Gives a unit back, unless there are as many as there may be.
    pub fn give(&self) -> Done {
        if self.here.give(self.most) {
            Done::Yes
        } else if self.here.is_gone() {
            Done::InStore
        } else {
            Done::No
        }
    }

    /// Takes one unit from the store, which has the units or gets them now; false if the time is over.
    pub fn take_from_store(&self, block: bool, until: Until<'_>) -> Result<bool> {
        let handle = self.in_store()?;
        let (process, id) = (handle.current_process()?, &handle.id);
        let script = process.script(&scripts::SEM_ACQUIRE, id);
        let sent = process.memory.sent();
        let reply = script
            .arg(block)
            .arg(process.memory.changes(id))
            .by(until.deadline)
            .or_undo(wait::FOR_UNIT.late)
            .bytes_of_reply()?;
        if reply.is_empty() {
            return Ok(false);
        }
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
        Ok(true)
    }

    /// Gives one unit to the store. It does not wait if this process holds one: then the count cannot exceed the maximum. Also
    /// returns whether the unit is on its way, even if a signal handler has raised.
    pub fn give_to_store(&self, is_held: bool) -> (bool, Result<()>) {
        let handle = self.in_store();
        let (process, id) = match handle.and_then(|h| Ok((h.current_process()?, &h.id))) {
            Ok(found) => found,
            Err(e) => return (false, Err(e)),
        };
        let script = process.script(&scripts::SEM_RELEASE, id).arg(self.most);
        let (is_sent, reply) = process.memory.release(process, id, script, is_held);
        (is_sent, reply.and_then(|reply| given(reply.as_deref())))
    }

    /// The number of units; None if they are in the store.
    pub fn value(&self) -> Option<u32> {
        let value = self.here.value();
        (!self.here.is_gone()).then_some(value)
    }
}

/// An error if the store has refused a unit.
fn given(reply: Option<&str>) -> Result<()> {
    let word = reply.and_then(|reply| reply.split(' ').next());
    match word.map(Reply::decode).transpose()? {
        Some(Reply::Over) => Err(too_many()),
        _ => Ok(()),
    }
}

impl Shareable for Units {
    fn share(&self) -> Result<()> {
        self.in_store().map(drop)
    }
}
