//! Locks that stay. A lock that one process takes again and again is lent to it: its unit is in this process, as that of a lock
//! that was never shared, until another process wants it.
//!
//! The store knows to whom a lock is lent, but not whether it is held. When another process wants it, the store rings the lock's
//! bell, and the bells' thread gives the unit back, or tells the store that the lock is held. It also tells the store that the lock
//! is held if that takes longer than a tick, and before this process does anything by which others could learn of it. If the
//! process dies with the lock lent, nobody can have known that it was held, and the lock is free.
//!
//! What is written under the lock is published at a tick, under the lock, or at once if the lock was not used for some ticks.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use redis::Value;

use super::Units;
use crate::error::Result;
use crate::locked::Locked;
use crate::objects::futex::MOMENT;
use crate::objects::loans::Borrower;
use crate::objects::process::Process;
use crate::signals;
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;

/// After this many releases in a row without a wait the lock is borrowed: at first, and at most, after loans that were of little
/// use. Half-way, its bell is to be heard.
const MANY: u32 = 16;
const MOST: u32 = 1024;
/// A loan with more uses was of use.
const USEFUL: u64 = 64;

#[derive(Default)]
pub struct Loan {
    state: Mutex<State>,
    /// Whether there is a loan: as `number` in the state.
    is_lent: AtomicBool,
    /// How often this process has given the unit back to the store without having waited for it.
    streak: AtomicU32,
    /// After how many more it is borrowed than `MANY`.
    reluctance: AtomicU32,
    is_heard: AtomicBool,
    never: AtomicBool,
    /// How often the lock was taken, and at the last tick.
    uses: AtomicU64,
    uses_at_begin: AtomicU64,
    uses_at_tick: AtomicU64,
    /// Whether something may have been written that is not published.
    is_dirty: AtomicBool,
    /// Whether the next release publishes.
    is_first: AtomicBool,
    /// Whether the thread that holds the unit publishes, and then gives it back.
    is_publishing: AtomicBool,
    /// Whether the bells' thread may have set the unit aside.
    is_at_tick: AtomicBool,
}

#[derive(Default)]
struct State {
    number: Option<u64>,
    /// Whether it was recalled before this process knew that it has it.
    is_recalled: bool,
}

/// Where the unit is when a loan ends.
enum Unit {
    Here,
    /// A thread of the program holds it.
    Held,
    /// A thread of the package has set it aside, and gives it to the store.
    Aside,
}

fn next_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

impl Loan {
    /// The unit came from the store; another process may have had it.
    pub fn has_waited(&self) {
        self.streak.store(0, Ordering::Relaxed);
    }
}

impl Units {
    pub fn is_lent(&self) -> bool {
        self.loan.is_lent.load(Ordering::Acquire)
    }

    /// From now on the lock is in the store. The GIL must not be held.
    pub fn never_borrow(&self) {
        self.loan.never.store(true, Ordering::Release);
        if self.object.process.is_current() {
            self.recall();
        }
    }

    /// The number of the loan for which the next take asks.
    pub(super) fn wanted_loan(&self) -> Option<u64> {
        let loan = &self.loan;
        // In a child of the program's own `fork()` the bell is the parent's.
        let many = MANY + loan.reluctance.load(Ordering::Relaxed);
        let wants = loan.streak.load(Ordering::Relaxed) >= many
            && self.object.process.is_current()
            && loan.is_heard.load(Ordering::Acquire)
            && !loan.never.load(Ordering::Acquire)
            && self.is_published_at_once();
        wants.then(next_number)
    }

    /// Whether one script can publish everything that this process may have written. What takes several could be seen in part if
    /// the process died.
    fn is_published_at_once(&self) -> bool {
        let process = self.object.process;
        process.memory.goes_with(process, self.id())
    }

