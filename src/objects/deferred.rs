//! The acknowledgement of an item that waits for the next message of the thread that took it, and goes with it.
//!
//! It may wait if no other process holds the end: if this process dies, nobody can take the item a second time. The pipe must be
//! large, since the item counts against its bound. The acknowledgement is sent before this process takes from that end again,
//! and before another process can get the end.

use std::sync::Mutex;

use crate::locked::Locked;
use crate::store::client::Client;
use crate::store::command::Cmd;
use crate::store::scripts;

/// The acknowledgement of a greater item in bytes does not wait.
const MOST: usize = 16 << 10;

#[derive(Default)]
pub struct Deferred(Mutex<State>);

#[derive(Default)]
struct State {
    /// Whether the store has said that no other process holds the end.
    is_sole: bool,
    /// Whether this process has shared the end since.
    is_shared: bool,
    /// One at most, and those that could not be sent.
    waiting: Vec<Acknowledgement>,
}

/// The acknowledgement of one item.
pub struct Acknowledgement {
    /// The thread that has taken the item.
    pub caller: String,
    /// The size of the item in bytes.
    pub size: usize,
}

impl Deferred {
    /// Notes how many processes hold the end, by the store; 0 if the pipe is small.
    pub fn saw_holders(&self, holders: u64) {
        self.0.locked().is_sole = holders == 1;
    }

    /// Keeps an acknowledgement for the next message; false if it must be sent now.
    pub fn defer(&self, new: Acknowledgement) -> bool {
        let mut state = self.0.locked();
        let may_wait = state.is_sole && !state.is_shared && new.size <= MOST;
        let is_kept = may_wait && state.waiting.is_empty();
        if is_kept {
            state.waiting.push(new);
        }
        is_kept
    }

    /// Takes an acknowledgement that waits, to be sent.
    pub fn take(&self) -> Option<Acknowledgement> {
        self.0.locked().waiting.pop()
    }

    /// The same for one of this thread.
    pub fn take_of(&self, caller: &str) -> Option<Acknowledgement> {
        let waiting = &mut self.0.locked().waiting;
        let place = waiting.iter().position(|one| one.caller == caller)?;
        Some(waiting.swap_remove(place))
    }

    /// Keeps an acknowledgement again that may not have been sent. Returns whether it may wait; else it must be sent.
    pub fn put_back(&self, unsent: Acknowledgement) -> bool {
        let mut state = self.0.locked();
        state.waiting.push(unsent);
        !state.is_shared
    }

    /// Other processes will get the end: nothing waits any more.
    pub fn share(&self) {
        self.0.locked().is_shared = true;
    }
}

/// The command that acknowledges the oldest items that a thread has taken: their size in bytes, and their number.
pub fn acknowledge<'c>(
    client: &'c Client,
    id: &str,
    end: u8,
    caller: &str,
    size: usize,
    count: usize,
) -> Cmd<'c> {
    let done = client.script(&scripts::TAKE_DONE, id);
    done.arg(end).arg(caller).arg(size).arg(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(caller: &str, size: usize) -> Acknowledgement {
        Acknowledgement {
            caller: caller.to_owned(),
            size,
        }
    }

    #[test]
    fn only_a_sole_holder_defers() {
        let deferred = Deferred::default();
        assert!(!deferred.defer(of("p.1", 9)));
        deferred.saw_holders(2);
        assert!(!deferred.defer(of("p.1", 9)));
        deferred.saw_holders(1);
        assert!(deferred.defer(of("p.1", 9)));
        assert!(!deferred.defer(of("p.1", 9)), "one at a time");
        assert!(deferred.take_of("p.2").is_none());
        assert_eq!(deferred.take_of("p.1").map(|one| one.size), Some(9));
        assert!(deferred.defer(of("p.2", 7)));
        assert!(deferred.put_back(of("p.1", 9)));
        assert_eq!(deferred.take_of("p.2").map(|one| one.size), Some(7));
        assert_eq!(deferred.take().map(|one| one.size), Some(9));
        assert!(!deferred.defer(of("p.1", MOST + 1)));
        deferred.share();
        deferred.saw_holders(1);
        assert!(!deferred.defer(of("p.1", 9)));
        assert!(deferred.take().is_none());
        assert!(!deferred.put_back(of("p.1", 9)));
    }
}
