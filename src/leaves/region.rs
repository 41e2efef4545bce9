//! `_core.Region`: a span of shared memory, attached, with a real buffer under it.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::{PyBufferError, PyOverflowError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::objects::handle::Held;
use crate::objects::versions::Shared;

const PAGE: usize = 4096;

/// Memory that the program reads and writes through ctypes and numpy while we compare and refresh it.
/// Both sides go byte by byte through raw pointers: no Rust reference to it ever exists.
pub struct Buffer {
    start: *mut u8,
    length: usize,
}

// SAFETY: the memory is shared by design, with processes even; all access is through raw pointers.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Zeros.
    pub fn new(length: usize) -> Result<Self> {
        let refused = || Error::Memory(format!("no memory for {length} bytes"));
        let layout = Self::layout(length).ok_or_else(refused)?;
        // SAFETY: the layout has a size of at least one page.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return Err(refused());
        }
        Ok(Self { start, length })
    }

    /// Whole pages, so that a page belongs to one region.
    fn layout(length: usize) -> Option<Layout> {
        let size = length.max(1).checked_next_multiple_of(PAGE)?;
        Layout::from_size_align(size, PAGE).ok()
    }

    pub const fn len(&self) -> usize {
        self.length
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

    /// Appends the spans that differ from the twin, which becomes equal to what was read.
    pub fn differences(&self, start: usize, twin: &mut [u8], spans: &mut Vec<(usize, Vec<u8>)>) {
        let mut open = false;
        for (i, old) in twin.iter_mut().enumerate() {
            // SAFETY: within the allocation. Read once: what is sent is what the twin keeps.
            let byte = unsafe { self.start.add(start + i).read_volatile() };
            if byte == *old {
                open = false;
                continue;
            }
            *old = byte;
            if open {
                spans.last_mut().expect("one is open").1.push(byte);
            } else {
                spans.push((start + i, vec![byte]));
                open = true;
            }
        }
    }

    /// Takes the store's content (zeros beyond its end) where this process has not written since.
    /// Under the GIL, so that no Python code writes in between.
    pub fn refresh(&self, start: usize, twin: &mut [u8], content: &[u8]) {
        Python::attach(|_| {
            for (i, old) in twin.iter_mut().enumerate() {
                let new = content.get(i).copied().unwrap_or(0);
                if new == *old {
                    continue;
                }
                // SAFETY: within the allocation.
                unsafe {
                    let at = self.start.add(start + i);
                    if at.read_volatile() == *old {
                        at.write_volatile(new);
                    }
                }
                *old = new;
            }
        });
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.length) {
            // SAFETY: allocated with the same layout.
            unsafe { dealloc(self.start, layout) }
        }
    }
}

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Region {
    shared: Arc<Shared>,
    held: Held,
    /// Buffers that Python has of it.
    exports: AtomicUsize,
}

#[pymethods]
impl Region {
    #[new]
    #[pyo3(signature = (size, *, id=None))]
    fn new(py: Python<'_>, size: usize, id: Option<String>) -> PyResult<Self> {
        if isize::try_from(size).is_err() {
            return Err(PyOverflowError::new_err(
                "Python int too large to convert to C long",
            ));
        }
        Ok(py.detach(|| {
            let held = Held::new(id, None, &[b"version", b"0"])?;
            let p = held.process;
            let shared = p.memory.attach(p, &held.id, size)?;
            Ok::<_, Error>(Self {
                shared,
                held,
                exports: AtomicUsize::new(0),
            })
        })?)
    }

    #[getter]
    fn id(&self) -> &str {
        &self.shared.id
    }

    #[getter]
    fn size(&self) -> usize {
        self.shared.buffer.len()
    }

    #[getter]
    fn exports(&self) -> usize {
        self.exports.load(Ordering::Acquire)
    }

    /// Makes what was written visible to whoever attaches from now on, and takes what others have made so.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.shared.sync(self.held.now()?))?)
    }

    // The buffer protocol, whose memory lives as long as this object, to which every view refers.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let buffer = &slf.get().shared.buffer;
        let length = isize::try_from(buffer.len())
            .map_err(|_| PyBufferError::new_err("the region is too large"))?;
        // SAFETY: the interpreter passes a view to fill; the memory outlives `slf`.
        let status = unsafe {
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), buffer.start.cast(), length, 0, flags)
        };
        if status != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        slf.get().exports.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.exports.fetch_sub(1, Ordering::AcqRel);
    }
}
