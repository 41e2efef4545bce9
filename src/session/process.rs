//! What this OS process has of a session: its number, its threads' links, the objects that it holds.
//!
//! Nothing of it crosses a `fork()` of the program: the child gets a state of its own with a number of its own,
//! and what it inherited is left as it is, neither closed nor deleted.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::objects::versions::Memory;
use crate::store::cluster::{Store, text};
use crate::store::endpoint::Endpoint;
use crate::store::keys;
use crate::store::link::Link;
use crate::store::posted::Posted;
use crate::store::retry::Outage;
use crate::store::scripts::{self};
use crate::store::seal::Seal;

/// A semaphore's greatest value, as `CPython`'s `SEM_VALUE_MAX` on Linux.
pub const SEM_VALUE_MAX: i64 = i32::MAX as i64;

/// Linux gives no process a greater id than 2^22.
const FIRST_PID: i32 = (1 << 22) + 1;
/// Ids that a process reserves at once.
const PIDS: i32 = 1024;

/// How long a private store, which has no leases, may be silent.
const PRIVATE: Duration = Duration::from_secs(30);

pub struct Session {
    pub id: String,
    pub key: Vec<u8>,
    pub url: String,
    /// Time to live of every key in ms; 0 in a private store, whose life is the session's.
    pub ttl: u64,
    /// The number of the process that started this one and will clear up after it.
    pub parent: Option<String>,
}

pub struct Process {
    pub session: Session,
    /// 16 hex digits, drawn at random: unique in the session without asking anybody.
    pub number: String,
    pub store: Store,
    pub seal: Seal,
    pub memory: Memory,
    pub jobs: crate::session::jobs::Jobs,
    pub bells: crate::objects::readiness::Bells,
    pub debts: crate::objects::wait::Debts,
    pub outage: Outage,
    /// Commands posted by any thread whose reply is unread.
    pub unread: AtomicUsize,
    commands: AtomicU64,
    pub objects: AtomicU64,
    /// Process ids for remote workers that this process may still give: the next one, and the first that is not its.
    pids: Mutex<(i32, i32)>,
    threads: AtomicU32,
    /// Links in use.
    links: Mutex<Vec<Thread>>,
    /// Links of threads that have ended, for the next thread.
    idle: Mutex<Vec<Thread>>,
    /// How many handles of this process hold an end of an object.
    pub handles: Mutex<HashMap<(String, u8), usize>>,
    /// A child of the program's own `fork()` that has not used the session yet.
    is_newborn: AtomicBool,
    /// Set once the session was found gone, with the words for the error.
    lost: Mutex<Option<String>>,
    closed: AtomicBool,
}

#[derive(Clone)]
struct Thread {
    link: Arc<Mutex<Link>>,
    posted: Arc<Posted>,
}

/// What one call needs beside its script.
pub struct Args<'a>(pub &'a [&'a [u8]]);

static CURRENT: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
    /// Whether this thread is inside a command: a signal's handler may then use the store as well.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is a signal's handler that runs inside a command of its own thread.
pub fn is_nested() -> bool {
    BUSY.get()
}

struct Busy(bool);

impl Drop for Busy {
    fn drop(&mut self) {
        BUSY.set(self.0);
    }
}

struct Here {
    process: &'static Process,
    thread: Thread,
}

impl Drop for Here {
    /// The thread ends: its link waits for the next one.
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        if let Ok(mut link) = self.thread.link.try_lock()
            && let Err(e) = link.settle(self.process)
            && self.process.healthy().is_ok()
        {
            // It is nobody else's.
            eprintln!("serverless_mp: in a thread that has ended: {e}");
        }
        self.process.put_away(&self.thread);
    }
}

/// The session of this process.
pub fn current() -> Result<&'static Process> {
    let p = CURRENT.load(Ordering::Acquire);
    // SAFETY: a state is made by `Box::leak` and never freed.
    unsafe { p.as_ref() }.ok_or_else(|| Error::State("no session is open in this process".into()))
}

pub fn is_open() -> bool {
    !CURRENT.load(Ordering::Acquire).is_null()
}

/// Opens a session or joins one; in a process that has none.
pub fn enter(session: Session, number: Option<String>) -> Result<()> {
    let process = Process::new(session, number)?;
    process.store.refresh()?;
    CURRENT.store(Box::into_raw(Box::new(process)), Ordering::Release);
    Ok(())
}

