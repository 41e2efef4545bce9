//! One region in this process: publishes what was written, and fetches what is newer in the store.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use redis::Value;

use crate::error::{Error, Result};
use crate::kept;
use crate::locked::Locked;
use crate::objects::buffer::Buffer;
use crate::objects::twin::{Content, GRANULE};
use crate::objects::versions::Versions;
use crate::protocol::NEWER;
use crate::signals;
use crate::store::client::{self, Client};
use crate::store::command::Cmd;
use crate::store::keys::{self, tag};
use crate::store::scripts;

/// The bounds of one publishing command.
const SPANS: usize = 4096;
const BATCH: usize = 4 << 20;
/// The granules that come with the first fetch, and how many are fetched at once if there are more.
const FEW: usize = 4;
const FETCH: usize = 64;
/// A region that has changed in more granules than this is updated in parts.
const AT_ONCE: usize = 256;
/// A granule that differs in more places than this is sent from the first to the last of them.
const RUNS: usize = 4;
/// The size of the largest region whose content goes with a release or a grant.
const LITTLE: usize = 16 << 10;
/// After this many refusals, since others write to the same granule, a granule is sent in as many spans as needed.
const TRIES: usize = 2;

pub struct SharedRegion {
    client: &'static Client,
    pub id: String,
    pub buffer: Arc<Buffer>,
    /// Whether other processes find the region by a name, without other synchronisation.
    has_name: AtomicBool,
    state: Mutex<Twin>,
    /// The versions that this process knows, and the number of its regions.
    versions: &'static Mutex<Versions>,
    count: &'static AtomicUsize,
    /// How often this process has published any region.
    sent: &'static AtomicU64,
}

/// The writes to a region since it was last published.
pub enum Changes<'r> {
    Nothing,
    Little(Written<'r>),
    /// Many writes, or such as must not go with a release.
    Much,
}

/// The newer content of a region, on its way from the store to the twin. Nothing is published meanwhile.
pub struct Newer<'r> {
    region: &'r SharedRegion,
    twin: MutexGuard<'r, Twin>,
    version: u64,
    granules: Granules,
}

/// The writes to a small region, to be published with the release that follows. Nothing is fetched meanwhile.
pub struct Written<'r> {
    region: &'r SharedRegion,
    twin: MutexGuard<'r, Twin>,
    spans: Vec<PublishedSpan>,
}

/// The content of the region in the store, as this process last saw it.
struct Twin {
    bytes: Content,
    /// The version of the whole region.
    version: u64,
    /// A later version, for each granule that only this process has written since.
    granules: Vec<u64>,
}

/// Granules by number, as the store has them.
type Granules = Vec<(usize, Vec<u8>)>;

/// A span of bytes to be published.
struct PublishedSpan {
    start: usize,
    bytes: Vec<u8>,
    /// Set if the span has bytes of others: the newest version of the granule that the span may overwrite.
    newest: Option<u64>,
}

