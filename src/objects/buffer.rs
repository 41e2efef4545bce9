//! A span of memory that the program reads and writes while the core compares and refreshes it.

#![allow(unsafe_code, reason = "the memory is shared with the program")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fs::File;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Error, Result};
use crate::objects::granule::PAGE;
use crate::objects::pages::Pages;

/// A larger buffer has pages: the kernel tells which of them are written.
const SMALL: usize = 64 << 10;

/// So many bytes are compared at once where most are equal.
const BLOCK: usize = 64;

/// Memory that the program reads and writes through ctypes and numpy while the core compares and refreshes it. The core
/// accesses it through raw pointers and atomics: no other Rust reference to it exists.
pub struct Buffer {
    start: *mut u8,
    length: usize,
    pages: Option<Pages>,
}

// SAFETY: the memory is shared by design; all access is through raw pointers or atomics.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Makes a buffer of zeros.
    pub fn new(length: usize) -> Result<Self> {
        let refused = || Error::Memory(format!("no memory for {length} bytes"));
        if length > SMALL
            && let Some(Ok(pages)) = Pages::new(length)
        {
            return Ok(Self {
                start: pages.view(),
                length,
                pages: Some(pages),
            });
        }
        let layout = Self::layout(length).ok_or_else(refused)?;
        // SAFETY: the layout has a size of at least one page.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return Err(refused());
        }
        Ok(Self {
            start,
            length,
            pages: None,
        })
    }

    /// Makes a buffer with the content of a base; None if the kernel does not tell which pages are written, or has no room.
    pub fn on(base: &File, length: usize) -> Option<Self> {
        let pages = Pages::on(base, length)?.ok()?;
        Some(Self {
            start: pages.view(),
            length,
            pages: Some(pages),
        })
    }

    /// The layout of whole pages, so that a page belongs to one region.
    fn layout(length: usize) -> Option<Layout> {
        let size = length.max(1).checked_next_multiple_of(PAGE)?;
        Layout::from_size_align(size, PAGE).ok()
    }

    pub const fn as_ptr(&self) -> *mut u8 {
        self.start
    }

    pub const fn len(&self) -> usize {
        self.length
    }

    /// The buffer's pages, if the kernel tells which are written.
    pub const fn pages(&self) -> Option<&Pages> {
        self.pages.as_ref()
    }

    /// One byte, which other threads may write at the same time.
    const fn byte(&self, at: usize) -> &AtomicU8 {
        debug_assert!(at < self.length);
        // SAFETY: within the allocation, which lives as long as `self`. A byte is always aligned.
        unsafe { AtomicU8::from_ptr(self.start.add(at)) }
    }

    /// Whether the memory from `start` on equals `other`.
    pub fn equals(&self, start: usize, other: &[u8]) -> bool {
        debug_assert!(start + other.len() <= self.length);
        // SAFETY: within the allocation; memcmp takes what it finds.
        unsafe {
            nix::libc::memcmp(
                self.start.add(start).cast(),
                other.as_ptr().cast(),
                other.len(),
            ) == 0
        }
    }

    /// A copy of a part.
    pub fn copy(&self, start: usize, end: usize) -> Vec<u8> {
        debug_assert!(start <= end && end <= self.length);
        let mut bytes = vec![0; end - start];
        // SAFETY: within both allocations; memcpy takes what it finds.
        unsafe {
            nix::libc::memcpy(
                bytes.as_mut_ptr().cast(),
                self.start.add(start).cast(),
                bytes.len(),
            );
        }
        bytes
    }

    /// The spans that differ from the twin's bytes, which begin at `start`; None if there are more than `most`.
    pub fn differences(
        &self,
        start: usize,
        twin: &[u8],
        most: usize,
    ) -> Option<Vec<(usize, Vec<u8>)>> {
        let mut spans: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut at = 0;
        while let Some(first) = self.find_difference(start, twin, at) {
            let equals = |i: &usize| self.byte(start + i).load(Ordering::Relaxed) == twin[*i];
            let end = (first + 1..twin.len()).find(equals).unwrap_or(twin.len());
            if spans.len() == most {
                return None;
            }
            spans.push((start + first, self.copy(start + first, start + end)));
            at = end;
        }
        Some(spans)
    }

    /// The first byte from `at` on that differs from the twin's. Most differ in few places: blocks are compared first.
    fn find_difference(&self, start: usize, twin: &[u8], at: usize) -> Option<usize> {
        let mut at = at;
        while at < twin.len() {
            let end = (at + BLOCK).min(twin.len());
            if !self.equals(start + at, &twin[at..end]) {
                let differs = |i: &usize| self.byte(start + i).load(Ordering::Relaxed) != twin[*i];
                if let Some(found) = (at..end).find(differs) {
                    return Some(found);
                }
            }
            at = end;
        }
        None
    }

    /// The bounds of the part from the first to the last byte that differs.
    pub fn bounds(&self, start: usize, twin: &[u8]) -> (usize, usize) {
        let first = self.find_difference(start, twin, 0).unwrap_or(0);
        let mut end = twin.len();
        while end > first + BLOCK && self.equals(start + end - BLOCK, &twin[end - BLOCK..end]) {
            end -= BLOCK;
        }
        let differs = |i: &usize| self.byte(start + i).load(Ordering::Relaxed) != twin[*i];
        let last = (first..end).rev().find(differs).unwrap_or(first);
        (start + first, start + last + 1)
    }

    /// Takes the new bytes where the buffer has the old ones: not where the program has written.
    pub fn merge(&self, start: usize, old: &[u8], new: &[u8]) {
        let blocks = old.chunks(BLOCK).zip(new.chunks(BLOCK));
        for (start, (old, new)) in (start..).step_by(BLOCK).zip(blocks) {
            if old == new {
                continue;
            }
            for (at, (old, new)) in (start..).zip(old.iter().zip(new)) {
                let byte = self.byte(at);
                if new != old && byte.load(Ordering::Relaxed) == *old {
                    byte.store(*new, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.pages.is_none()
            && let Some(layout) = Self::layout(self.length)
        {
            // SAFETY: allocated with the same layout.
            unsafe { dealloc(self.start, layout) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(content: &[u8]) -> Buffer {
        let buffer = Buffer::new(content.len()).unwrap();
        // SAFETY: the buffer has this length, and nothing else refers to it.
        unsafe { std::ptr::copy_nonoverlapping(content.as_ptr(), buffer.as_ptr(), content.len()) };
        buffer
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert!(matches!(Buffer::new(usize::MAX), Err(Error::Memory(_))));
        assert!(Buffer::new(0).is_ok());
    }

    proptest! {
        #[test]
        fn differences_make_the_twin_equal(
            content in prop::collection::vec(any::<u8>(), 0..1000),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..100, any::<u8>()), 0..8),
        ) {
            let mut twin = content.clone();
            for (place, length, byte) in changes.into_iter().filter(|_| !content.is_empty()) {
                let start = place.index(content.len());
                let end = (start + length).min(content.len());
                twin[start..end].iter_mut().for_each(|old| *old ^= byte);
            }
            let buffer = filled(&content);
            prop_assert_eq!(buffer.copy(0, content.len()), content);
            let all = buffer.differences(0, &twin, usize::MAX).unwrap();
            if let (Some((first, _)), Some((start, last))) = (all.first(), all.last()) {
                prop_assert_eq!(buffer.bounds(0, &twin), (*first, start + last.len()));
                prop_assert!(buffer.differences(0, &twin, all.len() - 1).is_none());
            }
            for (start, span) in all {
                prop_assert!(!span.is_empty());
                twin[start..start + span.len()].copy_from_slice(&span);
            }
            prop_assert!(buffer.equals(0, &twin));
        }
    }
}
