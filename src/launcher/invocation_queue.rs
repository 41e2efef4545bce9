//! The queue for invocations: Lambda runs only a limited number at once, and refuses the others.
//!
//! A process waits as long as invocations of this program run, since each of them makes room when it ends. It gives up if none
//! has run for its start time-out, or if none has begun or ended for its stall time-out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::locked::Locked;

/// The longest time in which a connection is made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A refusal comes sooner; an older invocation runs.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// After how long the user is told of a wait.
const REPORT_AFTER: Duration = Duration::from_secs(10);

pub struct Queue {
    /// How long a process waits while no invocation runs.
    start_timeout: Duration,
    /// How long it waits while no invocation begins or ends.
    stall_timeout: Duration,
    state: Mutex<State>,
    waiting: AtomicUsize,
    is_reported: AtomicBool,
    freed: Notify,
}

/// The outcome of an invocation, for those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvocationOutcome {
    /// The function answered.
    Answered,
    /// The invocation was refused.
    Refused,
    /// The connection broke: the function may have run.
    Broken,
    /// No connection was made.
    Unreachable,
}

/// The reason why a process stops waiting.
#[derive(Debug, PartialEq, Eq)]
pub enum GivenUp {
    NoneRuns(Duration),
    Stalled(Duration),
}

struct State {
    /// The beginning of each unanswered invocation, by its ticket.
    open: Vec<(u64, Instant)>,
    tickets: u64,
    /// The age from which an open invocation certainly runs: without a connection it may be waiting for one.
    runs_from: Duration,
    /// When the last invocation ended that had run.
    ended: Instant,
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            open: Vec::new(),
            tickets: 0,
            runs_from: REFUSED_WITHIN,
            ended: now,
        }
    }

    fn enter(&mut self, now: Instant) -> u64 {
        self.tickets += 1;
        self.open.push((self.tickets, now));
        self.tickets
    }

    /// Ends an invocation. Returns whether there is room for another one.
    fn leave(&mut self, ticket: u64, outcome: InvocationOutcome, now: Instant) -> bool {
        let has_run = match outcome {
            InvocationOutcome::Answered => true,
            InvocationOutcome::Broken => self.running(now).any(|(running, _)| running == ticket),
            InvocationOutcome::Refused | InvocationOutcome::Unreachable => false,
        };
        self.open.retain(|(one, _)| *one != ticket);
        self.runs_from = match outcome {
            InvocationOutcome::Unreachable => CONNECT_TIMEOUT + REFUSED_WITHIN,
            InvocationOutcome::Answered
            | InvocationOutcome::Refused
            | InvocationOutcome::Broken => REFUSED_WITHIN,
        };
        if has_run {
            self.ended = now;
        }
        has_run
    }

    /// The running invocations, with their beginnings.
    fn running(&self, now: Instant) -> impl Iterator<Item = (u64, Instant)> {
        let open = self.open.iter().copied();
        open.filter(move |(_, begun)| now.duration_since(*begun) > self.runs_from)
    }

    /// Whether a process that waits from `since` on goes on: the time-outs count from the last end of another invocation.
    fn check(
        &self,
        since: Instant,
        start_timeout: Duration,
        stall_timeout: Duration,
        now: Instant,
    ) -> Result<(), GivenUp> {
        let ended = self.ended.max(since);
        let begun = self.running(now).map(|(_, begun)| begun).max();
        if begun.is_none() && now.duration_since(ended) > start_timeout {
            return Err(GivenUp::NoneRuns(start_timeout));
        }
        if now.duration_since(begun.map_or(ended, |begun| begun.max(ended))) > stall_timeout {
            return Err(GivenUp::Stalled(stall_timeout));
        }
        Ok(())
    }
}

impl Queue {
    pub fn new(start_timeout: Duration, stall_timeout: Duration) -> Self {
        Self {
            start_timeout,
            stall_timeout,
            state: Mutex::new(State::new(Instant::now())),
            waiting: AtomicUsize::new(0),
            is_reported: AtomicBool::new(false),
            freed: Notify::new(),
        }
    }

    /// Notes that an invocation is sent. Returns its ticket.
    pub fn enter(&self) -> u64 {
        self.state.locked().enter(Instant::now())
    }

    /// Notes that an invocation is over.
    pub fn leave(&self, ticket: u64, outcome: InvocationOutcome) {
        let is_freed = self.state.locked().leave(ticket, outcome, Instant::now());
        if is_freed {
            self.freed.notify_one();
        }
    }

