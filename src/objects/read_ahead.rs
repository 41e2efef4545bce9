//! Items that a thread has taken before the program asked for them.
//!
//! Only who alone takes from an end reads ahead, and the store knows that it does: whoever begins to take from that end waits until
//! nothing is left, so that items are delivered in their order. What is not asked for in a while goes back. The items stand in the
//! thread's in-flight list; each is acknowledged before it is delivered. In the process with which the session ends, whose death
//! leaves nobody to whom an item could be delivered again, many are acknowledged together.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::locked::Locked;
use crate::protocol::Entry;
use crate::signals;
use crate::store::client::{self, Client};
use crate::store::conn::TICK;
use crate::store::scripts;
use crate::store::threads;

/// Items that are taken at once.
pub const MOST: usize = 64;
/// What is not asked for in this time goes back, or in so many times what taking it took, if that is longer.
const UNASKED: Duration = Duration::from_millis(20);
const ROUND_TRIPS: u32 = 4;
/// After this many items more, one whose items went back may read ahead again.
const PAUSE: usize = 16;

/// The stack of a thread, in bytes.
const STACK: usize = 256 << 10;

pub struct ReadAhead {
    id: String,
    end: u8,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    items: Option<Items>,
    /// Whether they are on their way back.
    are_returned: bool,
    /// An item that counts as arrived, and was not delivered: a signal's handler came in between.
    undelivered: Option<Vec<u8>>,
    /// Whether more items were there when the last one was taken.
    has_more: bool,
    /// Items to be taken one by one before it is tried again.
    pause: usize,
}

struct Items {
    /// The thread that has taken them.
    caller: String,
    left: VecDeque<Vec<u8>>,
    arrived: Arrived,
    /// When it asked last, and after which time without a question they go back.
    asked: Instant,
    patience: Duration,
}

/// Items that have arrived and are to be acknowledged.
#[derive(Clone, Copy, Default)]
pub struct Arrived {
    pub count: usize,
    /// In bytes.
    pub size: usize,
}

/// What a process has of an end.
pub struct Counts {
    /// Items that have arrived and that the store does not know of yet.
    pub arrived: usize,
    /// Whether there are items to be delivered.
    pub has_items: bool,
}

/// Those of a process that have something.
#[derive(Default)]
pub struct ReadsAhead {
    all: Mutex<Known>,
    changed: Condvar,
}

#[derive(Default)]
struct Known {
    all: Vec<Weak<ReadAhead>>,
    has_thread: bool,
    is_closed: bool,
}

