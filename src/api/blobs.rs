//! Bytes under a name of the caller's choice, for the life of the session.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::objects::{blob, process};

/// Stores bytes, once.
#[pyfunction]
pub fn put_blob(py: Python<'_>, name: &str, payload: &[u8]) -> PyResult<()> {
    Ok(py.detach(|| blob::put(process::current()?, name, payload))?)
}

#[pyfunction]
pub fn drop_blob(py: Python<'_>, name: &str) -> PyResult<()> {
    Ok(py.detach(|| blob::drop(process::current()?, name))?)
}

#[pyfunction]
pub fn get_blob<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
    let process = process::current()?;
    let size = py.detach(|| blob::size(process, name))?;
    PyBytes::new_with(py, size, |out| {
        Ok(py.detach(|| blob::read(process, name, out))?)
    })
}
