//! The thread that hears the bells.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::known::Shared;
use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::length;
use crate::objects::readiness::{Errands, Watched};
use crate::signals;
use crate::store::client::Client;
use crate::store::conn::{TICK, Until, ready};
use crate::store::keys;
use crate::store::scripts;
use crate::store::subscriber::{Heard, Message, Subscriber};

/// How often the thread looks at the ends although no bell has rung.
const LOOK: Duration = Duration::from_secs(5);

/// How often the locks are looked after that are lent and in use, and after how many such times without use no more.
const TICK_OF_LOANS: Duration = Duration::from_millis(5);
const QUIET_TICKS: u32 = 4;

/// The thread's own.
pub struct Listener {
    shared: &'static Shared,
    client: &'static Client,
    errands: Arc<Errands>,
    /// None while the store cannot be reached.
    subscriber: Option<Subscriber>,
    /// The last hearing of which it has asked the subscriber.
    asked: u64,
    /// The last hearing for which the answer has come.
    answered: u64,
    /// When it last tried to connect.
    tried: Option<Instant>,
    /// How many ticks in a row have found no lock in use.
    quiet_ticks: u32,
}

impl Listener {
    pub const fn new(
        shared: &'static Shared,
        client: &'static Client,
        errands: Arc<Errands>,
    ) -> Self {
        Self {
            shared,
            client,
            errands,
            subscriber: None,
            asked: 0,
            answered: 0,
            tried: None,
            quiet_ticks: 0,
        }
    }

    pub fn run(mut self) {
        signals::avoid_gil();
        let mut next_look = Instant::now();
        let mut next_tick = None;
        while self.check().is_ok() {
            let (mut ends, hearing) = self.errands.take();
            let looks = self.subscriber.is_none() || Instant::now() >= next_look;
            if looks {
                next_look = Instant::now() + LOOK;
                let Some(all) = self.renew() else { return };
                ends = all;
            }
            self.hear_new_locks();
            self.watch(&ends);
            // Ends whose bells were rung for others were watched just now.
            self.errands.heard(self.answered);
            match &mut self.subscriber {
                Some(subscriber) if hearing > self.asked => {
                    // In order with the bells. If it fails, so does the next read.
                    let _ = subscriber.ask(hearing);
                    self.asked = hearing;
                }
                None if looks => self.errands.heard(hearing),
                Some(_) | None => {}
            }
            next_tick = self.tick_by(next_tick);
            let until = next_tick.map_or(next_look, |tick| next_look.min(tick));
            if let Err(e) = self.listen(until) {
                tracing::debug!(error = %e, "bells are not heard");
                self.subscriber = None;
            }
        }
        let mut known = self.shared.known.locked();
        known.has_thread = false;
        self.errands.end();
        // A reader must not sleep: its next call raises the error.
        known.all().iter().for_each(|end| end.signal());
    }

    fn check(&self) -> Result<()> {
        self.client.healthy()?;
        if self.client.is_current() {
            return Ok(());
        }
        Err(Error::State("the session has ended".into()))
    }

    /// Connects, or checks the connection; looks whether a lock was recalled in vain. Returns all ends; None if there is no bell to
    /// be heard, so that the thread is not needed.
    fn renew(&mut self) -> Option<Vec<Arc<Watched>>> {
        let mut known = self.shared.known.locked();
        known.tidy();
        if known.ends.is_empty() && known.locks.is_empty() {
            known.has_thread = false;
            self.errands.end();
            return None;
        }
        let bells: Vec<String> = known
            .ends
            .keys()
            .chain(known.locks.keys())
            .cloned()
            .collect();
        let (ends, borrowers) = (known.all(), known.borrowers());
        drop(known);
        self.subscriber = match self.subscriber.take() {
            None => {
                (self.asked, self.answered) = (0, 0);
                if self.tried.is_some_and(|tried| tried.elapsed() < TICK) {
                    return Some(ends);
                }
                self.tried = Some(Instant::now());
                let new = Subscriber::open(self.client).ok();
                new.and_then(|mut new| new.subscribe(bells).is_ok().then_some(new))
            }
            Some(mut subscriber) => {
                let checked = subscriber
                    .keep(&bells.into_iter().collect())
                    .and_then(|()| subscriber.check(self.asked));
                checked.is_ok().then_some(subscriber)
            }
        };
        for lock in borrowers {
            lock.look();
        }
        Some(ends)
    }

