//! One handle on one end of an object: while any process has one, the object exists.

use redis::ToRedisArgs;

use crate::error::{Error, Result};
use crate::objects::process::{self, Process};
use crate::signals;

pub struct Handle {
    /// The process state in which the handle was made, and in which it is given back.
    pub process: &'static Process,
    pub id: String,
    end: u8,
}

/// The process state to use for an object that was made in `origin`: after the program's own `fork()`, the child's.
pub fn current_process(origin: &'static Process) -> Result<&'static Process> {
    let process = process::current()?;
    if process.session.id != origin.session.id {
        return Err(Error::State(
            "this object is of a session that has ended".into(),
        ));
    }
    Ok(process)
}

impl Handle {
    /// Makes an object of one end, or another handle on a known one.
    pub fn new(id: Option<String>, beside: Option<&str>, fields: &[(&str, i64)]) -> Result<Self> {
        let Some(id) = id else {
            let process = process::current()?;
            return Self::create(process, process.new_object(beside), fields);
        };
        Self::attach(id, 0)
    }

    /// Makes an object of one end with this name.
    pub fn create(
        process: &'static Process,
        id: String,
        fields: &[(&str, impl ToRedisArgs)],
    ) -> Result<Self> {
        process.create(&id, 1, fields)?;
        Ok(Self::created(process, id, 0))
    }

    /// Makes a handle on an end of a known object.
    pub fn attach(id: String, end: u8) -> Result<Self> {
        let process = process::current()?;
        process.acquire_ref(&id, end)?;
        Ok(Self { process, id, end })
    }

    pub fn current_process(&self) -> Result<&'static Process> {
        current_process(self.process)
    }

    /// The handle on an end that this process holds since it created the object.
    pub const fn created(process: &'static Process, id: String, end: u8) -> Self {
        Self { process, id, end }
    }
}

impl Drop for Handle {
    /// In a child of the program's own `fork()`, the handle is still the parent's.
    fn drop(&mut self) {
        if self.process.is_current() {
            self.process.memory.let_go(&self.id);
            // The store may have ended; then there is nothing to give back.
            let _ = signals::without_gil(|| self.process.release_ref(&self.id, self.end));
        }
    }
}
