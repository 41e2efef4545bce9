//! The sequence numbers of a thread's commands: the seq of each, and that of its predecessor on the same object.

use std::collections::HashMap;

use crate::store::request::Request;

/// For how many objects the last command is known.
const MOST: usize = 1 << 16;

#[derive(Default)]
pub struct Sequence {
    /// For each object, the seq of the last numbered command on it.
    last: HashMap<String, u64>,
}

impl Sequence {
    /// Gives a command its seq and its predecessor; `next` draws the next seq of the process. `is_settled`: no command of the
    /// thread is unanswered. Then much is forgotten: a command without a predecessor can only be recognised as a repetition.
    pub fn give(&mut self, request: &mut Request, is_settled: bool, next: impl FnOnce() -> u64) {
        if is_settled && self.last.len() >= MOST {
            self.last.clear();
        }
        if request.is_numbered() {
            request.seq = next();
            let key = request.keys[0].clone();
            request.previous = self.last.insert(key, request.seq).unwrap_or(0);
        } else if request.is_beginning_or_end() {
            self.forget(&request.keys[0]);
        }
    }

    /// The last command on an object failed, and it is unknown whether it has run: the next command follows the last one that
    /// is unanswered; if there is none, it follows any.
    pub fn failed(&mut self, object: &str, unread: Option<u64>) {
        match unread {
            Some(seq) => drop(self.last.insert(object.to_owned(), seq)),
            None => self.forget(object),
        }
    }

    fn forget(&mut self, object: &str) {
        self.last.remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scripts::LATCH_CHANGE;

    #[test]
    fn what_is_kept_does_not_grow_without_end() {
        let mut sequence = Sequence::default();
        for seq in 1..=3 * MOST as u64 {
            let mut request = Request::new(Some(&LATCH_CHANGE), vec![format!("o{seq}")], vec![]);
            sequence.give(&mut request, true, || seq);
        }
        assert!(sequence.last.len() <= MOST);
    }
}
