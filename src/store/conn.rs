//! One connection to one node of the store: packed commands out, replies in.
//!
//! A wait is a command like any other here, except that its reply may take for ever. So the stream is non-blocking: while a
//! reply is missing, the thread waits with `poll(2)` for the stream and a wake descriptor, and checks the program's signals.
//! The connection of redis-rs would discard a reply that comes after a read time-out, and that reply is an item which the
//! server has already taken from the queue.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use redis::{Cmd, Value, cmd};

use crate::error::{Error, Result};
use crate::random;
use crate::signals;
use crate::store::endpoint::{CONNECT_TIMEOUT, Endpoint, NodeAddr, Stream, VARIABLE};
use crate::store::replies::Replies;
use crate::store::request::{Names, Refusal, TOO_MANY_CLIENTS, checked, refusal, text};
use crate::store::scripts::{Library, OF_A_CLUSTER, OF_A_NODE};

/// How often a waiting thread checks signals that another thread received, and the session's health: at first, and in a long
/// wait, since thousands of processes may wait on a few processors. A signal that the thread itself receives ends the pause.
pub const TICK: Duration = Duration::from_millis(100);
const LONG_TICK: Duration = Duration::from_secs(1);

/// What to do if something else than the store answers.
const OWN_ADDRESS: &str = "where a proxy (Envoy, Twemproxy) stands before the store, which passes on no FCALL and no BLMOVE, give the \
     store's own address";

/// How long the thread looks for a reply before it sleeps: about as long as waking it up would take. Only if the last reply
/// came within `QUICK`: with a store further away, or few processors, others need the time.
const SPIN: Duration = Duration::from_micros(50);
const QUICK: Duration = Duration::from_micros(200);

/// How many bytes are held back at most.
const MOST_HELD: usize = 16 << 10;

pub struct Conn {
    stream: Stream,
    /// What is to be written with the next command.
    held: Vec<u8>,
    replies: Replies,
    /// Whether the last reply came at once: for prompt commands, and for waits without a deadline.
    was_quick: [bool; 2],
    /// The server's id of this connection, for `CLIENT UNBLOCK` and `CLIENT KILL`.
    pub id: i64,
}

/// The conditions that end a read before its reply.
#[derive(Clone, Copy, Default)]
pub struct Until<'a> {
    pub deadline: Option<Instant>,
    pub wake_fd: Option<BorrowedFd<'a>>,
    /// Called at every tick: `Err` ends the wait.
    pub on_tick: Option<&'a dyn Fn() -> Result<()>>,
    /// Leaves signals for later.
    pub defer_signals: bool,
}

impl Until<'_> {
    /// For a reply that comes at once and must not be missed, even if a signal arrives.
    pub fn prompt() -> Self {
        Self {
            deadline: Some(Instant::now() + CONNECT_TIMEOUT),
            defer_signals: true,
            ..Self::default()
        }
    }
}

/// The reason why a wait ended without its reply.
pub enum Ended {
    Deadline,
    Woken,
    Failed(Error),
}

/// A reader that waits as [`Until`] says, and remembers why it stopped: the parser passes on only an I/O error.
struct InterruptibleReader<'a> {
    stream: &'a mut Stream,
    until: Until<'a>,
    was_quick: &'a mut bool,
    ended: Option<Ended>,
}

impl Read for InterruptibleReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let began = Instant::now();
        loop {
            match self.stream.read(buf) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => {
                    *self.was_quick = began.elapsed() < QUICK;
                    return other;
                }
            }
            if *self.was_quick && began.elapsed() < SPIN {
                std::thread::yield_now();
                continue;
            }
            if let Err(ended) = ready(self.stream.fd(), PollFlags::POLLIN, &self.until) {
                self.ended = Some(ended);
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

/// Waits until `fd` is ready, or until a condition of `until` ends the wait.
pub fn ready(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    until: &Until<'_>,
) -> std::result::Result<(), Ended> {
    let mut tick = TICK;
    loop {
        let mut slice = tick;
        tick = (tick * 2).min(LONG_TICK);
        if let Some(deadline) = until.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Ended::Deadline);
            }
            slice = slice.min(left + Duration::from_micros(999));
        }
        let mut fds = vec![PollFd::new(fd, events)];
        if let Some(wake) = until.wake_fd {
            fds.push(PollFd::new(wake, PollFlags::POLLIN));
        }
        let timeout = PollTimeout::try_from(slice).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(n) if n > 0 => {
                if fds[0].any() == Some(true) {
                    return Ok(());
                }
                return Err(Ended::Woken);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(Ended::Failed(e.into())),
        }
        if !until.defer_signals {
            signals::check().map_err(Ended::Failed)?;
        }
        if let Some(look) = until.on_tick {
            look().map_err(Ended::Failed)?;
        }
    }
}

impl Conn {
    /// Connects, logs in and asks for the connection's id, all in one write.
    pub fn open(endpoint: &Endpoint, place: &NodeAddr) -> Result<Self> {
        Self::greeted(endpoint, place, &[]).map(|(conn, _)| conn)
    }

