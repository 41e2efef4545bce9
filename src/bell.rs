//! A file descriptor that tells when a channel has something to take.
//!
//! It is the read end of a pipe, with a byte in it while there is. A thread peeks at the channel, with a blocking
//! command that takes nothing, whenever it is not known that there is something.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe, read, write};
use redis::Value;

use crate::conn::Until;
use crate::error::Result;
use crate::keys;
use crate::link::Outcome;
use crate::process::{Args, Process};

pub struct Bell {
    shared: Arc<Shared>,
    stop_write: OwnedFd,
}

struct Shared {
    read: OwnedFd,
    write: OwnedFd,
    stop: OwnedFd,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rung: bool,
    /// Whether the thread should peek.
    armed: bool,
    closed: bool,
}

impl Bell {
    pub fn new(p: &'static Process, id: String, end: u8) -> Result<Self> {
        let (read, write) = pipe()?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let (stop, stop_write) = pipe()?;
        let shared = Arc::new(Shared {
            read,
            write,
            stop,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let theirs = shared.clone();
        std::thread::Builder::new()
            .name("serverless_mp-bell".into())
            .stack_size(256 << 10)
            .spawn(move || theirs.watch(p, &id, end))?;
        Ok(Self { shared, stop_write })
    }

    pub fn fd(&self) -> i32 {
        self.shared.read.as_raw_fd()
    }

    /// What was just seen of the channel.
    pub fn set(&self, ready: bool) {
        let mut state = self.shared.state.lock().expect("no panic under this lock");
        if ready {
            self.shared.ring(&mut state);
        } else {
            self.shared.hush(&mut state);
        }
    }

    /// Something was taken: whether there is more is for the thread to see.
    pub fn rearm(&self) {
        self.set(false);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.shared
            .state
            .lock()
            .expect("no panic under this lock")
            .closed = true;
        self.shared.changed.notify_all();
        let _ = write(&self.stop_write, b"x");
    }
}

impl Shared {
    fn ring(&self, state: &mut State) {
        state.armed = false;
        if !state.rung && write(&self.write, b"x").is_ok() {
            state.rung = true;
        }
    }

    fn hush(&self, state: &mut State) {
        if state.rung {
            let _ = read(&self.read, &mut [0; 8]);
            state.rung = false;
        }
        state.armed = true;
        self.changed.notify_all();
    }

    fn watch(&self, p: &Process, id: &str, end: u8) {
        let key = keys::items(&p.key(id), end);
        loop {
            {
                let mut state = self.state.lock().expect("no panic under this lock");
                while !state.armed && !state.closed {
                    state = self.changed.wait(state).expect("no panic under this lock");
                }
                if state.closed {
                    return;
                }
            }
            let until = Until {
                wake: Some(self.stop.as_fd()),
                ..Until::default()
            };
            let outcome = p.block(
                vec![key.clone(), key.clone()],
                &Args(&[b"BLMOVE", b"LEFT", b"LEFT", b"0"]),
                until,
            );
            let mut state = self.state.lock().expect("no panic under this lock");
            match outcome {
                Ok(Outcome::Again | Outcome::Reply(Value::Nil)) => {}
                Ok(Outcome::Reply(_)) if state.armed => self.ring(&mut state),
                Ok(Outcome::Reply(_)) => {}
                // Closed, or the session is gone: then a reader must not sleep.
                Ok(Outcome::Stopped(..)) | Err(_) => {
                    if !state.closed {
                        self.ring(&mut state);
                    }
                    return;
                }
            }
        }
    }
}
