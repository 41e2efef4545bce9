//! What this OS process has of a session: its number, its threads' links, the objects that it holds.
//!
//! Nothing of it crosses a `fork()` of the program: the child gets a state of its own with a number of its own,
//! and what it inherited is left as it is, neither closed nor deleted.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use redis::Value;

use crate::conn::Until;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::keys;
use crate::link::{Link, Outcome, Request};
use crate::memory::Memory;
use crate::scripts::{self, Script};
use crate::seal::Seal;
use crate::store::{Store, text};

/// A semaphore's greatest value, as `CPython`'s `SEM_VALUE_MAX` on Linux.
pub const SEM_VALUE_MAX: i64 = i32::MAX as i64;

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
    pub jobs: crate::watcher::Jobs,
    /// Commands posted by any thread whose reply is unread.
    pub unread: AtomicUsize,
    commands: AtomicU64,
    objects: AtomicU64,
    threads: AtomicU32,
    /// Links in use.
    links: Mutex<Vec<Thread>>,
    /// Links of threads that have ended, for the next thread.
    idle: Mutex<Vec<Thread>>,
    /// How many handles of this process hold an end of an object.
    handles: Mutex<HashMap<(String, u8), usize>>,
    /// Pipes with a task whose result is not sent.
    tasks: Mutex<HashSet<String>>,
    /// Set once the session was found gone, with the words for the error.
    lost: Mutex<Option<String>>,
    closed: AtomicBool,
}

#[derive(Clone)]
struct Thread {
    link: Arc<Mutex<Link>>,
    unread: Arc<AtomicUsize>,
}

/// What one call needs beside its script.
pub struct Args<'a>(pub &'a [&'a [u8]]);

static CURRENT: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
    /// Whether this thread is inside a command: a signal's handler may then use the store as well.
    static BUSY: Cell<bool> = const { Cell::new(false) };
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
        if let Ok(mut link) = self.thread.link.try_lock() {
            // An error is seen by whoever uses the link next.
            let _ = link.settle(self.process);
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
    let new =
        Process::new(session, None).map_or(std::ptr::null_mut(), |p| Box::into_raw(Box::new(p)));
    CURRENT.store(new, Ordering::Release);
    // The inherited sockets are the parent's: not even their clean end is ours to say.
    HERE.with_borrow_mut(|here| std::mem::forget(here.take()));
}

fn random_number() -> Result<String> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Error::State("no source of random numbers".into()))?;
    Ok(scripts::hex(&bytes))
}

