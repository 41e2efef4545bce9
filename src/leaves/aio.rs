//! Waiting for asyncio: on a thread of a runtime's, so that the loop goes on. An await that is cancelled ends its wait.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::store::conn::Until;
use crate::store::threads;

/// Waits at a time, each on a thread of its own: one that had to wait for another to end could wait for ever.
const WAITS: usize = 1 << 16;

/// An awaitable of what `work` waits for; it is to give up when its descriptor becomes readable.
pub fn awaitable<T, W>(py: Python<'_>, work: W) -> PyResult<Bound<'_, PyAny>>
where
    T: for<'py> IntoPyObject<'py> + Send + 'static,
    W: FnOnce(BorrowedFd<'_>) -> Result<T> + Send + 'static,
{
    check_runtime()?;
    let (given_up, awaited) = pipe2(OFlag::O_CLOEXEC).map_err(Error::from)?;
    pyo3_async_runtimes::tokio::future_into_py(py, async move {
        // Goes with the future, and so tells the thread.
        let _awaited = awaited;
        let done = tokio::task::spawn_blocking(move || work(given_up.as_fd())).await;
        let done = done.map_err(|e| Error::State(format!("a wait failed: {e}")))?;
        Ok(done?)
    })
}

/// The runtime's threads do not cross the program's own `fork()`.
fn check_runtime() -> Result<()> {
    static OWNER: OnceLock<u32> = OnceLock::new();
    let owner = OWNER.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder
            .worker_threads(1)
            .max_blocking_threads(WAITS)
            .thread_stack_size(512 << 10)
            .on_thread_start(threads::block_signals);
        pyo3_async_runtimes::tokio::init(builder);
        // The threads that wait are started by the runtime's own, and block what that blocks.
        threads::with_signals_blocked(pyo3_async_runtimes::tokio::get_runtime);
        std::process::id()
    });
    if *owner == std::process::id() {
        return Ok(());
    }
    Err(Error::State(
        "waits for locks in asyncio do not work in a child of os.fork() whose parent has used them; start a process instead".into(),
    ))
}

/// How a wait ends that belongs to an await.
pub fn until(given_up: BorrowedFd<'_>) -> Until<'_> {
    Until {
        wake_fd: Some(given_up),
        defer_signals: true,
        ..Until::default()
    }
}
