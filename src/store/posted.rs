//! The progress of one thread's posted commands, as other threads see it.
//!
//! There is no order between two connections: before a thread sends anything, all commands that other threads have posted must
//! have been answered. Each thread's commands are counted, so that a thread that goes on to post does not delay the others.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::error::Result;
use crate::locked::{Locked, Sound};
use crate::store::conn::TICK;

#[derive(Default)]
pub struct Posted {
    sent: AtomicU64,
    /// How many commands' replies were read.
    read: AtomicU64,
    /// Whether the store has no memory for the commands: other threads do not wait for them, since they may have to make room.
    is_full: AtomicBool,
    /// How many threads wait for replies to be read.
    waiting: AtomicUsize,
    /// How often the waiting threads were told that something has changed.
    changes: Mutex<u64>,
    changed: Condvar,
}

impl Posted {
    pub fn add(&self) {
        self.sent.fetch_add(1, Ordering::AcqRel);
    }

    /// Wakes the sleeping threads when all replies were read: the owner may go on to wait for something else.
    pub fn were_read(&self, n: usize) {
        let n = n as u64;
        let read = self.read.fetch_add(n, Ordering::SeqCst) + n;
        if read >= self.count() {
            self.notify();
        }
    }

    /// How many commands were posted so far.
    pub fn count(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// How many commands have no reply yet.
    pub fn unread(&self) -> usize {
        let read = self.read.load(Ordering::Acquire);
        usize::try_from(self.count().saturating_sub(read)).unwrap_or(usize::MAX)
    }

    pub fn is_unread(&self) -> bool {
        self.unread() > 0
    }

    pub fn is_read_up_to(&self, count: u64) -> bool {
        self.read.load(Ordering::SeqCst) >= count
    }

    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    pub fn set_full(&self, is_full: bool) {
        if self.is_full.swap(is_full, Ordering::SeqCst) != is_full {
            self.notify();
        }
    }

    /// Whether another thread sleeps until replies are read.
    pub fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Wakes the sleeping threads: replies were read, or the client is free.
    pub fn notify(&self) {
        if self.is_awaited() {
            *self.changes() += 1;
            self.changed.notify_all();
        }
    }

    /// Sleeps until `count` replies were read, or until `look` returns true, which is called after each change.
    pub fn wait(&self, count: u64, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
        self.wait_for(|| Ok(self.is_read_up_to(count) || self.is_full() || look()?))
    }

    /// Sleeps until `look` returns true, which is called first and after each change.
    pub fn wait_for(&self, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
        if look()? {
            return Ok(());
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let result = self.sleep(&mut look);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn sleep(&self, look: &mut impl FnMut() -> Result<bool>) -> Result<()> {
        loop {
            let before = *self.changes();
            if look()? {
                return Ok(());
            }
            let changes = self.changes();
            // A change since the look is seen here.
            let sleep = self
                .changed
                .wait_timeout_while(changes, TICK, |now| *now == before);
            drop(sleep.sound());
        }
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.locked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn counts() {
        let posted = Posted::default();
        posted.add();
        posted.add();
        posted.were_read(1);
        assert_eq!((posted.count(), posted.unread()), (2, 1));
        assert!(posted.is_read_up_to(1) && !posted.is_read_up_to(2));
    }

    #[test]
    fn who_waits_sleeps_until_replies_were_read() {
        let posted = Arc::new(Posted::default());
        posted.add();
        let other = posted.clone();
        let waiter = std::thread::spawn(move || other.wait(1, || Ok(false)));
        while !posted.is_awaited() {
            std::thread::yield_now();
        }
        posted.were_read(1);
        waiter.join().unwrap().unwrap();
        assert_eq!(*posted.changes(), 1); // it was told, and did not only look again
    }

    #[test]
    fn what_the_look_raises_ends_the_wait() {
        let posted = Posted::default();
        posted.add();
        assert!(posted.wait(1, || Err(crate::error::Error::Eof)).is_err());
        assert!(!posted.is_awaited());
    }
}
