//! The parts of a program and of its workers, for a load generator (`examples/load.rs`): the objects below the leaves, as the
//! leaves use them.
//!
//! An example sees only what the crate exports, and the crate exports nothing to Rust. The feature `load` exports this module,
//! as a fuzzer's build exports `fuzz`; no other module becomes visible.
//!
//! A worker is a process of the system here, too. A process has one client (`process::current`), and a thread sends nothing
//! while a post of another thread is unanswered. Threads of one process would therefore wait for one another, as workers do not.

use std::iter;
use std::sync::Arc;

pub use crate::error::{Error, Result};
use crate::hex;
use crate::objects::handle::Handle;
use crate::objects::mailbox;
use crate::objects::pipe::{self, PipeEnd, Sent, Take, Taken, Wait};
use crate::objects::process::{self, Process};
use crate::objects::span::Span;
use crate::objects::units::Units;
use crate::random;
use crate::session::open;
use crate::store::client::Session;
use crate::store::command::MainThreadWaits;
use crate::store::conn::Until;
use crate::store::keys;

/// The lease of the session's keys in ms, as the setting's default.
const LEASE: u64 = 30_000;

/// How many bytes a pipe holds for each end, as the setting's default.
const BOUND: usize = 16 << 20;

/// How many results are taken at once, as by a pool.
const MOST_RESULTS: usize = 256;

// ---- processes ---------------------------------------------------------------------------------------------------

