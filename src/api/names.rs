//! Names of shared memory.

use pyo3::prelude::*;

use crate::leaves::shm_name;
use crate::objects::process;

/// Names a region; False if the name is taken.
#[pyfunction]
pub fn bind_name(py: Python<'_>, name: &str, region: &str, size: usize) -> PyResult<bool> {
    Ok(py.detach(|| shm_name::bind(process::current()?, name, region, size))?)
}

/// The region that a name stands for, and its size.
#[pyfunction]
pub fn find_name(py: Python<'_>, name: &str) -> PyResult<Option<(String, usize)>> {
    Ok(py.detach(|| shm_name::find(process::current()?, name))?)
}

/// Removes a name; False if there is none.
#[pyfunction]
pub fn unbind_name(py: Python<'_>, name: &str) -> PyResult<bool> {
    Ok(py.detach(|| shm_name::unbind(process::current()?, name))?)
}
