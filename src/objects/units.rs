//! The units of a semaphore, or the one of a lock: in this process until it is shared, then in the store.

use std::sync::Arc;
use std::time::Instant;

use crate::error::Result;
use crate::objects::futex::{Futex, WaitResult};
use crate::objects::handle::Handle;
use crate::objects::shareable::Shareable;
use crate::objects::unshared::Unshared;
use crate::signals;
use crate::store::keys;

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

    /// The number of units; None if they are in the store.
    pub fn value(&self) -> Option<u32> {
        let value = self.here.value();
        (!self.here.is_gone()).then_some(value)
    }
}

impl Shareable for Units {
    fn share(&self) -> Result<()> {
        self.in_store().map(drop)
    }
}
