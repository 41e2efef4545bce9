//! The queue for invocations: Lambda runs only so many at once, and refuses the others.
//!
//! A process waits for as long as invocations of ours run, since each of them makes room at its end. It gives up if none has
//! run for the time of its patience, or if nothing has begun or ended for so long that nothing will.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::locked::Locked;

/// A refusal comes sooner; an invocation that is older runs.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// From when on the user is told of a wait.
const TOLD_AFTER: Duration = Duration::from_secs(10);

pub struct Queue {
    /// How long a process waits while no invocation runs.
    start_timeout: Duration,
    /// How long it waits while none begins or ends.
    stall_timeout: Duration,
    state: Mutex<State>,
    waiting: AtomicUsize,
    is_told: AtomicBool,
    room: Notify,
}

struct State {
    /// The beginning of each invocation that is not answered, by its ticket.
    open: Vec<(u64, Instant)>,
    tickets: u64,
    /// When one was answered last.
    answered: Instant,
}

/// Why a process waits no longer.
#[derive(Debug, PartialEq, Eq)]
pub enum GivenUp {
    NoneRuns(Duration),
    Stalled(Duration),
}

impl Queue {
    pub fn new(start_timeout: Duration, stall_timeout: Duration) -> Self {
        let state = State {
            open: Vec::new(),
            tickets: 0,
            answered: Instant::now(),
        };
        Self {
            start_timeout,
            stall_timeout,
            state: Mutex::new(state),
            waiting: AtomicUsize::new(0),
            is_told: AtomicBool::new(false),
            room: Notify::new(),
        }
    }

    /// An invocation is sent. Returns its ticket.
    pub fn enter(&self) -> u64 {
        let mut state = self.state.locked();
        state.tickets += 1;
        let ticket = state.tickets;
        state.open.push((ticket, Instant::now()));
        ticket
    }

    /// It was answered, or refused.
    pub fn leave(&self, ticket: u64, is_refused: bool) {
        let mut state = self.state.locked();
        state.open.retain(|(one, _)| *one != ticket);
        if !is_refused {
            state.answered = Instant::now();
            drop(state);
            self.room.notify_one();
        }
    }

    /// How many invocations are not answered.
    pub fn open(&self) -> usize {
        self.state.locked().open.len()
    }

    /// How many run.
    fn running(&self) -> usize {
        let state = self.state.locked();
        let is_old = |begun: &Instant| begun.elapsed() > REFUSED_WITHIN;
        state.open.iter().filter(|(_, begun)| is_old(begun)).count()
    }

    /// When an invocation has begun or ended last.
    fn progress(&self) -> Instant {
        let state = self.state.locked();
        let is_old = |begun: &Instant| begun.elapsed() > REFUSED_WITHIN;
        let begun = state.open.iter().map(|(_, begun)| *begun).filter(is_old);
        begun.chain([state.answered]).max().expect("one is there")
    }

    /// A place in the queue.
    pub fn join(&self) -> Place<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Place {
            queue: self,
            since: Instant::now(),
            idle: None,
        }
    }
}

/// Of those that share an invocation, from their first refusal on.
pub struct Place<'q> {
    queue: &'q Queue,
    since: Instant,
    /// Since when no invocation runs.
    idle: Option<Instant>,
}

impl Place<'_> {
    /// It was refused once more: whether to go on.
    pub fn check(&mut self) -> Result<(), GivenUp> {
        let queue = self.queue;
        if queue.running() > 0 {
            self.idle = None;
        } else if self.idle.get_or_insert_with(Instant::now).elapsed() > queue.start_timeout {
            return Err(GivenUp::NoneRuns(queue.start_timeout));
        }
        let last = queue.progress().max(self.since);
        if last.elapsed() > queue.stall_timeout {
            return Err(GivenUp::Stalled(queue.stall_timeout));
        }
        Ok(())
    }

    /// How many run and how many wait, if it is time to tell the user: once.
    pub fn news(&self) -> Option<(usize, usize)> {
        let queue = self.queue;
        let is_time = self.since.elapsed() > TOLD_AFTER;
        let is_first = is_time && !queue.is_told.swap(true, Ordering::AcqRel);
        is_first.then(|| (queue.running(), queue.waiting.load(Ordering::Acquire)))
    }

    /// Waits for the next try: until the time is over, or an invocation was answered.
    pub async fn pause(&self, time: Duration) {
        let _ = tokio::time::timeout(time, self.queue.room.notified()).await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
