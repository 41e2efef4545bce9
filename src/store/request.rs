//! Requests as they are sent to the store, and the meaning of replies.

use std::io::Write;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use redis::{ServerError, Value};

use crate::error::{Error, Result};
use crate::kept::{self, Bytes};
use crate::protocol::{GAP, LOST};
use crate::store::scripts::{CREATE, DETACH, DROP, Kind, Library, REAP, Script};

/// How long a command waits for room that does not wait for it without limit.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(5);

/// The plain commands that change nothing.
const READS: [&str; 7] = [
    "EXISTS", "GET", "HGET", "HMGET", "SMEMBERS", "LLEN", "LINDEX",
];

#[derive(Clone)]
pub struct Request {
    /// A script, or a plain command that may be repeated.
    pub script: Option<&'static Script>,
    /// The first key chooses the node.
    pub keys: Vec<String>,
    /// The arguments; for a plain command its name, then what follows its keys.
    pub args: Args,
    /// Its sequence number in the process, for a numbered script, which knows a repetition by it.
    pub seq: u64,
    /// The seq of the same caller's command before it on the same object; 0 if none is known.
    pub previous: u64,
    /// Whether it waits for room if the store's memory is full, without limit.
    pub waits_for_memory: bool,
    /// For a part of a wait: it is sent again until this time; then the answer is nil.
    pub deadline: Option<Instant>,
    /// For a command whose effect must not stay if its answer is given up: what happens to a token, as `UNDO` takes it.
    pub undo: Option<&'static str>,
    /// The slot for the reply of a post.
    pub slot: Option<Slot>,
    pub made: Instant,
}

/// The slot for a reply that comes later; nil if the command fails.
pub type Slot = Arc<OnceLock<Value>>;

/// Whether a command was answered, or is kept until it is and then leaves its reply in the slot. False if it failed before.
pub fn is_on_its_way(slot: &Slot) -> bool {
    slot.get().is_some() || Arc::strong_count(slot) > 1
}

/// Arguments; the buffers of large ones are kept for reuse.
#[derive(Clone)]
pub struct Args(Vec<Vec<u8>>);

impl Deref for Args {
    type Target = Vec<Vec<u8>>;

    fn deref(&self) -> &Vec<Vec<u8>> {
        &self.0
    }
}

impl Drop for Args {
    fn drop(&mut self) {
        self.0.drain(..).for_each(kept::give);
    }
}

/// The names by which a node knows the scripts.
pub struct Names {
    pub library: &'static Library,
    pub number: String,
}

impl Request {
    pub fn new(script: Option<&'static Script>, keys: Vec<String>, args: Vec<Vec<u8>>) -> Self {
        Self {
            script,
            keys,
            args: Args(args),
            seq: 0,
            previous: 0,
            waits_for_memory: false,
            deadline: None,
            undo: None,
            slot: None,
            made: Instant::now(),
        }
    }

    /// Whether it is sent again if the store's memory is full.
    pub fn still_waits_for_memory(&self) -> bool {
        self.waits_for_memory || self.made.elapsed() < MEMORY_TIMEOUT
    }

    /// Whether a store that takes no writes would have refused it.
    pub fn is_write(&self) -> bool {
        self.script.map_or_else(
            || !READS.iter().any(|name| self.args[0] == name.as_bytes()),
            |script| script.kind != Kind::Reads,
        )
    }

    pub fn is_numbered(&self) -> bool {
        self.script
            .is_some_and(|script| script.kind == Kind::Numbered)
    }

    fn is(&self, script: &'static Script) -> bool {
        self.script.is_some_and(|own| std::ptr::eq(own, script))
    }

    /// Whether commands before it belong to another object of the same name.
    pub fn is_beginning_or_end(&self) -> bool {
        self.is(&CREATE) || self.is(&DROP)
    }

    /// Whether the object may be gone after it.
    pub fn may_end(&self, object: &str) -> bool {
        (self.is(&DROP) || self.is(&DETACH) || self.is(&REAP)) && self.keys[0] == object
    }

    /// Packs the request for a node: an array of bulk strings.
    pub fn pack(&self, names: &Names, caller: &str) -> Bytes {
        let mut words: Vec<&[u8]> = Vec::with_capacity(6 + self.keys.len() + self.args.len());
        let keys = self.keys.iter().map(String::as_bytes);
        let (function, count, seq, previous);
        if let Some(script) = self.script {
            function = names.library.function(&names.number, script);
            count = self.keys.len().to_string();
            (seq, previous) = (self.seq.to_string(), self.previous.to_string());
            let name: &[u8] = if script.kind == Kind::Reads {
                b"FCALL_RO"
            } else {
                b"FCALL"
            };
            words.extend([name, function.as_bytes(), count.as_bytes()]);
            words.extend(keys);
            words.extend([caller, &seq, &previous].map(str::as_bytes));
            words.extend(self.args.iter().map(Vec::as_slice));
        } else {
            words.push(&self.args[0]);
            words.extend(keys);
            words.extend(self.args[1..].iter().map(Vec::as_slice));
        }
        let size: usize = words.iter().map(|word| word.len() + 16).sum();
        let mut out = kept::take(size + 16);
        let head = |out: &mut Vec<u8>, kind: char, n: usize| {
            write!(out, "{kind}{n}\r\n").expect("memory takes it");
        };
        head(&mut out, '*', words.len());
        for word in words {
            head(&mut out, '$', word.len());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
        Bytes::from(out)
    }

    /// Stores the reply in the slot, if there is one.
    pub fn answered(&self, reply: Value) {
        if let Some(slot) = &self.slot {
            // A repetition has the same reply as the first time.
            let _ = slot.set(reply);
        }
    }

    pub fn size(&self) -> usize {
        self.args.iter().map(Vec::len).sum()
    }
}

/// What a store says that takes no more connections.
pub const TOO_MANY_CLIENTS: &str = "max number of clients";

/// The reason why a command did not run. It may run later.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Refusal {
    /// The node does not have these functions, or has others by now.
    Unknown,
    /// The key is on another node, or on its way there.
    Elsewhere,
    /// The store cannot do its work now: it is loading its data, is a replica, or has lost a part.
    Unable,
    /// A message does not fit into the store's memory; it fits once other messages were taken.
    Full,
    /// A command that was answered before this one is missing.
    Gap,
}

