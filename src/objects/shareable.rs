//! The objects of a process that the store does not know until they are shared; a process shares them before it forks.

use std::sync::{Mutex, Weak};

use crate::error::Result;
use crate::locked::Locked;

/// An object that is shared before a fork.
pub trait Shareable: Send + Sync {
    fn share(&self) -> Result<()>;
}

/// The unshared objects of a process.
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

    /// Shares all objects before a fork; otherwise the child's would be other objects.
    pub fn share(&self) -> Result<()> {
        let all = std::mem::take(&mut *self.all.locked());
        let held = all.iter().filter_map(Weak::upgrade);
        held.into_iter().try_for_each(|one| one.share())
    }
}
