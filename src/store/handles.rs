//! How many handles of this process hold an end of an object. The store is told of the first and of the last one.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::locked::{Locked, Sound};

type End = (String, u8);

#[derive(Default)]
pub struct Handles {
    counts: Mutex<HashMap<End, Count>>,
    told: Condvar,
}

#[derive(Default)]
struct Count {
    handles: usize,
    /// Whether a thread is telling the store: what it says must come before what the next one says.
    is_telling: bool,
}

impl Handles {
    /// Notes an end that this process has made.
    pub fn insert(&self, object: &str, end: u8) {
        let made = Count {
            handles: 1,
            is_telling: false,
        };
        self.counts.locked().insert((object.to_owned(), end), made);
    }

    /// Changes a count by a function, which also returns whether the store must be told; then it is told by `tell`, whose result
    /// is returned. If another thread tells it of the same end, this one waits until that is done, unless it `is_nested`: a signal
    /// handler may have interrupted the other one.
    pub fn change<T>(
        &self,
        object: &str,
        end: u8,
        is_nested: bool,
        by: impl FnOnce(usize) -> (usize, bool),
        tell: impl FnOnce() -> T,
    ) -> Option<T> {
        let key = (object.to_owned(), end);
        let mut counts = self.free(&key, is_nested);
        let count = counts.entry(key.clone()).or_default();
        let must_tell;
        (count.handles, must_tell) = by(count.handles);
        count.is_telling |= must_tell;
        let is_gone = count.handles == 0 && !count.is_telling;
        if is_gone {
            counts.remove(&key);
        }
        drop(counts);
        must_tell.then(|| {
            let _telling = Telling(self, key);
            tell()
        })
    }

    fn free(&self, key: &End, is_nested: bool) -> MutexGuard<'_, HashMap<End, Count>> {
        let is_told = |counts: &mut HashMap<End, Count>| {
            !is_nested && counts.get(key).is_some_and(|count| count.is_telling)
        };
        let counts = self.counts.locked();
        self.told.wait_while(counts, is_told).sound()
    }

    /// Whether this process has a handle on an end.
    pub fn contain(&self, object: &str, end: u8) -> bool {
        let counts = self.counts.locked();
        let count = counts.get(&(object.to_owned(), end));
        count.is_some_and(|count| count.handles > 0)
    }

    /// Forgets all ends, and returns their objects.
    pub fn drain(&self) -> Vec<String> {
        let mut counts = self.counts.locked();
        counts.drain().map(|((object, _), _)| object).collect()
    }
}

/// A thread that tells the store of one end.
struct Telling<'h>(&'h Handles, End);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        let mut counts = self.0.counts.locked();
        if let Some(count) = counts.get_mut(&self.1) {
            count.is_telling = false;
            if count.handles == 0 {
                counts.remove(&self.1);
            }
        }
        drop(counts);
        self.0.told.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const fn add(count: usize) -> (usize, bool) {
        (count + 1, count == 0)
    }

    const fn remove(count: usize) -> (usize, bool) {
        (count - 1, count == 1)
    }

    #[test]
    fn the_first_and_the_last_handle_are_told() {
        let handles = Handles::default();
        assert_eq!(handles.change("o", 0, false, add, || 1), Some(1));
        assert_eq!(handles.change("o", 0, false, add, || 2), None);
        assert_eq!(handles.change("o", 1, false, add, || 3), Some(3));
        assert_eq!(handles.change("o", 0, false, remove, || 4), None);
        assert_eq!(handles.change("o", 0, false, remove, || 5), Some(5));
        assert_eq!(handles.drain(), ["o"]);
    }

    #[test]
    fn what_two_threads_tell_is_told_in_order() {
        let handles = Handles::default();
        handles.insert("o", 0);
        let (said, hear) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        std::thread::scope(|scope| {
            let (handles, first) = (&handles, said.clone());
            scope.spawn(move || {
                handles.change("o", 0, false, remove, || {
                    first.send("begins").unwrap();
                    wait.recv().unwrap();
                    first.send("left").unwrap();
                })
            });
            assert_eq!(hear.recv().unwrap(), "begins");
            scope.spawn(move || handles.change("o", 0, false, add, || said.send("held").unwrap()));
            go.send(()).unwrap();
            assert_eq!(hear.iter().collect::<Vec<_>>(), ["left", "held"]);
        });
        assert_eq!(handles.drain(), ["o"]);
    }
}
