//! `serverless_mp._core`: the leaves of multiprocessing over a store that speaks Redis.
//!
//! The modules from above, each using those below it: `api` (functions for Python), `leaves` (classes for Python), `launcher`
//! (starts of workers), `session` (its beginning and end, its lease, its jobs), `objects` (the parts of leaves), `store`
//! (connections, commands, keys, scripts). `protocol` has everything that crosses between processes. Below the leaves, only
//! `error` and `signals` know Python: without the feature `python` the rest builds by itself, for its tests.

#![cfg_attr(not(feature = "aws"), allow(dead_code, unused_variables))]

#[cfg(feature = "python")]
mod api;
mod error;
mod exit_codes;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hex;
mod kept;
mod launcher;
#[cfg(feature = "python")]
mod leaves;
#[cfg(feature = "load")]
pub mod load;
mod locked;
mod logging;
mod objects;
mod protocol;
mod random;
mod session;
mod signals;
mod store;

#[cfg(feature = "python")]
#[pyo3::pymodule]
mod _core {
    #[pymodule_export]
    use crate::api::blobs::{drop_blob, get_blob, put_blob, read_blob};
    #[pymodule_export]
    use crate::api::events::{claimant, read_command, send_death, send_output};
    #[pymodule_export]
    use crate::api::introspect::{address_of, referent};
    #[pymodule_export]
    use crate::api::names::{bind_name, find_name, unbind_name};
    #[pymodule_export]
    use crate::api::session::{
        acquire, adopt_orphans, after_fork, after_fork_in_parent, before_fork, check_url,
        close_session, counters, die_with_parent, examine_store, is_lost, is_open, join_session,
        leave_session, load_roots, look_around, new_id, note_waits, open_session, publish,
        return_loans, session_info, settle, store_connections, try_store,
    };
    use crate::exit_codes;
    #[pymodule_export]
    use crate::leaves::aio::Acquiring;
    #[pymodule_export]
    use crate::leaves::barrier::Barrier;
    #[pymodule_export]
    use crate::leaves::channel::Channel;
    #[pymodule_export]
    use crate::leaves::condition::Condition;
    #[pymodule_export]
    use crate::leaves::job::{Job, Program};
    #[cfg(feature = "aws")]
    #[pymodule_export]
    use crate::leaves::lambda_function::Lambda;
    #[pymodule_export]
    use crate::leaves::latch::CountDownLatch;
    #[cfg(target_os = "linux")]
    #[pymodule_export]
    use crate::leaves::native_semlock::NativeSemLock;
    #[pymodule_export]
    use crate::leaves::region::Region;
    #[pymodule_export]
    use crate::leaves::semlock::SemLock;
    #[pymodule_export]
    use crate::leaves::task_queue::TaskQueue;

    #[pymodule_export]
    const EXIT_TIME_LIMIT: i32 = exit_codes::TIME_LIMIT;
}
