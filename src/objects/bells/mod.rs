//! Tells this process when items come for the ends of pipes for which it has descriptors.
//!
//! One thread does it, with one connection that has subscribed to a channel for each end, its bell. The thread *watches* an end
//! whose descriptor is not readable: it asks whether there are items, and if there are none, the next script that brings some
//! rings the bell once. A lock that is lent to this process has a bell, too, which rings when another process wants it. A bell may
//! be lost with a connection or a node, so the thread also looks at everything now and then.

mod known;
mod listener;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use self::known::{Known, Shared};
use self::listener::Listener;
use crate::error::Result;
use crate::locked::Locked;
use crate::objects::length;
use crate::objects::loans::Borrower;
use crate::objects::readiness::{Errands, ReadinessFd, Watched};
use crate::signals;
use crate::store::client::Client;
use crate::store::keys;
use crate::store::threads;

/// The stack of the thread, in bytes.
const STACK: usize = 512 << 10;

/// The bells that a process hears.
#[derive(Default)]
pub struct Bells(Shared);

impl Bells {
    /// Makes a descriptor for an end.
    pub fn descriptor(
        &'static self,
        client: &'static Client,
        id: String,
        end: u8,
    ) -> Result<ReadinessFd> {
        let mut known = self.0.known.locked();
        let errands = self.begin(&mut known, client)?;
        let bell = keys::bell(&client.key(&id), end);
        let descriptor = ReadinessFd::new(client, id, end, errands)?;
        let ends = known.ends.entry(bell).or_default();
        ends.push(descriptor.watched());
        Ok(descriptor)
    }

    /// Hears a lock's bell; the lock is told when that has begun.
    pub fn hear_recalls(
        &'static self,
        client: &'static Client,
        bell: String,
        lock: Weak<dyn Borrower>,
    ) -> Result<()> {
        let mut known = self.0.known.locked();
        let errands = self.begin(&mut known, client)?;
        let locks = known.locks.entry(bell.clone()).or_default();
        locks.push(lock.clone());
        known.new_locks.push((bell, lock));
        errands.wake();
        Ok(())
    }

    /// Looks after the locks that are lent from now on, until they are not used for a while.
    pub fn tick(&self) {
        if !self.0.is_ticking.swap(true, Ordering::SeqCst)
            && let Some(errands) = self.0.errands.get()
        {
            errands.wake();
        }
    }

    pub fn is_ticking(&self) -> bool {
        self.0.is_ticking.load(Ordering::SeqCst)
    }

    /// Starts the thread if there is none.
    fn begin(&'static self, known: &mut Known, client: &'static Client) -> Result<Arc<Errands>> {
        if self.0.errands.get().is_none() {
            let _ = self.0.errands.set(Arc::new(Errands::new()?));
        }
        let errands = self.0.errands.get().expect("it was set").clone();
        if !known.has_thread {
            let listener = Listener::new(&self.0, client, errands.clone());
            threads::spawn("serverless_mp-bells", STACK, move || listener.run())?;
            known.has_thread = true;
        }
        Ok(errands)
    }

    /// Signals the descriptors of all ends that have something by now. False if this is not known, as in a cluster: its nodes pass
    /// bells on in their own time.
    pub fn hear(&'static self, client: &'static Client) -> Result<bool> {
        if client.shared.cluster.endpoint.cluster {
            return Ok(false);
        }
        client.settle()?;
        let (errands, hearing) = {
            let mut known = self.0.known.locked();
            let errands = self.begin(&mut known, client)?;
            let hearing = errands.ask();
            (errands, hearing)
        };
        errands.wait(hearing, || {
            client.healthy()?;
            signals::check()
        })?;
        client.shared.cluster.count(|c| &c.commands, 1);
        client.shared.cluster.count(|c| &c.round_trips, 1);
        Ok(true)
    }

    /// Signals the descriptors of ends that have something by now: the end of a process must not be seen before what it has sent.
    pub fn catch_up(&self, client: &Client) {
        let mut ends = self.0.known.locked().all();
        while !ends.is_empty() {
            let armed = ends.into_iter().filter_map(|end| Some((end.armed()?, end)));
            let armed: Vec<(u64, Arc<Watched>)> = armed.collect();
            let questions = armed.iter();
            let questions = questions.map(|(_, end)| length::question(client, &end.id, end.end));
            // If the store cannot be asked, the thread looks.
            let Ok(replies) = client.peek_all(questions.collect()) else {
                return;
            };
            let found = armed.into_iter().zip(&replies);
            let found = found.filter(|(_, reply)| length::is_some(reply));
            ends = found
                .filter_map(|((epoch, end), _)| (!end.signal_if(epoch)).then_some(end))
                .collect();
        }
    }
}
