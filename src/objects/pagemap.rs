//! Which pages of this process' private views of files are its own: copies that it got when it wrote to them.
//!
//! The ioctl `PAGEMAP_SCAN` (Linux 6.7) skips what is not mapped. An older kernel lets `/proc/self/pagemap` be read, eight bytes
//! for each page.

#![allow(unsafe_code, reason = "an ioctl")]

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use nix::ioctl_readwrite;
use nix::unistd::{Pid, getpid};

use crate::objects::granule::PAGE;

/// `struct page_region` of `linux/fs.h`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of `linux/fs.h`.
#[repr(C)]
pub struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_length: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
/// How many regions a scan returns at most.
const REGIONS: usize = 256;

ioctl_readwrite!(pagemap_scan, b'f', 16, Scan);

/// The size of a page's entry in the pagemap, in bytes.
const ENTRY: usize = 8;
/// How many entries are read at once.
const ENTRIES: usize = 1024;
const ENTRY_PRESENT: u64 = 1 << 63;
const ENTRY_SWAPPED: u64 = 1 << 62;
/// The page belongs to a file or to shared memory.
const ENTRY_OF_FILE: u64 = 1 << 61;

/// The runs of this process' own pages among these of its address space; None if they cannot be found.
pub fn own_pages(pages: Range<usize>) -> Option<Vec<Range<usize>>> {
    with_pagemap(|map| scan(map, &pages).or_else(|_| read(map, &pages)))
}

/// How they are found, for a person.
pub fn how() -> &'static str {
    let can_scan = with_pagemap(|map| scan(map, &(0..0))).is_some();
    if can_scan {
        "ioctl PAGEMAP_SCAN"
    } else {
        "/proc/self/pagemap"
    }
}

fn scan(map: &File, pages: &Range<usize>) -> io::Result<Vec<Range<usize>>> {
    let mut runs = Vec::new();
    let mut found = [Region::default(); REGIONS];
    let mut scan = Scan {
        size: size_of::<Scan>() as u64,
        flags: 0,
        start: address(pages.start),
        end: address(pages.end),
        walk_end: 0,
        regions: found.as_mut_ptr() as u64,
        regions_length: REGIONS as u64,
        max_pages: 0,
        category_inverted: IS_FILE,
        category_mask: IS_FILE,
        category_anyof_mask: IS_PRESENT | IS_SWAPPED,
        return_mask: IS_PRESENT | IS_SWAPPED,
    };
    loop {
        // SAFETY: the kernel writes to `scan`, and at most as many regions as there are.
        let count = unsafe { pagemap_scan(map.as_raw_fd(), &raw mut scan) }?;
        for region in found.iter().take(usize::try_from(count).unwrap_or(0)) {
            add(&mut runs, page(region.start)..page(region.end));
        }
        if scan.walk_end >= scan.end {
            return Ok(runs);
        }
        scan.start = scan.walk_end;
    }
}

fn address(page: usize) -> u64 {
    (page * PAGE) as u64
}

fn page(address: u64) -> usize {
    usize::try_from(address).expect("within the address space") / PAGE
}

fn read(map: &File, pages: &Range<usize>) -> io::Result<Vec<Range<usize>>> {
    let mut runs = Vec::new();
    let mut entries = [0; ENTRIES * ENTRY];
    for start in pages.clone().step_by(ENTRIES) {
        let count = (pages.end - start).min(ENTRIES);
        let bytes = &mut entries[..count * ENTRY];
        map.read_exact_at(bytes, (start * ENTRY) as u64)?;
        for (page, entry) in (start..).zip(bytes.chunks_exact(ENTRY)) {
            let entry = u64::from_ne_bytes(entry.try_into().expect("eight bytes"));
            if entry & (ENTRY_PRESENT | ENTRY_SWAPPED) != 0 && entry & ENTRY_OF_FILE == 0 {
                add(&mut runs, page..page + 1);
            }
        }
    }
    Ok(runs)
}

/// Appends a run; joins it with the last one if that ends where it begins.
fn add(runs: &mut Vec<Range<usize>>, run: Range<usize>) {
    match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}

thread_local! {
    /// The pagemap, and the process that opened it.
    static PAGEMAP: RefCell<Option<(Pid, File)>> = const { RefCell::new(None) };
}

/// Reads from this process' pagemap; one that was opened before a fork shows the parent.
fn with_pagemap<T>(read: impl FnOnce(&File) -> io::Result<T>) -> Option<T> {
    PAGEMAP.with_borrow_mut(|open| {
        let me = getpid();
        if open.as_ref().is_none_or(|(process, _)| *process != me) {
            *open = Some((me, File::open("/proc/self/pagemap").ok()?));
        }
        let (_, file) = open.as_ref()?;
        read(file).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::pages::Pages;

    #[test]
    fn a_scan_finds_what_the_pagemap_shows() {
        let Some(pages) = Pages::new(4 * REGIONS * PAGE) else {
            return;
        };
        let pages = pages.unwrap();
        let touch = |page: usize, write: bool| {
            // SAFETY: within the view.
            unsafe {
                let byte = pages.view().add(page * PAGE);
                if write {
                    byte.write_volatile(1);
                } else {
                    byte.read_volatile();
                }
            }
        };
        (0..2 * REGIONS).for_each(|n| touch(2 * n, true));
        (0..REGIONS).for_each(|n| touch(4 * n + 1, false));
        (8..12).for_each(|page| touch(page, true));
        let first = pages.view() as usize / PAGE;
        for part in [0..4 * REGIONS, 7..9, 3..3] {
            let part = first + part.start..first + part.end;
            let shown = with_pagemap(|map| read(map, &part)).unwrap();
            assert_eq!(own_pages(part).unwrap(), shown);
        }
        let all = own_pages(first..first + 4 * REGIONS).unwrap();
        assert_eq!(all.len(), 2 * REGIONS - 2);
        assert_eq!(all[4], first + 8..first + 13);
    }
}
