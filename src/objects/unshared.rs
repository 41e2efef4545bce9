//! An object that only this process knows until it is shared: pickled for another process, or inherited by a fork. Until then
//! the store does not have it.

use std::sync::{Mutex, OnceLock};

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::handle::Handle;
use crate::objects::process::{self, Process};
use crate::store::client;

/// An object of one end that the store does not know at first.
pub struct Unshared {
    pub process: &'static Process,
    /// The object's name, which it has before the store knows it.
    pub id: String,
    handle: OnceLock<Handle>,
    sharing: Mutex<()>,
}

impl Unshared {
    /// Makes an object; in the same slot of a cluster as the object `beside`.
    pub fn new(beside: Option<&str>) -> Result<Self> {
        let process = process::current()?;
        Ok(Self {
            process,
            id: process.new_object(beside),
            handle: OnceLock::new(),
            sharing: Mutex::new(()),
        })
    }

    /// Attaches to an object that another process has shared.
    pub fn attach(id: String) -> Result<Self> {
        let handle = Handle::attach(id.clone(), 0)?;
        Ok(Self {
            process: handle.process,
            id,
            handle: OnceLock::from(handle),
            sharing: Mutex::new(()),
        })
    }

    /// The object's handle; shares the object by `make` if it is not shared yet. The GIL must not be held.
    pub fn shared_by(&self, make: impl FnOnce() -> Result<Handle>) -> Result<&Handle> {
        let _turn = if self.handle.get().is_some() {
            None
        } else if client::is_nested() {
            // The signal handler may have interrupted the very thread that is sharing the object.
            let turn = self.sharing.try_lock();
            Some(turn.map_err(|_| Error::State("the object is just being shared".into()))?)
        } else {
            Some(self.sharing.locked())
        };
        if let Some(handle) = self.handle.get() {
            return Ok(handle);
        }
        let handle = make()?;
        Ok(self.handle.get_or_init(|| handle))
    }
}
