//! The consistency of shared memory: release consistency by versions of regions.
//!
//! A region is a plain buffer in each process that holds it, and its content in the store. A *release* (of a lock, a message
//! sent, a process started or ended, ...) first publishes what this process wrote: the bytes in which a buffer differs from
//! its twin, the state last seen in the store. It then leaves with the object, or sends along, this process' versions of
//! regions, its own merged with all that it has seen. An *acquire* (a lock taken, a message received, a process begun or
//! joined, ...) merges the versions that came with it, and fetches what is stale by them. So what happened before a release is
//! visible after the matching acquire, transitively. Between the two, a process sees its own writes; it may or may not see
//! those of others.
//!
//! If two processes write different bytes of one region at the same time, both writes are kept: a refresh does not touch a
//! byte that differs from the twin, and a process publishes bytes of others only as they are in the store.

mod epochs;
mod looks;
mod posted;
mod release;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use posted::Release;

use crate::error::Result;
use crate::locked::Locked;
use crate::objects::buffer::Buffer;
use crate::objects::freshness::Freshness;
use crate::objects::loans::Loans;
use crate::objects::shared_region::{Origin, SharedRegion, base};
use crate::objects::versions::{Heard, Versions};
use crate::protocol::Grant;
use crate::store::client::Client;
use crate::store::scripts;

/// A list of versions is long if it has more than this many entries, plus two for each region of this process.
const LONG: usize = 64;

#[derive(Default)]
pub struct Memory {
    regions: Mutex<HashMap<String, Weak<SharedRegion>>>,
    /// Held while a region of another process is entered, so that it is entered once.
    attaching: Mutex<()>,
    /// How many regions there are: a program without any pays one load per release.
    count: AtomicUsize,
    versions: Mutex<Versions>,
    /// Whether an epoch may stand for versions of a region that is new here.
    has_epochs: AtomicBool,
    /// Held by the thread that draws an epoch.
    drawing: Mutex<()>,
    /// The number of releases so far, and at the last epoch that was drawn.
    releases: AtomicUsize,
    releases_then: AtomicUsize,
    /// How often this process has published any region.
    sent: AtomicU64,
    /// Releases that were posted with writes, and whose new versions are not known yet.
    posted: Mutex<Vec<Arc<Release>>>,
    /// How long a list may be, if that is longer than usual.
    allowance: AtomicUsize,
    /// The first region, in the order of their names, that the next look covers.
    next_look: AtomicUsize,
    pub freshness: Freshness,
    pub loans: Loans,
    /// How often this process has synchronised with others.
    synchronised: AtomicU64,
}

impl Memory {
    /// Enters a region with its buffer.
    pub fn enter(
        &'static self,
        client: &'static Client,
        id: &str,
        buffer: Arc<Buffer>,
        origin: Origin,
    ) -> Result<Arc<SharedRegion>> {
        let (versions, count, sent) = (&self.versions, &self.count, &self.sent);
        let region = SharedRegion::new(client, id, buffer, origin, versions, count, sent)?;
        let region = Arc::new(region);
        let mut regions = self.regions.locked();
        if regions.len() > LONG + 2 * count.load(Ordering::Acquire) {
            regions.retain(|_, region| region.strong_count() > 0);
        }
        regions.insert(id.to_owned(), Arc::downgrade(&region));
        Ok(region)
    }

    /// Enters a region that others have made; a process has one buffer for it. Fetches the writes of others that this process
    /// knows of.
    pub fn attach(
        &'static self,
        client: &'static Client,
        id: &str,
        size: usize,
    ) -> Result<Arc<SharedRegion>> {
        let region = {
            let _attaching = self.attaching.locked();
            let known = self.regions.locked().get(id).and_then(Weak::upgrade);
            if let Some(known) = known {
                known
            } else {
                let (buffer, version) = match base::find(client, id, size)? {
                    Some(found) => found,
                    None => (Buffer::new(size)?, 0),
                };
                // Others are told what this process has seen.
                self.versions.locked().saw(id, version);
                let origin = Origin::Attached(version);
                self.enter(client, id, Arc::new(buffer), origin)?
            }
        };
        // An epoch may stand for a version of this region.
        let wanted = if self.has_epochs.load(Ordering::Acquire) {
            u64::MAX
        } else {
            self.versions.locked().of(id)
        };
        region.refresh_stale(client, wanted)?;
        Ok(region)
    }

