//! A file descriptor that is readable while a channel has something to take.
//!
//! The descriptor is the read end of a pipe, which has a byte in it while the channel has something. While that is not known,
//! a thread peeks at the channel with a blocking command that takes nothing.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, Weak};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read, write};
use redis::Value;

use crate::error::Result;
use crate::locked::{Locked, Sound};
use crate::objects::length;
use crate::store::client::Client;
use crate::store::conn::Until;
use crate::store::keys;
use crate::store::thread_client::Outcome;
use crate::store::threads;

pub struct ReadinessFd {
    client: &'static Client,
    shared: Arc<Watched>,
    stop_write: OwnedFd,
}

/// The readiness descriptors of a process.
#[derive(Default)]
pub struct ReadinessFds(Mutex<Vec<Weak<Watched>>>);

struct Watched {
    id: String,
    end: u8,
    read: OwnedFd,
    write: OwnedFd,
    stop: OwnedFd,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_signalled: bool,
    /// How often it was signalled: a look before the last signal that found nothing does not count.
    signals: u64,
    /// Whether the thread should peek.
    armed: bool,
    /// How often it was armed: a look before the last time does not count.
    epoch: u64,
    closed: bool,
}

impl ReadinessFds {
    /// Signals the descriptors whose channels have something by now, without waiting for their threads: the end of a process
    /// must not be seen before what it has sent.
    pub fn catch_up(&self, client: &Client) {
        let readiness_fds: Vec<_> = {
            let mut known = self.0.locked();
            known.retain(|readiness| readiness.strong_count() > 0);
            known.iter().filter_map(Weak::upgrade).collect()
        };
        for readiness in readiness_fds {
            while let Some(epoch) = readiness.armed()
                // If the store cannot be asked, the descriptor's own thread does it.
                && let Ok((n, eof)) = length::ask(client, &readiness.id, readiness.end)
                && (n > 0 || eof)
                && !readiness.signal_if(epoch)
            {}
        }
    }
}

impl ReadinessFd {
    pub fn new(
        readiness_fds: &ReadinessFds,
        client: &'static Client,
        id: String,
        end: u8,
    ) -> Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let (stop, stop_write) = pipe2(OFlag::O_CLOEXEC)?;
        let shared = Arc::new(Watched {
            id,
            end,
            read,
            write,
            stop,
            // Armed from the beginning, so that nothing is missed.
            state: Mutex::new(State {
                armed: true,
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        let mut readiness_fds = readiness_fds.0.locked();
        readiness_fds.retain(|readiness| readiness.strong_count() > 0);
        readiness_fds.push(Arc::downgrade(&shared));
        drop(readiness_fds);
        let theirs = shared.clone();
        threads::spawn("serverless_mp-readiness", 256 << 10, move || {
            theirs.watch(client);
        })?;
        Ok(Self {
            client,
            shared,
            stop_write,
        })
    }

    pub fn fd(&self) -> i32 {
        self.shared.read.as_raw_fd()
    }

    /// False in a child of the program's own `fork()`: there the pipe and the thread are the parent's.
    pub fn is_current(&self) -> bool {
        self.client.is_current()
    }

    /// Notes that something was taken: the thread looks whether there is more.
    pub fn taken(&self) {
        if self.is_current() {
            let mut state = self.shared.state.locked();
            self.shared.clear(&mut state);
        }
    }

    /// How often the descriptor was signalled: to be read before a look at the channel.
    pub fn signals(&self) -> u64 {
        if !self.is_current() {
            return 0;
        }
        let state = self.shared.state.locked();
        state.signals
    }

    /// Records a look at the channel: whether it was ready, and how often the descriptor had been signalled before.
    pub fn seen(&self, ready: bool, signals: u64) {
        if !self.is_current() {
            return;
        }
        let mut state = self.shared.state.locked();
        if ready {
            self.shared.signal(&mut state);
        } else if state.signals == signals {
            self.shared.clear(&mut state);
        }
    }
}

impl Drop for ReadinessFd {
    fn drop(&mut self) {
        if !self.is_current() {
            return;
        }
        self.shared.state.locked().closed = true;
        self.shared.changed.notify_all();
        let _ = write(&self.stop_write, b"x");
    }
}

impl Watched {
    fn signal(&self, state: &mut State) {
        state.armed = false;
        state.signals += 1;
        if !state.is_signalled && write(&self.write, b"x").is_ok() {
            state.is_signalled = true;
        }
    }

    fn clear(&self, state: &mut State) {
        if state.is_signalled {
            let _ = read(&self.read, &mut [0; 8]);
            state.is_signalled = false;
        }
        state.armed = true;
        state.epoch += 1;
        self.changed.notify_all();
    }

    /// The epoch in which it is armed; None if it is not.
    fn armed(&self) -> Option<u64> {
        let state = self.state.locked();
        (state.armed && !state.closed).then_some(state.epoch)
    }

    /// Signals that there was something to take. False if it may have been taken since.
    fn signal_if(&self, epoch: u64) -> bool {
        let mut state = self.state.locked();
        let is_still = state.armed && state.epoch == epoch;
        if is_still {
            self.signal(&mut state);
        }
        is_still
    }

    fn watch(&self, client: &Client) {
        let key = keys::items(&client.key(&self.id), self.end);
        loop {
            let epoch = {
                let mut state = self.state.locked();
                while !state.armed && !state.closed {
                    state = self.changed.wait(state).sound();
                }
                if state.closed {
                    return;
                }
                state.epoch
            };
            let until = Until {
                wake_fd: Some(self.stop.as_fd()),
                ..Until::default()
            };
            let peek = client.take_head(key.clone(), key.clone(), None);
            match peek.block(until) {
                // In a cluster, the list may have moved, with items that came meanwhile.
                Ok(Outcome::Again | Outcome::Reply(Value::Nil)) => {
                    if matches!(length::ask(client, &self.id, self.end), Ok((n, eof)) if n > 0 || eof)
                    {
                        self.signal_if(epoch);
                    }
                }
                Ok(Outcome::Reply(_)) => {
                    self.signal_if(epoch);
                }
                // Closed, or the store does not answer: a reader must not sleep. The store may answer again.
                Ok(Outcome::Stopped(..)) | Err(_) => {
                    let mut state = self.state.locked();
                    if !state.closed {
                        self.signal(&mut state);
                    }
                    if client.healthy().is_err() {
                        return;
                    }
                }
            }
        }
    }
}
