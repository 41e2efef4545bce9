//! One command for the store, as its sender writes it: a script on an object, or a plain command on a key; then its
//! arguments; then how it is sent.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use redis::{ToRedisArgs, Value};

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::logging;
use crate::signals;
use crate::store::client::Client;
use crate::store::conn::Until;
use crate::store::request::{Request, Slot, bytes, text};
use crate::store::scripts::Script;
use crate::store::thread_client::Outcome;

/// How often the program's main thread has begun or ended a wait without a time limit.
static MAIN_THREAD_WAITS: AtomicU64 = AtomicU64::new(0);

/// The thread that sleeps until such a wait ends, and whether there is one.
static SLEEPER: Mutex<Option<Thread>> = Mutex::new(None);
static HAS_SLEEPER: AtomicBool = AtomicBool::new(false);

/// The number of such a wait in which the main thread is.
pub fn main_thread_waits() -> Option<u64> {
    let count = MAIN_THREAD_WAITS.load(Ordering::SeqCst);
    (count % 2 == 1).then_some(count)
}

/// Sleeps until a wait of the main thread ends, or the time is over. For one thread.
pub fn sleep_during(wait: u64, time: Duration) {
    *SLEEPER.locked() = Some(thread::current());
    HAS_SLEEPER.store(true, Ordering::SeqCst);
    if main_thread_waits() == Some(wait) {
        thread::park_timeout(time);
    }
    HAS_SLEEPER.store(false, Ordering::SeqCst);
}

/// A wait of the main thread, as long as it lives. Inside of one, in a signal handler, the thread does not count as waiting.
pub struct MainThreadWaits(bool);

impl MainThreadWaits {
    pub fn begin() -> Self {
        let is_main = signals::is_main_thread();
        if is_main {
            MAIN_THREAD_WAITS.fetch_add(1, Ordering::SeqCst);
        }
        Self(is_main)
    }
}

impl Drop for MainThreadWaits {
    fn drop(&mut self) {
        if self.0 {
            MAIN_THREAD_WAITS.fetch_add(1, Ordering::SeqCst);
            if HAS_SLEEPER.swap(false, Ordering::SeqCst)
                // One that is about to sleep looks first.
                && let Ok(sleeper) = SLEEPER.try_lock()
                && let Some(sleeper) = &*sleeper
            {
                sleeper.unpark();
            }
        }
    }
}

pub struct Cmd<'c> {
    client: &'c Client,
    script: Option<&'static Script>,
    /// The first one chooses the node; the others have the same tag.
    keys: Vec<String>,
    /// The first argument of a plain command is its name.
    args: Vec<Vec<u8>>,
    waits_for_memory: bool,
    deadline: Option<Instant>,
    undo: Option<&'static str>,
    slot: Option<Slot>,
    /// For a wait: when the server ends it.
    answer_by: Option<Instant>,
}

impl Client {
    /// A script on an object.
    pub fn script(&self, script: &'static Script, object: &str) -> Cmd<'_> {
        Cmd {
            client: self,
            script: Some(script),
            keys: vec![self.key(object)],
            args: Vec::new(),
            waits_for_memory: false,
            deadline: None,
            undo: None,
            slot: None,
            answer_by: None,
        }
    }

    /// A plain command on a key. It must be one that may be repeated.
    pub fn plain(&self, name: &str, key: String) -> Cmd<'_> {
        Cmd {
            client: self,
            script: None,
            keys: vec![key],
            args: vec![name.into()],
            // Usually a wait for an item, which makes room.
            waits_for_memory: true,
            deadline: None,
            undo: None,
            slot: None,
            answer_by: None,
        }
    }

    /// A wait for the head of one list, which is moved to the head of another list of the same tag; a peek names the same list
    /// twice. The server ends the wait at the deadline, with nil.
    pub fn take_head(&self, from: String, to: String, deadline: Option<Instant>) -> Cmd<'_> {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()).as_secs_f64());
        // 0 means for ever.
        let timeout = left.map_or(0.0, |left| left.max(0.001));
        let mut command = self.plain("BLMOVE", from).key(to);
        command.answer_by = deadline;
        command.arg("LEFT").arg("LEFT").arg(format!("{timeout:.3}"))
    }

    /// Runs commands that may be repeated, in one round trip for each node.
    pub fn call_all(&self, commands: Vec<Cmd<'_>>) -> Result<Vec<Value>> {
        let requests: Vec<Request> = commands.into_iter().map(Cmd::into_request).collect();
        self.with_thread_client(|thread_client| thread_client.call_all(&self.shared, &requests))
    }

    /// The same for commands that need not wait for those of other threads.
    pub fn peek_all(&self, commands: Vec<Cmd<'_>>) -> Result<Vec<Value>> {
        let requests: Vec<Request> = commands.into_iter().map(Cmd::into_request).collect();
        self.with_thread_client_unordered(|thread_client| {
            thread_client.call_all(&self.shared, &requests)
        })
    }

    /// Waits for the reply of a posted command; None if the command was never sent.
    pub fn reply_in(&self, slot: &Slot) -> Result<Option<Value>> {
        if slot.get().is_none() {
            self.settle()?;
        }
        Ok(slot.get().cloned())
    }

    /// Runs the commands that could not run before, if the store answers.
    pub fn send_owed(&self) {
        if self.shared.health.is_out() {
            return;
        }
        for request in self.take_owed() {
            self.send_when_possible(request);
        }
    }

    fn send_when_possible(&self, request: Request) {
        let is_done = !self.shared.health.is_out()
            && match self.with_thread_client(|thread_client| {
                thread_client.call(&self.shared, request.clone())
            }) {
                // Nothing needs to be done for an object that is gone.
                Ok(_) | Err(Error::ObjectGone(_)) => true,
                Err(_) => false,
            };
        if !is_done {
            self.owe(request);
        }
    }
}

