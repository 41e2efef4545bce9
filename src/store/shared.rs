//! The state of a client that all its threads share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::store::cluster::Cluster;
use crate::store::health::Health;

pub struct Shared {
    pub cluster: Cluster,
    pub health: Health,
    /// How many posted commands of all threads have an unread reply.
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

    /// The seq of the next command, by which the scripts know a repetition.
    pub fn next_seq(&self) -> u64 {
        self.seqs.fetch_add(1, Ordering::Relaxed)
    }
}
