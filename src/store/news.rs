//! How often this process has heard from others: replies that its threads waited for, ends of processes, bells.
//!
//! Between two looks at this count nobody here has learnt what other processes did meanwhile.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

static ALL: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The part of this thread.
    static OWN: Cell<u64> = const { Cell::new(0) };
}

/// Notes that this thread has heard something.
pub fn came() {
    ALL.fetch_add(1, Ordering::AcqRel);
    OWN.set(OWN.get() + 1);
}

/// The count at one moment, as the thread that looks sees it.
pub struct News {
    pub at: Instant,
    all: u64,
    own: u64,
}

impl News {
    pub fn so_far() -> Self {
        Self {
            at: Instant::now(),
            all: ALL.load(Ordering::Acquire),
            own: OWN.get(),
        }
    }

    /// Whether nobody has heard anything since.
    pub fn are_all(&self) -> bool {
        ALL.load(Ordering::Acquire) == self.all
    }

    /// Whether only this thread, which looked both times, has heard anything between them.
    pub const fn are_own_since(&self, before: &Self) -> bool {
        self.all - before.all == self.own - before.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_told_apart() {
        let before = News::so_far();
        came();
        assert!(!before.are_all() && News::so_far().are_own_since(&before));
        std::thread::spawn(came).join().unwrap();
        assert!(!News::so_far().are_own_since(&before));
    }
}
