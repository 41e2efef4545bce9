//! A process' client of the store: its id in the session, and the connections of its threads.
//!
//! No part of a client survives a `fork()` of the program: the child neither closes nor deletes what it inherited.

#![allow(
    unsafe_code,
    reason = "the client of a process is never freed, and found by a pointer that a fork can reset"
)]

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::logging;
use crate::store::cluster::Cluster;
use crate::store::endpoint::Endpoint;
use crate::store::handles::Handles;
use crate::store::health::Health;
use crate::store::keys;
use crate::store::posted::Posted;
use crate::store::request::Request;
use crate::store::seal::Seal;
use crate::store::shared::Shared;
use crate::store::thread_client::ThreadClient;
use crate::store::tls;

/// The session, as its processes know it.
#[derive(Clone)]
pub struct Session {
    pub id: String,
    pub key: Vec<u8>,
    pub url: String,
    /// The time to live of every key in ms; 0 in a private store, which lives as long as the session.
    pub ttl: u64,
    /// Whether the content of shared memory is sealed, so that the store cannot see it.
    pub seal_memory: bool,
    /// The id of the process that started this one and clears up after it.
    pub parent: Option<String>,
}

pub struct Client {
    pub session: Session,
    /// The id of this process in its session: 16 hex digits.
    pub id: String,
    pub seal: Seal,
    pub shared: Shared,
    /// How many handles of this process hold an end of an object.
    pub handles: Handles,
    /// Objects that a worker has released, and that may have notes of its commands.
    pub left: Mutex<HashSet<String>>,
    /// The number of objects made so far, which is part of their names.
    pub objects: AtomicU64,
    /// Commands to be sent when the store answers again.
    owed: Mutex<Vec<Request>>,
    threads: AtomicU32,
    /// The clients in use.
    thread_clients: Mutex<Vec<Thread>>,
    /// The clients of threads that have ended, for new threads.
    idle: Mutex<Vec<Thread>>,
    /// A function to be called before each command by which others may learn of what this process does.
    before_commands: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// A function to be called before the first command, and whether that is still to be done.
    begin: OnceLock<fn() -> Result<()>>,
    is_new: AtomicBool,
}

#[derive(Clone)]
struct Thread {
    thread_client: Arc<Mutex<ThreadClient>>,
    posted: Arc<Posted>,
}

static CURRENT: AtomicPtr<Client> = AtomicPtr::new(std::ptr::null_mut());

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
    /// Whether this thread is inside a command: then a signal handler may use the store as well.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is a signal handler that runs inside a command of its own thread.
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
    client: &'static Client,
    thread: Thread,
}

impl Drop for Here {
    /// The thread ends: its client is kept for another one.
    fn drop(&mut self) {
        if !self.client.is_current() {
            return;
        }
        if let Ok(mut thread_client) = self.thread.thread_client.try_lock()
            && let Err(e) = thread_client.settle(&self.client.shared)
            && self.client.shared.health.check().is_ok()
        {
            // No other thread will raise the error.
            logging::report(&format!("serverless_mp: in a thread that has ended: {e}"));
        }
        self.client.put_away(&self.thread);
    }
}

fn current() -> Option<&'static Client> {
    // SAFETY: set by `make_current` only.
    unsafe { CURRENT.load(Ordering::Acquire).as_ref() }
}

/// In a child of the program's own `fork()`: the inherited sockets are the parent's, and the child must not even close them
/// cleanly.
pub fn forget_after_fork() {
    tls::forget_after_fork();
    CURRENT.store(std::ptr::null_mut(), Ordering::Release);
    HERE.with_borrow_mut(|here| std::mem::forget(here.take()));
}

impl Client {
    pub fn new(session: Session, id: String) -> Result<Self> {
        let endpoint = Endpoint::parse(&session.url)?;
        let health = Health::new(
            &session.id,
            &endpoint,
            session.ttl,
            session.parent.is_none(),
        );
        Ok(Self {
            seal: Seal::new(&session.id, &session.key, &id),
            shared: Shared::new(Cluster::new(endpoint), health),
            session,
            id,
            handles: Handles::default(),
            left: Mutex::default(),
            objects: AtomicU64::new(1),
            owed: Mutex::default(),
            threads: AtomicU32::new(1),
            thread_clients: Mutex::default(),
            idle: Mutex::default(),
            before_commands: OnceLock::new(),
            begin: OnceLock::new(),
            is_new: AtomicBool::new(false),
        })
    }

    /// Makes this the client whose threads may send commands. It is never freed: threads and handles refer to it to the end.
    pub fn make_current(&'static self) {
        CURRENT.store(std::ptr::from_ref(self).cast_mut(), Ordering::Release);
    }

    /// Registers a function to be called before the first command.
    pub fn begin_with(&self, begin: fn() -> Result<()>) {
        self.is_new
            .store(self.begin.set(begin).is_ok(), Ordering::Release);
    }

