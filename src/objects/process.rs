//! This OS process' part of a session: its client, the versions that it has seen, its descriptors.
//!
//! None of it survives a `fork()` of the program: the child gets a state and an id of its own.

#![allow(unsafe_code, reason = "as the client")]

use std::ops::Deref;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::logging;
use crate::objects::bells::Bells;
use crate::objects::memory::Memory;
use crate::objects::read_ahead::ReadsAhead;
use crate::objects::shareable::AllUnshared;
use crate::random;
use crate::store::client::{self, Client, Session};
use crate::store::keys;

/// Linux gives no process a greater id than 2^22.
const FIRST_PID: i32 = (1 << 22) + 1;
/// How many process ids a process reserves at once.
const PIDS: i32 = 1024;

pub struct Process {
    pub client: Client,
    pub memory: Memory,
    pub bells: Bells,
    pub reads_ahead: ReadsAhead,
    pub unshared: AllUnshared,
    /// The process ids that this process may still give to remote workers: the next one, and the first that it may not.
    pids: Mutex<(i32, i32)>,
}

/// A process uses the store through its client.
impl Deref for Process {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

static CURRENT: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());

/// This process' part of its session.
pub fn current() -> Result<&'static Process> {
    let process = CURRENT.load(Ordering::Acquire);
    // SAFETY: a state is made by `Box::leak` and never freed.
    unsafe { process.as_ref() }
        .ok_or_else(|| Error::State("no session is open in this process".into()))
}

pub fn is_open() -> bool {
    !CURRENT.load(Ordering::Acquire).is_null()
}

/// Opens a session or joins one, in a process that has none.
pub fn enter(session: Session, id: Option<String>) -> Result<&'static Process> {
    logging::begin();
    let process = Process::new(session, id)?;
    process.shared.cluster.refresh()?;
    tracing::info!(
        session = process.session.id,
        process = process.id,
        "entered"
    );
    Ok(process.make_current())
}

/// Ends this process' part of the session.
pub fn leave() {
    let process = CURRENT.swap(std::ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: as in `current`; the state stays, since handles and threads may still refer to it.
    if let Some(process) = unsafe { process.as_ref() } {
        tracing::info!(session = process.session.id, process = process.id, "left");
        process.reads_ahead.close();
        process.close();
        process.memory.freshness.close();
    }
}

/// In a child of the program's own `fork()`: makes a new state in the same session. `begin` runs before its first command.
pub fn after_fork(begin: fn() -> Result<()>) {
    let process = CURRENT.swap(std::ptr::null_mut(), Ordering::AcqRel);
    client::forget_after_fork();
    // SAFETY: as in `current`. No lock of the old state is touched: another thread may have held it.
    let Some(old) = (unsafe { process.as_ref() }) else {
        return;
    };
    let session = Session {
        parent: None,
        ..old.session.clone()
    };
    old.memory.part_from_parent();
    old.memory.loans.forget();
    if let Ok(new) = Process::new(session, None) {
        new.begin_with(begin);
        new.make_current();
    }
}

impl Process {
    fn new(session: Session, id: Option<String>) -> Result<Self> {
        let id = id.map_or_else(random::id, Ok)?;
        Ok(Self {
            client: Client::new(session, id)?,
            memory: Memory::default(),
            bells: Bells::default(),
            reads_ahead: ReadsAhead::default(),
            unshared: AllUnshared::default(),
            pids: Mutex::default(),
        })
    }

    fn make_current(self) -> &'static Self {
        let process: &'static Self = Box::leak(Box::new(self));
        process
            .client
            .before_commands(|| process.memory.loans.declare());
        process.client.make_current();
        CURRENT.store(std::ptr::from_ref(process).cast_mut(), Ordering::Release);
        process
    }

    /// A process id for a remote worker: unique in the session, and no process on any machine has it.
    pub fn next_pid(&self) -> Result<i32> {
        let mut pids = self.pids.locked();
        if pids.0 == pids.1 {
            let count = self.plain("HINCRBY", self.key(keys::SESSION));
            let last = count.arg(keys::PIDS).arg(PIDS).text()?;
            let last: i32 = last
                .parse()
                .map_err(|_| Error::ObjectGone("the session".into()))?;
            *pids = (FIRST_PID + last - PIDS, FIRST_PID + last);
        }
        pids.0 += 1;
        Ok(pids.0 - 1)
    }
}
