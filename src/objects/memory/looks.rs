//! Looks: publish and fetch what a program writes and reads without synchronisation.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Memory;
use redis::Value;

use crate::error::Result;
use crate::locked::Locked;
use crate::objects::freshness::{Found, LONGEST};
use crate::objects::shared_region::fetch::Newer;
use crate::objects::shared_region::publish::{Changes, RUNS};
use crate::objects::shared_region::{self, SharedRegion};
use crate::signals;
use crate::store::client::{self, Client};
use crate::store::command::{self, Cmd};
use crate::store::request::text;
use crate::store::scripts;

/// How many regions are looked at together, and how often the look is repeated while their versions change.
const MOST_LOOKS: usize = 256;
const MOST_ROUNDS: usize = 4;

impl Memory {
    /// Publishes and fetches unsynchronised writes, too, from now on.
    pub fn keep_fresh(&'static self, client: &'static Client) -> Result<()> {
        let mut before = HashSet::new();
        let (mut synchronised, mut looked) = (0, Instant::now());
        // The wait of the main thread in which nothing else ran.
        let mut idle_wait = None;
        self.freshness.begin(client, move || {
            // A process that synchronises publishes and fetches by that, and only now and then here.
            let now = self.synchronised.load(Ordering::Relaxed);
            if std::mem::replace(&mut synchronised, now) != now && looked.elapsed() < LONGEST {
                return Ok(Found::default());
            }
            looked = Instant::now();
            let mut written = HashSet::new();
            let published = self.publish_what_stays(client, &before, &mut written)?;
            let wait = command::main_thread_waits();
            let is_idle = wait.is_some() && (wait == idle_wait || !signals::do_others_run());
            idle_wait = wait.filter(|_| is_idle);
            let fetched = !is_idle && self.look(client)?;
            before = written;
            Ok(Found {
                something: published || fetched || !before.is_empty(),
                idle_wait,
            })
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
        if self.loans.are_in_use() {
            // They publish everything. What is found here could be half of a section.
            return Ok(false);
        }
        let mut regions = self.all();
        regions.retain(|region| region.differs());
        if !regions.iter().any(|region| before.contains(&region.id)) {
            written.extend(regions.iter().map(|region| region.id.clone()));
            return Ok(false);
        }
        self.loans.declare();
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
            match region.written(client, &region.id, RUNS) {
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

    /// Fetches what others have published by now. For an acquire that comes without versions: the program has learnt of others
    /// by the state of an object, by the end of a pipe, or by a wait that timed out.
    pub fn look_around(&self, client: &Client) -> Result<()> {
        // A signal handler may have interrupted a thread that uses the regions.
        if !self.has_regions() || client::is_nested() {
            return Ok(());
        }
        self.synchronised.fetch_add(1, Ordering::Relaxed);
        self.learn();
        let look = |some: &[_]| {
            let replies = client.peek_all(shared_region::questions(client, some))?;
            take_newer(client, some, &replies)
        };
        match self
            .all_by_node(client)
            .chunks(MOST_LOOKS)
            .try_for_each(look)
        {
            // What the program has learnt is true without a store, too.
            Err(e) if !e.is_raised() => Ok(()),
            looked => looked,
        }
    }

    /// The regions, those of one node of a cluster together.
    fn all_by_node(&self, client: &Client) -> Vec<Arc<SharedRegion>> {
        let cluster = &client.shared.cluster;
        let mut regions = self.all();
        if cluster.endpoint.cluster {
            regions.sort_by_cached_key(|one| cluster.route(&client.key(&one.id)).to_string());
        }
        regions
    }

    /// Asks for the states of objects, and looks in the same round trip.
    pub fn ask<'c>(&self, client: &'c Client, mut questions: Vec<Cmd<'c>>) -> Result<Vec<Value>> {
        if !self.has_regions() || client::is_nested() {
            return client.call_all(questions);
        }
        self.synchronised.fetch_add(1, Ordering::Relaxed);
        self.learn();
        let (regions, count) = (self.all_by_node(client), questions.len());
        questions.extend(shared_region::questions(client, &regions));
        let mut replies = client.call_all(questions)?;
        take_newer(client, &regions, &replies.split_off(count))?;
        Ok(replies)
    }

    /// Fetches the newer versions of some regions from the store, unless another thread uses them. Returns whether there were
    /// any. The fetched content becomes visible when all of it is here and no version has changed since, or after `MOST_ROUNDS`
    /// rounds.
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
            let replies = client.peek_all(shared_region::questions(client, &regions))?;
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
}

/// Fetches the regions that are newer in the store, by its replies to the questions about them.
fn take_newer(client: &Client, regions: &[Arc<SharedRegion>], replies: &[Value]) -> Result<()> {
    let versions = replies.iter().map(|reply| text(reply).parse().unwrap_or(0));
    let mut both = regions.iter().zip(versions);
    both.try_for_each(|(region, version)| region.refresh_stale(client, version))
}