impl Cmd<'_> {
    /// Adds a key.
    pub fn key(mut self, key: String) -> Self {
        self.keys.push(key);
        self
    }

    /// Adds an argument, or each of a list.
    pub fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        arg.write_redis_args(&mut self.args);
        self
    }

    /// The same for bytes, which it takes over.
    pub fn bytes(mut self, arg: Vec<u8>) -> Self {
        self.args.push(arg);
        self
    }

    /// For a message: if the store's memory is full, it waits until other messages were taken.
    pub const fn waits_for_memory(mut self) -> Self {
        self.waits_for_memory = true;
        self
    }

    /// For a command that need not have room: if the store's memory stays full, it fails.
    pub const fn fails_when_full(mut self) -> Self {
        self.waits_for_memory = false;
        self
    }

    /// For a part of a wait: it is tried again until the deadline; then the answer is nil.
    pub const fn by(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// For a command that begins a wait, or takes something: it is undone if its answer is given up.
    pub const fn or_undo(mut self, late: &'static str) -> Self {
        self.undo = Some(late);
        self
    }

    fn into_request(self) -> Request {
        Request {
            waits_for_memory: self.waits_for_memory,
            deadline: self.deadline,
            undo: self.undo,
            slot: self.slot,
            ..Request::new(self.script, self.keys, self.args)
        }
    }

    /// Waits for the reply.
    pub fn call(self) -> Result<Value> {
        let client = self.client;
        let request = self.into_request();
        client.with_thread_client(|thread_client| thread_client.call(&client.shared, request))
    }

    /// The same, with the reply as text.
    pub fn text(self) -> Result<String> {
        self.call().map(|reply| text(&reply))
    }

    /// The same, with the reply as bytes.
    pub fn bytes_of_reply(self) -> Result<Vec<u8>> {
        self.call().map(bytes)
    }

    /// The same for a command that need not wait for those of other threads.
    pub fn peek(self) -> Result<Value> {
        let client = self.client;
        let request = self.into_request();
        client.with_thread_client_unordered(|thread_client| {
            thread_client.call(&client.shared, request)
        })
    }

    /// Returns without the reply, which is read before anything that could be observed elsewhere.
    pub fn post(self) -> Result<()> {
        self.post_or_hold(false)
    }

    /// The same; the reply is stored in the slot when it is read.
    pub fn post_for(mut self, slot: &Slot) -> Result<()> {
        self.slot = Some(slot.clone());
        self.post()
    }

    /// The same for a command that nobody needs before this thread's next one: it is written with that, or before another thread
    /// sends a command, or when many are held.
    pub fn hold_for(mut self, slot: &Slot) -> Result<()> {
        self.slot = Some(slot.clone());
        self.post_or_hold(true)
    }

    fn post_or_hold(self, is_held: bool) -> Result<()> {
        let client = self.client;
        let request = self.into_request();
        client.with_thread_client(|thread_client| {
            thread_client.post(&client.shared, request, is_held)
        })
    }

    /// Waits without a time limit for the reply of a blocking command.
    pub fn block(self, until: Until<'_>) -> Result<Outcome> {
        let client = self.client;
        let answer_by = self.answer_by;
        let request = self.into_request();
        let on_tick = || client.shared.health.check();
        let until = Until {
            on_tick: Some(&on_tick),
            ..until
        };
        let began = Instant::now();
        let _waits = MainThreadWaits::begin();
        let outcome = client.with_thread_client(|thread_client| {
            thread_client.block(&client.shared, &request, until, answer_by)
        });
        if began.elapsed() > logging::LONG_WAIT {
            tracing::info!(key = request.keys[0], waited = ?began.elapsed(), "a long wait has ended");
        }
        outcome
    }

    /// Sends the command now, or when the store answers again. Nobody waits for its reply.
    pub fn when_possible(self) {
        let client = self.client;
        client.send_when_possible(self.into_request());
    }
}
