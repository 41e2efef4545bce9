//! The content of a region as this process last saw it in the store: a copy, or the file below the buffer's pages.

#![allow(unsafe_code, reason = "the file below the pages")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::objects::buffer::Buffer;
use crate::objects::granule::{GRANULE, PAGE, granules_of};
use crate::objects::pages::{self, Pages};
use crate::signals;

pub struct Content {
    buffer: Arc<Buffer>,
    /// The content, if the buffer has no pages.
    copy: Vec<u8>,
    /// The granules in which this process has pages of its own, and the number of faults up to which that is known.
    own: BTreeSet<usize>,
    faults: Option<i64>,
    /// If the buffer has pages: the granules that have had a content other than zeros; those of them that have changed since
    /// `forget_changes`.
    filled: BTreeSet<usize>,
    changed: BTreeSet<usize>,
}

impl Content {
    /// Makes a twin of zeros.
    pub fn new(buffer: Arc<Buffer>) -> Result<Self> {
        let size = if buffer.pages().is_some() {
            0
        } else {
            buffer.len()
        };
        Ok(Self {
            copy: zeros(size)?,
            own: BTreeSet::new(),
            faults: None,
            filled: BTreeSet::new(),
            changed: BTreeSet::new(),
            buffer,
        })
    }

    pub fn get(&self, range: Range<usize>) -> &[u8] {
        let Some(pages) = self.buffer.pages() else {
            return &self.copy[range];
        };
        debug_assert!(range.end <= self.buffer.len());
        // SAFETY: within the file's mapping, which is written to by `put` and `refresh` alone, through a `&mut self`.
        unsafe { std::slice::from_raw_parts(pages.before().add(range.start), range.len()) }
    }

    /// Takes bytes that the buffer had and that the store has now.
    pub fn put(&mut self, start: usize, bytes: &[u8]) {
        self.get_mut(start..start + bytes.len())
            .copy_from_slice(bytes);
    }

    /// Prepares bytes for `put` and `refresh`: a base is not changed.
    pub fn make_own(&mut self, range: &Range<usize>) -> Result<()> {
        let Some(pages) = self.buffer.pages() else {
            return Ok(());
        };
        for granule in granules_of(range) {
            self.filled.insert(granule);
            self.changed.insert(granule);
            pages
                .make_own(granule)
                .map_err(|e| Error::Memory(format!("no memory for changes of a region: {e}")))?;
        }
        Ok(())
    }

    /// The granules that may have a content other than zeros.
    pub fn filled(&self) -> impl Iterator<Item = usize> {
        self.filled.iter().copied()
    }

    /// How many granules have changed.
    pub fn changed(&self) -> usize {
        self.changed.len()
    }

    pub fn forget_changes(&mut self) {
        self.changed.clear();
    }

