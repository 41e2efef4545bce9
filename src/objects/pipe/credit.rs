//! When a message is sent without waiting for the store's answer.
//!
//! The answer says whether anybody holds the other end; if nobody does, `send` raises `BrokenPipeError`. A thread need not
//! wait for it as long as nobody here can know that the other end was closed: the store has just said that it is held, and
//! this process has heard nothing since. A message that this end takes says it as well, if it was sent after that: its sender
//! held the other end. So who asks and gets answers waits only for the answers.
//!
//! One message at most is on its way. If the process dies, a server that cannot write its answer to one command drops those
//! that follow, and a message that was sent must not be lost.

use std::time::{Duration, Instant};

use crate::protocol::SendReply;
use crate::store::news::News;
use crate::store::request::{Slot, text};

/// How long it counts that the other end was held: a program may also learn of its end from a clock.
const FRESH: Duration = Duration::from_millis(2);
/// How many bytes are sent on credit.
const BYTES: usize = 64 << 10;

/// The store or a message has said that the other end is held.
pub(super) struct Credit {
    /// The thread that was told, and what it had heard by then.
    caller: String,
    news: News,
    since: Instant,
    bytes: usize,
    /// How many bytes may be sent until the pipe is full.
    room: usize,
    /// Whether nothing waited to be taken from this end then: what is taken next was sent later.
    is_quiet: bool,
    /// The answer to the last message that was sent since.
    pub(super) answer: Option<Slot>,
}

impl Credit {
    /// The credit of a thread to which the store has said that the other end is held. `since`: when it asked.
    pub(super) const fn new(
        caller: String,
        news: News,
        since: Instant,
        is_quiet: bool,
        room: usize,
    ) -> Self {
        Self {
            caller,
            news,
            since,
            bytes: 0,
            room,
            is_quiet,
            answer: None,
        }
    }

    pub(super) fn is_valid(&self, caller: &str) -> bool {
        self.caller == caller && self.news.are_all() && self.since.elapsed() < FRESH
    }

    /// Counts a message of this size; false if it must wait for its answer.
    pub(super) fn spend(&mut self, caller: &str, size: usize) -> bool {
        let may_send = self.bytes < self.room.min(BYTES) && self.is_valid(caller);
        self.bytes += size;
        may_send
    }

    /// The credit of a thread that has now taken a message; none if it may have been sent before the last one to the other end.
    pub(super) fn renewed(self) -> Option<Self> {
        let (is_quiet, room) = match &self.answer {
            Some(answer) => match SendReply::decode(&text(answer.get()?)).ok()? {
                SendReply::Sent { is_quiet, room } => (is_quiet, room),
                _ => return None,
            },
            None => (self.is_quiet, self.room),
        };
        let news = News::so_far();
        let is_new = is_quiet && news.are_own_since(&self.news);
        // Only a further message shows that the next one that is taken is new.
        is_new.then(|| Self::new(self.caller, news, Instant::now(), false, room))
    }
}
