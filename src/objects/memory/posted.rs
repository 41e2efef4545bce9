//! Releases that were posted with writes, and whose replies bring the new versions of regions.

use crate::store::request::{Slot, text};

/// A release of an object that has published regions.
pub struct Release {
    pub object: String,
    pub regions: Vec<String>,
    pub reply: Slot,
}

impl Release {
    /// The regions and their new versions; nothing if the release has no reply, or has failed.
    pub fn versions(&self) -> impl Iterator<Item = (&str, u64)> {
        let reply = self.reply.get().map(text).unwrap_or_default();
        let versions: Vec<u64> = reply
            .split_ascii_whitespace()
            .skip(1)
            .map(|version| version.parse().unwrap_or(0))
            .collect();
        self.regions.iter().map(String::as_str).zip(versions)
    }
}
