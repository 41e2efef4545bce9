//! The scripts: `.lua` files, which a store gets as one library of functions.
//!
//! A library's name contains the hash of its text, so that sessions of different releases can share a store. A store has it as
//! a whole or not at all. The names of its functions also contain a number, drawn by the process that loads the library. If a
//! store has lost the library and got it again, a client that still calls by the old names is refused, and sends again in
//! order what did not run.

use std::sync::LazyLock;

use aws_lc_rs::digest;

use crate::hex;
use crate::protocol;
use crate::store::keys;

const PRELUDE: &str = include_str!("../lua/prelude.lua");

/// Stands for the number until the library is loaded.
const LOAD_ID: &str = "@LOAD_ID@";

/// How a store treats a script.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The script changes nothing.
    Reads,
    /// A repetition changes nothing more.
    Repeatable,
    /// The script has a seq, by which it knows a repetition, and always notes its answer.
    Numbered,
}

pub struct Script {
    /// The script's own part of the function's name.
    pub name: &'static str,
    pub kind: Kind,
    /// Whether a store whose memory is full refuses it. Scripts that make room, or that others wait for, are never refused.
    pub needs_memory: bool,
    /// Whether it handles a migration of its slot to another node of a cluster; other scripts are refused meanwhile.
    goes_on: bool,
    text: &'static str,
}

impl Script {
    const fn flags(&self) -> &'static str {
        match (self.kind, self.needs_memory) {
            (Kind::Reads, _) => "'no-writes'",
            (_, false) => "'allow-oom'",
            (_, true) => "",
        }
    }
}

/// The library, for a single node or for the nodes of a cluster.
pub struct Library {
    /// The library's name, also that of the function that replies the number.
    pub name: String,
    text: String,
}

pub static OF_A_NODE: LazyLock<Library> = LazyLock::new(|| Library::new(false));
pub static OF_A_CLUSTER: LazyLock<Library> = LazyLock::new(|| Library::new(true));

impl Library {
    fn new(is_cluster: bool) -> Self {
        let functions: String = ALL.iter().map(|script| function(script)).collect();
        let text = format!(
            "local IS_CLUSTER = {is_cluster}\n{}{functions}",
            spell_out(PRELUDE)
        );
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let name = format!("smp_{}", &hex::encode(hash.as_ref())[..12]);
        let text = format!(
            "#!lua name={name}\n{text}redis.register_function{{function_name='{name}', \
             callback=function() return '{LOAD_ID}' end, flags={{'no-writes'}}}}\n"
        );
        Self {
            text: text.replace("@NAME@", &format!("{name}_{LOAD_ID}")),
            name,
        }
    }

    /// The text of the library with this number.
    pub fn text(&self, number: &str) -> String {
        self.text.replace(LOAD_ID, number)
    }

    /// The name of a script's function.
    pub fn function(&self, number: &str, script: &Script) -> String {
        format!("{}_{number}_{}", self.name, script.name)
    }
}

/// A script as a function of the library.
fn function(script: &Script) -> String {
    format!(
        "redis.register_function{{function_name='@NAME@_{}', callback=function(KEYS, ARGV)\nbegin(KEYS, ARGV)\n{}{}end, flags={{{}}}}}\n",
        script.name,
        if script.goes_on {
            ""
        } else {
            "if is_moving then return on_its_way() end\n"
        },
        spell_out(script.text),
        script.flags()
    )
}

/// The names that scripts use: of keys and fields, and of the words that cross by the store.
fn names() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    keys::NAMES.iter().chain(protocol::NAMES)
}

