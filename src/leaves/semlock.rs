//! `_core.SemLock`: locks and semaphores, as `_multiprocessing.SemLock`.
//!
//! The store keeps the value and the queue of waiters, and hands a released unit to the longest waiter; it does not know a
//! lock that was never shared. How often this process has taken the lock, and which thread last did, is known here alone, as
//! in `CPython`.

use pyo3::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use super::truth::Truth;
use crate::error::{Error, Result};
use crate::objects::handle::Handle;
use crate::objects::units::{self, Done, Units};
use crate::objects::wait;
use crate::store::conn::Until;

pub const RECURSIVE_MUTEX: i32 = 0;

/// The greatest value of a semaphore, as `CPython`'s `SEM_VALUE_MAX` on Linux.
pub const SEM_VALUE_MAX: i32 = i32::MAX;

#[pyclass(frozen, module = "serverless_mp._core")]
pub struct SemLock {
    units: Arc<Units>,
    kind: i32,
    pub maxvalue: i32,
    /// How often this process holds it.
    count: AtomicI64,
    owner: AtomicU64,
}

/// A name for this thread that no other thread of the process has at the same time.
pub fn thread_ident() -> u64 {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark) as u64)
}

fn not_within(value: i32, maxvalue: i32) -> PyErr {
    let why = if value < 0 {
        format!("semaphore value {value} is negative")
    } else {
        format!("semaphore value {value} is not within 0..{maxvalue}")
    };
    Error::Invalid(why).into()
}

impl SemLock {
    pub fn is_mine(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
            && self.owner.load(Ordering::Acquire) == thread_ident()
    }

    /// The handle on the lock in the store; shares the lock first if it is not shared yet. The GIL must not be held.
    pub fn in_store(&self) -> Result<&Handle> {
        self.units.in_store()
    }

