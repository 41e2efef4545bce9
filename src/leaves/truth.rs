//! An argument of which only the truth matters, as a flag of `CPython`: any object can be one, such as `0` or `1`.

use pyo3::prelude::*;

#[derive(Clone, Copy)]
pub struct Truth(pub bool);

impl<'py> FromPyObject<'_, 'py> for Truth {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        value.is_truthy().map(Self)
    }
}
