//! The program's signals, and its interpreter's lock.

use std::cell::Cell;

#[cfg(feature = "python")]
pub use with_python::{check, do_others_run, note_waits, with_gil, without_gil};

#[cfg(feature = "python")]
mod with_python {
    #![allow(
        unsafe_code,
        reason = "the collector's switch, and the code of a frame"
    )]

    use std::cell::Cell;
    use std::sync::OnceLock;

    use pyo3::ffi;
    use pyo3::prelude::*;
    use pyo3::types::{PyDict, PyString};

    use crate::error::{Error, Result};

    /// Runs the handlers of signals that have arrived; an exception in a handler ends the wait. Python runs handlers in the
    /// main thread only, so other threads do not check.
    pub fn check() -> Result<()> {
        if !super::is_main_thread() || DEFERS.get() {
            return Ok(());
        }
        #[allow(
            clippy::redundant_closure_for_method_calls,
            reason = "the method is not general enough in its lifetime"
        )]
        Python::try_attach(|py| py.check_signals())
            .unwrap_or(Ok(()))
            .map_err(Error::Raised)
    }

    /// A function: its file and its name.
    type Function = (String, String);

    /// Functions in which a thread only waits, and those of threads that have nothing to do when they call one of these.
    static WAITS: OnceLock<(Vec<Function>, Vec<Function>)> = OnceLock::new();

    pub fn note_waits(waits: Vec<Function>, idle: Vec<Function>) {
        let _ = WAITS.set((waits, idle));
    }

    /// Whether threads beside the main one run Python code, or wait for something after which they would. No garbage is
    /// collected meanwhile: a destructor of the program could need what the caller has locked.
    pub fn do_others_run() -> bool {
        Python::try_attach(|py| {
            let _paused = PausedCollector::new(py);
            let frames = py.import("sys")?.call_method0("_current_frames")?;
            let mut count = 0;
            for (_, frame) in frames.cast_into::<PyDict>()? {
                count += usize::from(!is_idle(&frame)?);
            }
            Ok::<_, PyErr>(count > 1)
        })
        .is_none_or(|found| found.unwrap_or(true))
    }

    fn is_idle(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some((waits, idle)) = WAITS.get() else {
            return Ok(false);
        };
        if !is_one_of(frame, waits)? {
            return Ok(false);
        }
        let caller = frame.getattr("f_back")?;
        Ok(!caller.is_none() && is_one_of(&caller, idle)?)
    }

    /// Whether all threads but this one wait in the noted functions. The interpreter must be attached: then it stays so. A thread
    /// that runs a function of C from its start has no frame, but it is counted.
    #[cfg(not(test))]
    pub fn do_others_wait() -> bool {
        Python::try_attach(|py| {
            let _paused = PausedCollector::new(py);
            let thread = py.import("_thread")?;
            let me = thread.call_method0("get_ident")?;
            let begun: usize = thread.call_method0("_count")?.extract()?;
            let frames = py.import("sys")?.call_method0("_current_frames")?;
            let frames = frames.cast_into::<PyDict>()?;
            if frames.len() != begun + 1 {
                return Ok(false);
            }
            for (thread, frame) in frames {
                if !thread.eq(&me)? && !is_waiting(&frame)? {
                    return Ok(false);
                }
            }
            Ok::<_, PyErr>(true)
        })
        .is_some_and(|found| found.unwrap_or(false))
    }

    #[cfg(not(test))]
    fn is_waiting(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
        WAITS
            .get()
            .map_or(Ok(false), |(waits, _)| is_one_of(frame, waits))
    }

    /// Whether a frame runs one of these functions.
    fn is_one_of(frame: &Bound<'_, PyAny>, functions: &[Function]) -> PyResult<bool> {
        // Reading the attribute `f_code` would run the program's audit hooks.
        // SAFETY: it is a frame; the reference to its code is new.
        let code = unsafe {
            let code = ffi::PyFrame_GetCode(frame.as_ptr().cast());
            Bound::from_owned_ptr(frame.py(), code.cast())
        };
        let (file, name) = (code.getattr("co_filename")?, code.getattr("co_name")?);
        let (file, name) = (file.cast::<PyString>()?, name.cast::<PyString>()?);
        let (file, name) = (file.to_cow()?, name.to_cow()?);
        Ok(functions.iter().any(|one| one.0 == file && one.1 == name))
    }

    struct PausedCollector<'py> {
        was_enabled: bool,
        _attached: Python<'py>,
    }

    impl<'py> PausedCollector<'py> {
        fn new(py: Python<'py>) -> Self {
            // SAFETY: the interpreter is attached.
            let was_enabled = unsafe { ffi::PyGC_Disable() } != 0;
            Self {
                was_enabled,
                _attached: py,
            }
        }
    }

    impl Drop for PausedCollector<'_> {
        fn drop(&mut self) {
            if self.was_enabled {
                // SAFETY: the interpreter is attached.
                unsafe { ffi::PyGC_Enable() };
            }
        }
    }

    /// Runs something while no Python code runs.
    pub fn with_gil<T>(work: impl FnOnce() -> T) -> T {
        Python::attach(|_| work())
    }

    thread_local!(static DEFERS: Cell<bool> = const { Cell::new(false) });

    /// Runs work that waits for the store, where Python may hold its lock: in an object's destructor. Other threads, whose
    /// replies it may wait for, need the lock to check for signals. This thread leaves signals for later: an exception would be
    /// lost in a destructor. None if the interpreter is ending.
    pub fn without_gil<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
        Python::try_attach(|py| {
            let before = DEFERS.replace(true);
            let done = py.detach(work);
            DEFERS.set(before);
            done
        })
    }
}

