//! Large buffers, which are kept when they are no longer needed: memory that went back to the system is dear to get again.

use std::ops::Deref;
use std::sync::Mutex;

/// A smaller buffer is the allocator's business.
const LEAST: usize = 64 << 10;
/// So many bytes are kept.
const MOST: usize = 16 << 20;

static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// An empty buffer for so many bytes.
pub fn take(capacity: usize) -> Vec<u8> {
    if capacity >= LEAST
        && let Ok(mut kept) = KEPT.try_lock()
        && let Some(found) = kept
            .iter()
            .position(|buffer| (capacity..=4 * capacity).contains(&buffer.capacity()))
    {
        return kept.swap_remove(found);
    }
    Vec::with_capacity(capacity)
}

/// Keeps a buffer for the next who needs one.
pub fn give(mut buffer: Vec<u8>) {
    // In a child of the program's own `fork()` another thread may have held the lock for ever.
    if buffer.capacity() >= LEAST
        && let Ok(mut kept) = KEPT.try_lock()
    {
        let total: usize = kept.iter().map(Vec::capacity).sum();
        if total + buffer.capacity() <= MOST {
            buffer.clear();
            kept.push(buffer);
        }
    }
}

/// Bytes in such a buffer.
pub struct Bytes(pub Vec<u8>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
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
        drop(Bytes(buffer));
        let again = take(2 * LEAST);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(take(5 * LEAST).capacity() >= 5 * LEAST);
    }
}
