//! How many tasks a worker takes at once.
//!
//! A worker that takes one task at a time waits for the store between two tasks. It takes several only if they are so short
//! that this wait would cost much, and only as many as it does in a moment: other workers may be idle.

use std::time::{Duration, Instant};

/// How long the tasks taken at once may last, by those before.
const BUDGET: Duration = Duration::from_millis(5);
/// The time for a round trip may be this fraction of the time for the tasks taken with it.
const OVERHEAD: u32 = 10;
/// How many tasks are taken at once.
const MOST: u32 = 64;

/// How many tasks to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// As many as are this worker's share of those that wait, but not more than these.
    pub(super) most: u32,
    /// At least these, if they wait: no other worker would have done them earlier.
    pub(super) least: u32,
}

impl Share {
    /// One task at a time.
    pub(super) const ONE: Self = Self { most: 1, least: 1 };
}

#[derive(Default)]
pub(super) struct Pace {
    /// When the task in work was begun.
    begun: Option<Instant>,
    /// How many of the tasks taken at once are done, and how long they took in all.
    done: u32,
    took: Duration,
    /// The time between the last request for tasks and their arrival.
    round_trip: Duration,
    /// How many tasks were taken at once.
    last: u32,
}

impl Pace {
    pub(super) fn begins(&mut self) {
        self.begun = Some(Instant::now());
    }

    pub(super) fn ends(&mut self) {
        if let Some(begun) = self.begun.take() {
            self.took += begun.elapsed();
            self.done += 1;
        }
    }

    pub(super) fn arrived_after(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// How many tasks to take now, at most a number.
    pub(super) fn next(&mut self, limit: u32) -> Share {
        let mean = std::mem::take(&mut self.took) / self.done.max(1);
        self.done = 0;
        self.last = after(mean, self.round_trip, self.last);
        let most = self.last.min(limit);
        let least = during(self.round_trip / 2, mean).clamp(1, most);
        Share { most, least }
    }
}

/// How many tasks of a duration are done in this time.
fn during(time: Duration, task: Duration) -> u32 {
    let count = time.as_nanos() / task.as_nanos().max(1);
    u32::try_from(count).unwrap_or(MOST)
}

/// How many tasks to take after some of this mean duration, if `last` were taken at once before.
fn after(task: Duration, round_trip: Duration, last: u32) -> u32 {
    let nanos = task.as_nanos().max(1);
    let fitting = BUDGET.as_nanos() / nanos;
    let useful = (round_trip * OVERHEAD).as_nanos().div_ceil(nanos);
    let most = u32::try_from(fitting.min(useful)).unwrap_or(MOST);
    most.min(last * 2).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn short_tasks_are_taken_by_more_and_more() {
        let mut last = 0;
        let taken: Vec<u32> = std::iter::repeat_with(|| {
            last = after(MS / 100, MS / 2, last);
            last
        })
        .take(7)
        .collect();
        assert_eq!(taken, [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(after(10 * MS, MS / 2, last), 1);
    }

    #[test]
    fn a_near_store_is_asked_for_each_task() {
        assert_eq!(after(MS, MS / 10, 8), 1);
        assert_eq!(after(MS, MS / 2, 8), 5);
        assert_eq!(after(4 * MS, MS / 2, 8), 1);
    }

    proptest! {
        #[test]
        fn it_stays_within_the_budget(task in 0u64..1 << 40, round_trip in 0u64..1 << 40, last in 0..=MOST) {
            let (task, round_trip) = (Duration::from_nanos(task), Duration::from_nanos(round_trip));
            let taken = after(task, round_trip, last);
            prop_assert!((1..=MOST).contains(&taken));
            prop_assert!(taken == 1 || task * taken <= BUDGET);
        }
    }
}