    /// The same, under a name that operators and [`Conn::kill`] see. Also returns the names of the scripts, which are loaded
    /// if the node does not have them.
    pub fn for_commands(
        endpoint: &Endpoint,
        place: &NodeAddr,
        name: &str,
    ) -> Result<(Self, Names)> {
        let library: &'static Library = if endpoint.cluster {
            &OF_A_CLUSTER
        } else {
            &OF_A_NODE
        };
        let ask = cmd("FCALL_RO").arg(&library.name).arg(0).to_owned();
        let set_name = cmd("CLIENT").arg("SETNAME").arg(name).to_owned();
        let (mut conn, replies) = Self::greeted(endpoint, place, &[set_name, ask.clone()])?;
        let mut reply = replies.into_iter().nth(1).unwrap_or(Value::Nil);
        loop {
            match refusal(&reply) {
                Some(Refusal::Unknown) => reply = conn.load(library)?,
                Some(Refusal::Full) => return Err(checked(reply).expect_err("it is one")),
                Some(_) => {
                    return Err(unreachable_store(
                        place,
                        &io::Error::other(reply_text(&reply)),
                    ));
                }
                None => break,
            }
            if reply_text(&reply).contains("already exists") {
                // Another process was faster.
                reply = conn.ask(&ask)?;
            }
        }
        match reply {
            Value::ServerError(e) => Err(Error::Refused(format!(
                "the store at {place} ({VARIABLE}) does not take our functions ({} {}): it must be Redis 7.0, Valkey 7.2 or newer, and \
                 let this user call FUNCTION LOAD, FCALL and FCALL_RO (ACL: +function|load +fcall +fcall_ro)",
                e.code(),
                e.details().unwrap_or_default()
            ))),
            reply => Ok((
                conn,
                Names {
                    library,
                    number: text(&reply),
                },
            )),
        }
    }

    /// Loads the library. Returns the number that it was given, or the store's error.
    fn load(&mut self, library: &Library) -> Result<Value> {
        let number = random::id()?;
        let load = cmd("FUNCTION")
            .arg("LOAD")
            .arg(library.text(&number))
            .to_owned();
        Ok(match self.ask(&load)? {
            error @ Value::ServerError(_) => error,
            _ => Value::BulkString(number.into_bytes()),
        })
    }

    /// Sends a command outside of all pipelines, and reads its reply.
    pub fn ask(&mut self, command: &Cmd) -> Result<Value> {
        self.send(&command.get_packed_command())?;
        self.read(Until::prompt()).map_err(|ended| match ended {
            Ended::Failed(e) => e,
            _ => Error::Unreachable("the store does not answer".into()),
        })
    }

    /// Ends a broken connection of this client that the server still believes in. Its id may be another client's by now: a
    /// server that was restarted counts from the beginning.
    pub fn kill(&mut self, id: i64, name: &str) -> Result<()> {
        let who = self.ask(cmd("CLIENT").arg("LIST").arg("ID").arg(id))?;
        let is_ours = |who: &Value| {
            text(who)
                .split_ascii_whitespace()
                .any(|field| field.strip_prefix("name=") == Some(name))
        };
        // If the user may not ask for the name, it is killed: a wait that takes an item for nobody would be worse.
        if matches!(who, Value::ServerError(_)) || is_ours(&who) {
            self.ask(cmd("CLIENT").arg("KILL").arg("ID").arg(id))?;
        }
        Ok(())
    }

    fn greeted(endpoint: &Endpoint, place: &NodeAddr, more: &[Cmd]) -> Result<(Self, Vec<Value>)> {
        let stream = Stream::connect(place).map_err(|e| unreachable_store(place, &e))?;
        let mut conn = Self {
            stream,
            held: Vec::new(),
            replies: Replies::default(),
            was_quick: [true; 2],
            id: 0,
        };
        let mut greeting = Vec::new();
        if let Some(password) = &endpoint.password {
            let mut auth = cmd("AUTH");
            if let Some(user) = &endpoint.user {
                auth.arg(user);
            }
            greeting.push(auth.arg(password).to_owned());
        }
        if endpoint.db != 0 {
            greeting.push(cmd("SELECT").arg(endpoint.db).to_owned());
        }
        greeting.push(cmd("CLIENT").arg("ID").to_owned());
        let packed: Vec<u8> = greeting
            .iter()
            .chain(more)
            .flat_map(Cmd::get_packed_command)
            .collect();
        // A store that refuses the connection says why, and closes it before it has read the greeting.
        if let Err(e) = conn.send(&packed)
            && !matches!(
                e.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
            )
        {
            return Err(e.into());
        }
        for _ in &greeting {
            if let Value::Int(id) = conn.greet(place)? {
                conn.id = id;
            }
        }
        let replies = more
            .iter()
            .map(|_| conn.reply(place))
            .collect::<Result<Vec<_>>>()?;
        tracing::debug!(%place, connection = conn.id, "connected");
        Ok((conn, replies))
    }

    /// A reply to the greeting, which must not be an error.
    fn greet(&mut self, place: &NodeAddr) -> Result<Value> {
        match self.reply(place)? {
            value if refusal(&value).is_some() => Err(unreachable_store(
                place,
                &io::Error::other(match reply_text(&value) {
                    full if full.contains(TOO_MANY_CLIENTS) => {
                        format!("{full}: raise its maxclients, or have fewer processes")
                    }
                    other => other,
                }),
            )),
            Value::ServerError(e) => {
                let said = e.details().unwrap_or(e.code());
                let advice = if is_of_a_proxy(&reply_text(&Value::ServerError(e.clone()))) {
                    format!("; {OWN_ADDRESS}")
                } else {
                    String::new()
                };
                Err(Error::Refused(format!(
                    "the store at {place} ({VARIABLE}) refuses the connection: {said}{advice}"
                )))
            }
            value => Ok(value),
        }
    }

    fn reply(&mut self, place: &NodeAddr) -> Result<Value> {
        let until = Until {
            deadline: Some(Instant::now() + CONNECT_TIMEOUT),
            ..Until::default()
        };
        match self.read(until) {
            Ok(value) => Ok(value),
            Err(Ended::Failed(Error::Io(e))) if !place.is_tls() && is_no_reply(&e) => {
                Err(unreachable_store(
                    place,
                    &io::Error::other(format!(
                        "it does not answer as a store; where it speaks TLS, use rediss:// ({e})"
                    )),
                ))
            }
            Err(Ended::Failed(Error::Io(e))) if self.id == 0 => Err(unreachable_store(
                place,
                &io::Error::other(format!(
                    "it closed the connection and said nothing ({e}); {OWN_ADDRESS}"
                )),
            )),
            Err(Ended::Failed(Error::Io(e))) => Err(unreachable_store(place, &e)),
            Err(Ended::Failed(e)) => Err(e),
            Err(_) => Err(unreachable_store(place, &io::ErrorKind::TimedOut.into())),
        }
    }

    /// Keeps a command that is written with the next one, or before the next reply is read.
    pub fn hold(&mut self, packed: &[u8]) -> io::Result<()> {
        self.held.extend_from_slice(packed);
        if self.held.len() < MOST_HELD {
            return Ok(());
        }
        self.send(&[])
    }

    /// Writes all of it. A server reads what it is sent, so only its death or a full network makes this wait.
    pub fn send(&mut self, packed: &[u8]) -> io::Result<()> {
        if self.held.is_empty() {
            return self.write(packed);
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(packed);
        let written = self.write(&all);
        all.clear();
        self.held = all;
        written
    }

    fn write(&mut self, packed: &[u8]) -> io::Result<()> {
        let mut rest = packed;
        loop {
            // TLS takes a whole record before it writes it: the rest is then in its buffer.
            let result = if rest.is_empty() {
                self.stream.flush()
            } else {
                self.stream.write(rest).map(|n| rest = &rest[n..])
            };
            match result {
                Ok(()) if rest.is_empty() && self.stream.is_flushed() => return Ok(()),
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // Signals are checked when the whole command is on its way.
                    let mut fds = [PollFd::new(self.stream.fd(), PollFlags::POLLOUT)];
                    if poll(&mut fds, 60_000u16) == Ok(0) {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads the next reply. After an end that is not a failure of the stream, the same reply can be read later.
    pub fn read(&mut self, until: Until<'_>) -> std::result::Result<Value, Ended> {
        if !self.held.is_empty() {
            self.send(&[]).map_err(|e| Ended::Failed(e.into()))?;
        }
        let mut reader = InterruptibleReader {
            stream: &mut self.stream,
            was_quick: &mut self.was_quick[usize::from(until.deadline.is_none())],
            until,
            ended: None,
        };
        match self.replies.next(&mut reader) {
            Ok(value) => Ok(value),
            Err(e) => Err(reader.ended.unwrap_or_else(|| {
                Ended::Failed(Error::Io(io::Error::new(io::ErrorKind::ConnectionReset, e)))
            })),
        }
    }
}

fn reply_text(value: &Value) -> String {
    match value {
        Value::ServerError(e) => format!("{} {}", e.code(), e.details().unwrap_or_default()),
        value => text(value),
    }
}

/// Whether a refusal is that of a proxy, which knows only a part of the commands.
fn is_of_a_proxy(refusal: &str) -> bool {
    let refusal = refusal.to_ascii_lowercase();
    ["unsupported command", "unknown command", "invalid request"]
        .iter()
        .any(|words| refusal.contains(words))
}

/// Whether the received bytes are no reply of a store.
fn is_no_reply(e: &io::Error) -> bool {
    e.get_ref()
        .and_then(|e| e.downcast_ref::<io::Error>())
        .is_some_and(|e| e.kind() == io::ErrorKind::InvalidData)
}

fn unreachable_store(place: &NodeAddr, e: &io::Error) -> Error {
    Error::Unreachable(format!(
        "cannot reach the store at {place} ({VARIABLE}): {e}"
    ))
}