    /// Notes that the unit went back to the store.
    pub fn gave_back(self: &Arc<Self>) {
        let (loan, process) = (&self.loan, self.object.process);
        if self.most != 1 || loan.never.load(Ordering::Relaxed) || !process.is_current() {
            return;
        }
        let streak = loan.streak.fetch_add(1, Ordering::Relaxed);
        if streak % MANY == MANY / 2 && !loan.is_heard.load(Ordering::Acquire) {
            let bell = keys::bell(&process.key(self.id()), 0);
            let me: Arc<dyn Borrower> = self.clone();
            // Without the bell nothing is borrowed.
            let _ = process
                .bells
                .hear_recalls(&process.client, bell, Arc::downgrade(&me));
        }
    }

    /// This thread holds the unit, which the store has lent.
    pub(super) fn begin_loan(self: &Arc<Self>, process: &'static Process, number: u64) {
        let loan = &self.loan;
        let mut state = loan.state.locked();
        if std::mem::take(&mut state.is_recalled) {
            drop(state);
            return self.unlend(process, number, false);
        }
        state.number = Some(number);
        let me: Arc<dyn Borrower> = self.clone();
        process.memory.loans.begin(Arc::downgrade(&me));
        self.here.set(0);
        loan.is_dirty.store(false, Ordering::Release);
        let uses = loan.uses.load(Ordering::Relaxed);
        loan.uses_at_begin.store(uses, Ordering::Relaxed);
        loan.is_lent.store(true, Ordering::Release);
        drop(state);
        self.used();
    }

    /// Notes that a unit was taken here, if it is lent.
    pub fn used(&self) {
        if !self.is_lent() {
            return;
        }
        self.loan.uses.fetch_add(1, Ordering::SeqCst);
        if !self.object.process.bells.is_ticking() {
            self.loan.is_first.store(true, Ordering::Release);
            self.object.process.bells.tick();
        }
    }

