//! The consistency of shared memory: release consistency by versions of regions.
//!
//! A region is a plain buffer in each process that holds it, and its content in the store. A *release* (of a lock,
//! a message sent, a process started or ended, ...) first publishes what this process wrote: the bytes in which a
//! buffer differs from its twin, the state last seen in the store. It then leaves, or sends along, this process'
//! versions of regions, its own merged with all it has seen. An *acquire* (a lock taken, a message received, a
//! process begun or joined, ...) merges the versions that came with it, and fetches what is stale by them. So what
//! happened before a release is visible after the matching acquire, transitively. Between the two a process sees
//! its own writes, and of others' none in particular.
//!
//! Only differing bytes travel, and a refresh leaves alone a byte that differs from the twin: two processes which
//! write different bytes of one region at the same time both have their way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use redis::Value;

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::buffer::Buffer;
use crate::store::client::{self, Client};
use crate::store::scripts;

/// The unit of versions and fetches.
pub const GRANULE: usize = 64 << 10;
/// Bounds of one publishing command.
const SPANS: usize = 4096;
const BATCH: usize = 4 << 20;
/// Granules asked for at once.
const FETCH: usize = 64;

#[derive(Default)]
pub struct Memory {
    regions: Mutex<HashMap<String, Weak<SharedRegion>>>,
    /// How many regions there are: a program without any pays one load per release.
    count: AtomicUsize,
    seen: Mutex<HashMap<String, u64>>,
}

/// One region in this process.
pub struct SharedRegion {
    memory: &'static Memory,
    client: &'static Client,
    pub id: String,
    pub buffer: Buffer,
    state: Mutex<Twin>,
}

struct Twin {
    bytes: Vec<u8>,
    /// The version of the store's content that `bytes` reflects.
    version: u64,
}

impl Memory {
    /// Enters a region, of which a process has one buffer; what others have written and this process knows of is fetched.
    pub fn attach(
        &'static self,
        client: &'static Client,
        id: &str,
        size: usize,
    ) -> Result<Arc<SharedRegion>> {
        let region = {
            let mut regions = self.regions.locked();
            if let Some(known) = regions.get(id).and_then(Weak::upgrade) {
                known
            } else {
                let region = Arc::new(SharedRegion {
                    memory: self,
                    client,
                    id: id.to_owned(),
                    buffer: Buffer::new(size)?,
                    state: Mutex::new(Twin {
                        bytes: zeros(size)?,
                        version: 0,
                    }),
                });
                regions.insert(id.to_owned(), Arc::downgrade(&region));
                self.count.store(regions.len(), Ordering::Release);
                region
            }
        };
        self.refresh_stale(client, &region)?;
        Ok(region)
    }

    /// Nobody in this process has it any more.
    fn forget(&self, id: &str) {
        let mut regions = self.regions.locked();
        if regions
            .get(id)
            .is_some_and(|region| region.strong_count() == 0)
        {
            regions.remove(id);
            self.count.store(regions.len(), Ordering::Release);
        }
    }

    /// Publishes this process' writes; the versions to leave with a release.
    pub fn publish(&self, client: &Client) -> Result<String> {
        if self.count.load(Ordering::Acquire) > 0 {
            for region in self.all() {
                region.unless_left(client, region.publish(client))?;
            }
        }
        let seen = self.seen.locked();
        let entries: Vec<String> = seen
            .iter()
            .map(|(id, version)| format!("{id}:{version}"))
            .collect();
        Ok(entries.join(" "))
    }

    /// Merges the versions of a release and fetches what is stale by them.
    pub fn acquire(&self, client: &Client, versions: &str) -> Result<()> {
        for entry in versions.split_ascii_whitespace() {
            let (id, version) = entry
                .rsplit_once(':')
                .ok_or_else(|| Error::Store("malformed versions".into()))?;
            self.saw(id, version.parse().unwrap_or(0));
        }
        if self.count.load(Ordering::Acquire) == 0 || versions.is_empty() {
            return Ok(());
        }
        for region in self.all() {
            region.unless_left(client, self.refresh_stale(client, &region))?;
        }
        Ok(())
    }

    fn refresh_stale(&self, client: &Client, region: &SharedRegion) -> Result<()> {
        let wanted = {
            let seen = self.seen.locked();
            seen.get(&region.id).copied().unwrap_or(0)
        };
        match region.twin() {
            Some(mut twin) if wanted > twin.version => region.refresh(client, &mut twin),
            _ => Ok(()),
        }
    }

    fn saw(&self, id: &str, version: u64) {
        let mut seen = self.seen.locked();
        let known = seen.entry(id.to_owned()).or_insert(0);
        *known = version.max(*known);
    }

    fn all(&self) -> Vec<Arc<SharedRegion>> {
        self.regions
            .locked()
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }
}

