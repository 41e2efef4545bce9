//! Locks that are held for moments, by code that does not panic.

use std::sync::{Mutex, MutexGuard};

pub trait Locked<T> {
    /// The guard. A poisoned lock is a bug of ours, and ends what meets it.
    fn locked(&self) -> MutexGuard<'_, T>;
}

impl<T> Locked<T> for Mutex<T> {
    fn locked(&self) -> MutexGuard<'_, T> {
        self.lock().expect("no panic under this lock")
    }
}
