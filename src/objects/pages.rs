//! Memory for which the kernel tells which pages are written.
//!
//! The program has a private view of a file in memory. The first write to a page, even by the kernel in a system call, gives
//! the process a copy of it: the page no longer belongs to the file, as the kernel tells (`pagemap`). The file keeps the old
//! content. So writes are found without comparing everything, only written pages take memory twice, and no signal is needed.
//! The file is this process' own, or a base that the processes of the machine share (`overlay`).

#![allow(unsafe_code, reason = "mappings")]

use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock};

use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};
use nix::sys::resource::{UsageWho, getrusage};

use crate::locked::Locked;
use crate::objects::granule::{PAGE, bytes_of};
use crate::objects::overlay::{KeptFile, Overlay, new_file};
use crate::objects::pagemap;

/// Smaller memory is no base: it is fetched as quickly.
pub const LEAST_BASE: usize = 1 << 20;

const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

pub struct Pages {
    view: NonNull<u8>,
    file: NonNull<u8>,
    length: NonZeroUsize,
    /// The changes, if the file is a base.
    overlay: Mutex<Option<Overlay>>,
    /// The file, if it is large and can become a base.
    kept: Mutex<Option<KeptFile>>,
}

// SAFETY: the memory is shared by design; all access is through raw pointers.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps zeros; None if the kernel does not tell which pages are written.
    pub fn new(length: usize) -> Option<nix::Result<Self>> {
        let length = Self::whole_pages(length)?;
        Some(Self::map(length))
    }

    /// Maps a base of whole pages; None as above.
    pub fn on(base: &impl AsFd, length: usize) -> Option<nix::Result<Self>> {
        let length = Self::whole_pages(length)?;
        let overlay = Some(Overlay::new());
        Some(Self::map_file(base, length, ProtFlags::PROT_READ, overlay))
    }

    /// The length in whole pages; None if the kernel does not tell which are written.
    fn whole_pages(length: usize) -> Option<NonZeroUsize> {
        let are_told = Self::how_known().is_ok();
        let length = NonZeroUsize::new(length.checked_next_multiple_of(PAGE)?)?;
        are_told.then_some(length)
    }

    /// How this process knows which pages are written, or why it does not; for a person.
    pub fn how_known() -> Result<&'static str, &'static str> {
        static HOW: OnceLock<Result<&str, String>> = OnceLock::new();
        let how = HOW.get_or_init(|| {
            let how = match Self::are_told() {
                Ok(true) => Ok(pagemap::how()),
                Ok(false) => Err("the kernel does not tell which pages were written".into()),
                Err(e) => Err(format!("a file in memory cannot be mapped: {e}")),
            };
            tracing::info!(?how, "written pages of shared memory");
            how
        });
        how.as_ref()
            .map_or_else(|why| Err(why.as_str()), |how| Ok(*how))
    }

    fn map(length: NonZeroUsize) -> nix::Result<Self> {
        let file = new_file(length.get())?;
        let mut pages = Self::map_file(&file, length, READ_WRITE, None)?;
        if length.get() >= LEAST_BASE {
            pages.kept = Mutex::new(KeptFile::new(file));
        }
        Ok(pages)
    }

    /// Maps a file twice; `protection`: of the mapping that this process does not show the program.
    fn map_file(
        file: &impl AsFd,
        length: NonZeroUsize,
        protection: ProtFlags,
        overlay: Option<Overlay>,
    ) -> nix::Result<Self> {
        let part = |protection, flags| {
            // SAFETY: a new mapping at a place of the kernel's choice.
            unsafe { mmap(None, length, protection, flags, file, 0) }
        };
        let below = part(protection, MapFlags::MAP_SHARED)?;
        match part(READ_WRITE, MapFlags::MAP_PRIVATE) {
            Ok(view) => Ok(Self {
                view: view.cast(),
                file: below.cast(),
                length,
                overlay: Mutex::new(overlay),
                kept: Mutex::new(None),
            }),
            Err(e) => {
                // SAFETY: mapped just now, and unknown to anybody.
                let _ = unsafe { munmap(below, length.get()) };
                Err(e)
            }
        }
    }

    /// Whether the kernel tells which pages are written: tested with a page that is written and one that is read.
    fn are_told() -> nix::Result<bool> {
        let pages = Self::map(NonZeroUsize::new(2 * PAGE).expect("not 0"))?;
        // SAFETY: within the view.
        unsafe { pages.view.add(PAGE).read_volatile() };
        let before = faults();
        // SAFETY: the same.
        unsafe { pages.view.write_volatile(1) };
        let runs = pages.written().unwrap_or_default();
        Ok(faults() != before && matches!(runs.as_slice(), [run] if *run == (0..1)))
    }

    /// In a child of the program's own `fork()`, while it has one thread: gives it a file of its own, with the same content.
    pub fn part_from_parent(&self) -> nix::Result<()> {
        let own = self.written().unwrap_or_default();
        let pages = own.into_iter().flatten().map(|page| {
            let mut content = [0; PAGE];
            // SAFETY: within the view.
            unsafe {
                self.view
                    .add(page * PAGE)
                    .copy_to(NonNull::from(&mut content).cast(), PAGE);
            };
            (page, content)
        });
        let own: Vec<(usize, [u8; PAGE])> = pages.collect();
        let new = Self::map(self.length)?;
        for at in (0..self.length.get()).step_by(PAGE) {
            // SAFETY: within both mappings.
            unsafe {
                let (from, to) = (self.file.add(at), new.file.add(at));
                if libc::memcmp(from.as_ptr().cast(), to.as_ptr().cast(), PAGE) != 0 {
                    from.copy_to(to, PAGE);
                }
            }
        }
        for (from, to) in [(new.view, self.view), (new.file, self.file)] {
            let (length, flags) = (self.length.get(), libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED);
            // SAFETY: both are mapped with that length, and nobody uses them now.
            let moved =
                unsafe { libc::mremap(from.as_ptr().cast(), length, length, flags, to.as_ptr()) };
            nix::Error::result(moved as isize)?;
        }
        // Another thread may have held them at the fork. An overlay then stays, and this region changes as one over a base.
        if let Ok(mut overlay) = self.overlay.try_lock() {
            *overlay = None;
        }
        if let Ok(mut kept) = self.kept.try_lock() {
            *kept = new.kept.locked().take();
        }
        std::mem::forget(new);
        for (page, content) in own {
            // SAFETY: within the view.
            unsafe {
                self.view
                    .add(page * PAGE)
                    .copy_from(NonNull::from(&content).cast(), PAGE);
            };
        }
        Ok(())
    }

    /// The file below the view, if it can become a base. From now on changes go to an overlay.
    pub fn become_base(&self) -> Option<KeptFile> {
        let file = self.kept.locked().take()?;
        *self.overlay.locked() = Some(Overlay::new());
        // SAFETY: it is this mapping, and only an overlay is written to now.
        let _ = unsafe { mprotect(self.file.cast(), self.length.get(), ProtFlags::PROT_READ) };
        Some(file)
    }

    /// The file below the view will not become a base.
    pub fn is_no_base(&self) {
        *self.kept.locked() = None;
    }

    /// Prepares a granule of the file for a change. Its content stays.
    pub fn make_own(&self, granule: usize) -> nix::Result<()> {
        match &mut *self.overlay.locked() {
            Some(overlay) => overlay.copy(granule, self.file, self.length.get()),
            None => Ok(()),
        }
    }

    /// Whether the view of a granule shows what the file has, but for this process' own pages.
    pub fn is_shown(&self, granule: usize) -> bool {
        let overlay = self.overlay.locked();
        overlay.as_ref().is_none_or(|one| one.is_shown(granule))
    }

    /// Makes the view of a granule show what the file has, but for the bytes that differ from it. Only if no other thread can
    /// write to it: its last write would be lost.
    pub fn show(&self, granule: usize) {
        let mut overlay = self.overlay.locked();
        let Some(overlay) = overlay.as_mut().filter(|one| !one.is_shown(granule)) else {
            return;
        };
        let bytes = bytes_of(granule, self.length.get());
        let Some(own) = self.written_in(bytes.start / PAGE..bytes.end.div_ceil(PAGE)) else {
            return;
        };
        let mut kept = Vec::new();
        for at in own
            .into_iter()
            .flat_map(|run| run.start * PAGE..run.end * PAGE)
        {
            // SAFETY: within both mappings.
            let (seen, below) =
                unsafe { (*self.view.add(at).as_ptr(), *self.file.add(at).as_ptr()) };
            if seen != below {
                kept.push((at, seen));
            }
        }
        // SAFETY: no other thread writes, as the caller has made sure.
        if unsafe { overlay.show(granule, self.view, self.length.get()) } {
            for (at, byte) in kept {
                // SAFETY: within the view.
                unsafe { AtomicU8::from_ptr(self.view.as_ptr().add(at)) }
                    .store(byte, Ordering::Relaxed);
            }
        }
    }

    pub const fn view(&self) -> *mut u8 {
        self.view.as_ptr()
    }

    /// The content before this process wrote.
    pub const fn before(&self) -> *mut u8 {
        self.file.as_ptr()
    }

    /// The runs of pages that were written; None if they cannot be read.
    pub fn written(&self) -> Option<Vec<Range<usize>>> {
        self.written_in(0..self.length.get() / PAGE)
    }

    /// The same for some pages.
    pub fn written_in(&self, pages: Range<usize>) -> Option<Vec<Range<usize>>> {
        let first = self.view.as_ptr() as usize / PAGE;
        let own = pagemap::own_pages(first + pages.start..first + pages.end)?;
        Some(
            own.into_iter()
                .map(|run| run.start - first..run.end - first)
                .collect(),
        )
    }

    /// Gives up this process' own pages, which equal the file's, so that the view shows the file again. What a thread has
    /// written to them in the last moment stays. Does nothing if the kernel cannot move pages away.
    pub fn give_up(&self, pages: &Range<usize>) {
        let (start, length) = (pages.start * PAGE, pages.len() * PAGE);
        let Some(room) = NonZeroUsize::new(length) else {
            return;
        };
        // SAFETY: a new mapping at a place of the kernel's choice.
        let aside = unsafe {
            mmap_anonymous(
                None,
                room,
                ProtFlags::PROT_NONE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
            )
        };
        let Ok(aside) = aside else { return };
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP;
        // SAFETY: within the view, which stays mapped; the pages come over the new mapping.
        let moved = unsafe {
            let view = self.view.as_ptr().add(start);
            libc::mremap(view.cast(), length, length, flags, aside.as_ptr())
        };
        if moved != libc::MAP_FAILED {
            for offset in (0..length).step_by(PAGE) {
                // SAFETY: within the mappings.
                unsafe {
                    let (old, new) = (moved.cast::<u8>().add(offset), start + offset);
                    let before = self.file.as_ptr().add(new);
                    if libc::memcmp(old.cast(), before.cast(), PAGE) != 0 {
                        for i in (0..PAGE).filter(|i| *old.add(*i) != *before.add(*i)) {
                            let byte = AtomicU8::from_ptr(self.view.as_ptr().add(new + i));
                            byte.store(*old.add(i), Ordering::Relaxed);
                        }
                    }
                }
            }
        }
        // SAFETY: mapped above, and unknown to anybody.
        let _ = unsafe { munmap(aside, length) };
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        for mapping in [self.view, self.file] {
            // SAFETY: mapped with that length; nothing refers to it any more.
            let _ = unsafe { munmap(mapping.cast(), self.length.get()) };
        }
    }
}

