//! The locks that the store has lent to this process, which takes and gives them back without the store.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::locked::Locked;

/// A lock that may be lent to this process.
pub trait Borrower: Send + Sync {
    /// Gives the lock back, or tells the store that it is held: another process wants it.
    fn recall(&self);

    /// Tells the store that the lock is held, if it is: others may learn of it by what this process does next.
    fn declare(&self);

    /// Called every few milliseconds while it is in use: publishes what was written under the lock, and tells the store if it was
    /// held all the time. Returns whether it was in use since the last time.
    fn tick(&self) -> bool;

    /// Whether it is lent and in use, so that what is written is published at its ticks.
    fn is_in_use(&self) -> bool;

    /// Looks whether a recall was missed.
    fn look(&self);

    /// In a child of the program's own `fork()`: the unit is the parent's. Takes no lock, which another thread may have held.
    fn forget(&self);

    /// From now on recalls are heard.
    fn recalls_are_heard(&self);
}

/// The locks that are lent to this process, or were.
#[derive(Default)]
pub struct Loans {
    all: Mutex<Vec<Weak<dyn Borrower>>>,
    count: AtomicUsize,
}

impl Loans {
    /// Enters a lock that is lent from now on.
    pub fn begin(&self, borrower: Weak<dyn Borrower>) {
        let mut all = self.all.locked();
        all.retain(|one| one.strong_count() > 0 && !one.ptr_eq(&borrower));
        all.push(borrower);
        self.count.store(all.len(), Ordering::Release);
    }

    fn all(&self) -> Vec<Arc<dyn Borrower>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        self.all.locked().iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether one of them is lent and in use.
    pub fn are_in_use(&self) -> bool {
        self.all().iter().any(|borrower| borrower.is_in_use())
    }

    /// Before others may learn what this process has done, and before what it has written is looked for: tells the store which of
    /// the locks are held.
    pub fn declare(&self) {
        self.all().iter().for_each(|borrower| borrower.declare());
    }

    /// In a child of the program's own `fork()`: forgets those that another thread has borrowed just before.
    pub fn forget(&self) {
        if let Ok(all) = self.all.try_lock() {
            let borrowers = all.iter().filter_map(Weak::upgrade);
            borrowers.for_each(|borrower| borrower.forget());
        }
    }

    /// Gives all of them back.
    pub fn recall(&self) {
        self.all().iter().for_each(|borrower| borrower.recall());
    }
}