impl SharedRegion {
    pub fn new(
        client: &'static Client,
        id: &str,
        buffer: Arc<Buffer>,
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
                version: 0,
                granules: vec![0; size.div_ceil(GRANULE)],
            }),
            buffer,
            has_name: AtomicBool::new(false),
            versions,
            count,
            sent,
        };
        count.fetch_add(1, Ordering::AcqRel);
        Ok(region)
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
        let is_held = || {
            let handles = client.handles.locked();
            handles.contains_key(&(self.id.clone(), 0))
        };
        match result {
            Err(Error::ObjectGone(_)) if !is_held() => Ok(()),
            result => result,
        }
    }

    /// The differences from the twin, for a release of an object.
    pub fn written(&self, client: &Client, object: &str) -> Changes<'_> {
        let is_beside = || tag(&self.id) == tag(object);
        if self.buffer.len() > LITTLE
            || client.session.seal_memory
            || client::is_nested()
            || client.shared.cluster.endpoint.cluster && !is_beside()
        {
            return Changes::Much;
        }
        let twin = self.state.locked();
        let Some(runs) = self
            .buffer
            .differences(0, twin.bytes.get(0..self.buffer.len()), RUNS)
        else {
            return Changes::Much;
        };
        let spans: Vec<PublishedSpan> = runs
            .into_iter()
            .map(|(start, bytes)| PublishedSpan {
                start,
                bytes,
                newest: None,
            })
            .collect();
        if spans.is_empty() {
            return Changes::Nothing;
        }
        let region = self;
        Changes::Little(Written {
            region,
            twin,
            spans,
        })
    }

    /// Notes the version of what was sent with a release.
    pub fn published(&self, version: u64) {
        if let Some(mut twin) = self.twin() {
            twin.published(version);
        }
    }

    /// Takes the content that came with a grant, if it is newer, and unless this process has published something since it
    /// asked.
    pub fn granted(&self, version: u64, content: &[u8], sent: u64) {
        let Some(mut twin) = self.twin() else { return };
        let is_known = version <= twin.version || self.sent.load(Ordering::Acquire) != sent;
        if is_known || content.len() > self.buffer.len() || self.buffer.len() > LITTLE {
            return;
        }
        twin.bytes.refresh(0, self.buffer.len(), content);
        twin.version = version;
    }

    /// Publishes what differs from the twin.
    pub fn publish(&self, client: &Client) -> Result<()> {
        let result = match self.twin() {
            Some(mut twin) => self.publish_from(client, &mut twin),
            None => Ok(()),
        };
        self.unless_left(client, result)
    }

    /// Fetches what is newer than the twin, if the store has the wanted version and the twin does not.
    pub fn refresh_stale(&self, client: &Client, wanted: u64) -> Result<()> {
        let result = match self.twin() {
            Some(mut twin) if wanted > twin.version => self.refresh(client, &mut twin),
            _ => Ok(()),
        };
        self.unless_left(client, result)
    }

    /// The start of a fetch without synchronisation, if a version is newer than the twin. None while another thread uses the
    /// region.
    pub fn newer(&self, version: u64) -> Option<Newer<'_>> {
        let twin = self.state.try_lock().ok()?;
        (version > twin.version).then(|| Newer {
            region: self,
            version: twin.version,
            granules: Vec::new(),
            twin,
        })
    }

    /// Whether the region can be published in one step with others.
    pub fn is_small(&self) -> bool {
        let session = &self.client.session;
        let is_cluster = self.client.shared.cluster.endpoint.cluster;
        self.buffer.len() <= LITTLE && !session.seal_memory && !is_cluster
    }

    /// Whether the region has unpublished writes. False while another thread uses it.
    pub fn differs(&self) -> bool {
        let Ok(mut twin) = self.state.try_lock() else {
            return false;
        };
        let granules = twin.bytes.may_differ();
        granules.into_iter().any(|granule| {
            let start = granule * GRANULE;
            let end = (start + GRANULE).min(self.buffer.len());
            !self.buffer.equals(start, twin.bytes.get(start..end))
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

    fn publish_from(&self, client: &Client, twin: &mut Twin) -> Result<()> {
        let mut granules = twin.bytes.may_differ();
        // The beginning usually describes what follows: it is published last.
        granules.reverse();
        let (mut begin, mut refusals, mut same) = (0, 0, Vec::new());
        loop {
            let (spans, end) = self.changes(twin, &granules[begin..], refusals, &mut same);
            if spans.is_empty() {
                same.reverse();
                twin.bytes.are_same(&same);
                return Ok(());
            }
            if let Some(version) = self.send(client, &spans)? {
                for span in spans.iter().filter(|span| span.newest.is_some()) {
                    twin.granules[span.start / GRANULE] = version;
                }
                twin.take(&spans);
                twin.published(version);
                self.sent.fetch_add(1, Ordering::AcqRel);
                self.versions.locked().saw(&self.id, version);
                (begin, refusals) = (begin + end, 0);
            } else {
                self.refresh(client, twin)?;
                refusals += 1;
            }
        }
    }

    /// The differences from the twin in some granules, as many as one command takes, and the number of granules looked at;
    /// `same` gets those that do not differ. After some refusals a command has only bytes that this process has written, or,
    /// if they cannot be told apart in sealed memory, one granule: then writes of others to other granules do not delay it.
    fn changes(
        &self,
        twin: &Twin,
        granules: &[usize],
        refusals: usize,
        same: &mut Vec<usize>,
    ) -> (Vec<PublishedSpan>, usize) {
        let is_sealed = self.client.session.seal_memory;
        let most = if is_sealed && refusals > 0 { 1 } else { BATCH };
        let mut spans = Vec::new();
        let mut bytes = 0;
        for (count, granule) in (1..).zip(granules) {
            let start = granule * GRANULE;
            let end = (start + GRANULE).min(self.buffer.len());
            let known = twin.bytes.get(start..end);
            if self.buffer.equals(start, known) {
                same.push(*granule);
                continue;
            }
            let newest = Some(twin.version.max(twin.granules[start / GRANULE]));
            let whole = |start: usize, end: usize| PublishedSpan {
                start,
                bytes: self.buffer.copy(start, end),
                newest,
            };
            if is_sealed {
                spans.push(whole(start, end));
            } else {
                let few = if refusals < TRIES { RUNS } else { usize::MAX };
                if let Some(runs) = self.buffer.differences(start, known, few) {
                    spans.extend(runs.into_iter().map(|(start, bytes)| PublishedSpan {
                        start,
                        bytes,
                        newest: None,
                    }));
                } else {
                    let (first, last) = self.buffer.bounds(start, known);
                    spans.push(whole(first, last));
                }
            }
            bytes += end - start;
            if spans.len() >= SPANS || bytes >= most {
                return (spans, count);
            }
        }
        (spans, granules.len())
    }

    /// Publishes spans. Returns the new version; None if a granule is newer than it may be.
    fn send(&self, client: &Client, spans: &[PublishedSpan]) -> Result<Option<u64>> {
        let mut publish = client.script(&scripts::PUBLISH, &self.id).arg(GRANULE);
        for span in spans {
            let place = span.newest.map_or_else(
                || span.start.to_string(),
                |newest| format!("{}={newest}", span.start),
            );
            publish = publish.arg(place);
            publish = if client.session.seal_memory {
                let mut sealed = Vec::new();
                let kind = kind(span.start / GRANULE);
                client
                    .seal
                    .close(&self.id, &kind, &[&span.bytes], &mut sealed);
                publish.arg(sealed)
            } else {
                publish.arg(span.bytes.as_slice())
            };
        }
        let reply = publish.text()?;
        if reply == NEWER {
            return Ok(None);
        }
        let malformed = |_| Error::Store(format!("a region's version is {reply:?}"));
        reply.parse().map(Some).map_err(malformed)
    }

    /// Fetches what is newer in the store. Nothing is published meanwhile: older content would overwrite it.
    fn refresh(&self, client: &Client, twin: &mut Twin) -> Result<()> {
        let mut granules = Vec::new();
        let version = self.fetch(client, twin, twin.version, &mut granules)?;
        self.take(client, twin, version, granules)
    }

    /// Fetches the granules that are newer than a version; if there are many, some go into the twin at once. Returns the
    /// region's version.
    fn fetch(
        &self,
        client: &Client,
        twin: &mut Twin,
        known: u64,
        granules: &mut Granules,
    ) -> Result<u64> {
        let fetch = client.script(&scripts::FETCH, &self.id);
        let fetch = fetch.arg(known).arg(twin.granules.len()).arg(0).arg(FEW);
        let Value::Array(rows) = fetch.call()? else {
            return Err(malformed());
        };
        let mut rows = rows.into_iter();
        let (Some(Value::Int(version)), Some(Value::Int(next))) = (rows.next(), rows.next()) else {
            return Err(malformed());
        };
        while let (Some(granule), Some(content)) = (rows.next(), rows.next()) {
            if let (Value::Int(granule), Value::BulkString(content)) = (granule, content) {
                granules.push((index(granule)?, content));
            }
        }
        if next >= 0 {
            self.fetch_many(client, twin, known, next, granules)?;
        }
        // The region is at least as new as it was at the first fetch.
        u64::try_from(version).map_err(|_| malformed())
    }

    /// The same from a granule on, without a script, which would copy what it sends.
    fn fetch_many(
        &self,
        client: &Client,
        twin: &mut Twin,
        known: u64,
        first: i64,
        granules: &mut Granules,
    ) -> Result<()> {
        let stale = client.script(&scripts::STALE, &self.id);
        let stale = stale.arg(known).arg(twin.granules.len()).arg(first);
        let Value::Array(newer) = stale.call()? else {
            return Err(malformed());
        };
        let key = client.key(&self.id);
        for some in newer.chunks(FETCH) {
            let some = some.iter().map(|granule| match granule {
                Value::Int(granule) => index(*granule),
                _ => Err(malformed()),
            });
            let some = some.collect::<Result<Vec<usize>>>()?;
            let gets = some
                .iter()
                .map(|granule| client.plain("GET", keys::granule(&key, *granule)));
            for (granule, reply) in some.iter().zip(client.call_all(gets.collect())?) {
                let Value::BulkString(content) = reply else {
                    return Err(Error::ObjectGone(format!("the region {}", self.id)));
                };
                granules.push((*granule, content));
            }
            if granules.len() > AT_ONCE {
                self.take_granules(client, twin, std::mem::take(granules))?;
            }
        }
        Ok(())
    }

    /// Applies what was fetched. No Python code sees a part of it.
    fn take(
        &self,
        client: &Client,
        twin: &mut Twin,
        version: u64,
        granules: Granules,
    ) -> Result<()> {
        if !granules.is_empty() {
            signals::with_gil(|| self.take_granules(client, twin, granules))?;
        }
        twin.version = twin.version.max(version);
        self.versions.locked().saw(&self.id, twin.version);
        Ok(())
    }

    fn take_granules(&self, client: &Client, twin: &mut Twin, granules: Granules) -> Result<()> {
        for (granule, content) in granules {
            self.refresh_granule(client, twin, granule, &content)?;
            kept::give(content);
        }
        Ok(())
    }

    fn refresh_granule(
        &self,
        client: &Client,
        twin: &mut Twin,
        granule: usize,
        content: &[u8],
    ) -> Result<()> {
        let start = granule * GRANULE;
        let end = (start + GRANULE).min(self.buffer.len());
        if start >= end {
            return Err(Error::Store(format!(
                "region {} has no granule {granule}",
                self.id
            )));
        }
        if client.session.seal_memory {
            let opened = client.seal.open(&self.id, &kind(granule), content)?;
            twin.bytes.refresh(start, end, &opened);
        } else {
            twin.bytes.refresh(start, end, content);
        }
        Ok(())
    }
}

impl Newer<'_> {
    /// Fetches what is newer than what was fetched before, if `version` is newer than that. Returns whether it is.
    pub fn fetch(&mut self, client: &Client, version: u64) -> Result<bool> {
        if version <= self.version {
            return Ok(false);
        }
        let (known, twin) = (self.version, &mut *self.twin);
        let found = self.region.fetch(client, twin, known, &mut self.granules);
        self.version = match found {
            Ok(found) => found.max(version),
            // A region that is gone has nothing newer.
            Err(Error::ObjectGone(_)) => version,
            Err(e) => return Err(e),
        };
        Ok(true)
    }

    /// Applies what was fetched.
    pub fn take(mut self, client: &Client) -> Result<()> {
        self.region
            .take(client, &mut self.twin, self.version, self.granules)
    }
}

impl Written<'_> {
    /// Adds the spans to a command: the region's key, unless the command has it, its name, the number of spans, and the spans.
    pub fn add_to<'c>(&self, command: Cmd<'c>, has_key: bool) -> Cmd<'c> {
        let command = if has_key {
            command
        } else {
            command.key(self.region.client.key(&self.region.id))
        };
        let head = command.arg(&self.region.id).arg(self.spans.len());
        self.spans.iter().fold(head, |command, span| {
            command.arg(span.start).arg(span.bytes.as_slice())
        })
    }

    /// The region's name.
    pub fn name(&self) -> &str {
        &self.region.id
    }

    /// Notes the version as which the spans were published.
    pub fn published(mut self, version: u64) {
        self.twin.published(version);
        self.sent();
    }

    /// Notes that the release is on its way.
    pub fn sent(mut self) {
        self.twin.take(&self.spans);
        self.region.sent.fetch_add(1, Ordering::AcqRel);
    }
}

impl Twin {
    /// Takes spans that the store has, or will have before anything else is done with the region.
    fn take(&mut self, spans: &[PublishedSpan]) {
        for span in spans {
            self.bytes.put(span.start, &span.bytes);
        }
    }

    /// Notes the version of what this process has sent.
    fn published(&mut self, version: u64) {
        // Nobody else wrote in between: the twin equals the store.
        if version == self.version + 1 {
            self.version = version;
        }
    }
}

fn malformed() -> Error {
    Error::Store("malformed reply about a region".into())
}

fn index(granule: i64) -> Result<usize> {
    usize::try_from(granule).map_err(|_| malformed())
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
