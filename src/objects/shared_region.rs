//! One region in this process: what was written is published, what is newer in the store is fetched.

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

/// Bounds of one publishing command.
const SPANS: usize = 4096;
const BATCH: usize = 4 << 20;
/// Granules that come with the first look, and those that are asked for at once where there are more.
const FEW: usize = 4;
const FETCH: usize = 64;
/// So many are seen at once, of a region that changes in more.
const AT_ONCE: usize = 256;
/// A granule that differs in more places than this travels from the first to the last of them.
const RUNS: usize = 4;
/// The greatest region whose content goes with a lock.
const LITTLE: usize = 16 << 10;
/// How often that is tried where others write to the same granule.
const TRIES: usize = 2;

pub struct SharedRegion {
    client: &'static Client,
    pub id: String,
    pub buffer: Arc<Buffer>,
    /// Whether others find it by a name, with no other synchronisation.
    has_name: AtomicBool,
    state: Mutex<Twin>,
    /// Of this process: the versions that it knows, and how many regions it has.
    versions: &'static Mutex<Versions>,
    count: &'static AtomicUsize,
    /// How often this process has sent what it wrote to any.
    sent: &'static AtomicU64,
}

/// What was written to a region since it was published last.
pub enum Changes<'r> {
    Nothing,
    Little(Written<'r>),
    /// Much, or it must not go with a release.
    Much,
}

/// What is newer of a region in the store, on its way to the twin. Nothing is published meanwhile.
pub struct Newer<'r> {
    region: &'r SharedRegion,
    twin: MutexGuard<'r, Twin>,
    version: u64,
    granules: Granules,
}

/// What was written to a small region, to be published by the release that follows. Nothing is fetched meanwhile.
pub struct Written<'r> {
    region: &'r SharedRegion,
    twin: MutexGuard<'r, Twin>,
    spans: Vec<Span>,
}

/// The content of the store, as this process has seen it last.
struct Twin {
    bytes: Content,
    /// The version of the whole.
    version: u64,
    /// Of granules that only this process has written since, a later one.
    granules: Vec<u64>,
}

/// Granules by number, as the store has them.
type Granules = Vec<(usize, Vec<u8>)>;

/// Bytes to be published.
struct Span {
    start: usize,
    bytes: Vec<u8>,
    /// Where others' bytes are among them: the newest version of the granule over which they may come.
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

