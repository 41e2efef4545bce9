//! The versions of regions that a process knows, and tells with a release.
//!
//! The list does not grow with every region that ever existed. When it is long, the process draws an *epoch*, a number that
//! the session gives out once, looks at all of its regions, and forgets the list. A process that hears of an epoch that it
//! does not know looks at all of its regions as well, and so knows at least what the list said. An object that keeps a list is
//! told only what has changed since it was last told.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::protocol::{CHANGED, EPOCH};

#[derive(Default)]
pub struct Versions {
    /// By region: its version, and the time when that was learnt.
    regions: HashMap<String, (u64, u64)>,
    epoch: u64,
    epoch_learnt: u64,
    /// The time, which counts what is learnt.
    clock: u64,
    objects: HashMap<String, Exchanged>,
}

/// The state of an object that keeps a list: what it was told, and what it has told.
#[derive(Clone, Copy, Default)]
struct Exchanged {
    /// The time up to which it was told everything.
    until: u64,
    /// How often its list had changed when this process last saw it.
    changes: u64,
}

/// The versions that came with an acquire.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard<'a> {
    pub epoch: u64,
    /// How often the list of the object has changed that they came from.
    pub changes: u64,
    pub regions: Vec<(&'a str, u64)>,
}

impl<'a> Heard<'a> {
    pub fn parse(text: &'a str) -> Result<Self> {
        let mut heard = Self::default();
        for entry in text.split_ascii_whitespace() {
            let parts = entry.rsplit_once(':').and_then(|(name, version)| {
                let version = version.parse().ok()?;
                Some((name, version))
            });
            match parts.ok_or_else(|| Error::Store("malformed versions".into()))? {
                (EPOCH, epoch) => heard.epoch = epoch,
                (CHANGED, changes) => heard.changes = changes,
                of_region => heard.regions.push(of_region),
            }
        }
        Ok(heard)
    }
}

impl Versions {
    pub fn len(&self) -> usize {
        self.regions.len()
    }

    pub const fn clock(&self) -> u64 {
        self.clock
    }

    /// The version of a region that this process must see.
    pub fn of(&self, region: &str) -> u64 {
        self.regions.get(region).map_or(0, |known| known.0)
    }

    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn saw(&mut self, region: &str, version: u64) {
        let known = self.of(region);
        if version > known {
            self.clock += 1;
            let entry = (version, self.clock);
            match self.regions.get_mut(region) {
                Some(old) => *old = entry,
                None => _ = self.regions.insert(region.to_owned(), entry),
            }
        }
    }

    /// The same for a version that a release left with an object: the object need not be told.
    pub fn saw_with(&mut self, object: &str, region: &str, version: u64) {
        let before = self.clock;
        self.saw(region, version);
        if let Some(sent_to) = self.objects.get_mut(object)
            && sent_to.until == before
        {
            sent_to.until = self.clock;
        }
    }

    /// Notes that this process has looked at all of its regions since an epoch was drawn.
    pub const fn saw_epoch(&mut self, epoch: u64) {
        if epoch > self.epoch {
            self.clock += 1;
            (self.epoch, self.epoch_learnt) = (epoch, self.clock);
        }
    }

    /// Forgets all that was learnt until a time: the process' epoch stands for it.
    pub fn forget(&mut self, until: u64) {
        self.regions.retain(|_, (_, learnt)| *learnt > until);
    }

    /// All versions, as text.
    pub fn all(&self) -> String {
        self.since(0)
    }

    fn since(&self, time: u64) -> String {
        let regions = self.regions.iter().filter(|(_, known)| known.1 > time);
        let mut entries: Vec<String> = regions
            .map(|(region, (version, _))| format!("{region}:{version}"))
            .collect();
        if self.epoch_learnt > time {
            entries.push(format!("{EPOCH}:{}", self.epoch));
        }
        entries.join(" ")
    }

    /// What an object that keeps a list must be told, and the time to pass to `sent_to` once it was told.
    pub fn news_for(&self, object: &str) -> (String, u64) {
        let before = self.objects.get(object).map_or(0, |sent_to| sent_to.until);
        (self.since(before), self.clock)
    }

    /// Notes that an object was told all that was learnt until a time.
    pub fn sent_to(&mut self, object: &str, until: u64) {
        if until > 0 {
            let sent_to = self.objects.entry(object.to_owned()).or_default();
            sent_to.until = sent_to.until.max(until);
        }
    }

    /// How often the object's list had changed when this process last saw it.
    pub fn changes(&self, object: &str) -> u64 {
        self.objects
            .get(object)
            .map_or(0, |sent_to| sent_to.changes)
    }

    pub fn heard_from(&mut self, object: &str, changes: u64) {
        if changes > 0 {
            let sent_to = self.objects.entry(object.to_owned()).or_default();
            sent_to.changes = sent_to.changes.max(changes);
        }
    }

    /// Forgets an object that this process no longer holds.
    pub fn let_go(&mut self, object: &str) {
        self.objects.remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_object_is_told_what_is_new() {
        let mut versions = Versions::default();
        versions.saw("a-1", 3);
        let (news, time) = versions.news_for("lock");
        assert_eq!(news, "a-1:3");
        versions.saw("b-1", 1);
        versions.sent_to("lock", time);
        versions.saw("a-1", 2);
        let (news, time) = versions.news_for("lock");
        assert_eq!(news, "b-1:1");
        versions.sent_to("lock", time);
        assert_eq!(versions.news_for("lock").0, "");
        assert_eq!(versions.news_for("other").0.split(' ').count(), 2);
    }

    #[test]
    fn an_epoch_takes_the_place_of_what_was_known() {
        let mut versions = Versions::default();
        versions.saw("a-1", 3);
        let until = versions.clock();
        versions.saw("b-1", 1);
        versions.saw_epoch(7);
        versions.forget(until);
        assert_eq!(versions.len(), 1);
        assert_eq!(versions.all(), "b-1:1 epoch:7");
        versions.saw_epoch(6);
        assert_eq!(versions.epoch(), 7);
    }

    #[test]
    fn a_list_that_is_known_is_not_asked_for_again() {
        let mut versions = Versions::default();
        versions.heard_from("lock", 5);
        versions.heard_from("lock", 4);
        assert_eq!(versions.changes("lock"), 5);
        versions.let_go("lock");
        assert_eq!(versions.changes("lock"), 0);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["a", "a:", "a:-1", "a:x"] {
            assert!(matches!(Heard::parse(text), Err(Error::Store(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_told_is_heard(regions in prop::collection::hash_map("[a-f0-9]{4}-[0-9]", 1_u64.., 0..20), epoch: u64) {
            let mut versions = Versions::default();
            for (region, version) in &regions {
                versions.saw(region, *version);
            }
            versions.saw_epoch(epoch);
            let text = versions.all();
            let heard = Heard::parse(&text).unwrap();
            prop_assert_eq!((heard.epoch, heard.changes), (epoch, 0));
            let found: HashMap<String, u64> = heard.regions.into_iter().map(|(r, v)| (r.to_owned(), v)).collect();
            prop_assert_eq!(found, regions);
        }

        #[test]
        fn nothing_panics(text: String) { let _ = Heard::parse(&text); }
    }
}
