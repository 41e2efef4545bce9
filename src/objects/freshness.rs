//! For programs that look at shared memory, or write to it, and synchronise by nothing: a thread publishes what was written and
//! fetches what is newer, a little later.
//!
//! While something changes it looks every 5 ms; the longer nothing does, the less often. A process that synchronises by anything
//! publishes and fetches by that. One whose only thread waits for the store reads nothing, and fetches nothing.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::locked::Locked;
use crate::store::client::Client;
use crate::store::counters;
use crate::store::threads;

/// How long what is written or newer stays unseen, at least and at most.
const SHORTEST: Duration = Duration::from_millis(5);
pub const LONGEST: Duration = Duration::from_millis(320);

/// What part of its time the thread may be at it.
const SHARE: u32 = 50;

/// How long a process that ends, or forks, waits for what the thread is at.
const PATIENCE: Duration = Duration::from_secs(1);

/// The stack of the thread, in bytes.
const STACK: usize = 512 << 10;

#[derive(Default)]
pub struct Freshness {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    has_thread: bool,
    is_closed: bool,
    /// By so many.
    paused: u32,
    /// Whether the thread is at it.
    is_busy: bool,
}

impl Freshness {
    /// From now on. `tick` publishes and fetches; it says whether there was something, and whether something waits for the next one.
    pub fn begin(
        &'static self,
        client: &'static Client,
        tick: impl FnMut() -> Result<(bool, bool)> + Send + 'static,
    ) -> Result<()> {
        let mut state = self.state.locked();
        if state.has_thread || state.is_closed {
            return Ok(());
        }
        state.has_thread = true;
        drop(state);
        threads::spawn("serverless_mp-memory", STACK, move || {
            self.run(client, tick);
        })
    }

    /// At the end of a process' part in the session: the thread is at nothing any more.
    pub fn close(&self) {
        let mut state = self.state.locked();
        state.is_closed = true;
        self.changed.notify_all();
        self.wait_for_end(state);
    }

    /// While the program forks, it holds no lock that the child would find held for ever.
    pub fn pause(&self) {
        let mut state = self.state.locked();
        state.paused += 1;
        self.wait_for_end(state);
    }

    /// Of what the thread is at; not for ever, where the store does not answer.
    fn wait_for_end(&self, state: MutexGuard<'_, State>) {
        let is_busy = |state: &mut State| state.is_busy;
        let wait = self.changed.wait_timeout_while(state, PATIENCE, is_busy);
        drop(wait.expect("no panic under this lock"));
    }

    pub fn resume(&self) {
        let mut state = self.state.locked();
        state.paused = state.paused.saturating_sub(1);
    }

    fn run(&self, client: &Client, mut tick: impl FnMut() -> Result<(bool, bool)>) {
        counters::leave_out_this_thread();
        let mut pause = SHORTEST;
        loop {
            let state = self.state.locked();
            let going = |state: &mut State| !state.is_closed;
            let wait = self.changed.wait_timeout_while(state, pause, going);
            let (mut state, _) = wait.expect("no panic under this lock");
            if state.is_closed || !client.is_current() {
                return;
            }
            if state.paused > 0 {
                continue;
            }
            state.is_busy = true;
            drop(state);
            // A session that is lost, or a store that does not answer, is the program's to notice.
            let began = Instant::now();
            let (has_changed, is_waiting) = tick().unwrap_or((false, false));
            self.state.locked().is_busy = false;
            self.changed.notify_all();
            pause = if has_changed || is_waiting {
                SHORTEST
            } else {
                (pause * 2).min(LONGEST)
            };
            // A store that has much to do is not asked more often than it answers.
            pause = pause.max((began.elapsed() * SHARE).min(LONGEST));
        }
    }
}
