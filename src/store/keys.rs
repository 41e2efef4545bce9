//! Every key of the store, on one page.
//!
//! An object is a metadata hash and keys that begin with its name, all under one hash tag `{SESSION.TAG}`:
//!
//! | key               | what                                                                              |
//! |-------------------|-----------------------------------------------------------------------------------|
//! | `smp:{S.T}ID`     | hash: `ttl`; `n0 n1` holders of each end; `hE:HOLDER`; `cCALLER` the caller's last command and its answer; `f` there is a map; then by kind: `v` value of a semaphore, `z` count of a latch, `count broken` of a barrier, `bound b0 b1` of a pipe (bytes it may hold, and holds for each end) and `T:CALLER` where a thread works on a task, `version G:I` of a region, `record claim exit` of a job |
//! | `..:q0 ..:q1`     | list: items for end 0 and for end 1 of a pipe (`q0` of a barrier: parties whose action runs) |
//! | `..:I:CALLER`     | list: items taken by this thread and not yet acknowledged, then an anchor           |
//! | `..:w`            | list: waiters, the longest first                                                    |
//! | `..:k:WAITER`     | list: the token that wakes one waiter (`g:WAITER` in the hash until acknowledged)   |
//! | `..:m`            | hash: the region versions that a release left                                       |
//! | `..:G:I`          | string: one granule of a region or one piece of a big message                       |
//! | `..:held`         | set: (of a process) the objects it holds                                            |
//! | `..:lease`        | string: (of a supervisor of remote workers) there while it lives                         |
//!
//! Fixed objects of a session: `s` the session itself (`pids` the last process id given to a remote worker, `N:NAME` the region and size of named shared memory), `index` all objects of the session (an outside store only),
//! `pN` a process and its list of events, `jN` a job.

/// The metadata key of an object. `id` is `TAG` or `TAG/REST`: objects with one tag share a slot.
pub fn object(session: &str, id: &str) -> String {
    match id.split_once('/') {
        Some((tag, rest)) => format!("smp:{{{session}.{tag}}}{rest}"),
        None => format!("smp:{{{session}.{id}}}"),
    }
}

pub const SESSION: &str = "s";
pub const INDEX: &str = "index";

pub fn process(number: &str) -> String {
    format!("p{number}")
}

pub fn job(number: &str) -> String {
    format!("j{number}")
}

/// The list of items for one end of a pipe.
pub fn items(object: &str, end: u8) -> String {
    format!("{object}:q{end}")
}

/// What one thread has taken from a pipe and not acknowledged.
pub fn in_flight(object: &str, caller: &str) -> String {
    format!("{object}:I:{caller}")
}

/// The token of one waiter.
pub fn token(object: &str, waiter: &str) -> String {
    format!("{object}:k:{waiter}")
}

/// The objects that a process holds.
pub fn held(object: &str) -> String {
    format!("{object}:held")
}

/// There while a supervisor of remote workers lives.
pub fn lease(process: &str) -> String {
    format!("{process}:lease")
}

/// The slot of a key in a cluster: of its hash tag, which all our keys have.
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
            token(&lock, "p.1:2"),
            held(&lock),
            lease(&lock),
        ];
        for key in keys {
            assert_eq!(slot(&key), slot(&lock), "{key}");
        }
        assert_eq!(slot(&condition), slot(&lock));
    }

    #[test]
    fn slots_are_those_of_redis() {
        // As CLUSTER KEYSLOT says.
        assert_eq!(slot("foo"), 12182);
        assert_eq!(slot("{foo}bar"), 12182);
        assert_eq!(slot("123456789"), 12739);
    }
}