impl Process {
    fn new(session: Session, number: Option<String>) -> Result<Self> {
        let number = number.map_or_else(random_number, Ok)?;
        Ok(Self {
            store: Store::new(Endpoint::parse(&session.url)?),
            seal: Seal::new(&session.id, &session.key, &number),
            memory: Memory::default(),
            jobs: crate::watcher::Jobs::default(),
            session,
            number,
            unread: AtomicUsize::new(0),
            commands: AtomicU64::new(1),
            objects: AtomicU64::new(1),
            threads: AtomicU32::new(1),
            links: Mutex::default(),
            idle: Mutex::default(),
            handles: Mutex::default(),
            tasks: Mutex::default(),
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

    // ---- commands --------------------------------------------------------------------------------------------

    /// Runs a script on an object and waits for its reply.
    pub fn call(&self, script: &'static Script, object: &str, args: &Args<'_>) -> Result<Value> {
        self.call_with(script, vec![self.key(object)], args)
    }

    /// The same with further keys of the same tag.
    pub fn call_with(
        &self,
        script: &'static Script,
        keys: Vec<String>,
        args: &Args<'_>,
    ) -> Result<Value> {
        let request = self.request(Some(script), keys, args);
        self.with_link(|link| link.call(self, &request))
    }

    /// The same, its reply as text.
    pub fn ask(&self, script: &'static Script, object: &str, args: &Args<'_>) -> Result<String> {
        self.call(script, object, args).map(|v| text(&v))
    }

    /// Runs a script on an object without waiting.
    pub fn post(&self, script: &'static Script, object: &str, args: &Args<'_>) -> Result<()> {
        let request = self.request(Some(script), vec![self.key(object)], args);
        self.with_link(|link| link.post(self, request))
    }

    /// A plain command on a key: its name, then its arguments. Only such as may be repeated.
    pub fn plain(&self, key: String, args: &Args<'_>) -> Result<Value> {
        let request = self.request(None, vec![key], args);
        self.with_link(|link| link.call(self, &request))
    }

    pub fn post_plain(&self, key: String, args: &Args<'_>) -> Result<()> {
        let request = self.request(None, vec![key], args);
        self.with_link(|link| link.post(self, request))
    }

    /// A blocking plain command on keys of one tag.
    pub fn block(&self, keys: Vec<String>, args: &Args<'_>, until: Until<'_>) -> Result<Outcome> {
        let request = self.request(None, keys, args);
        let look = || self.healthy();
        let until = Until {
            look: Some(&look),
            ..until
        };
        self.with_link(|link| link.block(self, &request, until))
    }

    /// Reads the replies of everything that any thread has posted.
    pub fn settle(&self) -> Result<()> {
        if self.unread.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        self.with_link(|link| link.settle(self))
    }

    /// This thread's in-flight list of a pipe, made ready for what it will take from one end.
    pub fn in_flight(&self, object: &str, end: u8) -> Result<String> {
        let (caller, known) =
            self.with_link(|link| Ok((link.caller.clone(), link.takes_from(object))))?;
        if !known {
            self.post(
                &scripts::TAKE_OPEN,
                object,
                &Args(&[end.to_string().as_bytes()]),
            )?;
        }
        Ok(keys::in_flight(&self.key(object), &caller))
    }

    fn request(
        &self,
        script: Option<&'static Script>,
        keys: Vec<String>,
        args: &Args<'_>,
    ) -> Request {
        let args = args.0.iter().map(|a| a.to_vec()).collect();
        Request {
            script,
            keys,
            args,
            number: self.next_number(),
        }
    }

    fn with_link<T>(&self, f: impl FnOnce(&mut Link) -> Result<T>) -> Result<T> {
        let inner = Busy(BUSY.replace(true));
        let thread = if inner.0 {
            self.spare_thread()
        } else {
            self.thread()?
        };
        let result = self.with_thread(&thread, f);
        if inner.0 {
            self.put_away(&thread);
        }
        result
    }

    fn with_thread<T>(&self, thread: &Thread, f: impl FnOnce(&mut Link) -> Result<T>) -> Result<T> {
        if self.unread.load(Ordering::Acquire) > thread.unread.load(Ordering::Acquire) {
            self.settle_others(thread)?;
        }
        let mut link = thread
            .link
            .lock()
            .map_err(|_| Error::State("a thread failed inside the store".into()))?;
        f(&mut link)
    }

    /// There is no order between two connections: what other threads sent without waiting comes first.
    fn settle_others(&self, me: &Thread) -> Result<()> {
        let others: Vec<Thread> = {
            let links = self.links.lock().expect("no panic under this lock");
            let idle = self.idle.lock().expect("no panic under this lock");
            links
                .iter()
                .chain(idle.iter())
                .filter(|t| !Arc::ptr_eq(&t.link, &me.link))
                .cloned()
                .collect()
        };
        for other in others {
            while other.unread.load(Ordering::Acquire) > 0 {
                match other.link.try_lock() {
                    Ok(mut link) => link.settle(self)?,
                    // Its thread is inside a command, and reads what is unread first of all.
                    Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_micros(20)),
                    Err(TryLockError::Poisoned(_)) => break,
                }
            }
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
                unread: link.unread.clone(),
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

    /// Marks the session as gone: waits end with this error.
    pub fn set_lost(&self, why: &str) {
        self.lost
            .lock()
            .expect("no panic under this lock")
            .get_or_insert_with(|| why.to_owned());
    }

    pub fn healthy(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::State("the session has ended".into()));
        }
        self.lost
            .lock()
            .expect("no panic under this lock")
            .as_ref()
            .map_or(Ok(()), |why| Err(Error::Lost(why.clone())))
    }

    // ---- objects ---------------------------------------------------------------------------------------------

    /// Makes an object, held by this process at each of its ends. Nothing is waited for.
    pub fn create(&self, object: &str, ends: u8, fields: &[&[u8]]) -> Result<()> {
        let (ttl, ends_text) = (self.session.ttl.to_string(), ends.to_string());
        let mut args: Vec<&[u8]> =
            vec![ttl.as_bytes(), self.number.as_bytes(), ends_text.as_bytes()];
        args.extend_from_slice(fields);
        self.post(&scripts::CREATE, object, &Args(&args))?;
        if self.session.ttl > 0 {
            self.post(&scripts::NOTE, keys::INDEX, &Args(&[object.as_bytes()]))?;
        }
        if ends > 0 {
            self.note_held(object)?;
            let mut handles = self.handles.lock().expect("no panic under this lock");
            for end in 0..ends {
                handles.insert((object.to_owned(), end), 1);
            }
        }
        Ok(())
    }

    /// One handle more on an end of an object that another process made, or this one.
    pub fn hold(&self, object: &str, end: u8) -> Result<()> {
        {
            let mut handles = self.handles.lock().expect("no panic under this lock");
            let count = handles.entry((object.to_owned(), end)).or_insert(0);
            *count += 1;
            if *count > 1 {
                return Ok(());
            }
        }
        self.note_held(object)?;
        self.hold_as(object, end, &self.number)
    }

    /// A hold in the name of something else than a process: of a handle on its way in a message.
    pub fn hold_as(&self, object: &str, end: u8, holder: &str) -> Result<()> {
        self.post(
            &scripts::ATTACH,
            object,
            &Args(&[holder.as_bytes(), end.to_string().as_bytes()]),
        )
    }

    pub fn drop_hold_of(&self, object: &str, end: u8, holder: &str) -> Result<()> {
        self.post(
            &scripts::DETACH,
            object,
            &Args(&[holder.as_bytes(), end.to_string().as_bytes()]),
        )
    }

    /// One handle less.
    pub fn unhold(&self, object: &str, end: u8) -> Result<()> {
        {
            let mut handles = self.handles.lock().expect("no panic under this lock");
            let key = (object.to_owned(), end);
            let Some(count) = handles.get_mut(&key) else {
                return Ok(());
            };
            *count -= 1;
            if *count > 0 {
                return Ok(());
            }
            handles.remove(&key);
        }
        self.drop_hold_of(object, end, &self.number)
    }

    /// The index by which an ended process' holds are found.
    fn note_held(&self, object: &str) -> Result<()> {
        if self.session.parent.is_none() {
            return Ok(()); // nobody looks after it: with the owner ends the session
        }
        self.post(
            &scripts::NOTE,
            &keys::process(&self.number),
            &Args(&[object.as_bytes()]),
        )
    }

    pub fn task_begun(&self, object: &str) {
        self.tasks
            .lock()
            .expect("no panic under this lock")
            .insert(object.to_owned());
    }

    pub fn task_done(&self, object: &str) {
        self.tasks
            .lock()
            .expect("no panic under this lock")
            .remove(object);
    }

    /// Everything that this process still holds, before its exit record. A task that it leaves unfinished is
    /// treated as one whose worker died.
    pub fn unhold_all(&self, exit_code: i32, attempts: u32) -> Result<()> {
        let tasks: Vec<String> = self
            .tasks
            .lock()
            .expect("no panic under this lock")
            .drain()
            .collect();
        for object in tasks {
            self.reap_object(&object, &self.number, exit_code, attempts)?;
        }
        let mut held: HashMap<String, Vec<String>> = HashMap::new();
        for ((object, end), _) in self
            .handles
            .lock()
            .expect("no panic under this lock")
            .drain()
        {
            held.entry(object).or_default().push(end.to_string());
        }
        for (object, ends) in held {
            // Both ends of a pipe at once: a thread of this process that still reads must not see an end of file.
            let mut args: Vec<&[u8]> = vec![self.number.as_bytes()];
            args.extend(ends.iter().map(String::as_bytes));
            self.post(&scripts::DETACH, &object, &Args(&args))?;
        }
        self.settle()
    }

    /// What another process, which has ended without this, still held.
    pub fn reap(&self, number: &str, exit_code: i32, attempts: u32) -> Result<()> {
        let process = self.key(&keys::process(number));
        let held = self.plain(keys::held(&process), &Args(&[b"SMEMBERS"]))?;
        if let Value::Array(objects) | Value::Set(objects) = held {
            for object in objects {
                self.reap_object(&text(&object), number, exit_code, attempts)?;
            }
        }
        self.post(&scripts::DROP, &keys::process(number), &Args(&[]))?;
        self.settle()
    }

    fn reap_object(&self, object: &str, number: &str, exit_code: i32, attempts: u32) -> Result<()> {
        let args = [
            number.to_owned(),
            exit_code.to_string(),
            attempts.to_string(),
        ];
        self.post(
            &scripts::REAP,
            object,
            &Args(&args.each_ref().map(String::as_bytes)),
        )
    }
}
