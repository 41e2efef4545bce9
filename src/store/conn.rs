//! One connection to one node of the store: packed commands out, replies in.
//!
//! A wait is a command like any other here, only that its reply may take for ever. So the stream is ours: it is
//! non-blocking, and where a reply is not there yet we `poll(2)` it together with a wake descriptor, and look at
//! the program's signals. redis-rs' own connection would discard a reply that comes after a read time-out, and
//! that reply is an item which the server has already taken from the queue.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use redis::{Cmd, Parser, Value, cmd};

use crate::error::{Error, Result};
use crate::signals;
use crate::store::endpoint::{CONNECT_TIMEOUT, Endpoint, NodeAddr, Stream, VARIABLE};

/// How often a waiting thread looks at signals that another thread received, and at the session's health.
pub const TICK: Duration = Duration::from_millis(100);

/// How long a reply is looked for before the thread sleeps: about as long as waking it up again would take.
const SPIN: Duration = Duration::from_micros(50);

pub struct Conn {
    stream: Stream,
    parser: Parser,
    /// The server's id of this connection: `CLIENT UNBLOCK` and `CLIENT KILL` want it.
    pub id: i64,
}

/// The conditions that end a read before its reply.
#[derive(Clone, Copy, Default)]
pub struct Until<'a> {
    pub deadline: Option<Instant>,
    pub wake_fd: Option<BorrowedFd<'a>>,
    /// A look at the world every [`TICK`]: `Err` ends the wait.
    pub on_tick: Option<&'a dyn Fn() -> Result<()>>,
    /// Leaves signals for later.
    pub defer_signals: bool,
}

impl Until<'_> {
    /// For a reply that comes at once and must not be missed, whatever signal arrives.
    pub fn prompt() -> Self {
        Self {
            deadline: Some(Instant::now() + CONNECT_TIMEOUT),
            defer_signals: true,
            ..Self::default()
        }
    }
}

/// Why a wait ended without its reply.
pub enum Ended {
    Deadline,
    Woken,
    Failed(Error),
}

/// A reader that waits as [`Until`] says, and remembers why it stopped: the parser only passes on an I/O error.
struct InterruptibleReader<'a> {
    stream: &'a mut Stream,
    until: Until<'a>,
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
                other => return other,
            }
            if began.elapsed() < SPIN {
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

/// Waits until `fd` is ready, or until one of the ends that `until` names.
pub fn ready(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    until: &Until<'_>,
) -> std::result::Result<(), Ended> {
    loop {
        let mut slice = TICK;
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
    /// Connects, logs in and asks for the connection's id.
    pub fn open(endpoint: &Endpoint, place: &NodeAddr) -> Result<Self> {
        let stream = Stream::connect(place).map_err(|e| unreachable_store(place, &e))?;
        let mut conn = Self {
            stream,
            parser: Parser::new(),
            id: 0,
        };
        if let Some(password) = &endpoint.password {
            let mut auth = cmd("AUTH");
            if let Some(user) = &endpoint.user {
                auth.arg(user);
            }
            conn.greet(auth.arg(password), place)?;
        }
        if endpoint.db != 0 {
            conn.greet(cmd("SELECT").arg(endpoint.db), place)?;
        }
        if let Value::Int(id) = conn.greet(cmd("CLIENT").arg("ID"), place)? {
            conn.id = id;
        }
        tracing::debug!(%place, connection = conn.id, "connected");
        Ok(conn)
    }

    fn greet(&mut self, command: &Cmd, place: &NodeAddr) -> Result<Value> {
        let until = Until {
            deadline: Some(Instant::now() + CONNECT_TIMEOUT),
            ..Until::default()
        };
        self.send(&command.get_packed_command())?;
        match self.read(until) {
            Ok(Value::ServerError(e)) => Err(Error::Refused(format!(
                "the store at {place} ({VARIABLE}) refuses the connection: {}",
                e.details().unwrap_or(e.code())
            ))),
            Ok(value) => Ok(value),
            Err(Ended::Failed(Error::Io(e))) if !place.is_tls() && is_no_reply(&e) => {
                Err(unreachable_store(
                    place,
                    &io::Error::other(format!(
                        "it does not answer as a store; where it speaks TLS, use rediss:// ({e})"
                    )),
                ))
            }
            Err(Ended::Failed(Error::Io(e))) => Err(unreachable_store(place, &e)),
            Err(Ended::Failed(e)) => Err(e),
            Err(_) => Err(unreachable_store(place, &io::ErrorKind::TimedOut.into())),
        }
    }

    /// Writes all of it. A server takes what it is sent, so only its death or a full network makes this wait.
    pub fn send(&mut self, packed: &[u8]) -> io::Result<()> {
        let mut rest = packed;
        loop {
            // TLS takes a whole record before it can write it: then what is left to write is in its buffer.
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
                    // Signals are looked at when the command is on its way as a whole.
                    let mut fds = [PollFd::new(self.stream.fd(), PollFlags::POLLOUT)];
                    if poll(&mut fds, 60_000u16) == Ok(0) {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// The next reply. After an end that is not a failure of the stream the same reply can be read later.
    pub fn read(&mut self, until: Until<'_>) -> std::result::Result<Value, Ended> {
        let mut reader = InterruptibleReader {
            stream: &mut self.stream,
            until,
            ended: None,
        };
        match self.parser.parse_value(&mut reader) {
            Ok(value) => Ok(value),
            Err(e) => Err(reader.ended.unwrap_or_else(|| {
                Ended::Failed(Error::Io(io::Error::new(io::ErrorKind::ConnectionReset, e)))
            })),
        }
    }
}

/// Whether something came that is no reply of a store.
fn is_no_reply(e: &io::Error) -> bool {
    e.get_ref()
        .and_then(|e| e.downcast_ref::<redis::RedisError>())
        .is_some_and(|e| e.kind() == redis::ErrorKind::Parse)
}

fn unreachable_store(place: &NodeAddr, e: &io::Error) -> Error {
    Error::Unreachable(format!(
        "cannot reach the store at {place} ({VARIABLE}): {e}"
    ))
}
