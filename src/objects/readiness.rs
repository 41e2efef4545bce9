//! A file descriptor that is readable while a channel has something to take.
//!
//! The descriptor is the read end of a pipe, which has a byte in it while the channel has something. While that is not known,
//! the descriptor is *armed*, and a thread watches the channel (`bells`).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read, write};

use crate::error::Result;
use crate::locked::{Locked, Sound};
use crate::store::client::Client;
use crate::store::conn::TICK;

pub struct ReadinessFd {
    client: &'static Client,
    watched: Arc<Watched>,
}

/// One end of a pipe that has a descriptor.
pub struct Watched {
    pub id: String,
    pub end: u8,
    read: OwnedFd,
    write: OwnedFd,
    state: Mutex<State>,
    errands: Arc<Errands>,
}

struct State {
    is_signalled: bool,
    /// How often it was signalled: a look before the last signal that found nothing does not count.
    signals: u64,
    is_armed: bool,
    /// When it was armed, on the clock of this process: a look before that does not count.
    epoch: u64,
    is_closed: bool,
}

/// What the thread is to do: to watch armed ends, and to say when it has heard all bells that have rung so far.
pub struct Errands {
    ends: Mutex<Vec<Arc<Watched>>>,
    hearings: Mutex<Hearings>,
    answered: Condvar,
    /// Wakes the thread.
    wake: OwnedFd,
    wakes: OwnedFd,
}

#[derive(Default)]
struct Hearings {
    asked: u64,
    answered: u64,
}

/// A pipe whose read end does not block.
fn flag() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read, write))
}

fn next_epoch() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

impl Errands {
    pub fn new() -> Result<Self> {
        let (wakes, wake) = flag()?;
        Ok(Self {
            ends: Mutex::default(),
            hearings: Mutex::default(),
            answered: Condvar::new(),
            wake,
            wakes,
        })
    }

    /// Readable while there is something to do.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.wakes.as_fd()
    }

    pub fn add(&self, end: Arc<Watched>) {
        let mut ends = self.ends.locked();
        if ends.is_empty() {
            self.wake();
        }
        ends.push(end);
    }

    pub fn wake(&self) {
        // The pipe has room: the thread empties it.
        let _ = write(&self.wake, b"x");
    }

    /// For the thread: the ends to be watched, and the number of the last hearing that was asked for.
    pub fn take(&self) -> (Vec<Arc<Watched>>, u64) {
        let _ = read(&self.wakes, &mut [0; 64]);
        let asked = self.hearings.locked().asked;
        (std::mem::take(&mut *self.ends.locked()), asked)
    }

    /// Asks the thread to say when it has heard all bells that have rung so far, and has looked at the ends for which none could
    /// ring. Returns the number of this hearing.
    pub fn ask(&self) -> u64 {
        let mut hearings = self.hearings.locked();
        hearings.asked += 1;
        self.wake();
        hearings.asked
    }

    /// Waits until the thread has said so.
    pub fn wait(&self, mine: u64, check: impl Fn() -> Result<()>) -> Result<()> {
        let mut hearings = self.hearings.locked();
        while hearings.answered < mine {
            drop(hearings);
            check()?;
            let waiting = self.hearings.locked();
            let wait = self
                .answered
                .wait_timeout_while(waiting, TICK, |now| now.answered < mine);
            hearings = wait.sound().0;
        }
        Ok(())
    }

    /// For the thread: it ends, and nobody waits for it any more.
    pub fn end(&self) {
        let asked = self.hearings.locked().asked;
        self.heard(asked);
    }

    /// For the thread: all bells that had rung at this hearing were heard.
    pub fn heard(&self, hearing: u64) {
        let mut hearings = self.hearings.locked();
        hearings.answered = hearings.answered.max(hearing);
        self.answered.notify_all();
    }
}

impl ReadinessFd {
    pub fn new(
        client: &'static Client,
        id: String,
        end: u8,
        errands: Arc<Errands>,
    ) -> Result<Self> {
        let (read, write) = flag()?;
        let watched = Arc::new(Watched {
            id,
            end,
            read,
            write,
            // Armed from the beginning, so that nothing is missed.
            state: Mutex::new(State {
                is_signalled: false,
                signals: 0,
                is_armed: true,
                epoch: next_epoch(),
                is_closed: false,
            }),
            errands,
        });
        watched.errands.add(watched.clone());
        Ok(Self { client, watched })
    }

    pub fn watched(&self) -> Weak<Watched> {
        Arc::downgrade(&self.watched)
    }

    pub fn fd(&self) -> i32 {
        self.watched.read.as_raw_fd()
    }

    /// False in a child of the program's own `fork()`: there the pipe and the thread are the parent's.
    pub fn is_current(&self) -> bool {
        self.client.is_current()
    }

    /// Notes that something was taken: the thread looks whether there is more.
    pub fn taken(&self) {
        if self.is_current() {
            self.watched.arm(&mut self.watched.state.locked());
        }
    }

    /// Whether it is not known that there is something to take.
    pub fn is_armed(&self) -> bool {
        self.watched.armed().is_some()
    }

    /// How often the descriptor was signalled: to be read before a look at the channel.
    pub fn signals(&self) -> u64 {
        if !self.is_current() {
            return 0;
        }
        self.watched.state.locked().signals
    }

    /// Records a look at the channel: whether it was ready, and how often the descriptor had been signalled before.
    pub fn seen(&self, is_ready: bool, signals: u64) {
        if !self.is_current() {
            return;
        }
        let mut state = self.watched.state.locked();
        if is_ready {
            self.watched.signal_in(&mut state);
        } else if !state.is_armed && state.signals == signals {
            self.watched.arm(&mut state);
        }
    }
}

impl Drop for ReadinessFd {
    fn drop(&mut self) {
        if self.is_current() {
            self.watched.state.locked().is_closed = true;
        }
    }
}

impl Watched {
    fn signal_in(&self, state: &mut State) {
        state.is_armed = false;
        state.signals += 1;
        if !state.is_signalled && write(&self.write, b"x").is_ok() {
            state.is_signalled = true;
        }
    }

    fn arm(self: &Arc<Self>, state: &mut State) {
        if state.is_signalled {
            let _ = read(&self.read, &mut [0; 8]);
            state.is_signalled = false;
        }
        state.is_armed = true;
        state.epoch = next_epoch();
        self.errands.add(self.clone());
    }

    /// The epoch in which it is armed; None if it is not.
    pub fn armed(&self) -> Option<u64> {
        let state = self.state.locked();
        (state.is_armed && !state.is_closed).then_some(state.epoch)
    }

    pub fn signal(&self) {
        let mut state = self.state.locked();
        if !state.is_closed {
            self.signal_in(&mut state);
        }
    }

    /// Signals that there was something to take in this epoch. False if it may have been taken since.
    pub fn signal_if(&self, epoch: u64) -> bool {
        let mut state = self.state.locked();
        let is_still = state.is_armed && state.epoch == epoch;
        if is_still {
            self.signal_in(&mut state);
        }
        is_still
    }
}
