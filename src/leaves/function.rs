//! `_core.Lambda`: the function whose invocations are workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pyo3::prelude::*;

use crate::launcher::lambda::Fleet;

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Lambda {
    pub fleet: Arc<Fleet>,
}

#[pymethods]
impl Lambda {
    #[new]
    fn new(py: Python<'_>, function: String, packing: usize, patience: u64) -> PyResult<Self> {
        let fleet = py.detach(|| Fleet::new(function, packing, Duration::from_secs(patience)))?;
        Ok(Self {
            fleet: Arc::new(fleet),
        })
    }

    #[getter]
    fn endpoint(&self) -> Option<&str> {
        self.fleet.endpoint.as_deref()
    }

    fn describe(&self, py: Python<'_>) -> PyResult<String> {
        Ok(py.detach(|| self.fleet.describe())?)
    }

    fn figures(&self) -> (u64, u64, u64) {
        (
            self.fleet.invocations.load(Ordering::Relaxed),
            self.fleet.milliseconds.load(Ordering::Relaxed),
            self.fleet.open.load(Ordering::Relaxed),
        )
    }
}
