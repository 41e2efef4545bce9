//! Every key of the store, and every field of its hashes, on one page. The scripts use the constants by the same names.
//!
//! An object is a metadata hash and keys that begin with its name, all under one hash tag: `smp:{SESSION.TAG}ID`. The tag is
//! the object's own, or that of another object with which it shares scripts. So the keys of an object are in one slot of a
//! cluster.
//!
//! Some objects have fixed names: the session itself (its named shared memory, the last process id of a remote worker), the
//! index of all objects of a session (an outside store only), each process (its pipe of events), each job.

use crate::protocol::names;

pub const SESSION: &str = "s";
pub const INDEX: &str = "index";

pub fn process(id: &str) -> String {
    format!("p{id}")
}

pub fn job(id: &str) -> String {
    format!("j{id}")
}

names! {
    // ---- suffixes of an object's other keys ----

    /// List: the items for one end of a pipe; the end follows.
    ITEMS = ":q";
    /// List: the items that a thread has taken and not acknowledged, then an anchor; the caller follows.
    IN_FLIGHT = ":I:";
    /// Set: the numbers of the items of a batch that a thread has not delivered. Or list, for a batch of tasks: the number of the
    /// last result that was passed on, then results with their numbers. The caller, a colon and the batch follow.
    PROGRESS = ":b:";
    /// List: the waiters, the longest first.
    WAITERS = ":w";
    /// List: the waiters for items of one end, the longest first; the end follows.
    TAKERS = ":t";
    /// List: the parties of a barrier that wait while its action runs.
    ACTING = ":a";
    /// List: the token that wakes one waiter; the waiter follows.
    TOKEN = ":k:";
    /// Hash: the waiters whose tokens are not acknowledged.
    GRANTED = ":g";
    /// Hash: the versions of regions that releases have left.
    VERSIONS = ":m";
    /// String: one granule of a region, or one piece of a blob; its index follows.
    GRANULE = ":G:";
    /// Set: the objects that a process holds, or that an index names.
    HELD = ":held";
    /// Channel: says that items have come for one end of a pipe; the end follows.
    BELL = ":bell:";
    /// Never there: it shows a script whether a slot of a cluster is migrating to another node.
    PROBE = ":probe";
    /// String: exists while a supervisor of remote workers lives.
    LEASE = ":lease";

    // ---- fields of an object's hash ----

    /// How many milliseconds its keys live without being renewed; 0 for ever.
    TTL = "ttl";
    /// How many holders an end has; the end follows.
    HOLDERS = "n";
    /// Set for each holder of an end: the end, a colon and the holder follow.
    HOLDER = "h";
    /// The seq of a caller's last command, and its answer; the caller follows.
    ANSWER = "c";
    /// How often the versions that the object keeps have changed; absent if it keeps none.
    CHANGES = "f";
    /// The keys of the regions whose content goes with a lock, each followed by a space.
    GUARDED = "r";
    /// The process that has seen all versions that a lock keeps, and how often they had changed.
    SEEN_BY = "l";
    /// The threads of a process that have an answer or an in-flight list here, by number; the process follows.
    CALLERS = "p:";
    /// The value of a semaphore.
    VALUE = "value";
    /// The process to which a lock is lent, a colon and the number of the loan: whether it is held is known there.
    LENT_TO = "L";
    /// Only in a lock that becomes free when its holder dies: the process that took it last.
    TAKEN_BY = "t";
    /// Waiters for a lock that is lent, each followed by a space, that only wait to learn whether it is held.
    IMPATIENT = "i";
    /// How often others, who did not wait for the answer, have given a lock back that is lent.
    OWED = "u";
    /// Set once there was a waiter.
    HAS_WAITED = "w";
    /// How many items for an end are in the hash; the end follows.
    SPILLED = "s";
    /// One of these items; the end, a colon and its number follow.
    SPILL = "S";
    /// The count of a latch.
    COUNT = "count";
    /// How many parties wait at a barrier.
    ARRIVED = "arrived";
    /// Whether a barrier is broken: 0 or 1.
    BROKEN = "broken";
    /// In the session's own object: the memory of the smallest node in bytes, if it has a limit.
    MAX_MEMORY = "max_memory";
    /// How many bytes a pipe may hold for each end.
    BOUND = "bound";
    /// How many bytes the pipe holds for one end; the end follows.
    FILL = "b";
    /// The end from which a thread takes; the caller follows.
    TAKES = "I:";
    /// The caller that has read ahead from an end; the end follows.
    AHEAD = "a";
    /// How many threads have begun to take from an end; the end follows.
    OPENED = "o";
    /// Set while a thread works on a task; the caller follows.
    WORKS = "T:";
    /// Set in a pool's queue if a worker may take only one task at a time.
    ONE_BY_ONE = "1";
    /// How many of the tasks to be taken next are taken one at a time: a worker died that had taken them together.
    SUSPECTS = "x";
    /// The batch that a thread has in flight; the caller follows.
    BATCH = "b:";
    /// The version of a region.
    VERSION = "version";
    /// The version of a granule; its index follows.
    GRANULE_VERSION = "G:";
    /// What the bell is to say when items come for an end, if a process has asked for it; the end follows.
    WATCHED = "W";
    /// The size of a blob in bytes.
    SIZE = "size";
    /// In the hash of a large region: where processes of a machine find its content.
    BASE = "base";
    /// The number of pieces of a blob.
    PIECES = "pieces";
    /// In the hash of a pipe or a job: the number of pieces of a blob that one of its items names; the key of the blob
    /// follows.
    BLOB = "B:";
    /// A job's record.
    RECORD = "record";
    /// The claimant of a job: a local worker's process, `ATTEMPT:SUPERVISOR` of a remote one, or `cancelled:`.
    CLAIM = "claim";
    /// A job's exit record.
    EXIT = "exit";
    /// In the session's hash: the last process id given to a remote worker.
    PIDS = "pids";
    /// In the session's hash: the last epoch that was drawn.
    EPOCHS = "epochs";
    /// In the session's hash: the region and the size of named shared memory; the name follows.
    NAME = "N:";
}

