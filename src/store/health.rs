//! Whether a session can go on: until it is closed or lost, or until its store has not answered for as long as its lease.
//!
//! An outage is that of the process, no matter which thread notices it. It begins with the first failure, ends with the first
//! reply, and is reported after some seconds. When it has lasted as long as the lease, the session is lost for all threads.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, OnceLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::locked::Locked;
use crate::logging;
use crate::store::endpoint::{Endpoint, NodeAddr, VARIABLE};

/// After how long an outage is reported.
const REPORT_AFTER: Duration = Duration::from_secs(5);

/// The errors that refuse only writes.
const NO_WRITES: [&str; 3] = ["READONLY", "MISCONF", "NOREPLICAS"];

/// How long a private store, which has no leases, may be silent.
const PRIVATE_STORE_SILENCE_LIMIT: Duration = Duration::from_secs(30);

pub struct Health {
    session: String,
    /// The address of the store, for messages.
    place: String,
    /// The socket of a private store, which is never restarted.
    socket: Option<PathBuf>,
    /// How long to wait for a store that does not answer.
    limit: Duration,
    /// Whether this process reports outages: only the program does, since its workers wait as it does.
    reports_outages: bool,
    closed: AtomicBool,
    /// The thread that ends the process.
    ended_by: OnceLock<ThreadId>,
    /// Set once the session was found gone, with the text of the error.
    lost: Mutex<Option<String>>,
    is_out: AtomicBool,
    outage: Mutex<Option<Outage>>,
    /// Signalled at the end of an outage, or of the session.
    recovered: Condvar,
}

/// The state of an outage.
struct Outage {
    begin: Instant,
    is_reported: bool,
    /// Whether the store answers, but takes no writes.
    takes_no_writes: bool,
}

impl Health {
    /// `ttl` is that of the session's keys in ms; 0 in a private store.
    pub fn new(session: &str, endpoint: &Endpoint, ttl: u64, reports_outages: bool) -> Self {
        let place = &endpoint.first[0];
        let socket = match place {
            NodeAddr::Unix(path) if ttl == 0 => Some(path.clone()),
            _ => None,
        };
        Self {
            session: session.to_owned(),
            place: place.to_string(),
            socket,
            limit: if ttl > 0 {
                Duration::from_millis(ttl)
            } else {
                PRIVATE_STORE_SILENCE_LIMIT
            },
            reports_outages,
            closed: AtomicBool::new(false),
            ended_by: OnceLock::new(),
            lost: Mutex::default(),
            is_out: AtomicBool::new(false),
            outage: Mutex::default(),
            recovered: Condvar::new(),
        }
    }

