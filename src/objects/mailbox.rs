//! The events of a process: a pipe of its own, which other processes of the session send to.

use crate::error::Result;
use crate::objects::handle::Handle;
use crate::objects::payload;
use crate::objects::pipe::{self, Item, PipeEnd};
use crate::objects::process::Process;
use crate::store::client::Args;
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::scripts;

/// Sends one to another process: its parent, or a supervisor.
pub fn send(p: &Process, to: &str, event: &[u8], wait: bool) -> Result<()> {
    let object = keys::process(to);
    let packed = payload::pack(p, &object, pipe::kind(0), false, event)?;
    p.post(
        &scripts::SEND,
        &object,
        &Args(&[b"0", b"0", b"0", b"0", &packed.item]),
    )?;
    if wait { p.settle() } else { Ok(()) }
}

/// Those of this process.
pub struct Mailbox {
    pipe: PipeEnd,
    /// Keeps the pipe alive.
    _held: Handle,
}

impl Mailbox {
    pub fn open(p: &Process) -> Result<Self> {
        let id = keys::process(&p.number);
        Ok(Self {
            _held: Handle::attach(id.clone(), 0)?,
            pipe: PipeEnd::new(id, 0),
        })
    }

    /// The next event.
    pub fn next(&self, p: &Process) -> Result<Vec<u8>> {
        loop {
            if let Item::Message(message) =
                self.pipe
                    .take(p, true, None, Until::default(), false, || {})?
            {
                return Ok(message.payload);
            }
        }
    }
}
