//! `_core.NativeSemLock`: `_multiprocessing.SemLock` for machines on which the C library cannot make semaphores, as without
//! /dev/shm. It uses no store.

#![allow(unsafe_code, reason = "a descriptor that Python owns")]

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use pyo3::exceptions::{PyAssertionError, PyOverflowError, PyValueError};
use pyo3::prelude::*;

use super::native_calls::{Bare, QuickLock};
use super::semlock::{RECURSIVE_MUTEX, SEM_VALUE_MAX, thread_ident};
use super::truth::Truth;
use crate::objects::futex::{Futex, SIZE, WaitResult};

const SEMAPHORE: i32 = 1;

static ACQUIRE: Bare = Bare::acquire::<NativeSemLock>();
static RELEASE: Bare = Bare::release::<NativeSemLock>();

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct NativeSemLock {
    futex: Futex,
    kind: i32,
    maxvalue: u32,
    name: Option<String>,
    /// How often this process holds it. Python's lock guards this count and the owner.
    count: AtomicI64,
    owner: AtomicU64,
}

impl NativeSemLock {
    fn is_mine(&self) -> bool {
        self.count.load(Relaxed) > 0 && self.owner.load(Relaxed) == thread_ident()
    }

    /// Adds without an atomic addition, which Python's lock makes needless.
    fn count_by(&self, difference: i64) {
        self.count
            .store(self.count.load(Relaxed) + difference, Relaxed);
    }

    fn taken(&self) {
        self.owner.store(thread_ident(), Relaxed);
        self.count_by(1);
    }

    /// Takes a unit if there is one, or if this thread already holds the recursive lock.
    fn take_now(&self) -> bool {
        if self.kind == RECURSIVE_MUTEX && self.is_mine() {
            self.count_by(1);
            return true;
        }
        let is_taken = self.futex.try_take();
        if is_taken {
            self.taken();
        }
        is_taken
    }

    /// Gives a unit back, if nothing forbids it.
    fn give_now(&self) -> bool {
        let is_recursive = self.kind == RECURSIVE_MUTEX;
        if is_recursive && !self.is_mine() {
            return false;
        }
        let is_held_on = is_recursive && self.count.load(Relaxed) > 1;
        let is_given = is_held_on || self.futex.give(self.maxvalue);
        if is_given {
            self.count_by(-1);
        }
        is_given
    }

    fn take_or_wait(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        if self.take_now() {
            return Ok(true);
        }
        let is_taken = block && self.wait(py, timeout)?;
        if is_taken {
            self.taken();
        }
        Ok(is_taken)
    }

    fn give(&self) -> PyResult<()> {
        if self.give_now() {
            return Ok(());
        }
        if self.kind == RECURSIVE_MUTEX && !self.is_mine() {
            let message = "attempt to release recursive lock not owned by thread";
            return Err(PyAssertionError::new_err(message));
        }
        let message = "semaphore or lock released too many times";
        Err(PyValueError::new_err(message))
    }

    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let deadline = timeout.map(deadline).transpose()?.flatten();
        loop {
            match py.detach(|| self.futex.take(deadline))? {
                WaitResult::Taken => return Ok(true),
                WaitResult::TimedOut | WaitResult::Gone => return Ok(false),
                WaitResult::Interrupted => py.check_signals()?,
            }
        }
    }
}

impl QuickLock for NativeSemLock {
    fn take_now(lock: &Bound<'_, Self>) -> bool {
        lock.get().take_now()
    }

    fn give_now(lock: &Bound<'_, Self>) -> bool {
        lock.get().give_now()
    }
}

/// None if it is later than the clock can express.
fn deadline(timeout: f64) -> PyResult<Option<Instant>> {
    let timeout = Duration::try_from_secs_f64(timeout.max(0.0))
        .map_err(|_| PyOverflowError::new_err("timeout is too large"))?;
    Ok(Instant::now().checked_add(timeout))
}

#[pymethods]
impl NativeSemLock {
    #[classattr]
    const SEM_VALUE_MAX: i32 = SEM_VALUE_MAX;

    /// The size of the file of a named semaphore, in bytes.
    #[classattr]
    const SIZE: usize = SIZE;

    /// `fd`: the file to be shared; without one only forks share it. `value`: the initial value; without one the file has the
    /// value.
    #[new]
    #[pyo3(signature = (kind, value, maxvalue, name=None, fd=None))]
    fn new(
        kind: i32,
        value: Option<i32>,
        maxvalue: i32,
        name: Option<String>,
        fd: Option<i32>,
    ) -> PyResult<Self> {
        if kind != RECURSIVE_MUTEX && kind != SEMAPHORE {
            return Err(PyValueError::new_err("unrecognized kind"));
        }
        // The error of sem_open(3).
        let invalid = |_| std::io::Error::from_raw_os_error(Errno::EINVAL as i32);
        let value = value.map(u32::try_from).transpose().map_err(invalid)?;
        let maxvalue = u32::try_from(maxvalue).map_err(invalid)?;
        let futex = match fd {
            // SAFETY: the caller has it open.
            Some(fd) => Futex::of_file(unsafe { BorrowedFd::borrow_raw(fd) })?,
            None => Futex::anonymous()?,
        };
        if let Some(value) = value {
            futex.set(value);
        }
        Ok(Self {
            futex,
            kind,
            maxvalue,
            name,
            count: AtomicI64::new(0),
            owner: AtomicU64::new(0),
        })
    }

    #[getter]
    fn handle(&self) -> usize {
        self.futex.address()
    }

    #[getter]
    const fn kind(&self) -> i32 {
        self.kind
    }

    #[getter]
    const fn maxvalue(&self) -> u32 {
        self.maxvalue
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The function that a program calls, with nothing between the interpreter and the lock.
    #[getter]
    fn acquire<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        ACQUIRE.bind(slf)
    }

    #[getter]
    fn release<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        RELEASE.bind(slf)
    }

    #[pyo3(signature = (block=Truth(true), timeout=None), text_signature = "($self, block=True, timeout=None)")]
    fn _acquire(&self, py: Python<'_>, block: Truth, timeout: Option<f64>) -> PyResult<bool> {
        self.take_or_wait(py, block.0, timeout)
    }

    fn _release(&self) -> PyResult<()> {
        self.give()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.take_or_wait(py, true, None)
    }

    #[pyo3(signature = (_kind=None, _value=None, _trace=None))]
    fn __exit__(
        &self,
        _kind: Option<&Bound<'_, PyAny>>,
        _value: Option<&Bound<'_, PyAny>>,
        _trace: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.give()
    }

    fn _count(&self) -> i64 {
        self.count.load(Relaxed)
    }

    fn _is_mine(&self) -> bool {
        self.is_mine()
    }

    fn _get_value(&self) -> u32 {
        self.futex.value()
    }

    fn _is_zero(&self) -> bool {
        self.futex.value() == 0
    }

    fn _after_fork(&self) {
        self.count.store(0, Relaxed);
    }
}
