//! What Python's own functions do not tell of an object.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyWeakref, PyWeakrefMethods};

/// The address of the first element of an object with a buffer, which may be read-only or have gaps.
#[pyfunction]
pub fn address_of(buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
    Ok(PyUntypedBuffer::get(buffer)?.buf_ptr().addr())
}

/// The object behind a weak reference or a proxy, if there still is one. None of its code runs.
#[pyfunction]
pub fn referent<'py>(reference: &Bound<'py, PyWeakref>) -> Option<Bound<'py, PyAny>> {
    reference.upgrade()
}
