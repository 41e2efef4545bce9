//! The session of this process: its beginning and end, and counts of what it has sent.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::Error;
use crate::objects::process;
use crate::random;
use crate::session::open;
use crate::signals;
use crate::store::client::Session;
use crate::store::tls;

#[pyfunction]
pub fn is_open() -> bool {
    process::is_open()
}

#[pyfunction]
pub fn is_lost() -> bool {
    process::current().is_ok_and(|p| p.healthy().is_err())
}

#[pyfunction]
pub fn check_url(url: &str) -> PyResult<()> {
    Ok(open::check_url(url)?)
}

#[pyfunction]
pub fn try_store(py: Python<'_>, url: &str) -> PyResult<()> {
    Ok(py.detach(|| open::try_store(url))?)
}

#[pyfunction]
pub fn examine_store(py: Python<'_>, url: &str) -> PyResult<(String, Option<String>, f64)> {
    let facts = py.detach(|| open::examine(url))?;
    Ok((facts.version, facts.eviction, facts.latency.as_secs_f64()))
}

#[pyfunction]
#[pyo3(signature = (url, ttl, *, seal_memory=false, needs_persistence=false))]
pub fn open_session(
    py: Python<'_>,
    url: String,
    ttl: u64,
    seal_memory: bool,
    needs_persistence: bool,
) -> PyResult<()> {
    Ok(py.detach(|| {
        let session = open::new_session(&url, ttl, seal_memory)?;
        open::open(session, needs_persistence)
    })?)
}

/// Joins a session as a worker, or as a supervisor of remote workers.
#[pyfunction]
#[pyo3(signature = (session, key, url, ttl, seal_memory, process, parent, *, is_supervisor=false))]
#[allow(
    clippy::too_many_arguments,
    reason = "one call from one place, in the order of its text"
)]
pub fn join_session(
    py: Python<'_>,
    session: String,
    key: Vec<u8>,
    url: String,
    ttl: u64,
    seal_memory: bool,
    process: String,
    parent: String,
    is_supervisor: bool,
) -> PyResult<()> {
    let session = Session {
        id: session,
        key,
        url,
        ttl,
        seal_memory,
        parent: Some(parent),
    };
    let join = if is_supervisor {
        open::join_as_supervisor
    } else {
        open::join
    };
    Ok(py.detach(|| join(session, process))?)
}

/// Leaves the session, as a supervisor.
#[pyfunction]
pub fn leave_session(py: Python<'_>) -> PyResult<()> {
    Ok(py.detach(open::leave)?)
}

/// What a worker needs to join; `process` is this process' id, its parent. Python gets a dictionary.
#[derive(IntoPyObject)]
pub struct SessionInfo<'py> {
    session: &'static str,
    key: Bound<'py, PyBytes>,
    url: &'static str,
    ttl: u64,
    seal_memory: bool,
    process: &'static str,
}

#[pyfunction]
pub fn session_info(py: Python<'_>) -> PyResult<SessionInfo<'_>> {
    let process = process::current()?;
    let session = &process.session;
    Ok(SessionInfo {
        session: &session.id,
        key: PyBytes::new(py, &session.key),
        url: &session.url,
        ttl: session.ttl,
        seal_memory: session.seal_memory,
        process: &process.id,
    })
}

#[pyfunction]
pub fn close_session(py: Python<'_>) -> PyResult<()> {
    Ok(py.detach(open::close)?)
}

/// Gives the locks back that are lent to this process, with what was written under them.
#[pyfunction]
pub fn return_loans(py: Python<'_>) {
    py.detach(|| {
        if let Ok(process) = process::current() {
            process.memory.loans.recall();
        }
    });
}

/// Before the program's own `fork()`: shares the objects that only this process knew or held.
#[pyfunction]
pub fn before_fork(py: Python<'_>) -> PyResult<()> {
    Ok(py.detach(|| {
        let Ok(process) = process::current() else {
            return Ok(());
        };
        process.memory.freshness.pause();
        process.memory.loans.recall();
        process.reads_ahead.share(&process.client)?;
        process.unshared.share()
    })?)
}

/// After the program's own `fork()`, in the parent.
#[pyfunction]
pub fn after_fork_in_parent() {
    if let Ok(process) = process::current() {
        process.memory.freshness.resume();
    }
}

#[pyfunction]
pub fn after_fork() {
    open::after_fork();
}

/// Waits until the store has everything that this process has posted.
#[pyfunction]
pub fn settle(py: Python<'_>) -> PyResult<()> {
    Ok(py.detach(|| process::current()?.settle())?)
}

/// Publishes what this process has written to shared memory, and waits until the store has received everything that was sent
/// without waiting. Returns the versions to send along with a message that does not go through the store.
#[pyfunction]
pub fn publish(py: Python<'_>) -> PyResult<String> {
    Ok(py.detach(|| {
        let process = process::current()?;
        let versions = process.memory.publish(process)?;
        process.with_thread_client(|thread_client| thread_client.settle(&process.shared))?;
        Ok::<_, Error>(versions)
    })?)
}

/// Fetches what is stale by the versions that came with such a message.
#[pyfunction]
pub fn acquire(py: Python<'_>, versions: &str) -> PyResult<()> {
    Ok(py.detach(|| {
        let process = process::current()?;
        process.memory.acquire(process, versions)
    })?)
}

/// Fetches what other processes have written to shared memory by now.
#[pyfunction]
pub fn look_around(py: Python<'_>) -> PyResult<()> {
    Ok(py.detach(|| {
        let process = process::current()?;
        process.memory.look_around(process)
    })?)
}

/// Counts of what this process has sent to the store.
#[pyfunction]
pub fn counters() -> PyResult<HashMap<&'static str, u64>> {
    let c = &process::current()?.shared.cluster.counters;
    Ok(HashMap::from([
        ("commands", c.commands.load(Ordering::Relaxed)),
        ("round_trips", c.round_trips.load(Ordering::Relaxed)),
        ("bytes", c.bytes.load(Ordering::Relaxed)),
    ]))
}

/// How many connections the store has, and how many it takes; None if it does not say.
#[pyfunction]
pub fn store_connections(py: Python<'_>) -> PyResult<Option<(u64, u64)>> {
    Ok(py.detach(|| open::connections(process::current()?))?)
}

/// The file and the name of each function in which a thread only waits, and of those whose threads are idle if they wait there.
#[pyfunction]
pub fn note_waits(waits: Vec<(String, String)>, idle: Vec<(String, String)>) {
    signals::note_waits(waits, idle);
}

/// An id that is unique in the session: 16 hexadecimal digits.
#[pyfunction]
pub fn new_id() -> PyResult<String> {
    Ok(random::id()?)
}

/// Reads the root certificates, for this process and those that it forks.
#[pyfunction]
pub fn load_roots(py: Python<'_>) -> PyResult<()> {
    py.detach(|| tls::shared_config(&[])).map_err(Error::from)?;
    Ok(())
}

/// Makes this process the parent of descendants whose own parent has ended (Linux).
#[pyfunction]
pub fn adopt_orphans() -> PyResult<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).map_err(Error::from)?;
    Ok(())
}

/// Asks the kernel to end this process when its parent ends (Linux).
#[pyfunction]
pub fn die_with_parent() -> PyResult<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(Error::from)?;
    Ok(())
}
