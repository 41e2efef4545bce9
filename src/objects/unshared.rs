//! What this process alone knows until it is shared: pickled for another one, or inherited by a fork. Until then the store has
//! nothing of it.

use std::sync::{Mutex, OnceLock};

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::objects::handle::Handle;
use crate::objects::process::{self, Process};
use crate::store::client;

/// An object of one end that is unknown to the store at first.
pub struct Unshared {
    pub process: &'static Process,
    /// Its name, also before the store knows it.
    pub id: String,
    handle: OnceLock<Handle>,
    sharing: Mutex<()>,
}

impl Unshared {
    /// A new one; beside another object, whose slot of a cluster it is to have.
    pub fn new(beside: Option<&str>) -> Result<Self> {
        let process = process::current()?;
        Ok(Self {
            process,
            id: process.new_object(beside),
            handle: OnceLock::new(),
            sharing: Mutex::new(()),
        })
    }

    /// One that another process has shared.
    pub fn attach(id: String) -> Result<Self> {
        let handle = Handle::attach(id.clone(), 0)?;
        Ok(Self {
            process: handle.process,
            id,
            handle: OnceLock::from(handle),
            sharing: Mutex::new(()),
        })
    }

    /// Its handle; shares it by `make` where it is not. The GIL must not be held.
    pub fn shared_by(&self, make: impl FnOnce() -> Result<Handle>) -> Result<&Handle> {
        let _turn = if self.handle.get().is_some() {
            None
        } else if client::is_nested() {
            // The signal's handler may be this very thread's that is sharing it.
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