impl ReadAhead {
    pub fn new(id: String, end: u8) -> Self {
        Self {
            id,
            end,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// The next item that this thread has read ahead. It counts as arrived, and `acknowledge` is called with what is to be
    /// acknowledged before it is delivered.
    pub fn next(
        &self,
        client: &Client,
        caller: &str,
        acknowledge: impl FnOnce(Arrived) -> Result<()>,
    ) -> Result<Option<Vec<u8>>> {
        let mut state = self.state(client)?;
        if let Some(item) = state.undelivered.take() {
            return Ok(Some(item));
        }
        let Some(read) = state.items.as_mut().filter(|read| read.caller == caller) else {
            return Ok(None);
        };
        let Some(item) = read.left.pop_front() else {
            return Ok(None);
        };
        read.asked = Instant::now();
        read.arrived.count += 1;
        read.arrived.size += match Entry::decode(&item) {
            Ok(Entry::Item(item)) => item.size,
            _ => 0,
        };
        let is_last = read.left.is_empty();
        if !is_last && client.ends_the_session() {
            return Ok(Some(item));
        }
        let arrived = std::mem::take(&mut read.arrived);
        if is_last {
            state.items = None;
        }
        drop(state);
        if let Err(e) = acknowledge(arrived) {
            self.put_back(item);
            return Err(e);
        }
        Ok(Some(item))
    }

    /// The item was not delivered after all.
    pub fn put_back(&self, item: Vec<u8>) {
        self.state.locked().undelivered = Some(item);
    }

    /// How many items a thread may take at once now.
    pub fn most(&self) -> usize {
        let mut state = self.state.locked();
        if state.pause > 0 {
            state.pause -= 1;
            return 1;
        }
        if state.has_more { MOST } else { 1 }
    }

    /// More items were there, or none, when the last was taken.
    pub fn saw(&self, has_more: bool) {
        self.state.locked().has_more = has_more;
    }

    pub fn counts(&self) -> Counts {
        let state = self.state.locked();
        Counts {
            arrived: state.items.as_ref().map_or(0, |read| read.arrived.count),
            has_items: state.items.is_some() || state.undelivered.is_some(),
        }
    }

    /// A thread has taken these, in this time.
    pub fn fill(
        self: &Arc<Self>,
        client: &'static Client,
        all: &'static ReadsAhead,
        caller: &str,
        items: VecDeque<Vec<u8>>,
        took: Duration,
    ) -> Result<()> {
        let mut state = self.state(client)?;
        state.has_more = items.len() > 1;
        state.items = Some(Items {
            caller: caller.to_owned(),
            left: items,
            arrived: Arrived::default(),
            asked: Instant::now(),
            patience: UNASKED.max(took * ROUND_TRIPS),
        });
        drop(state);
        all.watch(client, self)
    }

    /// Gives back what was not delivered, if there is anything; where it is `old` only after it was not asked for in a while.
    pub fn give_back(&self, client: &Client, only_old: bool) -> Result<()> {
        let read = {
            let mut state = self.state(client)?;
            let is_old = |read: &Items| read.asked.elapsed() >= read.patience;
            if only_old && !state.items.as_ref().is_some_and(is_old) {
                return Ok(());
            }
            let Some(read) = state.items.take() else {
                return Ok(());
            };
            state.are_returned = true;
            state.has_more = false;
            state.pause = PAUSE;
            read
        };
        let script = client.script(&scripts::GIVE_BACK, &self.id);
        let script = script.arg(self.end).arg(&read.caller);
        let given = script.arg(read.left.len()).arg(read.arrived.size).call();
        self.state.locked().are_returned = false;
        self.changed.notify_all();
        given.map(drop)
    }

    /// Its state, when nothing is on its way back.
    fn state(&self, client: &Client) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state.locked();
        // A signal's handler would wait for its own thread.
        while state.are_returned && !client::is_nested() {
            let (woken, sleep) = self
                .changed
                .wait_timeout(state, TICK)
                .expect("no panic under this lock");
            state = woken;
            if sleep.timed_out() {
                drop(state);
                client.healthy()?;
                signals::check()?;
                state = self.state.locked();
            }
        }
        Ok(state)
    }
}

impl ReadsAhead {
    /// Looks after one until it has nothing.
    fn watch(&'static self, client: &'static Client, one: &Arc<ReadAhead>) -> Result<()> {
        let mut known = self.all.locked();
        let is_known = |other: &Weak<ReadAhead>| std::ptr::eq(other.as_ptr(), Arc::as_ptr(one));
        if known.all.iter().any(is_known) {
            return Ok(());
        }
        known.all.push(Arc::downgrade(one));
        if known.has_thread {
            self.changed.notify_one();
            return Ok(());
        }
        known.has_thread = true;
        drop(known);
        threads::spawn("serverless_mp-read-ahead", STACK, move || {
            self.look_after(client);
        })
    }

    /// Gives back what is not asked for.
    fn look_after(&self, client: &Client) {
        loop {
            let all: Vec<Arc<ReadAhead>> = {
                let known = self.all.locked();
                let wait = self
                    .changed
                    .wait_while(known, |known| known.all.is_empty() && !known.is_closed);
                let known = wait.expect("no panic under this lock");
                if known.is_closed {
                    return;
                }
                known.all.iter().filter_map(Weak::upgrade).collect()
            };
            std::thread::sleep(UNASKED / 2);
            for one in all {
                // The next take meets the error again.
                let _ = one.give_back(client, true);
            }
            let mut known = self.all.locked();
            known
                .all
                .retain(|one| one.upgrade().is_some_and(|one| one.counts().has_items));
        }
    }

    /// The process leaves the session.
    pub fn close(&self) {
        self.all.locked().is_closed = true;
        self.changed.notify_all();
    }
}
