//! Keeps large buffers that are no longer needed: memory that was returned to the system is expensive to get back.

use std::ops::Deref;
use std::sync::Mutex;

/// Smaller buffers are left to the allocator.
const LEAST: usize = 64 << 10;
/// At most this many bytes are kept.
const MOST: usize = 16 << 20;

static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// An empty buffer of this capacity.
pub fn take(capacity: usize) -> Vec<u8> {
    match take_as_it_was(capacity) {
        Some(mut buffer) => {
            buffer.clear();
            buffer
        }
        None => Vec::with_capacity(capacity),
    }
}

/// The same with its previous content.
fn take_as_it_was(capacity: usize) -> Option<Vec<u8>> {
    if capacity < LEAST {
        return None;
    }
    let mut kept = KEPT.try_lock().ok()?;
    let fits = |buffer: &Vec<u8>| (capacity..=4 * capacity).contains(&buffer.capacity());
    let found = kept.iter().position(fits)?;
    Some(kept.swap_remove(found))
}

/// A buffer of this length, to be overwritten.
pub fn filled(length: usize) -> Vec<u8> {
    match take_as_it_was(length) {
        Some(mut buffer) => {
            buffer.resize(length, 0);
            buffer
        }
        None => vec![0; length],
    }
}

/// Keeps a buffer for a later `take`.
pub fn give(buffer: Vec<u8>) {
    // In a child of the program's own `fork()`, another thread of the parent may have left the lock held for ever.
    if buffer.capacity() >= LEAST
        && let Ok(mut kept) = KEPT.try_lock()
    {
        let total: usize = kept.iter().map(Vec::capacity).sum();
        if total + buffer.capacity() <= MOST {
            kept.push(buffer);
        }
    }
}

/// The bytes of a kept buffer, from a position on.
#[derive(Default)]
pub struct Bytes {
    buffer: Vec<u8>,
    start: usize,
}

impl Bytes {
    /// The bytes from `start` on. The buffer must have at least `start` bytes.
    pub fn behind(buffer: Vec<u8>, start: usize) -> Self {
        assert!(start <= buffer.len(), "there are so many");
        Self { buffer, start }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(buffer: Vec<u8>) -> Self {
        Self { buffer, start: 0 }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_comes_again() {
        let mut buffer = take(3 * LEAST);
        buffer.push(1);
        let place = buffer.as_ptr();
        drop(Bytes::from(buffer));
        let again = take(2 * LEAST);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(take(5 * LEAST).capacity() >= 5 * LEAST);
        give(again);
        assert_eq!(filled(2 * LEAST).len(), 2 * LEAST);
        assert_eq!(*Bytes::behind(vec![1, 2, 3], 1), [2, 3]);
    }
}
