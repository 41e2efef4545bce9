//! Where the memory of a buffer is.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;

/// The address of the first element of an object with a buffer, which may be read-only or have gaps.
#[pyfunction]
pub fn address_of(buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
    Ok(PyUntypedBuffer::get(buffer)?.buf_ptr().addr())
}