    /// Registers a function to be called before each command except questions.
    pub fn before_commands(&self, call: impl Fn() + Send + Sync + 'static) {
        // A client has one.
        let _ = self.before_commands.set(Box::new(call));
    }

    /// Whether items that it has taken and not delivered go back after its end, or no longer matter. False in a child of the
    /// program's own `fork()`.
    pub fn may_read_ahead(&self) -> bool {
        self.session.parent.is_some() || self.begin.get().is_none()
    }

    /// The name by which the scripts know this thread.
    pub fn caller(&self) -> Result<String> {
        self.with_thread_client_unordered(|thread_client| Ok(thread_client.caller.clone()))
    }

    /// Ends this process' use of the session.
    pub fn close(&self) {
        if self.is_current() {
            CURRENT.store(std::ptr::null_mut(), Ordering::Release);
        }
        self.shared.health.close();
    }

    pub fn is_current(&self) -> bool {
        std::ptr::eq(CURRENT.load(Ordering::Acquire), self)
    }

    /// An error if the session is over.
    pub fn healthy(&self) -> Result<()> {
        self.shared.health.check()
    }

    pub fn key(&self, object: &str) -> String {
        keys::object(&self.session.id, object)
    }

    /// The node that has an object, as text.
    pub fn node_of(&self, object: &str) -> String {
        self.shared.cluster.route(&self.key(object)).to_string()
    }

    /// Reads the replies to everything that any thread has posted, and raises the error of what this thread has posted.
    pub fn settle(&self) -> Result<()> {
        if self.shared.unread.load(Ordering::Acquire) == 0 {
            // Another thread may have read the replies of this one.
            return self.with_thread_client_unordered(ThreadClient::raise_deferred);
        }
        self.with_thread_client(|thread_client| thread_client.settle(&self.shared))
    }

    // ---- what the store is owed ------------------------------------------------------------------------------

    /// Keeps a command until the store answers again.
    pub fn owe(&self, request: Request) {
        self.owed.locked().push(request);
    }

    pub fn take_owed(&self) -> Vec<Request> {
        std::mem::take(&mut *self.owed.locked())
    }

    /// The clients of all threads, idle ones included.
    fn threads(&self) -> Vec<Thread> {
        let mut threads = self.thread_clients.locked().clone();
        threads.extend(self.idle.locked().iter().cloned());
        threads
    }

    /// Looks after posted commands whose threads do something else: they may have been refused, or lost with a connection.
    /// Reads the replies of a thread that has posted nothing since the last look. Returns whether some commands wait for room.
    pub fn see_to_posts(&self, last: &mut HashMap<String, u64>) -> bool {
        let mut is_full = false;
        let mut seen = HashMap::new();
        for thread in self
            .threads()
            .iter()
            .filter(|thread| thread.posted.is_unread())
        {
            // A thread that holds the client reads them.
            let Ok(mut thread_client) = thread.thread_client.try_lock() else {
                continue;
            };
            let (count, caller) = (thread.posted.count(), thread_client.caller.clone());
            if last.get(&caller) == Some(&count) || thread.posted.is_full() {
                // The next user of the client raises an error.
                let _ = thread_client.settle_for_others(&self.shared);
            }
            drop(thread_client);
            thread.posted.notify();
            is_full |= thread.posted.is_full();
            seen.insert(caller, count);
        }
        *last = seen;
        is_full
    }

    /// Reads the replies to everything that any thread has posted, and waits until the store has room for it.
    pub fn settle_all(&self) -> Result<()> {
        self.with_thread(|_, nested| {
            for thread in self.threads() {
                let count = thread.posted.count();
                let settled = thread.posted.wait_for(|| {
                    Ok(thread.posted.is_read_up_to(count)
                        || self.read_of(&thread, nested, |other| other.settle(&self.shared))?)
                });
                thread.posted.notify();
                if let Err(e) = settled {
                    if e.is_raised() {
                        return Err(e);
                    }
                    self.healthy()?;
                    // No other thread will raise the error.
                    logging::report(&format!("serverless_mp: in another thread: {e}"));
                }
            }
            Ok(())
        })
    }

    // ---- threads ---------------------------------------------------------------------------------------------

    pub fn with_thread_client<T>(
        &self,
        f: impl FnOnce(&mut ThreadClient) -> Result<T>,
    ) -> Result<T> {
        if let Some(call) = self.before_commands.get() {
            call();
        }
        self.with_thread(|thread, nested| {
            self.settle_others(thread, nested)?;
            self.with_client_of(thread, f)
        })
    }

    /// The same for a question whose answer does not depend on what this process does: it does not wait for other threads'
    /// commands.
    pub fn with_thread_client_unordered<T>(
        &self,
        f: impl FnOnce(&mut ThreadClient) -> Result<T>,
    ) -> Result<T> {
        self.with_thread(|thread, _| self.with_client_of(thread, f))
    }