thread_local!(static AVOIDS_GIL: Cell<bool> = const { Cell::new(false) });

/// From now on this thread takes the interpreter's lock only where it must: others wait for it, and the program may keep the lock
/// for long.
pub fn avoid_gil() {
    AVOIDS_GIL.set(true);
}

pub fn avoids_gil() -> bool {
    AVOIDS_GIL.get()
}

/// Whether this is the process' first thread.
#[cfg(target_os = "linux")]
pub fn is_main_thread() -> bool {
    nix::unistd::gettid() == nix::unistd::getpid()
}

#[cfg(not(target_os = "linux"))]
pub const fn is_main_thread() -> bool {
    true
}

/// Whether no other thread runs the program's code: neither Python code, nor what Python code has called. To be asked under the
/// interpreter's lock, with which it stays so.
#[cfg(all(not(test), feature = "python"))]
pub fn is_alone() -> bool {
    with_python::do_others_wait()
}

#[cfg(all(not(test), not(feature = "python")))]
pub fn is_alone() -> bool {
    is_main_thread()
}

/// Without an interpreter there are no handlers.
#[cfg(not(feature = "python"))]
#[allow(clippy::unnecessary_wraps, reason = "as with an interpreter")]
pub fn check() -> crate::error::Result<()> {
    Ok(())
}

#[cfg(not(feature = "python"))]
pub const fn do_others_run() -> bool {
    false
}

/// Without an interpreter there is no lock.
#[cfg(not(feature = "python"))]
pub fn with_gil<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[cfg(not(feature = "python"))]
#[allow(clippy::unnecessary_wraps, reason = "as with an interpreter")]
pub fn without_gil<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    Some(work())
}

#[cfg(test)]
pub use with_tests::{is_alone, set_alone};

/// Each test says for itself whether it is alone.
#[cfg(test)]
mod with_tests {
    use std::cell::Cell;

    thread_local!(static IS_ALONE: Cell<bool> = const { Cell::new(false) });

    pub fn is_alone() -> bool {
        IS_ALONE.get()
    }

    pub fn set_alone(is_alone: bool) {
        IS_ALONE.set(is_alone);
    }
}