    fn hear_new_locks(&mut self) {
        let Some(subscriber) = &mut self.subscriber else {
            return;
        };
        let (bells, locks): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.shared.known.locked().new_locks)
                .into_iter()
                .unzip();
        if subscriber.subscribe(bells).is_err() {
            self.subscriber = None;
        }
        // After an error all bells are subscribed to anew.
        let locks = locks.iter().filter_map(Weak::upgrade);
        locks.for_each(|lock| lock.recalls_are_heard());
    }

    /// Looks after the locks that are lent, if it is time. Returns when to do so again.
    fn tick_by(&mut self, time: Option<Instant>) -> Option<Instant> {
        if !self.shared.is_ticking.load(Ordering::SeqCst) {
            return None;
        }
        let next = Some(Instant::now() + TICK_OF_LOANS);
        match time {
            Some(time) if time > Instant::now() => return Some(time),
            None => return next,
            Some(_) => {}
        }
        let tick = || {
            let borrowers = self.shared.known.locked().borrowers();
            let in_use = borrowers.iter().filter(|lock| lock.tick());
            in_use.count() > 0
        };
        self.quiet_ticks = if tick() { 0 } else { self.quiet_ticks + 1 };
        if self.quiet_ticks < QUIET_TICKS {
            return next;
        }
        self.quiet_ticks = 0;
        self.shared.is_ticking.store(false, Ordering::SeqCst);
        // A thread that has taken a lock just before has relied on the ticks.
        if tick() {
            self.shared.is_ticking.store(true, Ordering::SeqCst);
            return next;
        }
        None
    }

    /// Watches the ends whose descriptors are not readable.
    fn watch(&mut self, ends: &[Arc<Watched>]) {
        let armed = ends.iter().filter_map(|end| Some((end.armed()?, end)));
        let armed: Vec<(u64, &Arc<Watched>)> = armed.collect();
        if armed.is_empty() {
            return;
        }
        let bells = armed.iter().map(|(_, end)| self.bell_of(end)).collect();
        if let Some(subscriber) = &mut self.subscriber
            && subscriber.subscribe(bells).is_err()
        {
            self.subscriber = None;
        }
        let questions = armed.iter().map(|(epoch, end)| {
            let question = self.client.script(&scripts::WATCH, &end.id);
            question.arg(end.end).arg(self.text_of(*epoch))
        });
        match self.client.peek_all(questions.collect()) {
            Ok(replies) => {
                let found = armed.iter().zip(&replies);
                for ((epoch, end), _) in found.filter(|(_, reply)| length::is_some(reply)) {
                    end.signal_if(*epoch);
                }
            }
            // One of them may have been closed and deleted meanwhile.
            Err(_) if ends.len() > 1 => {
                for end in ends {
                    self.watch(std::slice::from_ref(end));
                }
            }
            Err(_) => ends[0].signal(),
        }
    }

    fn bell_of(&self, end: &Watched) -> String {
        keys::bell(&self.client.key(&end.id), end.end)
    }

    /// What the bell says if it rings after the question of an epoch.
    fn text_of(&self, epoch: u64) -> String {
        format!("{}.{epoch}", self.client.id)
    }

    /// Hears bells until an end is to be watched, or until the next look.
    fn listen(&mut self, next_look: Instant) -> Result<()> {
        let subscriber = self.subscriber.take();
        let check = || self.check();
        let until = Until {
            deadline: Some(next_look),
            wake_fd: Some(self.errands.wakes()),
            on_tick: Some(&check),
            ..Until::default()
        };
        let Some(mut subscriber) = subscriber else {
            let deadline = Some(Instant::now() + TICK);
            let _ = ready(
                self.errands.wakes(),
                PollFlags::POLLIN,
                &Until { deadline, ..until },
            );
            return Ok(());
        };
        while let Some(heard) = subscriber.next(until)? {
            match heard {
                Heard::Message(message) => self.rang(&message),
                Heard::Answer(hearing) => {
                    self.answered = hearing;
                    break;
                }
            }
        }
        self.subscriber = Some(subscriber);
        Ok(())
    }

    fn rang(&self, message: &Message) {
        let known = self.shared.known.locked();
        let ends = known.ends.get(&message.channel).cloned();
        let locks = known.locks.get(&message.channel).cloned();
        drop(known);
        for lock in locks.iter().flatten().filter_map(Weak::upgrade) {
            lock.recall();
        }
        for end in ends.iter().flatten().filter_map(Weak::upgrade) {
            let is_new = end
                .armed()
                .is_some_and(|epoch| message.text == self.text_of(epoch) && end.signal_if(epoch));
            if !is_new {
                // Rung for another process, or before the last item was taken.
                self.errands.add(end);
            }
        }
    }
}
