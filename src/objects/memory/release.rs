//! Releases: publish what this process wrote, and leave its versions with an object.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::Memory;
use super::posted::Release;
use crate::error::Result;
use crate::locked::Locked;
use crate::objects::shared_region::SharedRegion;
use crate::objects::shared_region::publish::{Changes, RUNS, Written};
use crate::protocol::OK;
use crate::store::client::{self, Client};
use crate::store::command::Cmd;
use crate::store::request::{Slot, is_on_its_way, text};

/// How many regions go with a release.
const MOST_WRITTEN: usize = 8;
/// How many go with the publication of a lock that is lent.
const MOST_OF_LOAN: usize = 64;

impl Memory {
    /// Publishes this process' writes. Returns the versions to send along with a message.
    pub fn publish(&self, client: &Client) -> Result<String> {
        self.publish_writes(client)?;
        Ok(self.versions.locked().all())
    }

    /// Whether everything that this process may have written goes with a release of an object, in one script.
    pub fn goes_with(&self, client: &Client, object: &str) -> bool {
        let regions = self.all();
        regions.len() <= MOST_OF_LOAN && regions.iter().all(|one| one.goes_with(client, object))
    }

    /// The regions whose writes may go with a message.
    pub fn regions(&self) -> Vec<Arc<SharedRegion>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        self.learn();
        self.all()
    }

    /// The writes that go with a message; everything else is published before. Also the versions to send along.
    pub fn written_for_message<'r>(
        &self,
        client: &Client,
        regions: &'r [Arc<SharedRegion>],
    ) -> Result<(Vec<Written<'r>>, String)> {
        let of_region = |region| SharedRegion::written_for_message(region, client);
        let written = self.written(client, regions, MOST_WRITTEN, of_region, None)?;
        self.note_release(client)?;
        let mut versions = self.versions.locked().all();
        for one in &written {
            _ = write!(versions, " {}:{}", one.name(), one.version_by_message());
        }
        Ok((written, versions.trim_start().to_owned()))
    }

    /// Publishes this process' writes. Returns the versions to leave with an object that keeps a list, and the time to pass to
    /// `sent_to` once they are on their way there.
    pub fn publish_for(&self, client: &Client, object: &str) -> Result<(String, u64)> {
        self.publish_writes(client)?;
        let (versions, until, _) = self.news(object);
        Ok((versions, until))
    }

    /// What an object must be told, the time to pass to `sent_to` afterwards, and how often its list had changed when it was last
    /// seen.
    fn news(&self, object: &str) -> (String, u64, u64) {
        let versions = self.versions.locked();
        // A signal handler's command may overtake what its own thread has told.
        if client::is_nested() {
            return (versions.all(), 0, 0);
        }
        let (news, until) = versions.news_for(object);
        (news, until, versions.changes(object))
    }

    /// Publishes this process' writes, and sends a release of an object; writes to a few small regions go with it. The release
    /// is posted if its reply need not be waited for. Returns whether it is done or on its way, also if an error is raised; and its
    /// reply, if that was waited for.
    ///
    /// More regions, and writes in any number of places, go with a release that has `before_parts`, which is called if other writes
    /// are nevertheless published before it.
    pub fn release(
        &self,
        client: &Client,
        object: &str,
        script: Cmd<'_>,
        is_posted: bool,
        before_parts: Option<&dyn Fn()>,
    ) -> (bool, Result<Option<String>>) {
        self.learn();
        let regions = match self.note_release(client) {
            Ok(()) if self.count.load(Ordering::Acquire) > 0 => self.all(),
            Ok(()) => Vec::new(),
            Err(e) => return (false, Err(e)),
        };
        let (most, places) = match before_parts {
            Some(_) => (MOST_OF_LOAN, usize::MAX),
            None => (MOST_WRITTEN, RUNS),
        };
        let of_region = |region| SharedRegion::written(region, client, object, places);
        let written = self.written(client, &regions, most, of_region, before_parts);
        let written = match written {
            Ok(written) => written,
            Err(e) => return (false, Err(e)),
        };
        let (versions, until, changes) = self.news(object);
        let script = script.arg(versions).arg(changes).arg(is_posted);
        let script = written
            .iter()
            .fold(script, |script, one| one.add_to(script, false));
        let slot = Slot::default();
        let result = if is_posted {
            script.post_for(&slot).map(|()| None)
        } else {
            script.call().map(|reply| {
                let text = text(&reply);
                _ = slot.set(reply);
                Some(text)
            })
        };
        // If a signal handler has raised, the command may have been kept, to be sent with the next one: then its slot is known
        // there.
        let is_sent = result.is_ok() || is_on_its_way(&slot);
        if is_sent {
            self.sent_to(object, until);
            if !written.is_empty() {
                // Other threads that look at the regions find the release here.
                let regions = written.iter().map(|one| one.name().to_owned()).collect();
                self.posted.locked().push(Arc::new(Release {
                    object: object.to_owned(),
                    regions,
                    reply: slot,
                }));
            }
            written.into_iter().for_each(Written::sent);
        }
        let is_over = matches!(&result, Ok(Some(reply)) if !reply.starts_with(OK));
        (is_sent && !is_over, result)
    }

    /// The writes that go with a release, of at most so many regions; everything else is published before. Writes of this thread that are in neither went
    /// with the release of another thread, whose versions are known when this returns.
    fn written<'r>(
        &self,
        client: &Client,
        regions: &'r [Arc<SharedRegion>],
        most: usize,
        of_region: impl Fn(&'r SharedRegion) -> Changes<'r>,
        before_parts: Option<&dyn Fn()>,
    ) -> Result<Vec<Written<'r>>> {
        self.loans.declare();
        // All threads lock the regions in this order.
        let mut regions: Vec<&SharedRegion> = regions.iter().map(Arc::as_ref).collect();
        regions.sort_by(|one, other| one.id.cmp(&other.id));
        let mut written = Vec::new();
        for region in regions {
            let changes = if written.len() < most {
                of_region(region)
            } else {
                Changes::Much
            };
            match changes {
                Changes::Nothing => {}
                Changes::Little(one) => written.push(one),
                Changes::Much => {
                    if let Some(before) = before_parts {
                        before();
                    }
                    region.publish(client)?;
                }
            }
        }
        self.await_posted(client)?;
        Ok(written)
    }

    /// Waits for the versions of the releases that were posted.
    fn await_posted(&self, client: &Client) -> Result<()> {
        let posted = self.posted.locked().clone();
        for release in posted {
            // A signal handler does not wait for its own thread.
            if release.reply.get().is_none() && !client::is_nested() {
                client.settle()?;
                if release.reply.get().is_none() {
                    // The release is behind a message that waits for room.
                    client.settle_all()?;
                }
            }
            let mut versions = self.versions.locked();
            for (id, version) in release.versions() {
                versions.saw_with(&release.object, id, version);
            }
        }
        Ok(())
    }

    /// Notes the versions of posted releases with their regions, as far as they are known.
    pub(super) fn learn(&self) {
        let posted = self.posted.locked().clone();
        for release in posted
            .iter()
            .filter(|release| release.reply.get().is_some())
        {
            for (id, version) in release.versions() {
                let region = self.regions.locked().get(id).and_then(Weak::upgrade);
                if let Some(region) = region {
                    region.published(version);
                }
                let mut versions = self.versions.locked();
                versions.saw_with(&release.object, id, version);
            }
            // Another thread may have done the same.
            let mut posted = self.posted.locked();
            posted.retain(|other| !Arc::ptr_eq(other, release));
        }
    }

    pub fn sent_to(&self, object: &str, until: u64) {
        self.versions.locked().sent_to(object, until);
    }

    fn publish_writes(&self, client: &Client) -> Result<()> {
        if self.count.load(Ordering::Acquire) > 0 {
            self.loans.declare();
            for region in self.all() {
                region.publish(client)?;
            }
        }
        // Some writes may have gone with a release of another thread, or before their region was gone.
        self.await_posted(client)?;
        self.learn();
        self.note_release(client)
    }

    fn note_release(&self, client: &Client) -> Result<()> {
        self.synchronised.fetch_add(1, Ordering::Relaxed);
        self.releases.fetch_add(1, Ordering::AcqRel);
        self.shorten(client)
    }
}
