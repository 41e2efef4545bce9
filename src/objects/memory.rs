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

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::buffer::Buffer;
use crate::objects::freshness::{Freshness, LONGEST};
use crate::objects::shared_region::{Changes, Newer, SharedRegion, Written};
use crate::objects::versions::{Heard, Versions};
use crate::protocol::{Grant, OK};
use crate::signals;
use crate::store::client::{self, Client};
use crate::store::command::{self, Cmd};
use crate::store::keys;
use crate::store::request::{Slot, is_on_its_way, text};
use crate::store::scripts;

/// A list of versions is long if it has more than this many entries, plus two for each region of this process.
const LONG: usize = 64;
/// If it is long again after fewer releases than this, others have more regions, and it may become twice as long.
const FEW_RELEASES: usize = 16;

/// How many regions go with a release.
const MOST_WRITTEN: usize = 8;

/// How many regions are looked at together, and how often the look is repeated while their versions change.
const MOST_LOOKS: usize = 256;
const MOST_ROUNDS: usize = 4;

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
    /// How often this process has synchronised with others.
    synchronised: AtomicU64,
}

/// A release of an object that has published regions.
struct Release {
    object: String,
    regions: Vec<String>,
    reply: Slot,
}

impl Release {
    /// The regions and their new versions; nothing if the release has no reply, or has failed.
    fn versions(&self) -> impl Iterator<Item = (&str, u64)> {
        let reply = self.reply.get().map(text).unwrap_or_default();
        let versions: Vec<u64> = reply
            .split_ascii_whitespace()
            .skip(1)
            .map(|version| version.parse().unwrap_or(0))
            .collect();
        self.regions.iter().map(String::as_str).zip(versions)
    }
}

/// The commands that ask for the version of each region.
fn questions<'c>(client: &'c Client, regions: &[Arc<SharedRegion>]) -> Vec<Cmd<'c>> {
    let question = |region: &Arc<SharedRegion>| {
        let question = client.plain("HGET", client.key(&region.id));
        question.arg(keys::VERSION)
    };
    regions.iter().map(question).collect()
}

