//! For programs that read or write shared memory without synchronisation: a thread publishes what was written and fetches what
//! is newer, a little later.
//!
//! The thread looks every 5 ms while something changes, and less often the longer nothing does. A process that synchronises
//! publishes and fetches by that, and the thread looks only every 320 ms. If the program's main thread waits for the store, and
//! it has no others except idle feeders of queues, it reads nothing: nothing is fetched, and the thread looks every 2 s until that
//! wait ends.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::locked::{Locked, Sound};
use crate::store::client::Client;
use crate::store::command;
use crate::store::counters;
use crate::store::threads;

/// How long a write, or newer content, stays unseen: at least and at most.
const SHORTEST: Duration = Duration::from_millis(5);
pub const LONGEST: Duration = Duration::from_millis(320);

/// After a tick the thread pauses for at least this multiple of the time that the tick took, up to `LONGEST`, or longer if
/// nothing has changed: thousands of processes that look take much of a store's time.
const SHARE: u32 = 50;
const LONGEST_IF_BUSY: Duration = Duration::from_secs(2);

/// How long a process that ends or forks waits for the end of a tick.
const TICK_TIMEOUT: Duration = Duration::from_secs(1);

/// The stack of the thread, in bytes.
const STACK: usize = 512 << 10;

/// What a tick has found.
#[derive(Default)]
pub struct Found {
    /// Whether something was published or fetched, or will be by the next tick.
    pub something: bool,
    /// The wait of the main thread, if nothing else runs.
    pub idle_wait: Option<u64>,
}

#[derive(Default)]
pub struct Freshness {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    has_thread: bool,
    is_closed: bool,
    /// How many callers have paused the thread.
    paused: u32,
    /// Whether a tick is running.
    is_busy: bool,
}

impl Freshness {
    /// Starts the thread. `tick` publishes and fetches.
    pub fn begin(
        &'static self,
        client: &'static Client,
        tick: impl FnMut() -> Result<Found> + Send + 'static,
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

    /// Stops the thread, at the end of a process' part in the session.
    pub fn close(&self) {
        let mut state = self.state.locked();
        state.is_closed = true;
        self.changed.notify_all();
        self.wait_for_end(state);
    }

    /// Pauses the thread while the program forks: a lock that the thread holds would stay held in the child for ever.
    pub fn pause(&self) {
        let mut state = self.state.locked();
        state.paused += 1;
        self.wait_for_end(state);
    }

    /// Waits for the end of a tick; not for ever, in case the store does not answer.
    fn wait_for_end(&self, state: MutexGuard<'_, State>) {
        let is_busy = |state: &mut State| state.is_busy;
        let wait = self
            .changed
            .wait_timeout_while(state, TICK_TIMEOUT, is_busy);
        drop(wait.sound());
    }

    pub fn resume(&self) {
        let mut state = self.state.locked();
        state.paused = state.paused.saturating_sub(1);
    }

    fn run(&self, client: &Client, mut tick: impl FnMut() -> Result<Found>) {
        counters::leave_out_this_thread();
        let mut pause = SHORTEST;
        loop {
            let state = self.state.locked();
            let going = |state: &mut State| !state.is_closed;
            let wait = self.changed.wait_timeout_while(state, pause, going);
            let (mut state, _) = wait.sound();
            if state.is_closed || !client.is_current() {
                return;
            }
            if state.paused > 0 {
                continue;
            }
            state.is_busy = true;
            drop(state);
            // A lost session, or a store that does not answer, is for the program to notice.
            let began = Instant::now();
            let found = tick().unwrap_or_default();
            self.state.locked().is_busy = false;
            self.changed.notify_all();
            let (next, most) = if found.something {
                (SHORTEST, LONGEST)
            } else {
                ((pause * 2).min(LONGEST), LONGEST_IF_BUSY)
            };
            // A busy store is asked less often.
            pause = next.max((began.elapsed() * SHARE).min(most));
            if let Some(wait) = found.idle_wait
                && !found.something
            {
                let began = Instant::now();
                command::sleep_during(wait, LONGEST_IF_BUSY);
                if began.elapsed() > LONGEST {
                    pause = SHORTEST;
                }
            }
        }
    }
}
