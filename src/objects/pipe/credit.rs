//! When a message is sent without waiting for the store's answer.
//!
//! The answer says whether anybody holds the other end; if nobody does, `send` raises `BrokenPipeError`. A thread need not
//! wait for it if the last thing that this process has heard is a message from the other end, sent after the store had said
//! that this end is held: its sender held the other end, and nobody here can know that it was closed since. So who asks and
//! gets answers waits only for the answers.
//!
//! One message at most is on its way. If the process dies, a server that cannot write its answer to one command drops those
//! that follow, and a message that was sent must not be lost.

use std::time::{Duration, Instant};

use crate::protocol::SendReply;
use crate::store::news::News;
use crate::store::request::{Slot, text};

/// How long it counts that the other end was held: a program may also learn of its end from a clock.
const FRESH: Duration = Duration::from_millis(2);
/// The size in bytes of the greatest message that is sent on credit.
const MOST: usize = 64 << 10;

/// What is known of the other end of a pipe.
pub(super) struct Credit {
    /// The thread that was told, and what it had heard by then.
    caller: String,
    news: News,
    since: Instant,
    /// Whether a message was taken since the last one was sent.
    is_renewed: bool,
    /// How many bytes may be sent until the pipe is full.
    room: usize,
    /// Whether nothing waited to be taken from this end then: what is taken next was sent later.
    is_quiet: bool,
    /// The answer to the last message that was sent since.
    pub(super) answer: Option<Slot>,
}

impl Credit {
    /// The store has said that the other end is held. `since`: when it was asked.
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
            is_renewed: false,
            room,
            is_quiet,
            answer: None,
        }
    }

    pub(super) fn is_valid(&self, caller: &str) -> bool {
        self.caller == caller && self.news.are_all() && self.since.elapsed() < FRESH
    }

    /// Uses the credit for a message of this size; false if that must wait for its answer.
    pub(super) fn spend(&mut self, caller: &str, size: usize) -> bool {
        let is_renewed = std::mem::take(&mut self.is_renewed);
        is_renewed && size <= MOST && self.room > 0 && self.is_valid(caller)
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
        is_new.then(|| Self {
            is_renewed: true,
            ..Self::new(self.caller, news, Instant::now(), false, room)
        })
    }
}
