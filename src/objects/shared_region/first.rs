//! The first publication of a large region by its maker: whole granules as plain strings, without a script, which would copy
//! them. Nobody else has the region yet.

use std::sync::atomic::Ordering;

use super::{SharedRegion, Twin, kind};
use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::granule::{GRANULE, bytes_of};
use crate::store::client::Client;
use crate::store::keys;
use crate::store::scripts;

/// From this number of granules on, they are published in this way.
const MANY: usize = 64;

impl SharedRegion {
    /// Publishes granules that differ from the twin, which is all zeros, if this is the first publication and they are many.
    /// If the store refuses some, all of them still differ afterwards.
    pub(super) fn publish_first(
        &self,
        client: &Client,
        twin: &mut Twin,
        granules: &[usize],
    ) -> Result<()> {
        // What happens before the first publication's end, nobody else can have seen.
        let is_first = std::mem::take(&mut twin.is_unseen);
        if !is_first || self.has_name.load(Ordering::Acquire) || granules.len() < MANY {
            return Ok(());
        }
        let sent = self
            .post_granules(client, twin, granules)
            .and_then(|()| client.settle())
            .and_then(|()| self.announce(client, twin, granules));
        if sent.is_err() {
            let zeros = vec![0; GRANULE];
            for granule in granules {
                let bytes = bytes_of(*granule, self.buffer.len());
                twin.bytes.put(bytes.start, &zeros[..bytes.len()]);
            }
        }
        match sent {
            // A script may use more memory than the store has for others.
            Err(Error::Memory(_)) => Ok(()),
            sent => sent,
        }
    }

    fn post_granules(&self, client: &Client, twin: &mut Twin, granules: &[usize]) -> Result<()> {
        let key = client.key(&self.id);
        for some in granules.chunks(MANY) {
            // The object knows its granules before they are there, so that they go with it.
            let fields = some.iter().map(|n| format!("{}{n}", keys::GRANULE_VERSION));
            fields
                .fold(client.plain("HSET", key.clone()), |note, field| {
                    note.arg(field).arg(0)
                })
                .post()?;
            for granule in some {
                let bytes = bytes_of(*granule, self.buffer.len());
                let content = self.buffer.copy(bytes.start, bytes.end);
                twin.bytes.make_own(&bytes)?;
                twin.bytes.put(bytes.start, &content);
                let set = client.plain("SET", keys::granule(&key, *granule));
                let set = if client.session.seal_memory {
                    let mut sealed = Vec::new();
                    let kind = kind(*granule);
                    client.seal.close(&self.id, &kind, &[&content], &mut sealed);
                    set.bytes(sealed)
                } else {
                    set.bytes(content)
                };
                let set = match client.session.ttl {
                    0 => set,
                    ttl => set.arg("PX").arg(ttl),
                };
                set.post()?;
            }
        }
        Ok(())
    }

    /// Gives the granules the region's first version.
    fn announce(&self, client: &Client, twin: &mut Twin, granules: &[usize]) -> Result<()> {
        let first = client.script(&scripts::FIRST, &self.id);
        let reply = granules
            .iter()
            .fold(first, |first, n| first.arg(*n))
            .text()?;
        let malformed = |_| Error::Store(format!("a region's version is {reply:?}"));
        let version = reply.parse().map_err(malformed)?;
        twin.version = version;
        self.sent.fetch_add(1, Ordering::AcqRel);
        self.versions.locked().saw(&self.id, version);
        Ok(())
    }
}
