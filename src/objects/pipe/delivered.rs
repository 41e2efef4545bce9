//! The items that an end has delivered: a store could insert an item a second time.

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;

use crate::locked::Locked;
use crate::store::seal::HEAD;

/// How many items are remembered.
const MOST: usize = 4096;

type Mark = [u8; HEAD];

#[derive(Default)]
pub struct Delivered {
    marks: Mutex<(HashSet<Mark>, VecDeque<Mark>)>,
}

impl Delivered {
    /// Notes a sealed payload by its head; false if it was noted before.
    pub fn note(&self, sealed: &[u8]) -> bool {
        let Some(mark) = sealed.first_chunk::<HEAD>() else {
            return true;
        };
        let (known, order) = &mut *self.marks.locked();
        if !known.insert(*mark) {
            return false;
        }
        order.push_back(*mark);
        if order.len() > MOST
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_comes_again_is_known_and_memory_is_bounded() {
        let delivered = Delivered::default();
        let mark = |n: usize| n.to_be_bytes().repeat(3);
        for n in 0..2 * MOST {
            assert!(delivered.note(&mark(n)));
            assert!(!delivered.note(&mark(n)));
        }
        let (known, order) = &*delivered.marks.locked();
        assert_eq!((known.len(), order.len()), (MOST, MOST));
    }
}
