//! One region in this process: its buffer, and the twin that says what the store has of it.

#[cfg_attr(not(target_os = "linux"), path = "no_base.rs")]
pub mod base;
pub mod fetch;
pub mod publish;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use redis::Value;

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::buffer::Buffer;
use crate::objects::granule::{GRANULE, bytes_of};
use crate::objects::twin::Content;
use crate::objects::versions::Versions;
use crate::store::client::{self, Client};
use crate::store::command::Cmd;
use crate::store::keys;

/// The size of the largest region whose content goes with a release or a grant.
const LITTLE: usize = 16 << 10;

pub struct SharedRegion {
    client: &'static Client,
    pub id: String,
    pub buffer: Arc<Buffer>,
    /// Whether this process has made it.
    is_own: bool,
    /// Whether other processes find the region by a name, without other synchronisation.
    has_name: AtomicBool,
    /// How many spans of the program have it.
    spans: AtomicUsize,
    state: Mutex<Twin>,
    /// The versions that this process knows, and the number of its regions.
    versions: &'static Mutex<Versions>,
    count: &'static AtomicUsize,
    /// How often this process has published any region.
    sent: &'static AtomicU64,
}

/// Where a region comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This process has made it.
    Made,
    /// Another process has made it; the buffer has its content at this version.
    Attached(u64),
}

/// The content of the region in the store, as this process last saw it.
struct Twin {
    bytes: Content,
    /// The version of the whole region.
    version: u64,
    /// A later version, for each granule that only this process has written since.
    granules: Vec<u64>,
    /// The file with the content at some version, which other processes of the machine map.
    base: Option<base::Offered>,
}

impl SharedRegion {
    pub fn new(
        client: &'static Client,
        id: &str,
        buffer: Arc<Buffer>,
        origin: Origin,
        versions: &'static Mutex<Versions>,
        count: &'static AtomicUsize,
        sent: &'static AtomicU64,
    ) -> Result<Self> {
        let size = buffer.len();
        let region = Self {
            client,
            id: id.to_owned(),
            state: Mutex::new(Twin {
                bytes: Content::new(buffer.clone())?,
                version: match origin {
                    Origin::Made => 0,
                    Origin::Attached(version) => version,
                },
                granules: vec![0; size.div_ceil(GRANULE)],
                base: None,
            }),
            buffer,
            is_own: origin == Origin::Made,
            has_name: AtomicBool::new(false),
            spans: AtomicUsize::new(0),
            versions,
            count,
            sent,
        };
        if let (false, Some(pages)) = (region.is_own, region.buffer.pages()) {
            pages.is_no_base();
        }
        count.fetch_add(1, Ordering::AcqRel);
        Ok(region)
    }

    pub fn begin_span(&self) {
        self.spans.fetch_add(1, Ordering::AcqRel);
    }

    /// With the last span the buffer goes: what was written and is not published yet is published, unless nobody else has the
    /// region.
    pub fn end_span(&self, client: &Client) -> Result<()> {
        let is_last = self.spans.fetch_sub(1, Ordering::AcqRel) == 1;
        let differs = || {
            self.twin()
                .is_some_and(|mut twin| self.differs_from(&mut twin))
        };
        if !is_last || !differs() {
            return Ok(());
        }
        let holders = client.plain("HGET", client.key(&self.id));
        match holders.arg(format!("{}0", keys::HOLDERS)).call()? {
            Value::BulkString(holders) if holders == b"1" => Ok(()),
            _ => self.publish(client),
        }
    }

    /// None in a signal handler, if the region is being published or refreshed, maybe by the same thread.
    fn twin(&self) -> Option<MutexGuard<'_, Twin>> {
        if client::is_nested() {
            return self.state.try_lock().ok();
        }
        Some(self.state.locked())
    }

    /// Ignores that the region is gone, if another thread has dropped its handle meanwhile.
    fn unless_left(&self, client: &Client, result: Result<()>) -> Result<()> {
        match result {
            Err(Error::ObjectGone(_)) if !client.handles.contain(&self.id, 0) => Ok(()),
            result => result,
        }
    }

    /// Notes the version of what was sent with a release.
    pub fn published(&self, version: u64) {
        if let Some(mut twin) = self.twin() {
            twin.published(version);
        }
    }

    /// Whether the region can be published in one step with others.
    pub fn is_small(&self) -> bool {
        let session = &self.client.session;
        let is_cluster = self.client.shared.cluster.endpoint.cluster;
        self.buffer.len() <= LITTLE && !session.seal_memory && !is_cluster
    }

    /// Whether the region has unpublished writes. False while another thread uses it.
    pub fn differs(&self) -> bool {
        let twin = self.state.try_lock();
        twin.is_ok_and(|mut twin| self.differs_from(&mut twin))
    }

    fn differs_from(&self, twin: &mut Twin) -> bool {
        let granules = twin.bytes.may_differ();
        granules.into_iter().any(|granule| {
            let bytes = bytes_of(granule, self.buffer.len());
            !self.buffer.equals(bytes.start, twin.bytes.get(bytes))
        })
    }

    /// Publishes and fetches, for a process that attaches or leaves by name, without other synchronisation.
    pub fn sync(&self, client: &Client) -> Result<()> {
        self.has_name.store(true, Ordering::Release);
        let Some(mut twin) = self.twin() else {
            return Ok(());
        };
        self.publish_from(client, &mut twin)?;
        client.settle()?;
        self.refresh(client, &mut twin)
    }

    /// In a child of the program's own `fork()`: gives it memory of its own, apart from the parent's, if the region has a
    /// name.
    pub fn part_from_parent(&self) {
        if self.has_name.load(Ordering::Acquire)
            && let Some(pages) = self.buffer.pages()
            && let Err(e) = pages.part_from_parent()
        {
            tracing::error!(error = %e, region = self.id, "its memory stays the parent's");
        }
    }
}

impl Twin {
    /// Notes the version of what this process has sent.
    fn published(&mut self, version: u64) {
        // Nobody else wrote in between: the twin equals the store.
        if version == self.version + 1 {
            self.version = version;
        }
    }
}

/// The commands that ask for the version of each region.
pub fn questions<'c>(client: &'c Client, regions: &[Arc<SharedRegion>]) -> Vec<Cmd<'c>> {
    let question = |region: &Arc<SharedRegion>| {
        let question = client.plain("HGET", client.key(&region.id));
        question.arg(keys::VERSION)
    };
    regions.iter().map(question).collect()
}

/// The kind of a granule, which its seal covers.
fn kind(granule: usize) -> String {
    format!("granule {granule}")
}

impl Drop for SharedRegion {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}