    /// How many invocations are unanswered.
    pub fn open(&self) -> usize {
        self.state.locked().open.len()
    }

    /// A place in the queue.
    pub fn join(&self) -> Turn<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Turn {
            queue: self,
            since: Instant::now(),
        }
    }
}

/// The place of processes that share an invocation, from their first refusal on.
pub struct Turn<'q> {
    queue: &'q Queue,
    since: Instant,
}

impl Turn<'_> {
    /// Called after another refusal: whether to go on.
    pub fn check(&self) -> Result<(), GivenUp> {
        let Queue {
            start_timeout,
            stall_timeout,
            ref state,
            ..
        } = *self.queue;
        let now = Instant::now();
        state
            .locked()
            .check(self.since, start_timeout, stall_timeout, now)
    }

    /// How many invocations run and how many wait, once, when it is time to tell the user.
    pub fn news(&self) -> Option<(usize, usize)> {
        let queue = self.queue;
        let is_time = self.since.elapsed() > REPORT_AFTER;
        let is_first = is_time && !queue.is_reported.swap(true, Ordering::AcqRel);
        is_first.then(|| {
            let running = queue.state.locked().running(Instant::now()).count();
            (running, queue.waiting.load(Ordering::Acquire))
        })
    }

    /// Waits before the next attempt: until the time is over, or an invocation was answered. Returns whether one was.
    pub async fn pause(&self, time: Duration) -> bool {
        let freed = self.queue.freed.notified();
        tokio::time::timeout(time, freed).await.is_ok()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(2);
    const STALL: Duration = Duration::from_secs(60);

    /// A queue's state, and moments in seconds after its beginning.
    fn state() -> (State, impl Fn(f64) -> Instant) {
        let zero = Instant::now();
        (State::new(zero), move |seconds| {
            zero + Duration::from_secs_f64(seconds)
        })
    }

    #[test]
    fn patience_counts_from_the_end_of_the_last_that_ran() {
        let (mut state, at) = state();
        let first = state.enter(at(0.0));
        assert_eq!(state.check(at(0.1), START, STALL, at(9.0)), Ok(()));
        assert!(state.leave(first, InvocationOutcome::Answered, at(9.0)));
        // Another one has begun and may yet be refused: none certainly runs, but the start time-out is not over.
        let second = state.enter(at(9.1));
        assert_eq!(state.check(at(0.1), START, STALL, at(9.9)), Ok(()));
        assert!(!state.leave(second, InvocationOutcome::Refused, at(9.9)));
        let given_up = Err(GivenUp::NoneRuns(START));
        assert_eq!(state.check(at(0.1), START, STALL, at(11.1)), given_up);
        assert_eq!(state.check(at(10.0), START, STALL, at(11.1)), Ok(()));
    }

    #[test]
    fn a_refusal_has_not_run_however_long_it_took() {
        let (mut state, at) = state();
        let (first, second) = (state.enter(at(0.0)), state.enter(at(0.0)));
        assert!(!state.leave(first, InvocationOutcome::Refused, at(5.0)));
        assert!(state.leave(second, InvocationOutcome::Broken, at(5.0)));
        assert_eq!(state.check(at(0.0), START, STALL, at(6.0)), Ok(()));
        let given_up = Err(GivenUp::NoneRuns(START));
        assert_eq!(state.check(at(0.0), START, STALL, at(7.1)), given_up);
    }

    #[test]
    fn those_that_wait_for_a_connection_do_not_run() {
        let (mut state, at) = state();
        let (first, _second) = (state.enter(at(0.0)), state.enter(at(5.0)));
        assert!(!state.leave(first, InvocationOutcome::Unreachable, at(10.0)));
        let given_up = Err(GivenUp::NoneRuns(START));
        assert_eq!(state.check(at(0.0), START, STALL, at(10.1)), given_up);
        assert_eq!(state.check(at(0.0), START, STALL, at(16.1)), Ok(()));
    }

    #[test]
    fn those_that_run_and_neither_begin_nor_end_make_no_room() {
        let (mut state, at) = state();
        state.enter(at(0.0));
        assert_eq!(state.check(at(1.0), START, STALL, at(60.9)), Ok(()));
        let given_up = Err(GivenUp::Stalled(STALL));
        assert_eq!(state.check(at(1.0), START, STALL, at(61.1)), given_up);
    }
}