    /// Before a process is started on this machine: offers it the content of large regions.
    pub fn offer_bases(&self, client: &Client) -> Result<()> {
        if self.count.load(Ordering::Acquire) > 0 {
            for region in self.all() {
                region.offer(client)?;
            }
        }
        Ok(())
    }

    pub fn has_regions(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// How often this process has published any region: to be read before a lock is taken.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Notes that a lock was granted: takes the content of regions that came with the grant, and acquires from it.
    pub fn granted(
        &self,
        client: &Client,
        object: &str,
        grant: &Grant<'_>,
        sent: u64,
    ) -> Result<()> {
        self.learn();
        if !grant.regions.is_empty() {
            for region in self.all() {
                let key = client.key(&region.id);
                let of_region = grant.regions.iter().filter(|content| content.key == key);
                for content in of_region {
                    region.granted(content.version, content.bytes, sent);
                    self.versions.locked().saw(&region.id, content.version);
                }
            }
        }
        self.acquire_from(client, object, grant.versions)
    }

    /// Merges the versions that came with a message, and fetches what is stale by them.
    pub fn acquire(&self, client: &Client, versions: &str) -> Result<()> {
        self.synchronised.fetch_add(1, Ordering::Relaxed);
        if versions.is_empty() {
            return Ok(());
        }
        self.hear(client, &Heard::parse(versions)?)?;
        self.shorten(client)
    }

    /// The same for versions that were left with an object. If the object's list is long, an epoch replaces it.
    pub fn acquire_from(&self, client: &Client, object: &str, versions: &str) -> Result<()> {
        self.synchronised.fetch_add(1, Ordering::Relaxed);
        if versions.is_empty() {
            return Ok(());
        }
        let heard = Heard::parse(versions)?;
        self.hear(client, &heard)?;
        self.versions.locked().heard_from(object, heard.changes);
        if self.is_long(heard.regions.len())
            && let Some(epoch) = self.draw_epoch(client)?
        {
            let forget = client.script(&scripts::FORGET, object).arg(epoch);
            let names = heard.regions.iter();
            let forget = names.fold(forget, |forget, (region, version)| {
                forget.arg(*region).arg(*version)
            });
            forget.post()?;
        }
        Ok(())
    }

    /// How often the list of an object had changed when this process last saw it.
    pub fn changes(&self, object: &str) -> u64 {
        self.versions.locked().changes(object)
    }

    /// Forgets an object that this process no longer holds.
    pub fn let_go(&self, object: &str) {
        self.versions.locked().let_go(object);
    }

    fn hear(&self, client: &Client, heard: &Heard<'_>) -> Result<()> {
        let is_epoch_new = {
            let mut versions = self.versions.locked();
            for (region, version) in &heard.regions {
                versions.saw(region, *version);
            }
            heard.epoch > versions.epoch()
        };
        if is_epoch_new {
            self.has_epochs.store(true, Ordering::Release);
            self.refresh_all(client)?;
            self.versions.locked().saw_epoch(heard.epoch);
        } else if self.count.load(Ordering::Acquire) > 0 {
            for region in self.all() {
                let wanted = self.versions.locked().of(&region.id);
                region.refresh_stale(client, wanted)?;
            }
        }
        Ok(())
    }

    /// In a child of the program's own `fork()`: parts the regions from the parent's. Does nothing if another thread held
    /// their list.
    pub fn part_from_parent(&self) {
        if let Ok(regions) = self.regions.try_lock() {
            let regions = regions.values().filter_map(Weak::upgrade);
            regions.for_each(|region| region.part_from_parent());
        }
    }

    fn all(&self) -> Vec<Arc<SharedRegion>> {
        let mut regions = self.regions.locked();
        let mut all = Vec::with_capacity(regions.len());
        // Regions that nobody in this process holds are forgotten.
        regions.retain(|_, region| {
            let region = region.upgrade();
            let is_held = region.is_some();
            all.extend(region);
            is_held
        });
        all
    }
}
