//! The scripts: text kept in `.lua` files, put together and hashed once.
//!
//! A store runs the whole text at each call, so it is kept short: of the prelude a script has the functions that it uses, names
//! of keys and fields stand as the texts that they are, and comments are left out.

use std::sync::LazyLock;

use aws_lc_rs::digest;

use crate::hex;
use crate::store::keys;

const PRELUDE: &str = include_str!("../lua/prelude.lua");

pub struct Script {
    pub body: String,
    pub sha: String,
}

impl Script {
    fn new(text: &str) -> Self {
        let body = assemble(PRELUDE, text);
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, body.as_bytes());
        Self {
            sha: hex::encode(hash.as_ref()),
            body,
        }
    }
}

/// A script behind the parts of the prelude that it needs. Parts are apart by a blank line; one that defines a function is
/// needed where its name stands.
fn assemble(prelude: &str, script: &str) -> String {
    let mut needed = vec![script];
    for part in prelude.split("\n\n").collect::<Vec<_>>().into_iter().rev() {
        let is_needed = function(part).is_none_or(|name| {
            needed
                .iter()
                .any(|text| words(text).any(|word| word == name))
        });
        if is_needed {
            needed.push(part);
        }
    }
    needed.into_iter().rev().map(spell_out).collect()
}

/// The function that a part of the prelude defines.
fn function(part: &str) -> Option<&str> {
    let (_, rest) = part.split_once("local function ")?;
    rest.split_once('(').map(|(name, _)| name)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.starts_with("--"))
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
}

/// Without comments, and with names of keys and fields as texts.
fn spell_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines().filter(|line| !line.starts_with("--")) {
        let mut rest = line;
        while let Some(start) = rest.find(|c: char| c.is_ascii_uppercase()) {
            let is_start =
                !rest[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            let end = rest[start..]
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map_or(rest.len(), |length| start + length);
            let word = &rest[start..end];
            out.push_str(&rest[..start]);
            match keys::NAMES
                .iter()
                .find(|(name, _)| is_start && *name == word)
            {
                Some((_, text)) => out.extend(["'", text, "'"]),
                None => out.push_str(word),
            }
            rest = &rest[end..];
        }
        out.extend([rest, "\n"]);
    }
    out
}

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {
        $(pub static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!(concat!("../lua/", $file, ".lua"))));)*
        /// All of them, for loading at the start of a session.
        pub fn all() -> Vec<&'static Script> {
            vec![$(&*$name),*]
        }

        /// Their texts as they are written.
        #[cfg(test)]
        const TEXTS: &[&str] = &[$(include_str!(concat!("../lua/", $file, ".lua"))),*];
    };
}

scripts! {
    CREATE "object/create" NOTE "object/note" ATTACH "object/attach" DETACH "object/detach" REAP "object/reap" RENEW "object/renew" DROP "object/drop"
    SEM_ACQUIRE "lock/acquire" SEM_RELEASE "lock/release" CANCEL "waiter/cancel"
    COND_WAIT "lock/condition_wait" NOTIFY "lock/notify"
    LATCH_CHANGE "latch/change" LATCH_WAIT "latch/wait"
    BARRIER_WAIT "barrier/wait" BARRIER_END "barrier/end" BARRIER_CANCEL "barrier/cancel"
    SEND "pipe/send" CAPACITY "pipe/capacity" TAKE_OPEN "pipe/take_open" TAKE_NOW "pipe/take_now" TAKE_MANY "pipe/take_many" TAKE_BACK "pipe/take_back" TAKE_DONE "pipe/take_done" TASK_BEGUN "pipe/task_begun" LENGTH "pipe/length"
    PUBLISH "memory/publish" FETCH "memory/fetch" NAME "memory/name"
    CLAIM "job/claim" FINISH "job/finish"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_what_it_uses_and_no_more() {
        let prelude = "-- Head.\nlocal KEY = KEYS[1]\n\n-- One.\nlocal function one() return ITEMS .. 0 end\n\n\
                       local function two() return one() end\n\nlocal function three() end\n";
        let body = assemble(
            prelude,
            "-- Calls three().\nreturn two() .. 'ITEMS_' .. TTL",
        );
        assert_eq!(
            body,
            "local KEY = KEYS[1]\nlocal function one() return ':q' .. 0 end\nlocal function two() return one() end\n\
             return two() .. 'ITEMS_' .. 'ttl'\n"
        );
    }

    #[test]
    fn every_name_is_spelled_out() {
        for script in all() {
            for word in words(&script.body) {
                let is_name = keys::NAMES.iter().any(|(name, _)| *name == word);
                assert!(!is_name, "{word} is left in {}", script.body);
            }
        }
    }

    #[test]
    fn no_script_spells_a_key_itself() {
        for text in TEXTS.iter().chain([&PRELUDE]) {
            for line in text.lines().filter(|line| !line.starts_with("--")) {
                let line = line.replace("':'", "");
                assert!(!line.contains("':"), "a key is spelled in: {line}");
            }
        }
    }
}
