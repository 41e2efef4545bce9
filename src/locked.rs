//! Locks that are held briefly, by code that does not panic.

use std::sync::{Mutex, MutexGuard};

pub trait Locked<T> {
    /// Locks. A poisoned lock is a bug of this crate, and panics.
    fn locked(&self) -> MutexGuard<'_, T>;
}

impl<T> Locked<T> for Mutex<T> {
    fn locked(&self) -> MutexGuard<'_, T> {
        self.lock().expect("no panic under this lock")
    }
}
