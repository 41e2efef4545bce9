//! The events of a process: a pipe of its own, to which other processes of the session send.

use crate::error::Result;
use crate::objects::handle::Handle;
use crate::objects::payload;
use crate::objects::pipe::{self, PipeEnd, Take, Taken, Wait};
use crate::objects::process::Process;
use crate::store::command::Cmd;
use crate::store::keys;
use crate::store::scripts;

/// Makes an object that is only a pipe. Both ends count as held until it is dropped.
pub fn create(process: &Process, object: &str) -> Result<()> {
    let holders = [0, 1].map(|end| format!("{}{end}", keys::HOLDERS));
    process.create(
        object,
        0,
        &holders.each_ref().map(|field| (field.as_str(), 1)),
    )
}

/// Sends an event to another process: its parent, or a supervisor.
pub fn send(process: &Process, to: &str, event: &[u8], wait: bool) -> Result<()> {
    let object = keys::process(to);
    let packed = payload::pack(process, &object, pipe::kind(0), false, event)?;
    let blob = packed.blob.map(|blob| process.key(&blob));
    // An event is no result, does not wait for capacity, does not count against it, and acknowledges nothing.
    let send = process.script(&scripts::SEND, &object);
    let send = blob.into_iter().fold(send, Cmd::key);
    let send = send.waits_for_memory().arg(0);
    send.arg(false)
        .arg(false)
        .arg(0)
        .arg("")
        .arg(1)
        .bytes(packed.item)
        .post()?;
    if wait { process.settle() } else { Ok(()) }
}

/// The events of this process.
pub struct Mailbox {
    pipe: PipeEnd,
    /// Keeps the pipe alive.
    _held: Handle,
}

impl Mailbox {
    pub fn open(process: &'static Process) -> Result<Self> {
        let id = keys::process(&process.id);
        Ok(Self {
            _held: Handle::attach(id.clone(), 0)?,
            pipe: PipeEnd::new(process, id, 0),
        })
    }

    /// Whether the next event is here already.
    pub fn has_more(&self, process: &Process) -> bool {
        self.pipe.has_something(process)
    }

    /// The next event.
    pub fn next(&self, process: &'static Process) -> Result<Vec<u8>> {
        loop {
            let (wait, what) = (Wait::Until(None), Take::Items);
            if let Taken::Message(message) = self.pipe.take(process, wait, what, || {})? {
                return Ok(message.payload.to_vec());
            }
        }
    }
}
