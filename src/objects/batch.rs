//! A batch: items that a thread has taken in one step to deliver them one by one, and how far it has come.
//!
//! The items are acknowledged together, after the last one. Until then the store knows the progress by a plain command for each
//! item, which costs it less than half of what a script does: it removes the item's number from the set of those that were not
//! delivered. The progress counts only if the process dies: an item that was delivered does not go back.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::client::Client;
use crate::store::command::Cmd;
use crate::store::keys;

#[derive(Clone)]
pub struct Batch {
    /// A number that no other batch of this process has.
    pub name: u64,
    pub delivered: Delivered,
}

/// Items that were delivered, and not acknowledged.
#[derive(Clone, Copy, Default)]
pub struct Delivered {
    pub count: usize,
    /// In bytes.
    pub size: usize,
}

/// The results of tasks that were taken together.
pub struct Results {
    /// The thread that has taken the tasks.
    pub caller: String,
    pub batch: Batch,
    /// How many were sent.
    pub sent: u64,
}

impl Results {
    pub fn new(caller: &str, batch: Batch) -> Self {
        Self {
            caller: caller.to_owned(),
            batch,
            sent: 0,
        }
    }
}

impl Batch {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            name: NEXT.fetch_add(1, Ordering::Relaxed),
            delivered: Delivered::default(),
        }
    }

    /// Counts an item of this size.
    pub fn delivers(&mut self, size: usize) {
        self.delivered.count += 1;
        self.delivered.size += size;
    }

    /// The command by which the store knows of the last delivery.
    pub fn note<'c>(&self, client: &'c Client, id: &str, caller: &str) -> Cmd<'c> {
        let key = keys::progress(&client.key(id), caller, self.name);
        client.plain("SREM", key).arg(self.delivered.count)
    }
}