    /// What differs from the twin, for a release of an object.
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
        let spans: Vec<Span> = runs
            .into_iter()
            .map(|(start, bytes)| Span {
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

    /// What was written and sent with a release is that version.
    pub fn published(&self, version: u64) {
        if let Some(mut twin) = self.twin() {
            twin.published(version);
        }
    }

    /// Takes the content that a grant has brought, if it is newer; unless this process has sent something since it asked.
    pub fn granted(&self, version: u64, content: &[u8], sent: u64) {
        let Some(mut twin) = self.twin() else { return };
        let is_known = version <= twin.version || self.sent.load(Ordering::Acquire) != sent;
        if is_known || content.len() > self.buffer.len() || self.buffer.len() > LITTLE {
            return;
        }
        twin.bytes.refresh(0, self.buffer.len(), content);
        twin.version = version;
    }

    /// Sends what differs from the twin.
    pub fn publish(&self, client: &Client) -> Result<()> {
        let result = match self.twin() {
            Some(mut twin) => self.publish_from(client, &mut twin),
            None => Ok(()),
        };
        self.unless_left(client, result)
    }

    /// Fetches what is newer than the twin, if the store has a version that it does not.
    pub fn refresh_stale(&self, client: &Client, wanted: u64) -> Result<()> {
        let result = match self.twin() {
            Some(mut twin) if wanted > twin.version => self.refresh(client, &mut twin),
            _ => Ok(()),
        };
        self.unless_left(client, result)
    }

    /// What is newer than the twin, for who only looks, if the store has such a version. Not while another thread is at the region.
    pub fn newer(&self, version: u64) -> Option<Newer<'_>> {
        let twin = self.state.try_lock().ok()?;
        (version > twin.version).then(|| Newer {
            region: self,
            version: twin.version,
            granules: Vec::new(),
            twin,
        })
    }

    /// Whether it is published in one step with others.
    pub fn is_small(&self) -> bool {
        let session = &self.client.session;
        let is_cluster = self.client.shared.cluster.endpoint.cluster;
        self.buffer.len() <= LITTLE && !session.seal_memory && !is_cluster
    }

    /// Whether something was written that is not published. Not while another thread is at it.
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

    /// For who attaches or leaves by name, with no other synchronisation: both directions at once.
    pub fn sync(&self, client: &Client) -> Result<()> {
        self.has_name.store(true, Ordering::Release);
        let Some(mut twin) = self.twin() else {
            return Ok(());
        };
        self.publish_from(client, &mut twin)?;
        client.settle()?;
        self.refresh(client, &mut twin)
    }

    /// In a child of the program's own `fork()`: what it does with memory that has a name is not the parent's.
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
        // What stands at the beginning mostly tells of what is behind it: it comes last.
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

    /// What differs from the twin in some granules, as much as one command takes, and how many granules that is; also those that do
    /// not differ. After some refusals only what this process has written, or, where that cannot be told apart, one granule: so that who writes to others does
    /// not hold it up.
    fn changes(
        &self,
        twin: &Twin,
        granules: &[usize],
        refusals: usize,
        same: &mut Vec<usize>,
    ) -> (Vec<Span>, usize) {
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
            let whole = |start: usize, end: usize| Span {
                start,
                bytes: self.buffer.copy(start, end),
                newest,
            };
            if is_sealed {
                spans.push(whole(start, end));
            } else {
                let few = if refusals < TRIES { RUNS } else { usize::MAX };
                if let Some(runs) = self.buffer.differences(start, known, few) {
                    spans.extend(runs.into_iter().map(|(start, bytes)| Span {
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

    /// The new version; None where a granule is newer than it may be.
    fn send(&self, client: &Client, spans: &[Span]) -> Result<Option<u64>> {
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

    /// Fetches what is newer in the store. Nothing is published meanwhile: an older content would come over it.
    fn refresh(&self, client: &Client, twin: &mut Twin) -> Result<()> {
        let mut granules = Vec::new();
        let version = self.fetch(client, twin, twin.version, &mut granules)?;
        self.take(client, twin, version, granules)
    }

    /// Fetches the granules that are newer than a version, of which many go into the twin at once. The version of the whole.
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
        // The whole is at least as new as it was at the first look.
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

    /// Takes what was fetched, so that no code of Python sees a part of it.
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
    /// Fetches what is newer than what was fetched before, if that is older than a version. Whether it was.
    pub fn fetch(&mut self, client: &Client, version: u64) -> Result<bool> {
        if version <= self.version {
            return Ok(false);
        }
        let (known, twin) = (self.version, &mut *self.twin);
        let found = self.region.fetch(client, twin, known, &mut self.granules);
        self.version = match found {
            Ok(found) => found.max(version),
            // One that is gone has nothing newer.
            Err(Error::ObjectGone(_)) => version,
            Err(e) => return Err(e),
        };
        Ok(true)
    }

    /// Takes it.
    pub fn take(mut self, client: &Client) -> Result<()> {
        self.region
            .take(client, &mut self.twin, self.version, self.granules)
    }
}

impl Written<'_> {
    /// Adds them to a command: the region's key, unless the command has it, its name, how many spans there are, and each.
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

    /// It was published as that version.
    pub fn published(mut self, version: u64) {
        self.twin.published(version);
        self.sent();
    }

    /// The release is on its way.
    pub fn sent(mut self) {
        self.twin.take(&self.spans);
        self.region.sent.fetch_add(1, Ordering::AcqRel);
    }
}

impl Twin {
    /// The store has these, or will before anything else is done with it.
    fn take(&mut self, spans: &[Span]) {
        for span in spans {
            self.bytes.put(span.start, &span.bytes);
        }
    }

    /// What this process has sent is that version.
    fn published(&mut self, version: u64) {
        // Nobody else wrote in between: what we have is what the store has.
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

/// What a granule's seal says that it is.
fn kind(granule: usize) -> String {
    format!("granule {granule}")
}

impl Drop for SharedRegion {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}