/// The program: it owns the session.
pub struct Program(&'static Process);

impl Program {
    pub fn open(url: &str) -> Result<Self> {
        open::open(open::new_session(url, LEASE, false)?, false)?;
        process::current().map(Self)
    }

    /// Makes what a new worker needs. Returns the worker's id, and a line by which it joins.
    pub fn invite(&self) -> Result<(String, String)> {
        let (process, worker) = (self.0, random::id()?);
        mailbox::create(process, &keys::process(&worker))?;
        let session = &process.session;
        let words = [
            &session.id,
            &hex::encode(&session.key),
            &process.id,
            &worker,
        ];
        let line = format!("{} {}", words.map(String::as_str).join(" "), session.url);
        Ok((worker, line))
    }

    /// Waits until the store has everything that this process has sent.
    pub fn settle(&self) -> Result<()> {
        self.0.settle()
    }

    /// Clears up after a worker that has ended.
    pub fn reap(&self, worker: &str) -> Result<()> {
        self.0.reap(worker, 0, 1)
    }

    /// Ends the session, and deletes its keys.
    pub fn close(self) -> Result<()> {
        open::close()
    }
}

/// A worker's part of the session.
pub struct Worker(&'static Process);

impl Worker {
    /// Joins the session of the process that has made this line.
    pub fn join(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, key, parent, worker, url] = words[..] else {
            return Err(Error::Value(format!("not an invitation: {line}")));
        };
        let key = hex::decode(key).ok_or_else(|| Error::Value("the key is malformed".into()))?;
        let session = Session {
            id: id.into(),
            key,
            url: url.into(),
            ttl: LEASE,
            seal_memory: false,
            parent: Some(parent.into()),
        };
        open::join(session, worker.into())?;
        process::current().map(Self)
    }

    /// Waits until the store has everything that this process has sent.
    pub fn settle(&self) -> Result<()> {
        self.0.settle()
    }

    /// Waits for something else than the store as if it waited for the store: a thread for shared memory then does not look.
    pub fn wait_for<T>(&self, something: impl FnOnce() -> T) -> T {
        let _waits = MainThreadWaits::begin();
        something()
    }

    /// Gives back everything, as a worker does before its exit record.
    pub fn leave(self) -> Result<()> {
        self.0.memory.publish(self.0)?;
        self.0.memory.freshness.close();
        self.0.release_all_refs(0, 1)
    }
}

// ---- objects -----------------------------------------------------------------------------------------------------

/// One end of a pipe: of a queue, of a connection, or of a pool's tasks.
pub struct End {
    handle: Handle,
    pipe: PipeEnd,
}

impl End {
    fn with(handle: Handle, id: String, end: u8) -> Self {
        let pipe = PipeEnd::new(handle.process, id, end);
        Self { handle, pipe }
    }

    /// Both ends of a new pipe.
    pub fn pair() -> Result<[Self; 2]> {
        let process = process::current()?;
        let id = pipe::create(process, BOUND)?;
        Ok(
            [0, 1]
                .map(|end| Self::with(Handle::created(process, id.clone(), end), id.clone(), end)),
        )
    }

    pub fn attach(id: &str, end: u8) -> Result<Self> {
        let handle = Handle::attach(id.into(), end)?;
        Ok(Self::with(handle, id.into(), end))
    }

    pub fn id(&self) -> &str {
        &self.pipe.id
    }

    /// Sends a message to the other end without waiting, as a queue's `put`.
    pub fn put(&self, message: &[u8]) -> Result<()> {
        self.pipe.wait_for_capacity(self.handle.process)?;
        self.pipe
            .post(self.handle.process, Sent::Message, &[message])
    }

    /// Waits for the next message, as a queue's `get`.
    pub fn get(&self) -> Result<Vec<u8>> {
        self.take(Take::Items)
    }

    /// The next message if there is one now.
    pub fn get_now(&self) -> Result<Option<Vec<u8>>> {
        let taken = self
            .pipe
            .take(self.handle.process, Wait::No, Take::Item, || {})?;
        Ok(match taken {
            Taken::Message(message) => Some(message.payload.to_vec()),
            Taken::Died(..) | Taken::Nothing => None,
        })
    }

    /// Sends tasks to the workers' end, as a pool does.
    pub fn put_tasks(&self, tasks: &[Vec<u8>]) -> Result<()> {
        let tasks: Vec<&[u8]> = tasks.iter().map(Vec::as_slice).collect();
        self.pipe.wait_for_capacity(self.handle.process)?;
        self.pipe.post(self.handle.process, Sent::Task, &tasks)
    }

    /// Waits for the next task; it is in work until its result is put.
    pub fn get_task(&self) -> Result<Vec<u8>> {
        self.take(Take::Task)
    }

    /// Sends the result of the task in work, and may take the next tasks in the same step, for `get_task`.
    pub fn put_result(&self, result: &[u8]) -> Result<()> {
        let process = self.handle.process;
        self.pipe.post_result(process, result, u32::MAX).map(drop)
    }

    /// Waits for a result, and takes others that are there.
    pub fn get_results(&self) -> Result<Vec<Vec<u8>>> {
        let first = self.take(Take::Item)?;
        let more = self.pipe.take_many(self.handle.process, MOST_RESULTS)?;
        let more = more.into_iter().map(|taken| message(taken?));
        iter::once(Ok(first)).chain(more).collect()
    }

    fn take(&self, what: Take) -> Result<Vec<u8>> {
        let wait = Wait::Until(None);
        message(self.pipe.take(self.handle.process, wait, what, || {})?)
    }
}

fn message(taken: Taken) -> Result<Vec<u8>> {
    match taken {
        Taken::Message(message) => Ok(message.payload.to_vec()),
        Taken::Died(..) => Err(Error::State("a task has killed its workers".into())),
        Taken::Nothing => Err(Error::State("a wait without a limit has ended".into())),
    }
}

/// A number in shared memory and its lock, as `Value`.
pub struct Counter {
    lock: Arc<Units>,
    number: Arc<Span>,
}

const SIZE: usize = size_of::<u64>();

impl Counter {
    /// Makes a shared counter.
    pub fn new() -> Result<Self> {
        let (lock, number) = (Units::new(1, 1, None, false)?, Span::new(SIZE)?);
        lock.in_store()?;
        number.in_store()?;
        Ok(Self { lock, number })
    }

    /// Attaches to a counter by the names of its lock and of its number.
    pub fn attach(lock: &str, number: &str) -> Result<Self> {
        let (lock, number) = (
            Units::attach(lock.into(), 1)?,
            Span::attach(number.into(), SIZE)?,
        );
        Ok(Self { lock, number })
    }

    /// The names of its lock and of its number.
    pub fn ids(&self) -> [&str; 2] {
        [self.lock.id(), self.number.id()]
    }

    /// Adds to the number under the lock. Returns the sum.
    pub fn add(&self, n: u64) -> Result<u64> {
        if !self.lock.take_from_store(true, Until::default(), false)? {
            return Err(Error::State("a wait without a limit has ended".into()));
        }
        let buffer = &self.number.buffer;
        let old = buffer.copy(0, SIZE);
        let bytes = old.as_slice().try_into().expect("it has this size");
        let sum = u64::from_ne_bytes(bytes) + n;
        // Only this process writes the buffer now, and it has the old content.
        buffer.merge(0, &old, &sum.to_ne_bytes());
        self.lock.give_to_store(true).1?;
        Ok(sum)
    }
}
