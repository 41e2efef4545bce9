//! Items that a thread has taken before the program asked for them.
//!
//! A thread reads ahead only if it alone takes from an end, and the store knows that it does. A thread that begins to take
//! from that end waits until nothing is left, so that items are delivered in their order. Items that are not asked for go back
//! after a while. They are a batch in the thread's in-flight list; the store takes note of each before it is delivered.
//!
//! Tasks are taken by many, and in no order; a task is acknowledged by its result. The results that were sent of tasks taken
//! together are passed on when tasks go back.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use redis::Value;

use crate::error::{Error, Result};
use crate::locked::{Locked, Sound};
use crate::objects::batch::{Batch, Delivered};
use crate::objects::deferred::{self, Deferred};
use crate::protocol::Entry;
use crate::signals;
use crate::store::client::{self, Client};
use crate::store::conn::TICK;
use crate::store::request::{Slot, is_on_its_way};
use crate::store::scripts;
use crate::store::threads;

/// How many items are taken at once.
const MOST: usize = 64;
/// Items that are not asked for go back after the first time; or after this multiple of the time that taking them took, if that
/// is longer, but after the second time at most.
const UNUSED_LIMIT: Duration = Duration::from_millis(20);
const ROUND_TRIPS: u32 = 4;
const LONGEST_LIMIT: Duration = Duration::from_millis(500);
/// After items went back, this many are taken one by one before a thread reads ahead again.
const PAUSE: usize = 16;

/// The stack of a thread, in bytes.
const STACK: usize = 256 << 10;

pub struct ReadAhead {
    id: String,
    end: u8,
    state: Mutex<State>,
    changed: Condvar,
    pub deferred: Deferred,
}

#[derive(Default)]
struct State {
    items: Option<Items>,
    /// What must go back before anything else is taken.
    owed: Option<Owed>,
    /// Whether items are being given back.
    is_returning: bool,
    /// Whether an acknowledgement that has waited is being sent.
    is_acknowledging: bool,
    /// An item that was acknowledged and not delivered, since a signal handler raised.
    undelivered: Option<Vec<u8>>,
    /// Whether more items were there when the last one was taken.
    has_more: bool,
    /// How many items must be taken one by one before the next attempt.
    pause: usize,
}

struct Items {
    /// The thread that has taken them.
    caller: String,
    left: VecDeque<Vec<u8>>,
    /// None for tasks.
    batch: Option<Batch>,
    /// When the thread last asked, and after how long without a question the items go back.
    asked: Instant,
    patience: Duration,
}

/// The items of a thread that may have some in flight without knowing, or that could not give them back.
struct Owed {
    caller: String,
    /// How many of those that it took last go back.
    count: usize,
    /// Those before them that were delivered.
    delivered: Delivered,
}

/// The items that the threads of a process have read ahead.
#[derive(Default)]
pub struct ReadsAhead {
    all: Mutex<HashMap<(String, u8), Weak<ReadAhead>>>,
    watched: Mutex<ReadyEnds>,
    changed: Condvar,
}

/// The ends that have something, also if nobody has a handle any more.
#[derive(Default)]
struct ReadyEnds {
    all: Vec<Arc<ReadAhead>>,
    has_thread: bool,
    is_closed: bool,
}

impl ReadAhead {
    /// The next item that this thread has read ahead; unless it is a task, it counts as delivered. The last one of a batch
    /// acknowledges all.
    pub fn next(&self, client: &Client, caller: &str) -> Result<Option<Vec<u8>>> {
        let mut state = self.settled(client)?;
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
        let batch = read.batch.as_mut().map(|batch| {
            batch.delivers(match Entry::decode(&item) {
                Ok(Entry::Item(item)) => item.size,
                _ => 0,
            });
            batch.clone()
        });
        let is_last = read.left.is_empty();
        // Of tasks an empty list stays until the last one is done: the results of those before must not wait for it.
        if is_last && batch.is_some() {
            state.items = None;
        }
        drop(state);
        let noted = match batch {
            None => Ok(()), // its result will acknowledge it
            Some(batch) if is_last => self.acknowledge(client, caller, batch.delivered),
            Some(batch) => batch.note(client, &self.id, caller).post(),
        };
        // The item counts as delivered, also if a signal handler has raised.
        if let Err(e) = noted {
            self.put_back(item);
            return Err(e);
        }
        Ok(Some(item))
    }