    fn get_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        let Some(pages) = self.buffer.pages() else {
            return &mut self.copy[range];
        };
        debug_assert!(range.end <= self.buffer.len());
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(pages.before().add(range.start), range.len()) }
    }

    /// The granules that may differ from the buffer.
    pub fn may_differ(&mut self) -> Vec<usize> {
        let all = 0..self.buffer.len().div_ceil(GRANULE);
        let Some(pages) = self.buffer.pages() else {
            return all.collect();
        };
        // Counted first: a page that is written meanwhile is found the next time.
        let faults = pages::faults();
        if self.faults != Some(faults) {
            let Some(runs) = pages.written() else {
                return all.collect();
            };
            let of_run =
                |run: Range<usize>| run.start * PAGE / GRANULE..=(run.end - 1) * PAGE / GRANULE;
            self.own = runs.into_iter().flat_map(of_run).collect();
            self.faults = Some(faults);
        }
        self.own.iter().copied().collect()
    }

    /// These granules of the buffer equalled the twin a moment ago: they need not be compared until they are written. Only if
    /// no other thread can use them, not even one that has released the GIL: such a thread would not see its last write.
    pub fn are_same(&mut self, granules: &[usize]) {
        if self.buffer.pages().is_some() && !granules.is_empty() && !signals::avoids_gil() {
            signals::with_gil(|| {
                if signals::is_alone() {
                    self.give_up(granules);
                }
            });
        }
    }

    fn give_up(&mut self, granules: &[usize]) {
        let Some(pages) = self.buffer.pages() else {
            return;
        };
        // The view of one that does not show the twin must keep its pages.
        let shown = granules.iter().copied().filter(|granule| {
            pages.show(*granule);
            pages.is_shown(*granule)
        });
        let granules: Vec<usize> = shown.collect();
        for run in granules.chunk_by(|one, next| one + 1 == *next) {
            let first = run[0] * GRANULE / PAGE;
            let last = (run[run.len() - 1] + 1) * GRANULE;
            let last = last.min(self.buffer.len()).div_ceil(PAGE);
            // Only pages of this process' own can be given up.
            let Some(own) = pages.written_in(first..last) else {
                return;
            };
            for run in &own {
                pages.give_up(run);
            }
            if pages
                .written_in(first..last)
                .is_some_and(|own| own.is_empty())
            {
                for granule in run {
                    self.own.remove(granule);
                }
            }
        }
    }

    /// Takes the store's content of a granule (zeros beyond its end), and copies it to the buffer where this process has not
    /// written since.
    pub fn refresh(&mut self, start: usize, end: usize, content: &[u8]) -> Result<()> {
        let old = self.get(start..end).to_vec();
        let new = &content[..content.len().min(old.len())];
        let (same, rest) = old.split_at(new.len());
        if new == same && rest.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let bytes = start..end;
        self.make_own(&bytes)?;
        // Under the GIL, so that no Python code writes in between.
        signals::with_gil(|| {
            if let Some(pages) = self.buffer.pages()
                && !are_shown(pages, &bytes)
                && signals::is_alone()
            {
                granules_of(&bytes).for_each(|granule| pages.show(granule));
            }
            self.put(start, new);
            self.get_mut(start + new.len()..end).fill(0);
            for part in self.not_seen_through(start, end) {
                let old = &old[part.start - start..part.end - start];
                self.buffer.merge(part.start, old, self.get(part));
            }
        });
        Ok(())
    }

    /// The parts of a granule in which the buffer does not show the twin: all of it, or this process' own pages. A page may
    /// have become its own a moment ago, with a part of the new content.
    fn not_seen_through(&self, start: usize, end: usize) -> Vec<Range<usize>> {
        let pages = self.buffer.pages();
        let pages = pages.filter(|pages| are_shown(pages, &(start..end)));
        let own = pages.and_then(|pages| pages.written_in(start / PAGE..end.div_ceil(PAGE)));
        own.map_or_else(
            || vec![start..end; 1],
            |runs| {
                let bytes = |run: Range<usize>| run.start * PAGE..(run.end * PAGE).min(end);
                runs.into_iter().map(bytes).collect()
            },
        )
    }
}

/// Whether the view shows the twin of these bytes, but for this process' own pages.
fn are_shown(pages: &Pages, bytes: &Range<usize>) -> bool {
    granules_of(bytes).all(|granule| pages.is_shown(granule))
}

