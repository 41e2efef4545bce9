//! `_core.Lambda`: the function whose invocations are workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pyo3::prelude::*;

use crate::launcher::invocation_queue::Queue;
use crate::launcher::lambda::Invoker;
use crate::store::endpoint;

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct Lambda {
    pub invoker: Arc<Invoker>,
}

#[pymethods]
impl Lambda {
    #[new]
    fn new(
        py: Python<'_>,
        function: String,
        packing: usize,
        start_timeout: u64,
        stall_timeout: u64,
        url: Option<String>,
        credentials: Option<String>,
    ) -> PyResult<Self> {
        let [start, stall] = [start_timeout, stall_timeout].map(Duration::from_secs);
        let url = url.map(|url| endpoint::portable(&url)).transpose()?;
        let queue = Queue::new(start, stall);
        let invoker = py.detach(|| Invoker::new(function, packing, queue, url, credentials))?;
        Ok(Self {
            invoker: Arc::new(invoker),
        })
    }

    #[getter]
    fn endpoint(&self) -> Option<&str> {
        self.invoker.endpoint.as_deref()
    }

    fn describe(&self, py: Python<'_>) -> PyResult<String> {
        Ok(py.detach(|| self.invoker.describe())?)
    }

    /// Notes that the start of a process begins or ends: an invocation waits for the processes that are about to share it.
    fn note_start(&self, begins: bool) {
        self.invoker.note_start(begins);
    }

    fn usage(&self) -> (u64, u64, usize) {
        (
            self.invoker.invocations.load(Ordering::Relaxed),
            self.invoker.milliseconds.load(Ordering::Relaxed),
            self.invoker.open(),
        )
    }
}