/// The refusal that a reply is, if any. The list covers everything that a store may answer before it runs a command.
pub fn refusal(value: &Value) -> Option<Refusal> {
    let Value::ServerError(e) = value else {
        return None;
    };
    match e.code() {
        "MOVED" | "ASK" | "TRYAGAIN" => Some(Refusal::Elsewhere),
        "LOADING" | "MASTERDOWN" | "READONLY" | "CLUSTERDOWN" | "MISCONF" | "NOREPLICAS"
        | "BUSY" | "UNBLOCKED" => Some(Refusal::Unable),
        "OOM" => Some(Refusal::Full),
        GAP => Some(Refusal::Gap),
        "ERR"
            if e.details()
                .is_some_and(|text| text.starts_with("Function not found")) =>
        {
            Some(Refusal::Unknown)
        }
        "ERR"
            if e.details()
                .is_some_and(|text| text.starts_with(TOO_MANY_CLIENTS)) =>
        {
            Some(Refusal::Unable)
        }
        _ => None,
    }
}

/// Turns an error reply into an error.
pub fn checked(value: Value) -> Result<Value> {
    match value {
        Value::ServerError(e) => Err(failed(&e)),
        value => Ok(value),
    }
}

fn failed(e: &ServerError) -> Error {
    let details = e.details().unwrap_or_default();
    match e.code() {
        LOST => Error::ObjectGone(format!("object {details}")),
        "OOM" => Error::Memory(
            "the store's memory is full: raise its maxmemory, or let it hold less".into(),
        ),
        code => Error::Store(format!("store: {code} {details}")),
    }
}

/// A reply as bytes; empty for a reply of another type.
pub fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        other => text(&other).into_bytes(),
    }
}

/// A reply as text; empty for a reply of another type.
pub fn text(value: &Value) -> String {
    match value {
        Value::BulkString(b) => String::from_utf8_lossy(b).into_owned(),
        Value::SimpleString(s) => s.clone(),
        Value::Okay => "ok".into(),
        Value::Int(n) => n.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::parse_redis_value;

    #[test]
    fn an_error_reply_is_ours() {
        let lost = parse_redis_value(b"-SMPLOST smp:{s.o}\r\n").unwrap();
        assert_eq!(refusal(&lost), None);
        assert!(
            matches!(checked(lost), Err(Error::ObjectGone(what)) if what == "object smp:{s.o}")
        );
        let other = parse_redis_value(b"-WRONGTYPE of key\r\n").unwrap();
        assert!(
            matches!(checked(other), Err(Error::Store(text)) if text == "store: WRONGTYPE of key")
        );
        let full = parse_redis_value(b"-OOM command not allowed\r\n").unwrap();
        assert!(matches!(checked(full), Err(Error::Memory(_))));
        assert_eq!(checked(Value::Int(1)).unwrap(), Value::Int(1));
    }

    #[test]
    fn what_did_not_run_is_told_from_what_failed() {
        for (reply, expected) in [
            ("-ERR Function not found", Some(Refusal::Unknown)),
            ("-ERR wrong number of arguments", None),
            ("-MOVED 1 127.0.0.1:7000", Some(Refusal::Elsewhere)),
            ("-TRYAGAIN Multiple keys", Some(Refusal::Elsewhere)),
            ("-LOADING data", Some(Refusal::Unable)),
            ("-READONLY a replica", Some(Refusal::Unable)),
            ("-OOM memory", Some(Refusal::Full)),
            ("-SMPGAP smp:{s.o}", Some(Refusal::Gap)),
            ("+OK", None),
        ] {
            let value = parse_redis_value(format!("{reply}\r\n").as_bytes()).unwrap();
            assert_eq!(refusal(&value), expected, "{reply}");
        }
    }

    #[test]
    fn replies_as_text() {
        assert_eq!(text(&Value::BulkString(b"ok r:1".to_vec())), "ok r:1");
        assert_eq!(text(&Value::Int(7)), "7");
        assert_eq!(text(&Value::Nil), "");
    }

    #[test]
    fn a_script_is_told_its_caller_and_place() {
        let names = Names {
            library: &crate::store::scripts::OF_A_NODE,
            number: "7".into(),
        };
        let script = &crate::store::scripts::NOTIFY;
        let mut request = Request::new(Some(script), vec!["smp:{s.o}".into()], vec![b"0".to_vec()]);
        (request.seq, request.previous) = (9, 8);
        let expected = redis::cmd("FCALL")
            .arg(names.library.function("7", script))
            .arg(1)
            .arg("smp:{s.o}")
            .arg("process.1")
            .arg(9)
            .arg(8)
            .arg("0")
            .get_packed_command();
        assert_eq!(*request.pack(&names, "process.1"), expected);
        assert_eq!(request.size(), 1);
    }
}
