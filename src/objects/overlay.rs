//! The changes of one process over a base.
//!
//! A base is a file in memory with the content of a region at some version. The processes of a machine map it, and nobody
//! changes it. If a granule of the twin changes in a process, the granule gets a copy in a file of that process, which takes
//! the base's place: at once in the twin's mapping, which only the core uses, and in the program's view as soon as no other
//! thread can be writing there. Until then the view's pages of that granule are this process' own, as if it had written them.

#![allow(unsafe_code, reason = "mappings")]

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use nix::sys::uio::pwrite;
use nix::unistd::ftruncate;

use crate::objects::granule::{GRANULE, bytes_of};

/// The most granules that are mapped one by one, in all overlays: a process has a limit of mappings. Beyond it a change copies
/// the whole twin, and no further view changes.
const MOST: usize = if cfg!(test) { 4 } else { 8192 };
static MAPPED: AtomicUsize = AtomicUsize::new(0);
static OVERLAYS: AtomicUsize = AtomicUsize::new(0);

/// Whether this process may map a further base: the changes of each take a descriptor.
pub fn may_have_more() -> bool {
    OVERLAYS.load(Ordering::Relaxed) < MOST_KEPT
}

pub struct Overlay {
    /// Made with the first change.
    file: Option<OwnedFd>,
    /// The granules whose twin is in the file.
    twin: BTreeSet<usize>,
    /// Those of them that the view shows.
    view: BTreeSet<usize>,
    /// How many of them were mapped one by one.
    mapped: usize,
}

impl Drop for Overlay {
    fn drop(&mut self) {
        OVERLAYS.fetch_sub(1, Ordering::Relaxed);
        MAPPED.fetch_sub(self.mapped, Ordering::Relaxed);
    }
}

impl Overlay {
    pub fn new() -> Self {
        OVERLAYS.fetch_add(1, Ordering::Relaxed);
        Self {
            file: None,
            twin: BTreeSet::new(),
            view: BTreeSet::new(),
            mapped: 0,
        }
    }

    /// Counts a mapping; false if there are too many.
    fn may_map(&mut self) -> bool {
        let may = MAPPED.load(Ordering::Relaxed) < MOST;
        if may {
            MAPPED.fetch_add(1, Ordering::Relaxed);
            self.mapped += 1;
        }
        may
    }

    /// Whether the view of a granule shows the twin wherever this process has no page of its own.
    pub fn is_shown(&self, granule: usize) -> bool {
        !self.twin.contains(&granule) || self.view.contains(&granule)
    }

    /// Copies a granule of the twin to the file, unless it is there. `twin`: the mapping of the twin, of this length.
    pub fn copy(&mut self, granule: usize, twin: NonNull<u8>, length: usize) -> nix::Result<()> {
        if self.twin.contains(&granule) {
            return Ok(());
        }
        if self.may_map() {
            return self.copy_one(granule, twin, length);
        }
        (0..length.div_ceil(GRANULE))
            .filter(|granule| !self.twin.contains(granule))
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|granule| self.copy_one(granule, twin, length))
    }

    fn copy_one(&mut self, granule: usize, twin: NonNull<u8>, length: usize) -> nix::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(new_file(length)?),
        };
        let bytes = bytes_of(granule, length);
        // SAFETY: within the twin's mapping, which the caller alone uses.
        let content =
            unsafe { std::slice::from_raw_parts(twin.add(bytes.start).as_ptr(), bytes.len()) };
        write_all(file, content, bytes.start)?;
        // SAFETY: the new mapping has the same content.
        unsafe { map_over(file, twin, &bytes, MapFlags::MAP_SHARED)? };
        self.twin.insert(granule);
        Ok(())
    }

    /// Makes the view of a granule show the file. The view's own pages are lost: the caller has saved what they have.
    ///
    /// # Safety
    ///
    /// No other thread writes to the view meanwhile.
    pub unsafe fn show(&mut self, granule: usize, view: NonNull<u8>, length: usize) -> bool {
        if !self.may_map() {
            return false;
        }
        let Some(file) = self.file.as_ref() else {
            return false;
        };
        // SAFETY: within the view, as the caller has made sure.
        let shown = unsafe {
            map_over(
                file,
                view,
                &bytes_of(granule, length),
                MapFlags::MAP_PRIVATE,
            )
        };
        shown.is_ok() && self.view.insert(granule)
    }
}

/// A file that other processes of the machine can open while this process keeps it.
pub struct KeptFile(File);

/// A process keeps at most so many files, since each takes a descriptor.
const MOST_KEPT: usize = 256;
static KEPT: AtomicUsize = AtomicUsize::new(0);

impl KeptFile {
    /// Whether a further one may be kept.
    pub fn may_be_one_more() -> bool {
        KEPT.load(Ordering::Relaxed) < MOST_KEPT
    }

    /// None if there are too many.
    pub fn new(file: OwnedFd) -> Option<Self> {
        let add = |count| (count < MOST_KEPT).then_some(count + 1);
        let added = KEPT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        added.ok().map(|_| Self(File::from(file)))
    }

    pub const fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        KEPT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Creates a file in memory of this length.
pub fn new_file(length: usize) -> nix::Result<OwnedFd> {
    let file = memfd_create(c"serverless_mp", MFdFlags::MFD_CLOEXEC)?;
    let size = libc::off_t::try_from(length).map_err(|_| nix::Error::ENOMEM)?;
    ftruncate(&file, size)?;
    Ok(file)
}

/// Writes bytes to a place of a file.
pub fn write_all(file: &impl AsFd, bytes: &[u8], at: usize) -> nix::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        let place = libc::off_t::try_from(at + written).map_err(|_| nix::Error::ENOMEM)?;
        written += pwrite(file, &bytes[written..], place)?;
    }
    Ok(())
}

/// Maps a part of a file over the same part of a mapping that begins at `start`.
///
/// # Safety
///
/// The part is within that mapping, and nobody relies on its content.
unsafe fn map_over(
    file: &OwnedFd,
    start: NonNull<u8>,
    bytes: &std::ops::Range<usize>,
    flags: MapFlags,
) -> nix::Result<NonNull<c_void>> {
    let length = NonZeroUsize::new(bytes.len()).ok_or(nix::Error::EINVAL)?;
    let place = libc::off_t::try_from(bytes.start).map_err(|_| nix::Error::ENOMEM)?;
    // SAFETY: as the caller says.
    unsafe {
        mmap(
            Some(start.add(bytes.start).addr()),
            length,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            flags | MapFlags::MAP_FIXED,
            file,
            place,
        )
    }
}
