//! Publishes what this process wrote to a region: by commands of its own, or with a release.

use std::ops::Range;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use super::{LITTLE, SharedRegion, Twin, kind};
use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::granule::{GRANULE, bytes_of};
use crate::protocol::NEWER;
use crate::store::client::{self, Client};
use crate::store::command::Cmd;
use crate::store::keys::tag;
use crate::store::scripts;

/// The bounds of one publishing command.
const SPANS: usize = 4096;
const BATCH: usize = 4 << 20;
/// A granule that differs in more places than this is sent from the first to the last of them.
pub const RUNS: usize = 4;
/// After this many refusals, since others write to the same granule, a granule is sent in as many spans as needed.
const TRIES: usize = 2;

/// The writes to a region since it was last published.
pub enum Changes<'r> {
    Nothing,
    Little(Written<'r>),
    /// Many writes, or such as must not go with a release.
    Much,
}

/// The writes to a small region, to be published with the release that follows. Nothing is fetched meanwhile.
pub struct Written<'r> {
    region: &'r SharedRegion,
    twin: MutexGuard<'r, Twin>,
    spans: Vec<PublishedSpan>,
}

/// A span of bytes to be published.
struct PublishedSpan {
    start: usize,
    bytes: Vec<u8>,
    /// Set if the span has bytes of others: the newest version of the granule that the span may overwrite.
    newest: Option<u64>,
}

impl PublishedSpan {
    /// Bytes that this process has written, all of them.
    fn own((start, bytes): (usize, Vec<u8>)) -> Self {
        Self {
            start,
            bytes,
            newest: None,
        }
    }
}

impl SharedRegion {
    /// Whether differences may go with a release of an object.
    pub fn goes_with(&self, client: &Client, object: &str) -> bool {
        let is_beside = || tag(&self.id) == tag(object);
        self.buffer.len() <= LITTLE
            && !client.session.seal_memory
            && (!client.shared.cluster.endpoint.cluster || is_beside())
    }

    /// The differences from the twin, for a release of an object; much if they are in more places than `most`.
    pub fn written(&self, client: &Client, object: &str, most: usize) -> Changes<'_> {
        if client::is_nested() || !self.goes_with(client, object) {
            return Changes::Much;
        }
        let twin = self.state.locked();
        let Some(runs) = self
            .buffer
            .differences(0, twin.bytes.get(0..self.buffer.len()), most)
        else {
            return Changes::Much;
        };
        let spans = runs.into_iter().map(PublishedSpan::own).collect();
        self.little(twin, spans)
    }

    /// The differences from the twin, for a message: it is sent only if the store has the twin's version.
    pub fn written_for_message(&self, client: &Client) -> Changes<'_> {
        let is_alone = !client.session.seal_memory && !client.shared.cluster.endpoint.cluster;
        if self.buffer.len() > GRANULE || !is_alone || client::is_nested() {
            return Changes::Much;
        }
        let Some(mut twin) = self.twin() else {
            return Changes::Nothing;
        };
        let (granules, mut same) = (twin.bytes.may_differ(), Vec::new());
        let (spans, _) = self.changes(&twin, &granules, 0, &mut same);
        if spans.is_empty() {
            twin.bytes.are_same(&same);
        }
        self.little(twin, spans)
    }

    fn little<'r>(&'r self, twin: MutexGuard<'r, Twin>, spans: Vec<PublishedSpan>) -> Changes<'r> {
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

    /// Publishes what differs from the twin.
    pub fn publish(&self, client: &Client) -> Result<()> {
        let result = match self.twin() {
            Some(mut twin) => self.publish_from(client, &mut twin),
            None => Ok(()),
        };
        self.unless_left(client, result)
    }

    pub(super) fn publish_from(&self, client: &Client, twin: &mut Twin) -> Result<()> {
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
                self.published_as(twin, &spans, version)?;
                (begin, refusals) = (begin + end, 0);
            } else {
                self.refresh(client, twin)?;
                refusals += 1;
            }
        }
    }

    /// Notes the version as which spans were published.
    fn published_as(&self, twin: &mut Twin, spans: &[PublishedSpan], version: u64) -> Result<()> {
        for span in spans.iter().filter(|span| span.newest.is_some()) {
            twin.granules[span.start / GRANULE] = version;
        }
        for span in spans {
            twin.bytes
                .make_own(&(span.start..span.start + span.bytes.len()))?;
        }
        twin.take(spans);
        twin.published(version);
        self.sent.fetch_add(1, Ordering::AcqRel);
        self.versions.locked().saw(&self.id, version);
        Ok(())
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
            let Range { start, end } = bytes_of(*granule, self.buffer.len());
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
                    spans.extend(runs.into_iter().map(PublishedSpan::own));
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
}

impl Written<'_> {
    /// Adds the spans to a command: the region's key, unless the command has it, its name, the number of spans, and the spans.
    pub fn add_to<'c>(&self, command: Cmd<'c>, has_key: bool) -> Cmd<'c> {
        let command = if has_key {
            command
        } else {
            command.key(self.region.client.key(&self.region.id))
        };
        self.add_spans_to(command.arg(&self.region.id))
    }

    /// Adds the spans to a message: the region's key, the version that it must have, the number of spans, and the spans.
    pub fn add_to_message<'c>(&self, command: Cmd<'c>) -> Cmd<'c> {
        let command = command.key(self.region.client.key(&self.region.id));
        self.add_spans_to(command.arg(self.twin.version))
    }

    fn add_spans_to<'c>(&self, command: Cmd<'c>) -> Cmd<'c> {
        let command = command.arg(self.spans.len());
        self.spans.iter().fold(command, |command, span| {
            command.arg(span.start).arg(span.bytes.as_slice())
        })
    }

    /// The version that the region has once a message was sent.
    pub fn version_by_message(&self) -> u64 {
        self.twin.version + 1
    }

    /// Notes that a message was sent.
    pub fn sent_by_message(mut self) -> Result<()> {
        let version = self.version_by_message();
        self.region
            .published_as(&mut self.twin, &self.spans, version)
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
}