    /// An error if the session is over.
    pub fn check(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::State("the session has ended".into()));
        }
        self.lost
            .locked()
            .as_ref()
            .map_or(Ok(()), |why| Err(Error::SessionLost(why.clone())))
    }

    /// Ends this process' use of the session.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// This thread ends the process, which gives up all that it holds: what other threads send comes too late.
    pub fn end_process(&self) {
        let _ = self.ended_by.set(thread::current().id());
    }

    pub fn is_ending(&self) -> bool {
        self.ended_by.get().is_some()
    }

    /// An error if another thread ends the process.
    pub fn goes_on(&self) -> Result<()> {
        match self.ended_by.get() {
            Some(ender) if *ender != thread::current().id() => Err(Error::Ending),
            _ => Ok(()),
        }
    }

    /// Marks the session as gone: waits end with this error.
    pub fn set_lost(&self, why: &str) {
        self.lost
            .locked()
            .get_or_insert_with(|| format!("session {}: {why}", self.session));
        // The heartbeat, once woken, ends a worker.
        self.wake();
    }

    /// Whether the store does not answer.
    pub fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Acquire)
    }

    /// Notes that the store has answered. A store that took no writes has recovered only when it has taken one.
    pub fn answered(&self, is_write: bool) {
        if !self.is_out.load(Ordering::Acquire) {
            return;
        }
        let mut outage = self.outage.locked();
        if is_write || outage.as_ref().is_none_or(|outage| !outage.takes_no_writes) {
            *outage = None;
            self.is_out.store(false, Ordering::Release);
            self.wake();
        }
    }

    /// Wakes sleeping threads.
    pub fn wake(&self) {
        self.recovered.notify_all();
    }

    /// Sleeps for a time, or until it is woken; then it returns true.
    pub fn sleep(&self, time: Duration) -> bool {
        let outage = self.outage.locked();
        // A spurious wake-up does no harm.
        let slept = self.recovered.wait_timeout(outage, time);
        slept.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }

    /// Notes that the store has not answered, or has only answered that it cannot do its work. An error once that has lasted
    /// as long as the session's lease.
    pub fn silent(&self, why: &Error) -> Result<()> {
        self.check()?;
        let mut outage = self.outage.locked();
        self.is_out.store(true, Ordering::Release);
        let outage = outage.get_or_insert_with(|| Outage {
            begin: Instant::now(),
            is_reported: false,
            takes_no_writes: false,
        });
        outage.takes_no_writes |=
            matches!(why, Error::Store(text) if NO_WRITES.iter().any(|code| text.contains(code)));
        let lasts = outage.begin.elapsed();
        let is_gone = self.socket.as_deref().is_some_and(is_gone);
        if lasts >= self.limit || is_gone {
            self.set_lost(&match why {
                Error::Store(text) => format!("the store cannot do its work ({text})"),
                Error::Unreachable(text) => format!("the store does not answer ({text})"),
                _ => "the store does not answer".to_owned(),
            });
            return self.check();
        }
        if lasts >= REPORT_AFTER && !outage.is_reported && self.reports_outages {
            outage.is_reported = true;
            let what = match why {
                Error::Store(text) => format!("cannot do its work ({text}) since"),
                _ => "has not answered for".to_owned(),
            };
            let because = match why {
                Error::Unreachable(text) => format!(" ({text})"),
                _ => String::new(),
            };
            logging::report(&format!(
                "serverless_mp: the store at {} ({VARIABLE}) {what} {} s; waiting for it, for {} s in all{because}",
                self.place,
                lasts.as_secs(),
                self.limit.as_secs(),
            ));
        }
        Ok(())
    }
}

/// Whether nobody listens at the socket of a private store, which is never restarted. A busy store still takes connections.
fn is_gone(socket: &Path) -> bool {
    let refused =
        |e: std::io::Error| matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
    UnixStream::connect(socket).is_err_and(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(ttl: u64) -> Health {
        let endpoint = Endpoint::parse("redis://host").unwrap();
        Health::new("session", &endpoint, ttl, false)
    }

    #[test]
    fn an_outage_ends_with_a_reply() {
        let health = health(60_000);
        health.silent(&Error::Eof).unwrap();
        assert!(health.is_out());
        health.answered(false);
        assert!(!health.is_out());
        health.check().unwrap();
    }

    #[test]
    fn a_store_that_takes_no_writes_recovers_by_one() {
        let health = health(60_000);
        health.silent(&Error::Store("READONLY".into())).unwrap();
        health.answered(false);
        assert!(health.is_out());
        health.answered(true);
        assert!(!health.is_out());
    }

    #[test]
    fn the_end_of_an_outage_wakes_a_sleeper() {
        let health = std::sync::Arc::new(health(60_000));
        health.silent(&Error::Eof).unwrap();
        let sleeper = health.clone();
        let asleep = std::thread::spawn(move || sleeper.sleep(Duration::from_secs(3600)));
        while !asleep.is_finished() {
            health.answered(false);
            health.silent(&Error::Eof).unwrap();
        }
        asleep.join().unwrap();
    }

    #[test]
    fn one_as_long_as_the_lease_is_the_end() {
        let health = health(1);
        while health.silent(&Error::Eof).is_ok() {
            thread::yield_now();
        }
        let said = health.check().unwrap_err().to_string();
        assert_eq!(
            said,
            "session lost: session session: the store does not answer"
        );
    }

    #[test]
    fn the_socket_of_a_private_store_that_is_gone_is_the_end_at_once() {
        let endpoint = Endpoint::parse("redis+unix:///there/is/no/such.socket").unwrap();
        assert!(
            Health::new("s", &endpoint, 0, false)
                .silent(&Error::Eof)
                .is_err()
        );
        assert!(
            Health::new("s", &endpoint, 1000, false)
                .silent(&Error::Eof)
                .is_ok()
        );
    }

    #[test]
    fn a_closed_session_says_so() {
        let health = health(1000);
        health.close();
        assert_eq!(
            health.check().unwrap_err().to_string(),
            "the session has ended"
        );
    }
}