/// The key of an object's hash. `id` is `TAG` or `TAG/REST`: objects with one tag share a slot.
pub fn object(session: &str, id: &str) -> String {
    match id.split_once('/') {
        Some((tag, rest)) => format!("smp:{{{session}.{tag}}}{rest}"),
        None => format!("smp:{{{session}.{id}}}"),
    }
}

pub fn items(object: &str, end: u8) -> String {
    format!("{object}{ITEMS}{end}")
}

pub fn bell(object: &str, end: u8) -> String {
    format!("{object}{BELL}{end}")
}

pub fn in_flight(object: &str, caller: &str) -> String {
    format!("{object}{IN_FLIGHT}{caller}")
}

pub fn progress(object: &str, caller: &str, batch: u64) -> String {
    format!("{object}{PROGRESS}{caller}:{batch}")
}

pub fn waiters(object: &str) -> String {
    format!("{object}{WAITERS}")
}

pub fn token(object: &str, waiter: &str) -> String {
    format!("{object}{TOKEN}{waiter}")
}

pub fn granted(object: &str) -> String {
    format!("{object}{GRANTED}")
}

pub fn granule(object: &str, index: usize) -> String {
    format!("{object}{GRANULE}{index}")
}

pub fn held(object: &str) -> String {
    format!("{object}{HELD}")
}

pub fn lease(process: &str) -> String {
    format!("{process}{LEASE}")
}

/// The tag of an object; objects with the same tag share a slot.
pub fn tag(id: &str) -> &str {
    id.split_once('/').map_or(id, |(tag, _)| tag)
}

/// The slot of a key in a cluster: that of its hash tag, which every key here has.
pub fn slot(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map_or(key, |(tag, _)| tag);
    crc16::State::<crc16::XMODEM>::calculate(tag.as_bytes()) % 16384
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_and_what_stands_beside_it_share_a_slot() {
        let lock = object("session", "lock-1");
        let condition = object("session", "lock-1/condition-2");
        assert_eq!(lock, "smp:{session.lock-1}");
        assert_eq!(condition, "smp:{session.lock-1}condition-2");
        let keys = [
            items(&lock, 0),
            in_flight(&lock, "p.1"),
            progress(&lock, "p.1", 2),
            waiters(&lock),
            token(&lock, "p.1:2"),
            held(&lock),
            granule(&lock, 3),
            lease(&lock),
        ];
        for key in keys {
            assert_eq!(slot(&key), slot(&lock), "{key}");
        }
        assert_eq!(slot(&condition), slot(&lock));
    }

    #[test]
    fn slots_are_those_of_redis() {
        // These are the replies of CLUSTER KEYSLOT.
        assert_eq!(slot("foo"), 12182);
        assert_eq!(slot("{foo}bar"), 12182);
        assert_eq!(slot("123456789"), 12739);
    }
}
