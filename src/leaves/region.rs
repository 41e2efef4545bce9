//! `_core.Region`: a span of shared memory, with a buffer in this process.

#![allow(unsafe_code, reason = "the buffer protocol")]

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::{PyBufferError, PyOverflowError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::objects::pages::Pages;
use crate::objects::span::Span;

#[pyclass(frozen, weakref, module = "serverless_mp._core")]
pub struct Region {
    span: Arc<Span>,
    /// How many buffers of it Python has.
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
        let span = py.detach(|| match id {
            None => Span::new(size),
            Some(id) => Span::attach(id, size),
        })?;
        Ok(Self {
            span,
            exports: AtomicUsize::new(0),
        })
    }

    #[getter]
    fn id(&self) -> &str {
        self.span.id()
    }

    #[getter]
    fn size(&self) -> usize {
        self.span.buffer.len()
    }

    #[getter]
    fn address(&self) -> usize {
        self.span.buffer.as_ptr().addr()
    }

    #[getter]
    fn exports(&self) -> usize {
        self.exports.load(Ordering::Acquire)
    }

    /// Lets other processes attach from now on; the content goes to the store with the next release.
    fn share(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.span.in_store().map(drop))?)
    }

    /// Whether the kernel tells which pages of a large region were written, and how, or why not.
    #[staticmethod]
    fn are_writes_told() -> (bool, &'static str) {
        let how = Pages::how_known();
        (how.is_ok(), how.unwrap_or_else(|why| why))
    }

    /// Makes the writes visible to processes that attach from now on, and fetches those that others have made visible.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| {
            let (handle, shared) = self.span.in_store()?;
            shared.sync(handle.current_process()?)
        })?)
    }

    // The buffer protocol. The memory lives as long as this object, to which every view refers.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let buffer = &slf.get().span.buffer;
        let length = isize::try_from(buffer.len())
            .map_err(|_| PyBufferError::new_err("the region is too large"))?;
        // SAFETY: the interpreter passes a view to fill; the memory outlives `slf`.
        let status = unsafe {
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), buffer.as_ptr().cast(), length, 0, flags)
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
