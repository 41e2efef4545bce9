//! `acquire` and `release` of a native lock as C functions that are bound to it, as in `CPython`: a pair of calls through
//! methods of a Rust class takes half as long again.

#![allow(unsafe_code, reason = "functions that the interpreter calls")]

use std::ffi::CStr;

use pyo3::PyClass;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};

/// A lock whose calls usually end at once. The methods `_acquire` and `_release` of the class serve all other calls.
pub trait QuickLock: PyClass {
    /// Takes a unit if that needs no wait.
    fn take_now(lock: &Bound<'_, Self>) -> bool;
    /// Gives a unit back if nothing forbids it.
    fn give_now(lock: &Bound<'_, Self>) -> bool;
}

/// The definition of such a function.
pub struct Bare(ffi::PyMethodDef);

// SAFETY: it never changes.
unsafe impl Sync for Bare {}

type Object = *mut ffi::PyObject;
type Function = unsafe extern "C" fn(Object, *const Object, ffi::Py_ssize_t, Object) -> Object;

impl Bare {
    pub const fn acquire<L: QuickLock>() -> Self {
        Self::new(c"acquire", acquire::<L>)
    }

    pub const fn release<L: QuickLock>() -> Self {
        Self::new(c"release", release::<L>)
    }

    const fn new(name: &'static CStr, function: Function) -> Self {
        Self(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer {
                PyCFunctionFastWithKeywords: function,
            },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: std::ptr::null(),
        })
    }

    /// The function bound to one lock.
    pub fn bind<'py, L: QuickLock>(
        &'static self,
        lock: &Bound<'py, L>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let definition = std::ptr::from_ref(&self.0).cast_mut();
        // SAFETY: the definition lives for ever, and the interpreter only reads it.
        unsafe {
            let function = ffi::PyCFunction_NewEx(definition, lock.as_ptr(), std::ptr::null_mut());
            Bound::from_owned_ptr_or_err(lock.py(), function)
        }
    }
}

/// A call by the interpreter, which holds its lock.
struct Call<'py, L> {
    lock: Bound<'py, L>,
    /// The positional arguments, then the keyword arguments.
    arguments: *const Object,
    count: usize,
    names: Object,
}

impl<'py, L: QuickLock> Call<'py, L> {
    /// # Safety
    ///
    /// `lock` is a `NativeSemLock`, and the others are as the interpreter passes them to a fast function.
    unsafe fn new(
        lock: Object,
        arguments: *const Object,
        count: ffi::Py_ssize_t,
        names: Object,
    ) -> Self {
        // SAFETY: as above.
        let lock = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), lock) };
        Self {
            // SAFETY: as above.
            lock: unsafe { lock.cast_into_unchecked() },
            arguments,
            count: count.unsigned_abs(),
            names,
        }
    }

    fn argument(&self, at: usize) -> Bound<'py, PyAny> {
        // SAFETY: it is one of the given arguments.
        unsafe { Bound::from_borrowed_ptr(self.lock.py(), *self.arguments.add(at)) }
    }

    /// Whether the arguments say at most whether to block.
    fn is_plain(&self) -> bool {
        let is_right = |at: usize| match at {
            0 => self.argument(0).is_instance_of::<PyBool>(),
            _ => self.argument(at).is_none(),
        };
        self.names.is_null() && self.count <= 2 && (0..self.count).all(is_right)
    }

    /// Calls the method of this name, with all its checks.
    fn pass_to(&self, method: &str) -> Object {
        let result = self.arguments().and_then(|(positional, by_name)| {
            let method = self.lock.as_any().getattr(method)?;
            method.call(positional, Some(&by_name))
        });
        match result {
            Ok(value) => value.into_ptr(),
            Err(e) => {
                e.restore(self.lock.py());
                std::ptr::null_mut()
            }
        }
    }

    fn arguments(&self) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let py = self.lock.py();
        let positional = PyTuple::new(py, (0..self.count).map(|at| self.argument(at)))?;
        let by_name = PyDict::new(py);
        if !self.names.is_null() {
            // SAFETY: it is a tuple of the interpreter's.
            let names: Bound<'_, PyAny> = unsafe { Bound::from_borrowed_ptr(py, self.names) };
            for (at, name) in names.try_iter()?.enumerate() {
                by_name.set_item(name?, self.argument(self.count + at))?;
            }
        }
        Ok((positional, by_name))
    }
}

unsafe extern "C" fn acquire<L: QuickLock>(
    lock: Object,
    arguments: *const Object,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    // SAFETY: the function is bound to a lock, and the interpreter calls it.
    let call: Call<'_, L> = unsafe { Call::new(lock, arguments, count, names) };
    if call.is_plain() && L::take_now(&call.lock) {
        // SAFETY: it always exists.
        return unsafe { ffi::Py_NewRef(ffi::Py_True()) };
    }
    call.pass_to("_acquire")
}

unsafe extern "C" fn release<L: QuickLock>(
    lock: Object,
    arguments: *const Object,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    // SAFETY: as above.
    let call: Call<'_, L> = unsafe { Call::new(lock, arguments, count, names) };
    if call.names.is_null() && call.count == 0 && L::give_now(&call.lock) {
        // SAFETY: it always exists.
        return unsafe { ffi::Py_NewRef(ffi::Py_None()) };
    }
    call.pass_to("_release")
}
