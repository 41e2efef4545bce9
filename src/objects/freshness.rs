//! For programs that look at shared memory, or write to it, and synchronise by nothing: a thread publishes what was written and
//! fetches what is newer, a little later.
//!
//! While something changes it looks every 5 ms; the longer nothing does, the less often. A process whose main thread waits for the
//! store reads nothing, and is not looked after.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::error::Result;
use crate::locked::Locked;
use crate::objects::process::Process;
use crate::store::command;
use crate::store::counters;
use crate::store::threads;

/// How long what is written or newer stays unseen, at least and at most.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(320);

/// The stack of the thread, in bytes.
const STACK: usize = 512 << 10;

#[derive(Default)]
pub struct Freshness {
    state: Mutex<State>,
    changed: Condvar,
    /// Held while the thread is at it.
    turn: Mutex<()>,
}

#[derive(Default)]
struct State {
    has_thread: bool,
    is_closed: bool,
    /// By so many.
    paused: u32,
}

impl Freshness {
    /// From now on, in a process that has shared memory.
    pub fn begin(&'static self, process: &'static Process) -> Result<()> {
        let mut state = self.state.locked();
        if state.has_thread || state.is_closed {
            return Ok(());
        }
        state.has_thread = true;
        drop(state);
        threads::spawn("serverless_mp-memory", STACK, move || self.run(process))
    }

    /// At the end of a process' part in the session: the thread is at nothing any more.
    pub fn close(&self) {
        self.state.locked().is_closed = true;
        self.changed.notify_all();
        drop(self.turn.locked());
    }

    /// While the program forks, it holds no lock that the child would find held for ever.
    pub fn pause(&self) {
        self.state.locked().paused += 1;
        drop(self.turn.locked());
    }

    pub fn resume(&self) {
        let mut state = self.state.locked();
        state.paused = state.paused.saturating_sub(1);
    }

    fn run(&self, process: &'static Process) {
        counters::leave_out_this_thread();
        let mut written = HashSet::new();
        let mut pause = SHORTEST;
        loop {
            let state = self.state.locked();
            let going = |state: &mut State| !state.is_closed;
            let wait = self.changed.wait_timeout_while(state, pause, going);
            if wait.expect("no panic under this lock").0.is_closed || !process.is_current() {
                return;
            }
            let _turn = self.turn.locked();
            // Paused or closed before that was ours.
            let state = self.state.locked();
            if state.is_closed {
                return;
            }
            if state.paused > 0 {
                continue;
            }
            drop(state);
            let before = std::mem::take(&mut written);
            // A session that is lost, or a store that does not answer, is the program's to notice.
            let has_changed = process
                .memory
                .publish_what_stays(process, &before, &mut written)
                .and_then(|published| {
                    let fetched = !command::main_thread_waits() && process.memory.look(process)?;
                    Ok(published || fetched)
                });
            pause = if has_changed.unwrap_or(false) || !written.is_empty() {
                SHORTEST
            } else {
                (pause * 2).min(LONGEST)
            };
        }
    }
}
