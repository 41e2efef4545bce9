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
//! Two processes which write different bytes of one region at the same time both have their way: a refresh leaves alone
//! a byte that differs from the twin, and what is published has no bytes of others, or only such as they are in the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::shared_region::SharedRegion;
use crate::store::client::Client;

#[derive(Default)]
pub struct Memory {
    regions: Mutex<HashMap<String, Weak<SharedRegion>>>,
    /// How many regions there are: a program without any pays one load per release.
    count: AtomicUsize,
    seen: Mutex<HashMap<String, u64>>,
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
                let region = Arc::new(SharedRegion::new(self, client, id, size)?);
                regions.insert(id.to_owned(), Arc::downgrade(&region));
                self.count.store(regions.len(), Ordering::Release);
                region
            }
        };
        region.refresh_stale(client, self.seen(id))?;
        Ok(region)
    }

    /// Nobody in this process has it any more.
    pub fn forget(&self, id: &str) {
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
                region.publish(client)?;
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
            region.refresh_stale(client, self.seen(&region.id))?;
        }
        Ok(())
    }

    fn seen(&self, id: &str) -> u64 {
        self.seen.locked().get(id).copied().unwrap_or(0)
    }

    pub fn saw(&self, id: &str, version: u64) {
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