    /// Before a lent unit is given back here.
    pub(super) fn before_release(&self) -> Result<()> {
        let loan = &self.loan;
        if !self.object.process.memory.has_regions() {
            return Ok(());
        }
        if loan.is_first.swap(false, Ordering::AcqRel) || !self.is_published_at_once() {
            loan.is_publishing.store(true, Ordering::SeqCst);
            let published = self.publish();
            loan.is_publishing.store(false, Ordering::SeqCst);
            return published;
        }
        if !loan.is_dirty.load(Ordering::Relaxed) {
            loan.is_dirty.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Publishes what was written, while no other thread has the unit. If that takes more than one script, the loan ends before.
    fn publish(&self) -> Result<()> {
        let loan = &self.loan;
        loan.is_dirty.store(false, Ordering::Release);
        let (process, id) = (self.object.process, self.id());
        let script = process.script(&scripts::SEM_RELEASE, id).arg("");
        let end = || {
            if let Some((number, _)) = self.end_loan(None, false) {
                self.unlend(process, number, true);
            }
        };
        // The new versions are known at once: otherwise they would look like those of another process.
        let (_, published) = process
            .memory
            .release(process, id, script, false, Some(&end));
        published
            .map(drop)
            .inspect_err(|_| loan.is_dirty.store(true, Ordering::Release))
    }

    /// Ends the loan, or only the one of this number, or only if the unit is held: the units are in the store. Returns the number
    /// of the loan, and where the unit is; None if there was none.
    fn end_loan(&self, only: Option<u64>, only_if_held: bool) -> Option<(u64, Unit)> {
        let loan = &self.loan;
        let mut state = loan.state.locked();
        let number = state
            .number
            .filter(|number| only.is_none_or(|only| only == *number))?;
        let unit = if only_if_held {
            self.here.leave_if_none().then_some(Unit::Held)?
        } else {
            match self.here.leave() {
                Some(0) => Unit::Held,
                Some(_) => Unit::Here,
                None => Unit::Aside,
            }
        };
        state.number = None;
        loan.is_lent.store(false, Ordering::Release);
        loan.streak.store(0, Ordering::Relaxed);
        let uses = loan.uses.load(Ordering::Relaxed) - loan.uses_at_begin.load(Ordering::Relaxed);
        let reluctance = if uses > USEFUL {
            0
        } else {
            (2 * loan.reluctance.load(Ordering::Relaxed)).clamp(MANY, MOST)
        };
        loan.reluctance.store(reluctance, Ordering::Relaxed);
        drop(state);
        self.here.wake_all();
        Some((number, unit))
    }

    /// Gives the unit to the store, after a loan. `before_parts` as in `Memory::release`.
    fn return_unit(&self, before_parts: Option<&dyn Fn()>) {
        let is_dirty = self.loan.is_dirty.swap(false, Ordering::AcqRel);
        let is_sent = is_dirty && self.give_after(true, before_parts).0;
        if !is_sent {
            // Nothing was written since the last publication, or it goes with another release.
            let release = self.object.process.script(&scripts::SEM_RELEASE, self.id());
            let release = release.arg(self.most).arg("").arg(0).arg(true);
            release.when_possible();
        }
    }

    /// Waits until the bells' thread has given the unit to the store, if it has set it aside: the process may be about to end.
    fn await_tick(&self) {
        while self.loan.is_at_tick.load(Ordering::SeqCst) && self.object.process.healthy().is_ok() {
            thread::sleep(MOMENT);
        }
    }

    /// Tells the store that the lock is held.
    fn unlend(&self, process: &Process, number: u64, is_coming_back: bool) {
        let unlend = process.script(&scripts::UNLEND, self.id());
        // What cannot be sent now is sent later.
        let _ = unlend.arg(number).arg(is_coming_back).post();
    }
}

impl Borrower for Units {
    fn recall(&self) {
        match self.end_loan(None, false) {
            Some((number, Unit::Here)) => {
                let unlend = || self.unlend(self.object.process, number, true);
                self.return_unit(Some(&unlend));
            }
            Some((number, unit)) => {
                let is_coming_back = matches!(unit, Unit::Aside);
                self.unlend(self.object.process, number, is_coming_back);
            }
            // If a loan is on its way, it ends when it is here.
            None => self.loan.state.locked().is_recalled = true,
        }
        self.await_tick();
    }

    fn declare(&self) {
        if self.is_lent()
            && !self.loan.is_publishing.load(Ordering::SeqCst)
            && let Some((number, _)) = self.end_loan(None, true)
        {
            self.unlend(self.object.process, number, false);
        }
    }

    fn tick(&self) -> bool {
        if !self.is_lent() {
            return false;
        }
        let loan = &self.loan;
        let uses = loan.uses.load(Ordering::SeqCst);
        let is_used = loan.uses_at_tick.swap(uses, Ordering::SeqCst) != uses;
        if self.here.value() == 0 {
            if !is_used {
                self.declare();
            }
        } else if loan.is_dirty.load(Ordering::Acquire) {
            loan.is_at_tick.store(true, Ordering::SeqCst);
            if self.here.set_aside() {
                // The next tick tries again what has failed.
                let _ = self.publish();
                if !self.here.put_back() {
                    // The loan has ended meanwhile.
                    self.return_unit(None);
                }
            }
            loan.is_at_tick.store(false, Ordering::SeqCst);
        }
        is_used || loan.is_dirty.load(Ordering::Acquire)
    }

    fn is_in_use(&self) -> bool {
        self.is_lent() && self.object.process.bells.is_ticking()
    }

    fn look(&self) {
        let (process, number) = (self.object.process, self.loan.state.locked().number);
        let Some(number) = number else { return };
        let key = process.key(self.id());
        let lent_to = process.plain("HGET", key.clone()).arg(keys::LENT_TO);
        let waiters = process.plain("LLEN", keys::waiters(&key));
        let Ok(replies) = process.peek_all(vec![lent_to, waiters]) else {
            return;
        };
        if text(&replies[0]) != format!("{}:{number}", process.id) {
            // The store has forgotten it, or somebody has given the unit back that this process holds.
            let _ = self.end_loan(Some(number), false);
        } else if replies[1] != Value::Int(0) {
            self.recall();
        }
    }

    fn forget(&self) {
        // A thread may have been about to begin the loan.
        let _ = self.here.leave();
        self.loan.is_lent.store(false, Ordering::Release);
    }

    fn recalls_are_heard(&self) {
        self.loan.is_heard.store(true, Ordering::Release);
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        if self.is_lent() && self.object.process.is_current() {
            let _ = signals::without_gil(|| self.recall());
        }
    }
}
