//! A semaphore in memory, of one process or shared by processes of one machine: a word on which the kernel lets them wait.

#![allow(
    unsafe_code,
    reason = "memory that other processes change, and futex(2)"
)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// The size of a mapping, and of the file below it, in bytes.
pub const SIZE: usize = 4096;

/// The beginning of the mapping.
#[repr(C)]
struct Words {
    value: AtomicU32,
    /// How many threads wait, or are about to.
    waiters: AtomicU32,
}

/// A semaphore's memory. Forks share a mapping.
pub struct Futex {
    words: NonNull<Words>,
    is_mapped: bool,
}

/// The value of a semaphore whose units are elsewhere. No semaphore may have as many.
const GONE: u32 = u32::MAX;
/// The value of one whose only unit is set aside for a moment: it is there, and cannot be taken.
const ASIDE: u32 = u32::MAX - 1;

// SAFETY: the pointer is to atomics, which live as long as this.
unsafe impl Send for Futex {}
// SAFETY: the same.
unsafe impl Sync for Futex {}

/// How long a thread waits for a unit that is set aside before it looks again.
pub const MOMENT: Duration = Duration::from_micros(50);

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub enum WaitResult {
    Taken,
    TimedOut,
    /// A signal may have arrived.
    Interrupted,
    /// The units are elsewhere.
    Gone,
}

impl Futex {
    /// Makes a semaphore of this process alone.
    pub fn of_this_process(value: u32) -> Self {
        let words = Box::new(Words {
            value: AtomicU32::new(value),
            waiters: AtomicU32::new(0),
        });
        Self {
            words: NonNull::from(Box::leak(words)),
            is_mapped: false,
        }
    }

    /// Makes a semaphore that only this process' forks share; its value is 0.
    pub fn anonymous() -> io::Result<Self> {
        // SAFETY: a new mapping at a place of the kernel's choice.
        let address = unsafe { mmap_anonymous(None, LENGTH, PROTECTION, MapFlags::MAP_SHARED)? };
        Ok(Self {
            words: address.cast(),
            is_mapped: true,
        })
    }

    /// Makes a semaphore that is shared by all that map this file, which has at least `SIZE` bytes.
    pub fn of_file(file: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: as above.
        let address = unsafe { mmap(None, LENGTH, PROTECTION, MapFlags::MAP_SHARED, file, 0)? };
        Ok(Self {
            words: address.cast(),
            is_mapped: true,
        })
    }

    const fn words(&self) -> &Words {
        // SAFETY: the words exist until the drop, are aligned, and are valid with any bytes.
        unsafe { self.words.as_ref() }
    }

    pub fn address(&self) -> usize {
        self.words.as_ptr() as usize
    }

    pub fn value(&self) -> u32 {
        match self.words().value.load(SeqCst) {
            ASIDE => 1,
            value => value,
        }
    }

    /// Sets the value, while nobody else changes it.
    pub fn set(&self, value: u32) {
        self.words().value.store(value, SeqCst);
    }

    /// Marks the units as moved elsewhere. Returns how many there were; None if one is set aside, which stays with its thread.
    pub fn leave(&self) -> Option<u32> {
        let value = self.words().value.swap(GONE, SeqCst);
        (value != ASIDE).then_some(value)
    }

    /// Marks the units as moved elsewhere if there are none. Returns whether it has.
    pub fn leave_if_none(&self) -> bool {
        let value = &self.words().value;
        value.compare_exchange(0, GONE, SeqCst, SeqCst).is_ok()
    }

    /// Sets the only unit aside, if it is there.
    pub fn set_aside(&self) -> bool {
        let value = &self.words().value;
        value.compare_exchange(1, ASIDE, SeqCst, SeqCst).is_ok()
    }

    pub fn is_aside(&self) -> bool {
        self.words().value.load(SeqCst) == ASIDE
    }

    /// Puts it back. False if the units are elsewhere by now.
    pub fn put_back(&self) -> bool {
        let words = self.words();
        let is_back = words.value.compare_exchange(ASIDE, 1, SeqCst, SeqCst);
        if is_back.is_ok() && words.waiters.load(SeqCst) > 0 {
            wake(&words.value, 1);
        }
        is_back.is_ok()
    }

    pub fn is_gone(&self) -> bool {
        self.value() == GONE
    }

    /// Wakes all waiting threads, which then look again.
    pub fn wake_all(&self) {
        wake(&self.words().value, i32::MAX);
    }

    /// Takes a unit if there is one.
    pub fn try_take(&self) -> bool {
        let one_less = |value: u32| value.checked_sub(1).filter(|_| value < ASIDE);
        let value = &self.words().value;
        value.fetch_update(SeqCst, SeqCst, one_less).is_ok()
    }

