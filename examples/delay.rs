//! A proxy that delays what passes: a network between a program and its store, for benchmarks.
//!
//! `delay LISTEN TARGET MICROSECONDS`: UNIX sockets, by path; the delay is that of each way. It prints `ready`, and ends with its
//! standard input. Each connection has one thread, so that some thousand connections are possible.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};
use std::{env, thread};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

/// What a way holds at most, in pieces; then it reads no more until some are written.
const MOST: usize = 64;

/// One way of a connection.
struct Way<'c> {
    from: &'c UnixStream,
    to: &'c UnixStream,
    delay: Duration,
    /// What was read, and when it is to be written.
    pieces: VecDeque<(Instant, Vec<u8>)>,
    /// Whether the receiver takes no more for now.
    is_blocked: bool,
    is_ended: bool,
}

impl<'c> Way<'c> {
    fn new(from: &'c UnixStream, to: &'c UnixStream, delay: Duration) -> Self {
        Self {
            from,
            to,
            delay,
            pieces: VecDeque::new(),
            is_blocked: false,
            is_ended: false,
        }
    }

    fn wants_to_read(&self) -> bool {
        !self.is_ended && self.pieces.len() < MOST
    }

    /// The time until the next piece is due.
    fn wait(&self) -> Option<Duration> {
        let (due, _) = self.pieces.front().filter(|_| !self.is_blocked)?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn read(&mut self, buffer: &mut [u8]) {
        match self.from.read(buffer) {
            Ok(n @ 1..) => {
                let due = Instant::now() + self.delay;
                self.pieces.push_back((due, buffer[..n].to_vec()));
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => self.is_ended = true,
        }
    }

    /// Writes what is due.
    fn write(&mut self) -> io::Result<()> {
        self.is_blocked = false;
        while let Some((due, piece)) = self.pieces.front_mut() {
            if *due > Instant::now() {
                break;
            }
            match self.to.write(piece) {
                Ok(n) if n == piece.len() => drop(self.pieces.pop_front()),
                Ok(n) => drop(piece.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Carries both ways of a connection until one ends.
fn carry(here: &UnixStream, there: &UnixStream, delay: Duration) -> io::Result<()> {
    here.set_nonblocking(true)?;
    there.set_nonblocking(true)?;
    let mut ways = [Way::new(here, there, delay), Way::new(there, here, delay)];
    let mut buffer = vec![0; 1 << 16];
    while !ways.iter().any(|way| way.is_ended && way.pieces.is_empty()) {
        let flags = |read: &Way<'_>, write: &Way<'_>| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, read.wants_to_read());
            flags.set(PollFlags::POLLOUT, write.is_blocked);
            flags
        };
        let mut fds = [
            PollFd::new(here.as_fd(), flags(&ways[0], &ways[1])),
            PollFd::new(there.as_fd(), flags(&ways[1], &ways[0])),
        ];
        let wait = ways.iter().filter_map(Way::wait).min();
        ppoll(&mut fds, wait.map(TimeSpec::from), None)?;
        let is_ready = fds.map(|fd| fd.any().unwrap_or(false));
        for (way, is_ready) in ways.iter_mut().zip(is_ready) {
            if is_ready && way.wants_to_read() {
                way.read(&mut buffer);
            }
        }
        for way in &mut ways {
            way.write()?;
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let [_, listen, target, microseconds] = &arguments[..] else {
        panic!("usage: delay LISTEN TARGET MICROSECONDS");
    };
    let delay = Duration::from_micros(microseconds.parse().expect("a number of microseconds"));
    let listener = UnixListener::bind(listen)?;
    println!("ready");
    let target = target.clone();
    thread::spawn(move || {
        for here in listener.incoming().flatten() {
            let Ok(there) = UnixStream::connect(&target) else {
                continue;
            };
            thread::spawn(move || {
                let _ = carry(&here, &there, delay);
                let _ = here.shutdown(Shutdown::Both);
                let _ = there.shutdown(Shutdown::Both);
            });
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}