    fn with_thread<T>(&self, f: impl FnOnce(&Thread, bool) -> Result<T>) -> Result<T> {
        self.shared.health.goes_on()?;
        if self.is_new.swap(false, Ordering::AcqRel)
            && let Some(begin) = self.begin.get()
        {
            begin()?;
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

    fn with_client_of<T>(
        &self,
        thread: &Thread,
        f: impl FnOnce(&mut ThreadClient) -> Result<T>,
    ) -> Result<T> {
        let mut thread_client = self.client_of(thread)?;
        let result = f(&mut thread_client);
        if thread.posted.is_awaited() && thread.posted.is_unread() {
            // A thread that waits for these replies would wait for ever while this one goes on to post. Both threads meet an
            // error again.
            let _ = thread_client.settle_for_others(&self.shared);
        }
        drop(thread_client);
        thread.posted.notify();
        result
    }

    /// The thread's client, as soon as no other thread reads its replies; that takes long while the store is silent.
    fn client_of<'t>(&self, thread: &'t Thread) -> Result<MutexGuard<'t, ThreadClient>> {
        let mut free = None;
        thread.posted.wait_for(|| {
            match thread.thread_client.try_lock() {
                Ok(thread_client) => free = Some(thread_client),
                Err(TryLockError::Poisoned(_)) => {
                    return Err(Error::State("a thread failed inside the store".into()));
                }
                Err(TryLockError::WouldBlock) => {
                    self.shared.health.check()?;
                    crate::signals::check()?;
                }
            }
            Ok(free.is_some())
        })?;
        Ok(free.expect("the wait has ended with it"))
    }

    /// There is no order between two connections: the posted commands of other threads must be answered first. At the end of the
    /// process they no longer matter.
    fn settle_others(&self, me: &Thread, nested: bool) -> Result<()> {
        if self.shared.unread.load(Ordering::Acquire) <= me.posted.unread()
            || self.shared.health.is_ending()
        {
            return Ok(());
        }
        let others: Vec<(Thread, u64)> = {
            let thread_clients = self.thread_clients.locked();
            let idle = self.idle.locked();
            thread_clients
                .iter()
                .chain(idle.iter())
                .filter(|t| {
                    t.posted.is_unread()
                        && !t.posted.is_full()
                        && !Arc::ptr_eq(&t.thread_client, &me.thread_client)
                })
                .map(|t| (t.clone(), t.posted.count()))
                .collect()
        };
        for (other, count) in others {
            other.posted.wait(count, || {
                self.read_of(&other, nested, |client| {
                    client.settle_for_others(&self.shared)
                })
            })?;
            other.posted.notify();
        }
        Ok(())
    }

    /// Reads the replies to what another thread has posted, if its client is free. Returns whether there is nothing to wait for.
    fn read_of(
        &self,
        other: &Thread,
        nested: bool,
        read: impl FnOnce(&mut ThreadClient) -> Result<()>,
    ) -> Result<bool> {
        match other.thread_client.try_lock() {
            Ok(mut thread_client) => {
                read(&mut thread_client)?;
                return Ok(true);
            }
            // The client of this thread, outside this signal handler: it reads on when the handler returns.
            Err(TryLockError::WouldBlock) if nested => return Ok(true),
            // Its thread is inside a command, and first reads what is unread, if the store answers. The command may take for
            // ever, as a wait for an event does.
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Poisoned(_)) => return Ok(true),
        }
        self.shared.health.check()?;
        crate::signals::check()?;
        Ok(false)
    }

    fn thread(&self) -> Result<Thread> {
        HERE.with_borrow_mut(|here| {
            if let Some(h) = here
                && std::ptr::eq(h.client, self)
            {
                return Ok(h.thread.clone());
            }
            let client = current()
                .filter(|client| std::ptr::eq(*client, self))
                .ok_or_else(|| Error::State("the session has ended".into()))?;
            let thread = self.spare_thread();
            *here = Some(Here {
                client,
                thread: thread.clone(),
            });
            Ok(thread)
        })
    }

    fn spare_thread(&self) -> Thread {
        let idle = self.idle.locked().pop();
        let thread = idle.unwrap_or_else(|| {
            let n = self.threads.fetch_add(1, Ordering::Relaxed);
            let thread_client = ThreadClient::new(format!("{}.{n}", self.id));
            Thread {
                posted: thread_client.posted.clone(),
                thread_client: Arc::new(Mutex::new(thread_client)),
            }
        });
        self.thread_clients.locked().push(thread.clone());
        thread
    }

    /// Keeps a client that is no longer needed for another thread.
    fn put_away(&self, thread: &Thread) {
        self.thread_clients
            .locked()
            .retain(|t| !Arc::ptr_eq(&t.thread_client, &thread.thread_client));
        self.idle.locked().push(thread.clone());
    }
}