/// Removes comment lines, and replaces names by their texts.
fn spell_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.trim_start().starts_with("--"))
    {
        let mut rest = line;
        while let Some(start) = rest.find(|c: char| c.is_ascii_uppercase()) {
            let is_start =
                !rest[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            let end = rest[start..]
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map_or(rest.len(), |length| start + length);
            let word = &rest[start..end];
            out.push_str(&rest[..start]);
            match names().find(|(name, _)| is_start && *name == word) {
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
    ($($id:ident $folder:literal $name:literal $kind:ident $($property:ident)*;)*) => {
        $(pub static $id: Script = Script {
            name: $name,
            kind: Kind::$kind,
            needs_memory: has(&[$(stringify!($property)),*], "needs_memory"),
            goes_on: has(&[$(stringify!($property)),*], "goes_on"),
            text: include_str!(concat!("../lua/", $folder, "/", $name, ".lua")),
        };)*
        /// All scripts.
        pub static ALL: &[&Script] = &[$(&$id),*];
    };
}

/// Whether a property is among those of a script.
const fn has(properties: &[&str], wanted: &str) -> bool {
    let mut at = 0;
    while at < properties.len() {
        let (one, other) = (properties[at].as_bytes(), wanted.as_bytes());
        // The first letters of the properties differ.
        if one[0] == other[0] {
            return true;
        }
        at += 1;
    }
    false
}

scripts! {
    CREATE "object" "create" Repeatable needs_memory;
    NOTE "object" "note" Repeatable;
    ATTACH "object" "attach" Repeatable goes_on;
    DETACH "object" "detach" Repeatable;
    REAP "object" "reap" Repeatable;
    RENEW "object" "renew" Repeatable;
    DROP "object" "drop" Repeatable;
    SEM_ACQUIRE "lock" "acquire" Numbered goes_on;
    SEM_RELEASE "lock" "release" Numbered goes_on;
    UNLEND "lock" "unlend" Repeatable;
    CANCEL "waiter" "cancel" Numbered;
    UNDO "waiter" "undo" Repeatable;
    COND_WAIT "lock" "condition_wait" Numbered;
    NOTIFY "lock" "notify" Numbered;
    LATCH_CHANGE "latch" "change" Numbered goes_on;
    LATCH_STATE "latch" "state" Reads goes_on;
    LATCH_WAIT "latch" "wait" Numbered;
    BARRIER_WAIT "barrier" "arrive" Numbered;
    BARRIER_END "barrier" "end" Numbered;
    BARRIER_CANCEL "barrier" "leave" Numbered;
    SEND "pipe" "send" Numbered needs_memory goes_on;
    WORK "pipe" "work" Numbered needs_memory;
    CAPACITY "pipe" "capacity" Numbered;
    TAKE_OPEN "pipe" "take_open" Numbered;
    TAKE_IN_LINE "pipe" "take_in_line" Numbered;
    TAKE_NOW "pipe" "take_now" Repeatable goes_on;
    TAKE_MANY "pipe" "take_many" Repeatable goes_on;
    TAKE_BACK "pipe" "take_back" Numbered;
    GIVE_BACK "pipe" "give_back" Numbered;
    TAKE_DONE "pipe" "take_done" Numbered goes_on;
    TASK_BEGUN "pipe" "task_begun" Numbered goes_on;
    LENGTH "pipe" "length" Reads goes_on;
    WATCH "pipe" "watch" Repeatable goes_on;
    PUBLISH "memory" "publish" Numbered goes_on;
    PUBLISH_SMALL "memory" "publish_small" Numbered;
    FETCH "memory" "fetch" Reads goes_on;
    STALE "memory" "stale" Reads goes_on;
    FORGET "memory" "forget" Repeatable;
    NOTE_BASE "memory" "note_base" Repeatable;
    NAME "memory" "name" Numbered needs_memory;
    CLAIM "job" "claim" Repeatable goes_on;
    FINISH "job" "finish" Numbered goes_on;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_spelled_out() {
        let text = OF_A_NODE.text("1");
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let is_name = names().any(|(name, _)| *name == word);
            assert!(!is_name, "{word} is left in {text}");
        }
        assert!(!text.contains('@'));
    }

    #[test]
    fn no_script_spells_a_key_itself() {
        for text in ALL.iter().map(|script| script.text).chain([PRELUDE]) {
            for line in text.lines().filter(|line| !line.starts_with("--")) {
                let line = line.replace("':'", "");
                assert!(!line.contains("':"), "a key is spelled in: {line}");
            }
        }
    }

    #[test]
    fn no_name_is_defined_twice() {
        let all: std::collections::HashSet<_> = names().map(|(name, _)| name).collect();
        assert_eq!(all.len(), names().count());
    }

    #[test]
    fn no_script_spells_a_word_itself() {
        for text in ALL.iter().map(|script| script.text).chain([PRELUDE]) {
            for line in text
                .lines()
                .filter(|line| !line.trim_start().starts_with("--"))
            {
                let code = line.split(" -- ").next().unwrap_or_default();
                // Commands and their options, names of types of Lua, patterns.
                for literal in code.split('\'').skip(1).step_by(2) {
                    let is_command =
                        literal.chars().all(|c| c.is_ascii_uppercase()) && literal.len() > 1;
                    let is_of_lua =
                        matches!(literal, "table" | "string") || literal.contains(['%', '[']);
                    let is_text = literal.starts_with("TRYAGAIN ") || literal == " is on its way";
                    let has_letters = literal
                        .replace("\\n", "")
                        .chars()
                        .any(|c| c.is_ascii_alphabetic());
                    assert!(
                        is_command || is_of_lua || is_text || !has_letters,
                        "{literal:?} is spelled in: {line}"
                    );
                }
            }
        }
    }

    #[test]
    fn names_tell_scripts_texts_and_numbers_apart() {
        let names: std::collections::HashSet<_> = ALL.iter().map(|script| script.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert_ne!(OF_A_NODE.name, OF_A_CLUSTER.name);
        let called = OF_A_NODE.function("7", &SEND);
        assert_eq!(called, format!("{}_7_send", OF_A_NODE.name));
        assert!(OF_A_NODE.text("7").contains(&format!("'{called}'")));
    }

    #[test]
    fn a_numbered_script_notes_whatever_it_answers() {
        for script in ALL.iter().filter(|script| script.kind == Kind::Numbered) {
            let last = script.text.lines().last().unwrap();
            let is_noted = ["return answer(", "return wait(", "return OK"]
                .iter()
                .any(|form| last.starts_with(form));
            assert!(is_noted, "{} ends with {last}", script.name);
        }
    }
}
