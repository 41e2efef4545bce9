//! Locks that are held briefly, by code that does not panic.

use std::sync::{LockResult, Mutex, MutexGuard};

pub trait Locked<T> {
    /// Locks. A poisoned lock is a bug of this crate, and panics.
    fn locked(&self) -> MutexGuard<'_, T>;
}

impl<T> Locked<T> for Mutex<T> {
    fn locked(&self) -> MutexGuard<'_, T> {
        self.lock().sound()
    }
}

pub trait Sound<T> {
    /// What a lock, or a wait with one, returned. A poisoned lock is a bug of this crate, and panics.
    fn sound(self) -> T;
}

impl<T> Sound<T> for LockResult<T> {
    fn sound(self) -> T {
        self.expect("no panic under this lock")
    }
}
