//! `serverless_mp._core`: the leaves of multiprocessing over a store that speaks Redis.
//!
//! From above: `leaves` (what Python sees), `objects` (what they stand on), `session` (what this process has of its session) and
//! `launcher` (what makes a machine run a job), `store` (connections, commands, keys, scripts). Of `store` and below only
//! `signals` and `error` know Python. Nothing outside `store::link`, `store::cluster` and `session::heartbeat` writes to a
//! connection, and `store::client` is the only door to `store::link`.

mod error;
mod launcher;
mod leaves;
mod objects;
mod session;
mod signals;
mod store;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    use std::collections::HashMap;
    use std::sync::atomic::Ordering;

    use pyo3::prelude::*;
    use pyo3::types::PyBytes;

    use crate::error::Error;
    #[pymodule_export]
    use crate::leaves::aio::Acquired;
    #[pymodule_export]
    use crate::leaves::barrier::Barrier;
    #[pymodule_export]
    use crate::leaves::channel::Channel;
    #[pymodule_export]
    use crate::leaves::condition::Condition;
    #[pymodule_export]
    use crate::leaves::function::Lambda;
    #[pymodule_export]
    use crate::leaves::job::Job;
    #[pymodule_export]
    use crate::leaves::latch::Gate;
    #[pymodule_export]
    use crate::leaves::region::Region;
    #[pymodule_export]
    use crate::leaves::semlock::SemLock;
    use crate::leaves::shm_name;
    use crate::objects::item;
    use crate::session::heartbeat;
    use crate::session::process::{self, Args, Session};
    use crate::store::scripts;

    /// Exit code of a worker whose session was lost.
    #[pymodule_export]
    const EXIT_SESSION_LOST: i32 = heartbeat::EXIT_SESSION_LOST;

    #[pyfunction]
    fn is_open() -> bool {
        process::is_open()
    }

    #[pyfunction]
    fn is_lost() -> bool {
        process::current().is_ok_and(|p| p.healthy().is_err())
    }

    #[pyfunction]
    fn check_url(url: &str) -> PyResult<()> {
        Ok(heartbeat::check_url(url)?)
    }

    #[pyfunction]
    fn try_store(py: Python<'_>, url: &str) -> PyResult<()> {
        Ok(py.detach(|| heartbeat::try_store(url))?)
    }

    /// `size` random bytes from the operating system.
    fn random(size: usize) -> PyResult<Vec<u8>> {
        let mut bytes = vec![0; size];
        aws_lc_rs::rand::fill(&mut bytes)
            .map_err(|_| Error::State("no source of random numbers".into()))?;
        Ok(bytes)
    }

    #[pyfunction]
    fn open_session(py: Python<'_>, url: String, ttl: u64) -> PyResult<()> {
        let session = Session {
            id: scripts::hex(&random(8)?),
            key: random(32)?,
            url,
            ttl,
            parent: None,
        };
        Ok(py.detach(|| heartbeat::open(session))?)
    }

    /// As a worker, or as the keeper of remote ones.
    #[pyfunction]
    #[pyo3(signature = (session, key, url, ttl, process, parent, *, is_keeper=false))]
    #[allow(
        clippy::too_many_arguments,
        reason = "one call from one place, in the order of its text"
    )]
    fn join_session(
        py: Python<'_>,
        session: String,
        key: Vec<u8>,
        url: String,
        ttl: u64,
        process: String,
        parent: String,
        is_keeper: bool,
    ) -> PyResult<()> {
        let session = Session {
            id: session,
            key,
            url,
            ttl,
            parent: Some(parent),
        };
        let join = if is_keeper {
            heartbeat::keep
        } else {
            heartbeat::join
        };
        Ok(py.detach(|| join(session, process))?)
    }

    /// A keeper's end.
    #[pyfunction]
    fn leave_session(py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(heartbeat::leave)?)
    }

    /// An event for another process of the session.
    #[pyfunction]
    fn tell(py: Python<'_>, to: &str, event: &[u8], wait: bool) -> PyResult<()> {
        Ok(py.detach(|| crate::leaves::job::tell(process::current()?, to, event, wait))?)
    }

    /// What a worker needs to join: session, key, url, ttl, and this process' number as its parent.
    #[pyfunction]
    fn session_info(py: Python<'_>) -> PyResult<(String, Bound<'_, PyBytes>, String, u64, String)> {
        let p = process::current()?;
        let s = &p.session;
        Ok((
            s.id.clone(),
            PyBytes::new(py, &s.key),
            s.url.clone(),
            s.ttl,
            p.number.clone(),
        ))
    }

    #[pyfunction]
    fn close_session(py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(heartbeat::close)?)
    }

    #[pyfunction]
    fn after_fork() {
        process::after_fork();
    }

    /// Waits until the store has everything that this process sent without waiting.
    #[pyfunction]
    fn settle(py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| process::current()?.settle())?)
    }

    /// What this process has sent to the store.
    #[pyfunction]
    fn counters() -> PyResult<HashMap<&'static str, u64>> {
        let c = &process::current()?.store.counters;
        Ok(HashMap::from([
            ("commands", c.commands.load(Ordering::Relaxed)),
            ("round_trips", c.round_trips.load(Ordering::Relaxed)),
            ("bytes", c.bytes.load(Ordering::Relaxed)),
        ]))
    }

    /// A number that nothing else in the session has: 16 hexadecimal digits.
    #[pyfunction]
    fn new_number() -> PyResult<String> {
        Ok(scripts::hex(&random(8)?))
    }

    /// Stores bytes under a name of the caller's choice, once, for the life of the session.
    #[pyfunction]
    fn put_blob(py: Python<'_>, name: &str, payload: &[u8]) -> PyResult<()> {
        Ok(py.detach(|| item::put_blob_as(process::current()?, name, payload))?)
    }

    #[pyfunction]
    fn drop_blob(py: Python<'_>, name: &str) -> PyResult<()> {
        Ok(py.detach(|| process::current()?.post(&scripts::DROP, name, &Args(&[])))?)
    }

    #[pyfunction]
    fn get_blob<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| item::get_blob(process::current()?, name))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Names a region; False: the name is taken.
    #[pyfunction]
    fn bind_name(py: Python<'_>, name: &str, region: &str, size: usize) -> PyResult<bool> {
        Ok(py.detach(|| shm_name::bind(process::current()?, name, region, size))?)
    }

    /// The region of a name and its size.
    #[pyfunction]
    fn find_name(py: Python<'_>, name: &str) -> PyResult<Option<(String, usize)>> {
        Ok(py.detach(|| shm_name::find(process::current()?, name))?)
    }

    /// Takes a name away; False: there is none.
    #[pyfunction]
    fn unbind_name(py: Python<'_>, name: &str) -> PyResult<bool> {
        Ok(py.detach(|| shm_name::unbind(process::current()?, name))?)
    }

    /// Has the kernel end this process when its parent ends (Linux).
    #[pyfunction]
    fn die_with_parent() -> PyResult<()> {
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(Error::from)?;
        Ok(())
    }
}