impl Memory {
    /// Enters a region whose buffer this process has.
    pub fn enter(
        &'static self,
        client: &'static Client,
        id: &str,
        buffer: Arc<Buffer>,
    ) -> Result<Arc<SharedRegion>> {
        let (versions, count, sent) = (&self.versions, &self.count, &self.sent);
        let region = SharedRegion::new(client, id, buffer, versions, count, sent)?;
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
            match known {
                Some(known) => known,
                None => self.enter(client, id, Arc::new(Buffer::new(size)?))?,
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

    /// Publishes this process' writes. Returns the versions to send along with a message.
    pub fn publish(&self, client: &Client) -> Result<String> {
        self.publish_writes(client)?;
        Ok(self.versions.locked().all())
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
    /// is posted if its reply need not be waited for. Returns whether it is done or on its way, also if an error is raised;
    /// and its reply, if that was waited for.
    pub fn release(
        &self,
        client: &Client,
        object: &str,
        script: Cmd<'_>,
        is_posted: bool,
    ) -> (bool, Result<Option<String>>) {
        self.learn();
        let regions = match self.note_release(client) {
            Ok(()) if self.count.load(Ordering::Acquire) > 0 => self.all(),
            Ok(()) => Vec::new(),
            Err(e) => return (false, Err(e)),
        };
        let written = match self.written(client, object, &regions) {
            Ok(written) => written,
            Err(e) => return (false, Err(e)),
        };
        let (versions, until, changes) = self.news(object);
        let script = written
            .iter()
            .fold(script.arg(versions).arg(changes), |script, one| {
                one.add_to(script, false)
            });
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

    /// The writes that go with a release; everything else is published before. Writes of this thread that are in neither went
    /// with the release of another thread, whose versions are known when this returns.
    fn written<'r>(
        &self,
        client: &Client,
        object: &str,
        regions: &'r [Arc<SharedRegion>],
    ) -> Result<Vec<Written<'r>>> {
        // All threads lock the regions in this order.
        let mut regions: Vec<&SharedRegion> = regions.iter().map(Arc::as_ref).collect();
        regions.sort_by(|one, other| one.id.cmp(&other.id));
        let mut written = Vec::new();
        for region in regions {
            let changes = if written.len() < MOST_WRITTEN {
                region.written(client, object)
            } else {
                Changes::Much
            };
            match changes {
                Changes::Nothing => {}
                Changes::Little(one) => written.push(one),
                Changes::Much => region.publish(client)?,
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
    fn learn(&self) {
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

    pub fn sent_to(&self, object: &str, until: u64) {
        self.versions.locked().sent_to(object, until);
    }

    fn publish_writes(&self, client: &Client) -> Result<()> {
        if self.count.load(Ordering::Acquire) > 0 {
            for region in self.all() {
                region.publish(client)?;
            }
            // Some writes may have gone with a release of another thread.
            self.await_posted(client)?;
            self.learn();
        }
        self.note_release(client)
    }

    fn note_release(&self, client: &Client) -> Result<()> {
        self.synchronised.fetch_add(1, Ordering::Relaxed);
        self.releases.fetch_add(1, Ordering::AcqRel);
        self.shorten(client)
    }

    /// Draws an epoch if the list is long.
    fn shorten(&self, client: &Client) -> Result<()> {
        let length = self.versions.locked().len();
        if self.is_long(length) {
            self.draw_epoch(client)?;
        }
        Ok(())
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

    fn is_long(&self, count: usize) -> bool {
        let usual = LONG + 2 * self.count.load(Ordering::Acquire);
        count > usual.max(self.allowance.load(Ordering::Acquire))
    }

    /// Draws an epoch, which stands for the versions that this process knows, and forgets them. None while another thread
    /// draws one.
    fn draw_epoch(&self, client: &Client) -> Result<Option<u64>> {
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
    fn refresh_all(&self, client: &Client) -> Result<()> {
        let regions = self.all();
        let replies = client.call_all(questions(client, &regions))?;
        for (region, reply) in regions.iter().zip(replies) {
            region.refresh_stale(client, text(&reply).parse().unwrap_or(0))?;
        }
        Ok(())
    }

    /// From now on, unsynchronised writes are also published and fetched.
    pub fn keep_fresh(&'static self, client: &'static Client) -> Result<()> {
        let mut before = HashSet::new();
        let (mut synchronised, mut looked) = (0, Instant::now());
        self.freshness.begin(client, move || {
            // A process that synchronises publishes and fetches by that, and only now and then here.
            let now = self.synchronised.load(Ordering::Relaxed);
            if std::mem::replace(&mut synchronised, now) != now && looked.elapsed() < LONGEST {
                return Ok((false, false));
            }
            looked = Instant::now();
            let mut written = HashSet::new();
            let published = self.publish_what_stays(client, &before, &mut written)?;
            let is_read = !command::main_thread_waits() || signals::has_other_threads();
            let fetched = is_read && self.look(client)?;
            before = written;
            Ok((published || fetched, !before.is_empty()))
        })
    }

    /// Publishes the regions that differ from the store, if one of them differed `before`: then no release followed its write
    /// at once. Otherwise leaves their names in `written`. Larger regions come first: a flag is small, and tells of something
    /// large.
    fn publish_what_stays(
        &self,
        client: &Client,
        before: &HashSet<String>,
        written: &mut HashSet<String>,
    ) -> Result<bool> {
        let mut regions = self.all();
        regions.retain(|region| region.differs());
        if !regions.iter().any(|region| before.contains(&region.id)) {
            written.extend(regions.iter().map(|region| region.id.clone()));
            return Ok(false);
        }
        regions.sort_by_key(|region| Reverse(region.buffer.len()));
        let (small, large): (Vec<_>, Vec<_>) = regions.iter().partition(|one| one.is_small());
        large.iter().try_for_each(|region| region.publish(client))?;
        for some in small.chunks(MOST_LOOKS) {
            self.publish_together(client, some)?;
        }
        Ok(true)
    }

    /// Publishes small regions in one step: nobody sees the new content of one and the old content of another.
    fn publish_together(&self, client: &Client, regions: &[&Arc<SharedRegion>]) -> Result<()> {
        let mut regions: Vec<&SharedRegion> = regions.iter().map(|region| &***region).collect();
        // All threads lock the regions in this order.
        regions.sort_by(|one, other| one.id.cmp(&other.id));
        let mut written = Vec::new();
        let mut much = Vec::new();
        for region in regions {
            match region.written(client, &region.id) {
                Changes::Nothing => {}
                Changes::Little(one) => written.push(one),
                Changes::Much => much.push(region),
            }
        }
        if let Some(first) = written.first() {
            let publish = client.script(&scripts::PUBLISH_SMALL, first.name());
            let publish = (0..)
                .zip(&written)
                .fold(publish, |command, (n, one)| one.add_to(command, n == 0));
            let reply = publish.text()?;
            let versions = reply.split_ascii_whitespace();
            for (one, version) in written.into_iter().zip(versions) {
                let version = version.parse().unwrap_or(0);
                self.versions.locked().saw(one.name(), version);
                one.published(version);
            }
        }
        much.into_iter()
            .try_for_each(|region| region.publish(client))
    }

    /// Fetches the newer versions of some regions from the store. Returns whether there were any. The fetched content becomes
    /// visible when all of it is here and no version has changed since, or after `MOST_ROUNDS` rounds.
    fn look(&self, client: &Client) -> Result<bool> {
        let mut regions = self.all();
        regions.sort_by(|one, other| one.id.cmp(&other.id));
        let first = self.next_look.fetch_add(MOST_LOOKS, Ordering::Relaxed) % regions.len().max(1);
        regions.rotate_left(first);
        regions.truncate(MOST_LOOKS);
        // The versions that this process has posted are noted first.
        self.learn();
        let mut fetched: HashMap<usize, Newer<'_>> = HashMap::new();
        for _ in 0..MOST_ROUNDS {
            let replies = client.peek_all(questions(client, &regions))?;
            let mut has_moved = false;
            for (n, reply) in replies.iter().enumerate() {
                let version = text(reply).parse().unwrap_or(0);
                if let Some(newer) = fetched.get_mut(&n) {
                    has_moved |= newer.fetch(client, version)?;
                } else if let Some(mut newer) = regions[n].newer(version) {
                    has_moved |= newer.fetch(client, version)?;
                    fetched.insert(n, newer);
                }
            }
            if !has_moved {
                break;
            }
        }
        let has_fetched = !fetched.is_empty();
        signals::with_gil(|| {
            let mut all = fetched.into_values();
            all.try_for_each(|newer| newer.take(client))
        })?;
        Ok(has_fetched)
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