    fn taken(&self) {
        self.owner.store(thread_ident(), Ordering::Release);
        if self.maxvalue == 1 {
            // If this process had it before, another one has given it back.
            self.count.store(1, Ordering::Release);
        } else {
            self.count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// For a lock that has a condition: it is always in the store.
    pub fn never_borrow(&self) {
        self.units.never_borrow();
    }

    /// Takes one unit; false if the time is over first.
    fn take(&self, block: bool, deadline: Option<Instant>) -> Result<bool> {
        match self.units.take(block, deadline)? {
            Done::Yes => {
                self.taken();
                Ok(true)
            }
            Done::No => Ok(false),
            Done::InStore if self.take_unit(block, wait::by(deadline), true)? => Ok(true),
            Done::InStore => {
                let process = self.in_store()?.current_process()?;
                process.memory.look_around(process).map(|()| false)
            }
        }
    }

    /// The same for a lock that is shared, or becomes so now. It is not borrowed.
    pub fn take_from_store(&self, block: bool, until: Until<'_>) -> Result<bool> {
        self.take_unit(block, until, false)
    }

    fn take_unit(&self, block: bool, until: Until<'_>, may_borrow: bool) -> Result<bool> {
        let is_taken = self.units.take_from_store(block, until, may_borrow)?;
        if is_taken {
            self.taken();
        }
        Ok(is_taken)
    }

    /// Gives one unit back. It does not wait if this process holds one: then the count cannot exceed the maximum.
    fn give(&self, is_held: bool) -> Result<()> {
        self.give_back_one(is_held).1
    }

    /// The same. Also returns whether the unit is on its way, even if a signal handler has raised.
    fn give_back_one(&self, is_held: bool) -> (bool, Result<()>) {
        match self.units.give() {
            (Done::Yes, published) => (true, published),
            (Done::No, _) => (false, Err(units::too_many())),
            (Done::InStore, _) => {
                let given = self.units.give_to_store(is_held);
                self.units.gave_back();
                given
            }
        }
    }

    /// For a condition's wait: returns how often this thread holds the lock, and sets that to 0.
    pub fn set_aside(&self) -> i64 {
        self.count.swap(0, Ordering::AcqRel)
    }

    pub fn take_up(&self, count: i64) {
        self.owner.store(thread_ident(), Ordering::Release);
        self.count.store(count, Ordering::Release);
    }

    /// Makes this thread the owner of a lock that another thread has taken for it.
    pub fn adopt(&self) {
        self.owner.store(thread_ident(), Ordering::Release);
    }

    /// Gives back a lock that nobody wants any more.
    pub fn give_back(&self) -> Result<()> {
        self.release_one()
    }

    fn value(&self) -> Result<i64> {
        if let Some(value) = self.units.value() {
            return Ok(value.into());
        }
        self.units.value_in_store()
    }

    fn release_one(&self) -> Result<()> {
        match self.count_down()? {
            Some(is_held) => self.give_counted(is_held),
            None => Ok(()),
        }
    }

    /// Before a release: whether this process held the lock; None if this thread holds it still. Another thread of this process
    /// may take the lock as soon as it is given back.
    fn count_down(&self) -> Result<Option<bool>> {
        if self.kind == RECURSIVE_MUTEX {
            if !self.is_mine() {
                return Err(Error::NotOwner(
                    "attempt to release recursive lock not owned by thread".into(),
                ));
            }
            if self.count.load(Ordering::Acquire) > 1 {
                self.count.fetch_sub(1, Ordering::AcqRel);
                return Ok(None);
            }
        }
        Ok(Some(self.count.fetch_sub(1, Ordering::AcqRel) > 0))
    }

    fn give_counted(&self, is_held: bool) -> Result<()> {
        let (is_sent, result) = self.give_back_one(is_held);
        if result.is_err() && !is_sent {
            self.count.fetch_add(1, Ordering::AcqRel);
        }
        result
    }
}

#[pymethods]
impl SemLock {
    #[classattr]
    const SEM_VALUE_MAX: i32 = SEM_VALUE_MAX;

    #[new]
    #[pyo3(signature = (kind, value, maxvalue, *, id=None, beside=None, robust=false))]
    fn new(
        py: Python<'_>,
        kind: i32,
        value: i32,
        maxvalue: i32,
        id: Option<String>,
        beside: Option<String>,
        robust: bool,
    ) -> PyResult<Self> {
        let Some(units) = u32::try_from(value).ok().filter(|_| value <= maxvalue) else {
            return Err(not_within(value, maxvalue));
        };
        let most = maxvalue.unsigned_abs();
        let units = py.detach(|| match id {
            None => Units::new(units, most, beside.as_deref(), robust),
            Some(id) => Units::attach(id, most),
        })?;
        Ok(Self {
            units,
            kind,
            maxvalue,
            count: AtomicI64::new(0),
            owner: AtomicU64::new(0),
        })
    }

    #[getter]
    fn id(&self) -> &str {
        self.units.id()
    }

    #[getter]
    fn name(&self) -> String {
        format!("/{}", self.units.id())
    }

    /// Lets other processes attach from now on.
    fn share(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.in_store().map(drop))?)
    }

    #[getter]
    const fn handle(&self) -> i32 {
        0
    }

    #[getter]
    const fn kind(&self) -> i32 {
        self.kind
    }

    #[getter]
    const fn maxvalue(&self) -> i32 {
        self.maxvalue
    }

    #[pyo3(signature = (block=Truth(true), timeout=None), text_signature = "($self, block=True, timeout=None)")]
    fn acquire(&self, py: Python<'_>, block: Truth, timeout: Option<f64>) -> PyResult<bool> {
        if self.kind == RECURSIVE_MUTEX && self.is_mine() {
            self.count.fetch_add(1, Ordering::AcqRel);
            return Ok(true);
        }
        if self.units.take_now() {
            self.taken();
            return Ok(true);
        }
        let wait = block.0 && timeout.is_none_or(|t| t > 0.0);
        Ok(py.detach(|| self.take(wait, wait::sem_deadline(timeout)?))?)
    }

    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let Some(is_held) = self.count_down()? else {
            return Ok(());
        };
        if self.units.give_now() {
            return Ok(());
        }
        Ok(py.detach(|| self.give_counted(is_held))?)
    }

    /// Gives back a unit that another process may have taken, without waiting.
    fn post(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.give(true))?)
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, Truth(true), None)
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, py: Python<'_>, _args: &Bound<'_, PyAny>) -> PyResult<()> {
        self.release(py)
    }

    fn _count(&self) -> i64 {
        self.count.load(Ordering::Acquire)
    }

    fn _is_mine(&self) -> bool {
        self.is_mine()
    }

    fn _get_value(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(py.detach(|| self.value())?)
    }

    fn _is_zero(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(py.detach(|| self.value())? == 0)
    }

    fn _after_fork(&self) {
        self.count.store(0, Ordering::Release);
    }
}
