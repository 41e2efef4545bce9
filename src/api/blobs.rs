//! Bytes under a name of the caller's choice, for the life of the session.

#![allow(
    unsafe_code,
    reason = "a buffer's bytes are read and written without the GIL, as a file's read and write do"
)]

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::objects::{blob, process};

/// Stores bytes, once.
#[pyfunction]
pub fn put_blob(py: Python<'_>, name: &str, payload: Contiguous) -> PyResult<()> {
    Ok(py.detach(|| blob::put(process::current()?, name, payload.bytes()))?)
}

#[pyfunction]
pub fn drop_blob(py: Python<'_>, name: &str) -> PyResult<()> {
    Ok(py.detach(|| blob::drop(process::current()?, name, None))?)
}

#[pyfunction]
pub fn get_blob<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
    let process = process::current()?;
    let size = py.detach(|| blob::size(process, name))?;
    PyBytes::new_with(py, size, |out| {
        Ok(py.detach(|| blob::read(process, name, out))?)
    })
}

/// Reads bytes into a buffer of exactly their size.
#[pyfunction]
pub fn read_blob(py: Python<'_>, name: &str, mut buffer: Contiguous) -> PyResult<()> {
    let out = buffer.bytes_mut()?;
    Ok(py.detach(|| blob::read(process::current()?, name, out))?)
}

/// An argument: any object whose bytes are contiguous.
pub struct Contiguous(PyBuffer<u8>);

impl<'py> FromPyObject<'_, 'py> for Contiguous {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let buffer = PyBuffer::get(&object)?;
        if buffer.is_c_contiguous() {
            Ok(Self(buffer))
        } else {
            Err(PyValueError::new_err("the buffer is not in one piece"))
        }
    }
}

impl Contiguous {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the exporter keeps this many bytes there while the buffer is held.
        unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast(), self.0.len_bytes()) }
    }

    fn bytes_mut(&mut self) -> PyResult<&mut [u8]> {
        if self.0.readonly() {
            return Err(PyValueError::new_err("the buffer cannot be written to"));
        }
        // SAFETY: as above.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.0.buf_ptr().cast(), self.0.len_bytes()) })
    }
}