/// The number of page faults of this process so far: while it stays the same, no further page was written.
pub fn faults() -> i64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(-1, |usage| {
        usage.minor_page_faults() + usage.major_page_faults()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn pages(count: usize) -> Option<Pages> {
        Pages::new(count * PAGE).map(|pages| pages.unwrap())
    }

    fn write(pages: &Pages, at: usize, byte: u8) {
        // SAFETY: within the view.
        unsafe { pages.view().add(at).write_volatile(byte) }
    }

    fn read(pages: &Pages, at: usize) -> (u8, u8) {
        // SAFETY: within the mappings.
        unsafe {
            (
                pages.view().add(at).read_volatile(),
                pages.before().add(at).read_volatile(),
            )
        }
    }

    #[test]
    fn what_was_written_is_known_and_what_was_before() {
        let Some(pages) = pages(5000) else { return };
        assert_eq!(pages.written().unwrap(), []);
        for at in [0, 4 * PAGE - 1, 4 * PAGE, 4999 * PAGE + 7] {
            write(&pages, at, 3);
            assert_eq!(read(&pages, at), (3, 0));
        }
        assert_eq!(pages.written().unwrap(), [0..1, 3..5, 4999..5000]);
        assert_eq!(pages.written_in(4..10).unwrap(), vec![4..5; 1]);
    }

    #[test]
    fn a_file_of_its_own_has_the_same() {
        let Some(pages) = pages(3) else { return };
        write(&pages, PAGE, 5);
        // SAFETY: within the file's mapping.
        unsafe {
            pages.before().write_volatile(1);
            pages.before().add(PAGE).write_volatile(2);
        }
        pages.part_from_parent().unwrap();
        let found = [0, PAGE, 2 * PAGE].map(|at| read(&pages, at));
        assert_eq!(found, [(1, 1), (5, 2), (0, 0)]);
        assert_eq!(pages.written().unwrap(), vec![1..2; 1]);
    }

    #[test]
    fn a_base_keeps_its_content() {
        let Some(pages) = pages(LEAST_BASE / PAGE) else {
            return;
        };
        // SAFETY: within the file's mapping.
        let set = |byte| unsafe { pages.before().add(PAGE).write_volatile(byte) };
        set(1);
        let base = pages.become_base().unwrap();
        pages.make_own(0).unwrap();
        set(2);
        let mut kept = [0];
        base.file().read_exact_at(&mut kept, PAGE as u64).unwrap();
        assert_eq!(kept, [1]);
        assert!(!pages.is_shown(0) && pages.is_shown(1));
        assert!(pages.become_base().is_none());
    }

    #[test]
    fn what_is_given_up_is_the_file_s_again() {
        let Some(pages) = pages(8) else { return };
        for at in [PAGE, 2 * PAGE, 2 * PAGE + 5] {
            write(&pages, at, 9);
        }
        // The file has what was written, except for one byte.
        // SAFETY: within the file's mapping.
        unsafe {
            pages.before().add(PAGE).write_volatile(9);
            pages.before().add(2 * PAGE).write_volatile(9);
        }
        pages.give_up(&(1..3));
        assert!(matches!(
            pages.written().unwrap().as_slice(),
            [run] if run.end == 3
        ));
        assert_eq!(read(&pages, PAGE), (9, 9));
        assert_eq!(read(&pages, 2 * PAGE + 5), (9, 0));
        write(&pages, PAGE, 1);
        assert_eq!(read(&pages, PAGE), (1, 9));
    }

    #[test]
    fn a_written_page_is_a_fault() {
        let Some(pages) = pages(4) else { return };
        read(&pages, 0);
        let before = faults();
        write(&pages, 0, 1);
        assert_ne!(faults(), before);
    }
}
