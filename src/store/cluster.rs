//! The nodes of the store: which of them serves a key, and what was sent to them.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::{Value, cmd};

use crate::error::{Error, Result};
use crate::locked::Sound;
use crate::store::conn::{Conn, Until};
use crate::store::counters;
use crate::store::endpoint::{Endpoint, NodeAddr};
use crate::store::keys;
use crate::store::request::text;

/// Counts of this process' commands, for tests, benchmarks and the summary of a run.
#[derive(Default)]
pub struct Counters {
    pub commands: AtomicU64,
    /// How often a thread waited for a reply: the unit of cost if the store is on another host.
    pub round_trips: AtomicU64,
    pub bytes: AtomicU64,
}

struct Range {
    last: u16,
    place: NodeAddr,
}

pub struct Cluster {
    pub endpoint: Endpoint,
    pub counters: Counters,
    /// The slot ranges of a cluster in order; empty for a single node.
    ranges: RwLock<Vec<Range>>,
    /// How often the ranges were read: objects may have moved since an earlier reading.
    readings: AtomicU64,
}

impl Cluster {
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            counters: Counters::default(),
            ranges: RwLock::default(),
            readings: AtomicU64::new(0),
        }
    }

    /// The node that serves a key.
    pub fn route(&self, key: &str) -> NodeAddr {
        if !self.endpoint.cluster {
            return self.endpoint.first[0].clone();
        }
        if self.ranges.read().sound().is_empty() {
            // In a child of the program's own `fork()`. If no node answers, the attempts to send the command will say so.
            let _ = self.refresh();
        }
        let slot = keys::slot(key);
        let ranges = self.ranges.read().sound();
        let i = ranges.partition_point(|r| r.last < slot);
        ranges
            .get(i)
            .map_or_else(|| self.endpoint.first[0].clone(), |r| r.place.clone())
    }

    /// How often the slots were read.
    pub fn readings(&self) -> u64 {
        self.readings.load(Ordering::Acquire)
    }

    /// One address of each node.
    pub fn nodes(&self) -> Vec<NodeAddr> {
        if !self.endpoint.cluster {
            return vec![self.endpoint.first[0].clone()];
        }
        let mut out: Vec<NodeAddr> = Vec::new();
        for range in self.ranges.read().sound().iter() {
            if !out.iter().any(|p| p.to_string() == range.place.to_string()) {
                out.push(range.place.clone());
            }
        }
        out
    }

    /// Reads the cluster's slots again, from any node that answers.
    pub fn refresh(&self) -> Result<()> {
        if !self.endpoint.cluster {
            return Ok(());
        }
        let mut last = Error::Unreachable("no node of the cluster answers".into());
        for place in self.nodes().iter().chain(&self.endpoint.first) {
            match self.slots(place) {
                Ok(ranges) => {
                    *self.ranges.write().sound() = ranges;
                    self.readings.fetch_add(1, Ordering::AcqRel);
                    return Ok(());
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn slots(&self, place: &NodeAddr) -> Result<Vec<Range>> {
        let mut conn = Conn::open(&self.endpoint, place)?;
        conn.send(&cmd("CLUSTER").arg("SLOTS").get_packed_command())?;
        let until = Until {
            deadline: Some(std::time::Instant::now() + crate::store::endpoint::CONNECT_TIMEOUT),
            ..Until::default()
        };
        let Ok(Value::Array(rows)) = conn.read(until) else {
            return Err(Error::Store(format!(
                "the store at {place} is no cluster: use redis:// for a single node"
            )));
        };
        let mut ranges = Vec::new();
        for row in rows {
            let Value::Array(row) = row else { continue };
            let [Value::Int(_), Value::Int(last), Value::Array(master), ..] = row.as_slice() else {
                continue;
            };
            let [host, Value::Int(port), ..] = master.as_slice() else {
                continue;
            };
            let mut host = text(host);
            if host.is_empty() {
                // "the host you asked"
                if let NodeAddr::Tcp { host: asked, .. } = place {
                    host.clone_from(asked);
                }
            }
            let port = u16::try_from(*port).unwrap_or(6379);
            ranges.push(Range {
                last: u16::try_from(*last).unwrap_or(16383),
                place: self.endpoint.node(&host, port),
            });
        }
        if ranges.is_empty() {
            return Err(Error::Unreachable(format!(
                "the cluster at {place} has no slots assigned yet"
            )));
        }
        ranges.sort_by_key(|r| r.last);
        Ok(ranges)
    }

    pub fn count(&self, counter: impl Fn(&Counters) -> &AtomicU64, n: usize) {
        if !counters::is_left_out() {
            counter(&self.counters).fetch_add(n as u64, Ordering::Relaxed);
        }
    }
}