    /// Acknowledges a batch of which nothing is left.
    fn acknowledge(&self, client: &Client, caller: &str, delivered: Delivered) -> Result<()> {
        let Delivered { count, size } = delivered;
        let slot = Slot::default();
        let sent =
            deferred::acknowledge(client, &self.id, self.end, caller, size, count).post_for(&slot);
        if sent.is_err() && !is_on_its_way(&slot) {
            self.owe(caller, 0, delivered);
        }
        sent
    }

    /// Keeps an item that was not delivered.
    pub fn put_back(&self, item: Vec<u8>) {
        self.state.locked().undelivered = Some(item);
    }

    /// How many items a thread may take at once.
    pub fn most(&self) -> usize {
        let pauses = self.pauses();
        if !pauses && self.state.locked().has_more {
            MOST
        } else {
            1
        }
    }

    /// Whether a thread takes only one item this time, since items went back lately.
    pub fn pauses(&self) -> bool {
        let mut state = self.state.locked();
        let pauses = state.pause > 0;
        state.pause = state.pause.saturating_sub(1);
        pauses
    }

    /// Notes whether more items were there when the last one was taken.
    pub fn saw(&self, has_more: bool) {
        self.state.locked().has_more = has_more;
    }

    /// Whether there are items to be delivered.
    pub fn has_items(&self) -> bool {
        let state = self.state.locked();
        let items = state.items.as_ref();
        state.undelivered.is_some() || items.is_some_and(|read| !read.left.is_empty())
    }

    /// Whether this thread has items to be delivered. If items are being given back, it waits for that.
    pub fn has_items_of(&self, client: &Client, caller: &str) -> Result<bool> {
        let state = self.settled(client)?;
        let items = state.items.as_ref();
        let is_own = |read: &Items| read.caller == caller && !read.left.is_empty();
        Ok(state.undelivered.is_some() || items.is_some_and(is_own))
    }

    /// Notes the items that a thread has taken before they are asked for, their batch unless they are tasks, and the time that
    /// this took.
    pub fn fill(
        &self,
        caller: &str,
        items: VecDeque<Vec<u8>>,
        batch: Option<Batch>,
        took: Duration,
    ) {
        let mut state = self.state.locked();
        state.has_more = true;
        state.items = Some(Items {
            caller: caller.to_owned(),
            left: items,
            batch,
            asked: Instant::now(),
            patience: (took * ROUND_TRIPS).clamp(UNUSED_LIMIT, LONGEST_LIMIT),
        });
    }

    /// No task of those that this thread has taken together is in work.
    pub fn forget_empty(&self, caller: &str) {
        let is_empty = |read: &mut Items| read.caller == caller && read.left.is_empty();
        self.state.locked().items.take_if(is_empty);
    }

    /// A thread may have taken something without knowing: all that it has in flight must go back.
    pub fn lost_sight(&self, caller: &str) {
        self.owe(caller, usize::MAX, Delivered::default());
    }

    fn owe(&self, caller: &str, count: usize, delivered: Delivered) {
        let caller = caller.to_owned();
        self.state.locked().owed = Some(Owed {
            caller,
            count,
            delivered,
        });
    }

    /// Sends the acknowledgements that wait for the next message. The replies tell what is left. Any thread sends them: the one
    /// that has taken the item, if it finds none, must not take again before another one has sent it.
    pub fn acknowledge_deferred(&self, client: &Client, slot: impl Fn() -> Slot) -> Result<()> {
        loop {
            let waiting = {
                let mut state = self.state(client)?;
                let Some(waiting) = self.deferred.take() else {
                    return Ok(());
                };
                state.is_acknowledging = true;
                waiting
            };
            let (caller, size) = (&waiting.caller, waiting.size);
            let done = deferred::acknowledge(client, &self.id, self.end, caller, size, 1);
            let sent = done.arg(true).post_for(&slot());
            if sent.is_err() {
                // A second time does nothing.
                self.deferred.put_back(waiting);
            }
            self.state.locked().is_acknowledging = false;
            self.changed.notify_all();
            sent?;
        }
    }

    /// Other processes will get this end: no acknowledgement waits any more.
    pub fn share(&self, client: &Client) -> Result<()> {
        self.deferred.share();
        self.acknowledge_deferred(client, Slot::default)
    }

