//! The bells that a process hears, and whose they are.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use crate::objects::loans::Borrower;
use crate::objects::readiness::{Errands, Watched};

/// What the thread and the others share.
#[derive(Default)]
pub struct Shared {
    pub known: Mutex<Known>,
    /// Whether the thread looks after the locks that are lent.
    pub is_ticking: AtomicBool,
    /// What the thread is told.
    pub errands: OnceLock<Arc<Errands>>,
}

#[derive(Default)]
pub struct Known {
    pub has_thread: bool,
    /// The ends of pipes for which there are descriptors, by their bells; several handles may be on one end.
    pub ends: HashMap<String, Vec<Weak<Watched>>>,
    /// The locks that may be lent, likewise.
    pub locks: HashMap<String, Vec<Weak<dyn Borrower>>>,
    /// Those of them that are not heard yet.
    pub new_locks: Vec<(String, Weak<dyn Borrower>)>,
}

impl Known {
    pub fn all(&self) -> Vec<Arc<Watched>> {
        let ends = self.ends.values().flatten();
        ends.filter_map(Weak::upgrade).collect()
    }

    pub fn borrowers(&self) -> Vec<Arc<dyn Borrower>> {
        let locks = self.locks.values().flatten();
        locks.filter_map(Weak::upgrade).collect()
    }

    /// Forgets the ends whose descriptors are closed, and locks that are gone.
    pub fn tidy(&mut self) {
        self.locks.retain(|_, locks| {
            locks.retain(|lock| lock.strong_count() > 0);
            !locks.is_empty()
        });
        self.ends.retain(|_, ends| {
            ends.retain(|end| end.strong_count() > 0);
            !ends.is_empty()
        });
    }
}