/// Zeros, which take no memory before they are written.
fn zeros(size: usize) -> Result<Vec<u8>> {
    let mut reserved = Vec::<u8>::new();
    reserved
        .try_reserve_exact(size)
        .map_err(|_| Error::Memory(format!("no memory for {size} bytes")))?;
    drop(reserved);
    Ok(vec![0; size])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::TestCaseError;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use crate::objects::granule::bytes_of;
    use crate::objects::overlay::{new_file, write_all};

    const SIZE: usize = 5 * GRANULE / 2;

    fn write(buffer: &Buffer, at: usize, byte: u8) {
        // SAFETY: within the buffer.
        unsafe { buffer.as_ptr().add(at).write_volatile(byte) }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Write(usize, u8),
        /// Publishes everything that differs.
        Publish,
        /// Another process has written there, and this one fetches it.
        Other(usize, u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let place = || prop_oneof![0..SIZE, 0..20_usize, SIZE - 20..SIZE];
        prop::collection::vec(
            prop_oneof![
                3 => (place(), 1_u8..4).prop_map(|(at, byte)| Step::Write(at, byte)),
                1 => Just(Step::Publish),
                2 => (place(), 4_u8..7).prop_map(|(at, byte)| Step::Other(at, byte)),
            ],
            1..40,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_refresh_keeps_what_was_written_since(bytes in prop::collection::vec(any::<(u8, u8, u8)>(), 1..200)) {
            let mine: Vec<u8> = bytes.iter().map(|b| b.0).collect();
            let old: Vec<u8> = bytes.iter().map(|b| b.1).collect();
            let new: Vec<u8> = bytes.iter().map(|b| b.2).collect();
            // A copy, and a file below pages.
            for size in [mine.len(), SIZE] {
                let buffer = Arc::new(Buffer::new(size).unwrap());
                let mut content = Content::new(buffer.clone()).unwrap();
                content.put(0, &old);
                for (at, byte) in mine.iter().enumerate() {
                    write(&buffer, at, *byte);
                }
                content.refresh(0, mine.len(), &new).unwrap();
                prop_assert_eq!(content.get(0..mine.len()), &new);
                let expected: Vec<u8> = (0..mine.len()).map(|i| if mine[i] == old[i] { new[i] } else { mine[i] }).collect();
                prop_assert!(buffer.equals(0, &expected));
            }
        }

        /// A model of bytes: the unpublished writes of this process, over the content of the store.
        #[test]
        fn nothing_is_lost_or_made_up(steps in steps()) {
            follow(&steps, Buffer::new(SIZE).unwrap(), vec![0; SIZE])?;
        }

        #[test]
        #[cfg(target_os = "linux")]
        fn nothing_is_lost_or_made_up_over_a_base(steps in steps(), is_alone: bool) {
            let content: Vec<u8> = [0, 0, 1, 2, 3].into_iter().cycle().take(SIZE).collect();
            let file = File::from(new_file(SIZE.next_multiple_of(PAGE)).unwrap());
            write_all(&file, &content, 0).unwrap();
            let Some(buffer) = Buffer::on(&file, SIZE) else { return Ok(()) };
            signals::set_alone(is_alone);
            let followed = follow(&steps, buffer, content.clone());
            signals::set_alone(false);
            followed?;
            let mut kept = vec![0; SIZE];
            file.read_exact_at(&mut kept, 0).unwrap();
            prop_assert!(kept == content);
        }
    }

    /// Follows the steps in a region with this content, and compares it with a model after each.
    fn follow(
        steps: &[Step],
        buffer: Buffer,
        mut store: Vec<u8>,
    ) -> std::result::Result<(), TestCaseError> {
        let buffer = Arc::new(buffer);
        let mut content = Content::new(buffer.clone()).unwrap();
        let mut mine = std::collections::HashMap::new();
        for step in steps {
            match *step {
                Step::Write(at, byte) => {
                    write(&buffer, at, byte);
                    mine.insert(at, byte);
                }
                Step::Publish => {
                    let mut same = Vec::new();
                    for granule in content.may_differ() {
                        let Range { start, end } = bytes_of(granule, SIZE);
                        let spans = buffer
                            .differences(start, content.get(start..end), usize::MAX)
                            .unwrap();
                        if spans.is_empty() {
                            same.push(granule);
                        }
                        for (at, span) in spans {
                            store[at..at + span.len()].copy_from_slice(&span);
                            content.make_own(&(at..at + span.len())).unwrap();
                            content.put(at, &span);
                        }
                    }
                    content.are_same(&same);
                    for (at, byte) in mine.drain() {
                        prop_assert_eq!(store[at], byte);
                    }
                }
                Step::Other(at, byte) => {
                    // Not where this process has written: that would be a race.
                    if mine.contains_key(&at) {
                        continue;
                    }
                    store[at] = byte;
                    let Range { start, end } = bytes_of(at / GRANULE, SIZE);
                    let used = store[start..end]
                        .iter()
                        .rposition(|byte| *byte != 0)
                        .map_or(0, |last| last + 1);
                    content
                        .refresh(start, end, &store[start..start + used])
                        .unwrap();
                }
            }
            let mut expected = store.clone();
            for (at, byte) in &mine {
                expected[*at] = *byte;
            }
            prop_assert!(buffer.equals(0, &expected));
            prop_assert!(content.get(0..SIZE) == store.as_slice());
        }
        Ok(())
    }
}
