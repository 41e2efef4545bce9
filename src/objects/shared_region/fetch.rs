//! Fetches what is newer in the store than this process' twin of a region.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use redis::Value;

use super::{LITTLE, SharedRegion, Twin, kind};
use crate::error::{Error, Result};
use crate::kept;
use crate::locked::Locked;
use crate::objects::granule::bytes_of;
use crate::signals;
use crate::store::client::Client;
use crate::store::keys;
use crate::store::scripts;

/// The granules that come with the first fetch, and how many are fetched at once if there are more.
const FEW: usize = 4;
const FETCH: usize = 64;
/// A region that has changed in more granules than this is updated in parts.
const AT_ONCE: usize = 256;

/// Granules by number, as the store has them.
type Granules = Vec<(usize, Vec<u8>)>;

/// The newer content of a region, on its way from the store to the twin. Nothing is published meanwhile.
pub struct Newer<'r> {
    region: &'r SharedRegion,
    twin: MutexGuard<'r, Twin>,
    version: u64,
    granules: Granules,
}

impl SharedRegion {
    /// Takes the content that came with a grant, if it is newer, and unless this process has published something since it
    /// asked.
    pub fn granted(&self, version: u64, content: &[u8], sent: u64) {
        let Some(mut twin) = self.twin() else { return };
        let is_known = version <= twin.version || self.sent.load(Ordering::Acquire) != sent;
        if is_known || content.len() > self.buffer.len() || self.buffer.len() > LITTLE {
            return;
        }
        if twin.bytes.refresh(0, self.buffer.len(), content).is_ok() {
            twin.version = version;
        }
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

    /// Fetches what is newer in the store. Nothing is published meanwhile: older content would overwrite it.
    pub(super) fn refresh(&self, client: &Client, twin: &mut Twin) -> Result<()> {
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
        let bytes = bytes_of(granule, self.buffer.len());
        if bytes.is_empty() {
            return Err(Error::Store(format!(
                "region {} has no granule {granule}",
                self.id
            )));
        }
        if client.session.seal_memory {
            let opened = client.seal.open(&self.id, &kind(granule), content)?;
            twin.bytes.refresh(bytes.start, bytes.end, &opened)
        } else {
            twin.bytes.refresh(bytes.start, bytes.end, content)
        }
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

fn malformed() -> Error {
    Error::Store("malformed reply about a region".into())
}

fn index(granule: i64) -> Result<usize> {
    usize::try_from(granule).map_err(|_| malformed())
}
