//! What all threads of a process have of the store in common.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::store::cluster::Cluster;
use crate::store::health::Health;

pub struct Shared {
    pub cluster: Cluster,
    pub health: Health,
    /// Commands posted by any thread whose reply is unread.
    pub unread: AtomicUsize,
    seqs: AtomicU64,
}

impl Shared {
    pub const fn new(cluster: Cluster, health: Health) -> Self {
        Self {
            cluster,
            health,
            unread: AtomicUsize::new(0),
            seqs: AtomicU64::new(1),
        }
    }

    /// Of the next command: makes a repetition known to the scripts.
    pub fn next_seq(&self) -> u64 {
        self.seqs.fetch_add(1, Ordering::Relaxed)
    }
}
