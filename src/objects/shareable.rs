//! What is unknown to the store until it is shared: all of a process, to be shared before it forks.

use std::sync::{Mutex, Weak};

use crate::error::Result;
use crate::locked::Locked;

/// One that is shared before a fork.
pub trait Shareable: Send + Sync {
    fn share(&self) -> Result<()>;
}

/// Those of a process.
#[derive(Default)]
pub struct AllUnshared {
    all: Mutex<Vec<Weak<dyn Shareable>>>,
}

impl AllUnshared {
    pub fn note(&self, one: Weak<dyn Shareable>) {
        let mut all = self.all.locked();
        if all.len() == all.capacity() {
            all.retain(|one| one.strong_count() > 0);
            let count = all.len();
            all.reserve(count + 16);
        }
        all.push(one);
    }

    /// Before a fork, after which the child's objects would be others.
    pub fn share(&self) -> Result<()> {
        let all = std::mem::take(&mut *self.all.locked());
        let held = all.iter().filter_map(Weak::upgrade);
        held.into_iter().try_for_each(|one| one.share())
    }
}
