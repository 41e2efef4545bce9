//! Epochs keep lists of versions short: one number stands for all versions that a process knew.

use std::sync::TryLockError;
use std::sync::atomic::Ordering;

use super::{LONG, Memory};
use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::shared_region;
use crate::store::client::Client;
use crate::store::keys;
use crate::store::request::text;

/// If a list is long again after fewer releases than this, others have more regions, and it may become twice as long.
const FEW_RELEASES: usize = 16;

impl Memory {
    /// Draws an epoch if the list is long.
    pub(super) fn shorten(&self, client: &Client) -> Result<()> {
        let length = self.versions.locked().len();
        if self.is_long(length) {
            self.draw_epoch(client)?;
        }
        Ok(())
    }

    pub(super) fn is_long(&self, count: usize) -> bool {
        let usual = LONG + 2 * self.count.load(Ordering::Acquire);
        count > usual.max(self.allowance.load(Ordering::Acquire))
    }

    /// Draws an epoch, which stands for the versions that this process knows, and forgets them. None while another thread
    /// draws one.
    pub(super) fn draw_epoch(&self, client: &Client) -> Result<Option<u64>> {
        let _drawing = match self.drawing.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        let (until, length) = {
            let versions = self.versions.locked();
            (versions.clock(), versions.len())
        };
        self.has_epochs.store(true, Ordering::Release);
        let draw = client.plain("HINCRBY", client.key(keys::SESSION));
        let drawn = draw.arg(keys::EPOCHS).arg(1).text()?;
        let epoch = drawn
            .parse()
            .map_err(|_| Error::Store(format!("an epoch is {drawn:?}")))?;
        self.refresh_all(client)?;
        let mut versions = self.versions.locked();
        versions.saw_epoch(epoch);
        versions.forget(until);
        let releases = self.releases.load(Ordering::Acquire);
        let since = releases - self.releases_then.swap(releases, Ordering::AcqRel);
        self.allowance.store(
            if since < FEW_RELEASES { 2 * length } else { 0 },
            Ordering::Release,
        );
        Ok(Some(epoch))
    }

    /// Fetches what is newer of every region, after asking for all versions at once.
    pub(super) fn refresh_all(&self, client: &Client) -> Result<()> {
        let regions = self.all();
        let replies = client.call_all(shared_region::questions(client, &regions))?;
        for (region, reply) in regions.iter().zip(replies) {
            region.refresh_stale(client, text(&reply).parse().unwrap_or(0))?;
        }
        Ok(())
    }
}
