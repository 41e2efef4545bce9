//! The parts of a region: pages, and granules, which have versions of their own.

use std::ops::Range;

/// The size of a page in bytes: the unit of what the kernel tells.
pub const PAGE: usize = 4096;

/// The size of a granule in bytes: the unit of versions and fetches.
pub const GRANULE: usize = 64 << 10;

/// The bytes of a granule, in a region of this size.
pub fn bytes_of(granule: usize, size: usize) -> Range<usize> {
    let start = granule * GRANULE;
    start..(start + GRANULE).min(size)
}

/// The granules that have some of these bytes.
pub const fn granules_of(bytes: &Range<usize>) -> Range<usize> {
    bytes.start / GRANULE..bytes.end.div_ceil(GRANULE)
}