/// Ends this process' part of the session.
pub fn leave() {
    let p = CURRENT.swap(std::ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: as in `current`; the state stays, since handles and threads may still refer to it.
    if let Some(p) = unsafe { p.as_ref() } {
        p.closed.store(true, Ordering::Release);
    }
}

/// In a child of the program's own `fork()`: a state of its own, of the same session.
pub fn after_fork() {
    let p = CURRENT.load(Ordering::Acquire);
    // SAFETY: as in `current`. No lock of the old state is touched: another thread may have held it.
    let Some(old) = (unsafe { p.as_ref() }) else {
        return;
    };
    let session = Session {
        id: old.session.id.clone(),
        key: old.session.key.clone(),
        url: old.session.url.clone(),
        ttl: old.session.ttl,
        parent: None,
    };
    let new = Process::new(session, None).map_or(std::ptr::null_mut(), |p| {
        p.is_newborn.store(true, Ordering::Release);
        Box::into_raw(Box::new(p))
    });
    CURRENT.store(new, Ordering::Release);
    // The inherited sockets are the parent's: not even their clean end is ours to say.
    HERE.with_borrow_mut(|here| std::mem::forget(here.take()));
}

pub fn random_number() -> Result<String> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Error::State("no source of random numbers".into()))?;
    Ok(scripts::hex(&bytes))
}

