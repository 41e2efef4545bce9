//! `_core.TaskQueue`: a pool's tasks on their way to its workers, and their results on the way back.
//!
//! It is one pipe. End 0 is the pool's, with one reader of results; end 1 is its workers'.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::error::{Error, Result, log};
use crate::kept::Bytes;
use crate::objects::handle::Handle;
use crate::objects::pipe::{self, PipeEnd, Sent, Take, Taken, Wait};
use crate::objects::process;
use crate::objects::wait;
use crate::store::keys;

const POOL: u8 = 0;
const WORKERS: u8 = 1;

/// How many results are taken at once.
const MOST_RESULTS: usize = 256;

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct TaskQueue {
    handle: Handle,
    pipe: PipeEnd,
}

/// A result; or a task that killed its workers, with the exit code of the last one.
type TaskOutcome = (Bytes, Option<i32>);

impl TaskQueue {
    fn with(handle: Handle, id: String, end: u8) -> Self {
        let pipe = PipeEnd::new(handle.process, id, end);
        Self { handle, pipe }
    }

    fn results(&self) -> Result<Vec<TaskOutcome>> {
        let process = self.handle.current_process()?;
        let wait = Wait::Until(None);
        let first = self.pipe.take(process, wait, Take::Item, || {})?;
        // The next call will see an error again; the first result has arrived.
        let more = self
            .pipe
            .take_many(process, MOST_RESULTS)
            .unwrap_or_default();
        let mut outcomes = Vec::with_capacity(1 + more.len());
        for item in std::iter::once(Ok(first)).chain(more) {
            match item {
                Ok(Taken::Message(message)) => outcomes.push((message.payload, None)),
                Ok(Taken::Died(code, task)) => outcomes.push((task.payload, Some(code))),
                Ok(Taken::Nothing) => {}
                Err(Error::Seal(text)) => log(&text),
                Err(e) => return Err(e),
            }
        }
        Ok(outcomes)
    }
}

#[pymethods]
impl TaskQueue {
    /// The workers' end of an existing queue.
    #[new]
    fn new(py: Python<'_>, id: String) -> PyResult<Self> {
        let handle = py.detach(|| Handle::attach(id.clone(), WORKERS))?;
        Ok(Self::with(handle, id, WORKERS))
    }

    /// Makes a queue: the pool's end and the workers' end. It holds about `bound` bytes of tasks, and of results.
    #[staticmethod]
    fn pair(py: Python<'_>, bound: usize) -> PyResult<(Self, Self)> {
        Ok(py.detach(|| {
            let process = process::current()?;
            let id = pipe::create(process, bound)?;
            let end = |end| Self::with(Handle::created(process, id.clone(), end), id.clone(), end);
            Ok::<_, Error>((end(POOL), end(WORKERS)))
        })?)
    }

    #[getter]
    fn id(&self) -> &str {
        &self.pipe.id
    }

    /// Sends tasks, in order; waits only while too many are on their way.
    fn put_tasks(&self, py: Python<'_>, payloads: Vec<PyBackedBytes>) -> PyResult<()> {
        let payloads: Vec<&[u8]> = payloads.iter().map(|payload| &**payload).collect();
        Ok(py.detach(|| {
            let process = self.handle.current_process()?;
            self.pipe.wait_for_capacity(process)?;
            self.pipe.post(process, Sent::Task, &payloads)
        })?)
    }

    /// From now on a worker takes one task at a time: the tasks that are put next may wait for one another. Until then it may take
    /// several short ones.
    fn take_one_by_one(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| {
            let process = self.handle.current_process()?;
            let note = process.plain("HSET", process.key(&self.pipe.id));
            note.arg(keys::ONE_BY_ONE).arg(1).call().map(drop)
        })?)
    }

    /// The next task, in work until its result is put; None if the time is over. Tasks that are refused are passed over.
    #[pyo3(signature = (timeout=None))]
    fn get_task<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let item = py.detach(|| {
            let wait = Wait::Until(wait::deadline(timeout)?);
            let process = self.handle.current_process()?;
            loop {
                match self.pipe.take(process, wait, Take::Task, || {}) {
                    Err(Error::Seal(text)) => log(&text),
                    result => return result,
                }
            }
        })?;
        Ok(match item {
            Taken::Message(message) => Some(PyBytes::new(py, &message.payload)),
            Taken::Died(..) | Taken::Nothing => None,
        })
    }

    /// Takes a task that nobody is to work on; False if there is none.
    fn discard_task(&self, py: Python<'_>) -> PyResult<bool> {
        let item = py.detach(|| {
            let process = self.handle.current_process()?;
            self.pipe.take(process, Wait::No, Take::Item, || {})
        })?;
        Ok(!matches!(item, Taken::Nothing))
    }

    /// Sends the result of the task in work, without waiting; may take up to `most` tasks in the same step. Returns whether it
    /// has taken or requested tasks, which the caller must get.
    fn put_result(&self, py: Python<'_>, payload: &[u8], most: u32) -> PyResult<bool> {
        Ok(py.detach(|| {
            let process = self.handle.current_process()?;
            self.pipe.post_result(process, payload, most)
        })?)
    }

    /// Waits for a result, and takes others that are there.
    fn get_results<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Vec<(Bound<'py, PyBytes>, Option<i32>)>> {
        let outcomes = py.detach(|| self.results())?;
        let as_bytes = |(payload, code): TaskOutcome| (PyBytes::new(py, &payload), code);
        Ok(outcomes.into_iter().map(as_bytes).collect())
    }

    /// Sends a message that is neither a task nor a result to the other end, without waiting.
    fn post(&self, py: Python<'_>, payload: &[u8]) -> PyResult<()> {
        Ok(py.detach(|| {
            let process = self.handle.current_process()?;
            self.pipe.post(process, Sent::Message, &[payload])
        })?)
    }
}
