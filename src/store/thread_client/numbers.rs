//! The numbers of a thread's commands: the place of each, and its predecessor on the same object.

use std::collections::HashMap;

use crate::store::request::Request;

/// Objects whose last command is known.
const MOST: usize = 1 << 16;

#[derive(Default)]
pub struct Numbers {
    /// For each object, the seq of the last numbered command on it.
    last: HashMap<String, u64>,
}

impl Numbers {
    /// Gives a command its place behind the one before it; `next` is the next seq of the process.
    pub fn give(&mut self, request: &mut Request, next: impl FnOnce() -> u64) {
        if request.is_numbered() {
            request.seq = next();
            let key = request.keys[0].clone();
            request.previous = self.last.insert(key, request.seq).unwrap_or(0);
        } else if request.is_beginning_or_end() {
            self.forget(&request.keys[0]);
        }
    }

    /// The last command on an object failed, and whether it has run is not known: the next one follows the last that is still
    /// to be answered, if there is one, or any.
    pub fn failed(&mut self, object: &str, unread: Option<u64>) {
        match unread {
            Some(seq) => drop(self.last.insert(object.to_owned(), seq)),
            None => self.forget(object),
        }
    }

    fn forget(&mut self, object: &str) {
        self.last.remove(object);
    }

    /// To be called when nothing is to be answered: bounds what is kept. A command without a predecessor is only known as a
    /// repetition.
    pub fn tidy(&mut self) {
        if self.last.len() >= MOST {
            self.last.clear();
        }
    }
}