impl Process {
    fn new(session: Session, number: Option<String>) -> Result<Self> {
        let number = number.map_or_else(random_number, Ok)?;
        Ok(Self {
            store: Store::new(Endpoint::parse(&session.url)?, session.ttl == 0),
            seal: Seal::new(&session.id, &session.key, &number),
            memory: Memory::default(),
            jobs: crate::session::jobs::Jobs::default(),
            bells: crate::objects::readiness::Bells::default(),
            debts: crate::objects::wait::Debts::default(),
            outage: Outage::default(),
            session,
            number,
            unread: AtomicUsize::new(0),
            commands: AtomicU64::new(1),
            objects: AtomicU64::new(1),
            pids: Mutex::default(),
            threads: AtomicU32::new(1),
            links: Mutex::default(),
            idle: Mutex::default(),
            handles: Mutex::default(),
            is_newborn: AtomicBool::new(false),
            lost: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    pub fn is_current(&self) -> bool {
        std::ptr::eq(CURRENT.load(Ordering::Acquire), self)
    }

    pub fn next_number(&self) -> u64 {
        self.commands.fetch_add(1, Ordering::Relaxed)
    }

    /// A process id for a remote worker: unique in the session, and of no process on any machine.
    pub fn next_pid(&self) -> Result<i32> {
        let mut pids = self.pids.lock().expect("no panic under this lock");
        if pids.0 == pids.1 {
            let step = PIDS.to_string();
            let last = self.plain(
                self.key(keys::SESSION),
                &Args(&[b"HINCRBY", b"pids", step.as_bytes()]),
            )?;
            let last: i32 = text(&last)
                .parse()
                .map_err(|_| Error::Lost("the session".into()))?;
            *pids = (FIRST_PID + last - PIDS, FIRST_PID + last);
        }
        pids.0 += 1;
        Ok(pids.0 - 1)
    }

    /// A name for a new object, under the tag of another one or under its own.
    pub fn new_object(&self, beside: Option<&str>) -> String {
        let n = self.objects.fetch_add(1, Ordering::Relaxed);
        match beside {
            Some(other) => format!(
                "{}/{}-{n}",
                other.split('/').next().unwrap_or(other),
                self.number
            ),
            None => format!("{}-{n}", self.number),
        }
    }

    pub fn key(&self, object: &str) -> String {
        keys::object(&self.session.id, object)
    }

    // ---- threads ---------------------------------------------------------------------------------------------

    pub fn with_link<T>(&self, f: impl FnOnce(&mut Link) -> Result<T>) -> Result<T> {
        self.with_thread(|thread, nested| {
            self.settle_others(thread, nested)?;
            self.with_its_link(thread, f)
        })
    }

    /// The same for a question whose answer does not depend on what this process does: other threads go on meanwhile.
    pub fn with_link_unordered<T>(&self, f: impl FnOnce(&mut Link) -> Result<T>) -> Result<T> {
        self.with_thread(|thread, _| self.with_its_link(thread, f))
    }

    fn with_thread<T>(&self, f: impl FnOnce(&Thread, bool) -> Result<T>) -> Result<T> {
        if self.is_newborn.swap(false, Ordering::AcqRel) {
            crate::session::heartbeat::settle_in(current()?)?;
        }
        let inner = Busy(BUSY.replace(true));
        let thread = if inner.0 {
            self.spare_thread()
        } else {
            self.thread()?
        };
        let result = f(&thread, inner.0);
        if inner.0 {
            self.put_away(&thread);
        }
        result
    }

    fn with_its_link<T>(
        &self,
        thread: &Thread,
        f: impl FnOnce(&mut Link) -> Result<T>,
    ) -> Result<T> {
        let mut link = thread
            .link
            .lock()
            .map_err(|_| Error::State("a thread failed inside the store".into()))?;
        let result = f(&mut link);
        if thread.posted.is_awaited() && thread.posted.is_unread() {
            // Who waits for it would wait for ever for a thread that goes on to post. An error is met again by both.
            let _ = link.settle_for_others(self);
        }
        drop(link);
        thread.posted.tell();
        result
    }

    /// There is no order between two connections: what other threads sent without waiting comes first.
    fn settle_others(&self, me: &Thread, nested: bool) -> Result<()> {
        if self.unread.load(Ordering::Acquire) <= me.posted.unread() {
            return Ok(());
        }
        let others: Vec<(Thread, u64)> = {
            let links = self.links.lock().expect("no panic under this lock");
            let idle = self.idle.lock().expect("no panic under this lock");
            links
                .iter()
                .chain(idle.iter())
                .filter(|t| t.posted.is_unread() && !Arc::ptr_eq(&t.link, &me.link))
                .map(|t| (t.clone(), t.posted.count()))
                .collect()
        };
        for (other, count) in others {
            other.posted.wait(count, || {
                match other.link.try_lock() {
                    Ok(mut link) => {
                        link.settle_for_others(self)?;
                        return Ok(true);
                    }
                    // Ours, outside the signal's handler that we are in: it reads on when the handler returns.
                    Err(TryLockError::WouldBlock) if nested => return Ok(true),
                    // Its thread is inside a command, and reads what is unread first of all; if the store answers.
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Poisoned(_)) => return Ok(true),
                }
                self.healthy()?;
                crate::signals::check()?;
                Ok(false)
            })?;
            other.posted.tell();
        }
        Ok(())
    }

    fn thread(&self) -> Result<Thread> {
        HERE.with_borrow_mut(|here| {
            if let Some(h) = here
                && std::ptr::eq(h.process, self)
            {
                return Ok(h.thread.clone());
            }
            let process = current()?;
            if !std::ptr::eq(process, self) {
                return Err(Error::State("the session has ended".into()));
            }
            let thread = self.spare_thread();
            *here = Some(Here {
                process,
                thread: thread.clone(),
            });
            Ok(thread)
        })
    }

    fn spare_thread(&self) -> Thread {
        let idle = self.idle.lock().expect("no panic under this lock").pop();
        let thread = idle.unwrap_or_else(|| {
            let n = self.threads.fetch_add(1, Ordering::Relaxed);
            let link = Link::new(format!("{}.{n}", self.number));
            Thread {
                posted: link.posted.clone(),
                link: Arc::new(Mutex::new(link)),
            }
        });
        self.links
            .lock()
            .expect("no panic under this lock")
            .push(thread.clone());
        thread
    }

    /// A link that is no longer needed waits for the next thread.
    fn put_away(&self, thread: &Thread) {
        self.links
            .lock()
            .expect("no panic under this lock")
            .retain(|t| !Arc::ptr_eq(&t.link, &thread.link));
        self.idle
            .lock()
            .expect("no panic under this lock")
            .push(thread.clone());
    }

    // ---- health ----------------------------------------------------------------------------------------------

    /// How long a store that does not answer is waited for: as long as the lease.
    pub const fn patience(&self) -> Duration {
        if self.session.ttl > 0 {
            Duration::from_millis(self.session.ttl)
        } else {
            PRIVATE
        }
    }

    /// Marks the session as gone: waits end with this error.
    pub fn set_lost(&self, why: &str) {
        self.lost
            .lock()
            .expect("no panic under this lock")
            .get_or_insert_with(|| format!("session {}: {why}", self.session.id));
    }

    pub fn healthy(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::State("the session has ended".into()));
        }
        self.lost
            .lock()
            .expect("no panic under this lock")
            .as_ref()
            .map_or(Ok(()), |why| Err(Error::Over(why.clone())))
    }
}