    /// This thread takes from the other end: an object has one list in flight for each thread.
    pub fn leave(&self, client: &Client, caller: &str) -> Result<()> {
        self.acknowledge_deferred(client, Slot::default)?;
        let has_taken = {
            let state = self.state(client)?;
            let owed = state.owed.as_ref().map(|owed| &owed.caller);
            let taken = state.items.as_ref().map(|read| &read.caller);
            owed.into_iter().chain(taken).any(|one| one == caller)
        };
        if has_taken {
            self.give_back(client, false)?;
        }
        Ok(())
    }

    /// Gives back what is owed or was not delivered. With `only_old`, items go back only if they were not asked for in a
    /// while.
    pub fn give_back(&self, client: &Client, only_old: bool) -> Result<()> {
        let owed = {
            let mut state = self.state(client)?;
            if state.is_returning {
                return Ok(());
            }
            let is_due = |read: &Items| !only_old || read.asked.elapsed() >= read.patience;
            let owed = if let Some(owed) = state.owed.take() {
                owed
            } else if state.items.as_ref().is_some_and(is_due)
                && let Some(read) = state.items.take()
            {
                Owed {
                    caller: read.caller,
                    count: read.left.len(),
                    delivered: read.batch.map(|batch| batch.delivered).unwrap_or_default(),
                }
            } else {
                return Ok(());
            };
            state.is_returning = true;
            state.has_more = false;
            state.pause = PAUSE;
            owed
        };
        let script = client.script(&scripts::GIVE_BACK, &self.id);
        let script = script.arg(self.end).arg(&owed.caller).arg(owed.count);
        let script = script
            .arg(owed.delivered.count)
            .arg(owed.delivered.size)
            .arg(0);
        let slot = Slot::default();
        let given = script.post_for(&slot).and_then(|()| client.settle());
        let mut state = self.state.locked();
        state.is_returning = false;
        let has_failed = match &given {
            Ok(()) | Err(Error::ObjectGone(_)) => false,
            // After the exception of a signal handler it is on its way, and must not be sent a second time.
            Err(_) => slot
                .get()
                .map_or(!is_on_its_way(&slot), |reply| *reply == Value::Nil),
        };
        if has_failed {
            state.owed = Some(owed);
        }
        drop(state);
        self.changed.notify_all();
        given
    }

    /// The state, once all items that are to go back have gone.
    fn settled(&self, client: &Client) -> Result<MutexGuard<'_, State>> {
        let state = self.state(client)?;
        if state.owed.is_none() {
            return Ok(state);
        }
        drop(state);
        self.give_back(client, false)?;
        self.state(client)
    }

    /// The state, once no items are being given back, and no acknowledgement is being sent.
    fn state(&self, client: &Client) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state.locked();
        // A signal handler would wait for its own thread.
        while (state.is_returning || state.is_acknowledging) && !client::is_nested() {
            let (woken, sleep) = self.changed.wait_timeout(state, TICK).sound();
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
    /// The state of an end, which all handles of this process on that end share.
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
            deferred: Deferred::default(),
        });
        all.insert((id.to_owned(), end), Arc::downgrade(&new));
        new
    }

    /// A child of the program's own `fork()` will have all ends.
    pub fn share(&self, client: &Client) -> Result<()> {
        let all: Vec<_> = self
            .all
            .locked()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        all.iter().try_for_each(|one| one.share(client))
    }

    /// Watches an end until nothing is left to give back.
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

    /// Gives back items that are not asked for.
    fn look_after(&self, client: &Client) {
        loop {
            let all: Vec<Arc<ReadAhead>> = {
                let watched = self.watched.locked();
                let wait = self.changed.wait_while(watched, |watched| {
                    watched.all.is_empty() && !watched.is_closed
                });
                let watched = wait.sound();
                if watched.is_closed {
                    return;
                }
                watched.all.clone()
            };
            std::thread::sleep(UNUSED_LIMIT / 2);
            for one in all {
                // The next take will see the error.
                let _ = one.give_back(client, true);
            }
            let mut watched = self.watched.locked();
            watched.all.retain(|one| one.is_to_be_watched());
        }
    }

    /// Stops the thread when the process leaves the session.
    pub fn close(&self) {
        self.watched.locked().is_closed = true;
        self.changed.notify_all();
    }
}
