//! Bytes under a name of the caller's choice, for the life of the session.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::objects::{blob, process};
use crate::store::scripts;

/// Stores bytes, once.
#[pyfunction]
pub fn put_blob(py: Python<'_>, name: &str, payload: &[u8]) -> PyResult<()> {
    Ok(py.detach(|| blob::put_as(process::current()?, name, payload))?)
}

#[pyfunction]
pub fn drop_blob(py: Python<'_>, name: &str) -> PyResult<()> {
    Ok(py.detach(|| process::current()?.script(&scripts::DROP, name).post())?)
}

#[pyfunction]
pub fn get_blob<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = py.detach(|| blob::get(process::current()?, name))?;
    Ok(PyBytes::new(py, &bytes))
}
