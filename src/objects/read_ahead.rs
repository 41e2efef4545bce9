//! Items that a thread has taken before the program asked for them.
//!
//! Only who alone takes from an end reads ahead, and the store knows that it does: whoever begins to take from that end waits until
//! nothing is left, so that items are delivered in their order. What is not asked for in a while goes back. The items stand in the
//! thread's in-flight list; each is acknowledged before it is delivered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::protocol::Entry;
use crate::signals;
use crate::store::client::{self, Client};
use crate::store::conn::TICK;
use crate::store::request::{Slot, is_on_its_way};
use crate::store::scripts;
use crate::store::threads;

/// Items that are taken at once.
const MOST: usize = 64;
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
    /// What a thread may have in flight and does not know of, or could not give back: how many of those that it took last. They are to
    /// go back before anything else is taken.
    owed: Option<(String, usize)>,
    /// Whether something is on its way back.
    is_returning: bool,
    /// An item that was acknowledged and not delivered: a signal's handler came in between.
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
    /// When it asked last, and after which time without a question they go back.
    asked: Instant,
    patience: Duration,
}

/// Those of a process.
#[derive(Default)]
pub struct ReadsAhead {
    all: Mutex<HashMap<(String, u8), Weak<ReadAhead>>>,
    watched: Mutex<Watched>,
    changed: Condvar,
}

/// Those that have something; also where nobody has a handle any more.
#[derive(Default)]
struct Watched {
    all: Vec<Arc<ReadAhead>>,
    has_thread: bool,
    is_closed: bool,
}

impl ReadAhead {
    /// The next item that this thread has read ahead, which `acknowledge` acknowledges, by its size in bytes, by a command with that slot.
    pub fn next(
        &self,
        client: &Client,
        caller: &str,
        acknowledge: impl FnOnce(usize, &Slot) -> Result<()>,
    ) -> Result<Option<Vec<u8>>> {
        let mut state = self.state(client)?;
        if state.owed.is_some() {
            drop(state);
            self.give_back(client, false)?;
            state = self.state(client)?;
        }
        if let Some(item) = state.undelivered.take() {
            return Ok(Some(item));
        }
        let Some(read) = state.items.as_mut().filter(|read| read.caller == caller) else {
            return Ok(None);
        };
        let item = read.left.pop_front();
        read.asked = Instant::now();
        if read.left.is_empty() {
            state.items = None;
        }
        drop(state);
        let Some(item) = item else { return Ok(None) };
        let size = match Entry::decode(&item) {
            Ok(Entry::Item(item)) => item.size,
            _ => 0,
        };
        let slot = Slot::default();
        if let Err(e) = acknowledge(size, &slot) {
            if is_on_its_way(&slot) {
                self.put_back(item);
            } else {
                self.lost_sight(caller);
            }
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

    /// Whether there are items to be delivered.
    pub fn has_items(&self) -> bool {
        let state = self.state.locked();
        state.items.is_some() || state.undelivered.is_some()
    }

    /// A thread has taken these, more than one, in this time.
    pub fn fill(&self, caller: &str, items: VecDeque<Vec<u8>>, took: Duration) {
        let mut state = self.state.locked();
        state.has_more = true;
        state.items = Some(Items {
            caller: caller.to_owned(),
            left: items,
            asked: Instant::now(),
            patience: UNASKED.max(took * ROUND_TRIPS),
        });
    }

    /// A thread may have taken something, or acknowledged it, and does not know: all that it has in flight goes back.
    pub fn lost_sight(&self, caller: &str) {
        let mut state = self.state.locked();
        state.items = None;
        state.owed = Some((caller.to_owned(), usize::MAX));
    }

    /// Gives back what was not delivered, if there is anything; where it is `only_old` after it was not asked for in a while.
    pub fn give_back(&self, client: &Client, only_old: bool) -> Result<()> {
        let (caller, count) = {
            let mut state = self.state(client)?;
            if state.is_returning {
                return Ok(());
            }
            let is_due = |read: &Items| !only_old || read.asked.elapsed() >= read.patience;
            let what = if let Some(owed) = state.owed.take() {
                owed
            } else if state.items.as_ref().is_some_and(is_due)
                && let Some(read) = state.items.take()
            {
                (read.caller, read.left.len())
            } else {
                return Ok(());
            };
            state.is_returning = true;
            state.has_more = false;
            state.pause = PAUSE;
            what
        };
        let script = client.script(&scripts::GIVE_BACK, &self.id);
        let given = script.arg(self.end).arg(&caller).arg(count).call();
        let mut state = self.state.locked();
        state.is_returning = false;
        if matches!(&given, Err(e) if !matches!(e, Error::ObjectGone(_))) {
            state.owed = Some((caller, count));
        }
        drop(state);
        self.changed.notify_all();
        given.map(drop)
    }

    /// Its state, when nothing is on its way back.
    fn state(&self, client: &Client) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state.locked();
        // A signal's handler would wait for its own thread.
        while state.is_returning && !client::is_nested() {
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

    fn is_to_be_watched(&self) -> bool {
        let state = self.state.locked();
        state.items.is_some() || state.owed.is_some() || state.is_returning
    }
}

impl ReadsAhead {
    /// That of an end, however many handles this process has on it.
    pub fn of(&self, id: &str, end: u8) -> Arc<ReadAhead> {
        let mut all = self.all.locked();
        if let Some(known) = all.get(&(id.to_owned(), end)).and_then(Weak::upgrade) {
            return known;
        }
        if all.len() == all.capacity() {
            all.retain(|_, one| one.strong_count() > 0);
        }
        let new = Arc::new(ReadAhead {
            id: id.to_owned(),
            end,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        all.insert((id.to_owned(), end), Arc::downgrade(&new));
        new
    }

    /// Looks after one until it has nothing.
    pub fn watch(&'static self, client: &'static Client, one: &Arc<ReadAhead>) -> Result<()> {
        let mut watched = self.watched.locked();
        if watched.all.iter().any(|other| Arc::ptr_eq(other, one)) {
            return Ok(());
        }
        watched.all.push(one.clone());
        if watched.has_thread {
            self.changed.notify_one();
            return Ok(());
        }
        watched.has_thread = true;
        drop(watched);
        threads::spawn("serverless_mp-read-ahead", STACK, move || {
            self.look_after(client);
        })
    }

    /// Gives back what is not asked for.
    fn look_after(&self, client: &Client) {
        loop {
            let all: Vec<Arc<ReadAhead>> = {
                let watched = self.watched.locked();
                let wait = self.changed.wait_while(watched, |watched| {
                    watched.all.is_empty() && !watched.is_closed
                });
                let watched = wait.expect("no panic under this lock");
                if watched.is_closed {
                    return;
                }
                watched.all.clone()
            };
            std::thread::sleep(UNASKED / 2);
            for one in all {
                // The next take meets the error again.
                let _ = one.give_back(client, true);
            }
            let mut watched = self.watched.locked();
            watched.all.retain(|one| one.is_to_be_watched());
        }
    }

    /// The process leaves the session.
    pub fn close(&self) {
        self.watched.locked().is_closed = true;
        self.changed.notify_all();
    }
}