    /// Takes a unit as soon as there is one. Without a deadline it waits for ever.
    pub fn take(&self, deadline: Option<Instant>) -> io::Result<WaitResult> {
        let words = self.words();
        words.waiters.fetch_add(1, SeqCst);
        let result = loop {
            if self.try_take() {
                break Ok(WaitResult::Taken);
            }
            if self.is_gone() {
                break Ok(WaitResult::Gone);
            }
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break Ok(WaitResult::TimedOut);
            }
            if self.is_aside() {
                std::thread::sleep(MOMENT);
                break Ok(WaitResult::Interrupted);
            }
            let left = left.map(|left| libc::timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            match wait(&words.value, left.as_ref()) {
                // Woken, or the value was not 0, or the time may be over.
                Ok(()) | Err(Errno::EAGAIN | Errno::ETIMEDOUT) => {}
                Err(Errno::EINTR) => break Ok(WaitResult::Interrupted),
                Err(e) => break Err(e.into()),
            }
        };
        words.waiters.fetch_sub(1, SeqCst);
        result
    }

    /// Gives a unit back; false if there are as many as there may be.
    pub fn give(&self, most: u32) -> bool {
        let words = self.words();
        let one_more = |value: u32| (value < most).then(|| value + 1);
        if words.value.fetch_update(SeqCst, SeqCst, one_more).is_err() {
            return false;
        }
        if words.waiters.load(SeqCst) > 0 {
            wake(&words.value, 1);
        }
        true
    }
}

impl Drop for Futex {
    fn drop(&mut self) {
        // SAFETY: nothing refers to it any more; it was mapped with this length, or is a box's.
        unsafe {
            if self.is_mapped {
                let _ = munmap(self.words.cast(), SIZE);
            } else {
                drop(Box::from_raw(self.words.as_ptr()));
            }
        }
    }
}

const LENGTH: NonZeroUsize = NonZeroUsize::new(SIZE).expect("it is not 0");
const PROTECTION: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

/// Sleeps while the word is 0, at most for `left`.
fn wait(word: &AtomicU32, left: Option<&libc::timespec>) -> Result<(), Errno> {
    let timeout = left.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel reads the word and the time, which live until it returns.
    let code = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            0_u32,
            timeout,
        )
    };
    Errno::result(code).map(drop)
}

fn wake(word: &AtomicU32, most: i32) {
    // SAFETY: the kernel uses the address only as a name.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_counted_and_not_exceeded() {
        let semaphore = Futex::anonymous().unwrap();
        semaphore.set(1);
        assert!(semaphore.try_take() && !semaphore.try_take());
        assert!(semaphore.give(2) && semaphore.give(2) && !semaphore.give(2));
        assert_eq!(semaphore.value(), 2);
    }

    #[test]
    fn one_that_is_gone_gives_and_takes_nothing() {
        let semaphore = Futex::of_this_process(0);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| semaphore.take(None).unwrap());
            while semaphore.words().waiters.load(SeqCst) == 0 {
                std::hint::spin_loop();
            }
            assert_eq!(semaphore.leave(), Some(0));
            semaphore.wake_all();
            assert_eq!(waits.join().unwrap(), WaitResult::Gone);
        });
        assert!(semaphore.is_gone() && !semaphore.try_take() && !semaphore.give(7));
        semaphore.set(1);
        assert!(semaphore.try_take());
    }

    #[test]
    fn a_unit_that_is_set_aside_is_there_and_cannot_be_taken() {
        let lock = Futex::of_this_process(1);
        assert!(lock.set_aside() && !lock.set_aside());
        assert_eq!(lock.value(), 1);
        assert!(!lock.try_take() && !lock.give(1) && !lock.leave_if_none());
        std::thread::scope(|scope| {
            let takes = scope.spawn(|| while lock.take(None).unwrap() != WaitResult::Taken {});
            assert!(lock.put_back());
            takes.join().unwrap();
        });
        assert!(lock.leave_if_none() && lock.is_gone() && !lock.put_back());
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let semaphore = Futex::anonymous().unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(
            semaphore.take(Some(deadline)).unwrap(),
            WaitResult::TimedOut
        );
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn none_is_lost_between_many() {
        let (lock, total) = (Futex::anonymous().unwrap(), AtomicU32::new(0));
        lock.set(1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5000 {
                        while lock.take(None).unwrap() != WaitResult::Taken {}
                        total.store(total.load(SeqCst) + 1, SeqCst);
                        assert!(lock.give(1));
                    }
                });
            }
        });
        assert_eq!((total.load(SeqCst), lock.value()), (20_000, 1));
    }

    #[test]
    fn mappings_of_one_file_are_one_semaphore() {
        use std::os::fd::AsFd;
        let file =
            nix::sys::memfd::memfd_create(c"test", nix::sys::memfd::MFdFlags::empty()).unwrap();
        nix::unistd::ftruncate(&file, SIZE.try_into().unwrap()).unwrap();
        let one = Futex::of_file(file.as_fd()).unwrap();
        let other = Futex::of_file(file.as_fd()).unwrap();
        assert!(one.give(1) && other.try_take());
    }
}