impl SharedRegion {
    /// None where this is a signal's handler, and the thread itself is just publishing or refreshing the region.
    fn twin(&self) -> Option<MutexGuard<'_, Twin>> {
        if client::is_nested() {
            return self.state.try_lock().ok();
        }
        Some(self.state.locked())
    }

    /// Another thread may let go of the region while this one is at it, which is no error.
    fn unless_left(&self, client: &Client, result: Result<()>) -> Result<()> {
        let is_held = || {
            let handles = client.handles.locked();
            handles.contains_key(&(self.id.clone(), 0))
        };
        match result {
            Err(Error::ObjectGone(_)) if !is_held() => Ok(()),
            result => result,
        }
    }

    /// Sends the bytes that differ from the twin.
    fn publish(&self, client: &Client) -> Result<()> {
        match self.twin() {
            Some(mut twin) => self.publish_from(client, &mut twin),
            None => Ok(()),
        }
    }

    fn publish_from(&self, client: &Client, twin: &mut Twin) -> Result<()> {
        let mut spans: Vec<(usize, Vec<u8>)> = Vec::new();
        let (mut bytes, mut newest) = (0, None);
        let known = twin.version;
        let mut sent = 0;
        for start in (0..self.buffer.len()).step_by(GRANULE) {
            let end = (start + GRANULE).min(self.buffer.len());
            if self.buffer.equals(start, &twin.bytes[start..end]) {
                continue;
            }
            let before = spans.len();
            self.buffer
                .differences(start, &mut twin.bytes[start..end], &mut spans);
            bytes += spans[before..].iter().map(|(_, s)| s.len()).sum::<usize>();
            if spans.len() >= SPANS || bytes >= BATCH {
                newest = Some(self.send(client, &spans)?);
                sent += 1;
                spans.clear();
                bytes = 0;
            }
        }
        if !spans.is_empty() {
            newest = Some(self.send(client, &spans)?);
            sent += 1;
        }
        if let Some(version) = newest {
            // Nobody else wrote in between: what we have is what the store has.
            if version == known + sent {
                twin.version = version;
            }
            self.memory.saw(&self.id, version);
        }
        Ok(())
    }

    fn send(&self, client: &Client, spans: &[(usize, Vec<u8>)]) -> Result<u64> {
        let publish = client.script(&scripts::PUBLISH, &self.id).arg(GRANULE);
        let with_spans = spans.iter().fold(publish, |publish, (offset, bytes)| {
            publish.arg(offset).arg(bytes.as_slice())
        });
        let reply = with_spans.text()?;
        reply
            .parse()
            .map_err(|_| Error::Store(format!("a region's version is {reply:?}")))
    }

    /// For who attaches or leaves by name, with no other synchronisation: both directions at once.
    pub fn sync(&self, client: &Client) -> Result<()> {
        let Some(mut twin) = self.twin() else {
            return Ok(());
        };
        self.publish_from(client, &mut twin)?;
        client.settle()?;
        self.refresh(client, &mut twin)
    }

    /// Fetches what is newer in the store. Nothing is published meanwhile: an older content would come over it.
    fn refresh(&self, client: &Client, twin: &mut Twin) -> Result<()> {
        let granules = self.buffer.len().div_ceil(GRANULE);
        let known = twin.version;
        let (mut next, mut first_version) = (0_i64, None);
        while next >= 0 {
            let fetch = client.script(&scripts::FETCH, &self.id);
            let fetch = fetch.arg(known).arg(granules).arg(next).arg(FETCH);
            let Value::Array(rows) = fetch.call()? else {
                return Err(Error::Store("malformed reply about a region".into()));
            };
            let [Value::Int(version), Value::Int(more), rest @ ..] = rows.as_slice() else {
                return Err(Error::Store("malformed reply about a region".into()));
            };
            // The whole is at least as new as it was at the first piece.
            first_version.get_or_insert(u64::try_from(*version).unwrap_or(0));
            next = *more;
            for pair in rest.chunks_exact(2) {
                if let [Value::Int(granule), Value::BulkString(content)] = pair {
                    let start = usize::try_from(*granule).unwrap_or(0) * GRANULE;
                    let end = (start + GRANULE).min(self.buffer.len());
                    self.buffer
                        .refresh(start, &mut twin.bytes[start..end], content);
                }
            }
        }
        twin.version = twin.version.max(first_version.unwrap_or(0));
        self.memory.saw(&self.id, twin.version);
        Ok(())
    }
}

/// So many zeros, none of which takes memory before it is written.
fn zeros(size: usize) -> Result<Vec<u8>> {
    let mut reserved = Vec::<u8>::new();
    reserved
        .try_reserve_exact(size)
        .map_err(|_| Error::Memory(format!("no memory for {size} bytes")))?;
    drop(reserved);
    Ok(vec![0; size])
}

impl Drop for SharedRegion {
    fn drop(&mut self) {
        if self.client.is_current() {
            self.memory.forget(&self.id);
        }
    }
}
