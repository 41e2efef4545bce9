//! Renews the lease of a session, and notices that the session is gone.

#![allow(unsafe_code, reason = "a worker whose session is lost ends at once")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::Value;

use crate::error::Result;
use crate::exit_codes;
use crate::logging;
use crate::objects::process::Process;
use crate::protocol::GONE;
use crate::store::conn::TICK;
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;
use crate::store::threads;

/// How often a private store, which has no leases, is asked whether it still has the session.
const PRIVATE_STORE_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The stack of a thread, in bytes.
const STACK: usize = 256 << 10;

/// How often posted commands with unread replies are looked at. This costs no round trip. As long as there are none, the pause
/// is doubled up to the second time, or a quarter of the time between two questions for the session.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
const IDLE_INTERVAL: Duration = Duration::from_secs(2);

/// After how long it is reported that messages wait for room.
const REPORT_AFTER: Duration = Duration::from_secs(5);

/// Starts the thread that renews the session's lease, in the process that owns it, and notices if the session is gone.
pub fn begin(process: &'static Process) -> Result<()> {
    let mut heartbeat = Heartbeat {
        process,
        pause: CHECK_INTERVAL,
        posts: HashMap::new(),
        full_since: None,
        checked: Instant::now(),
        renewed: Instant::now(),
    };
    threads::spawn(
        "serverless_mp-heartbeat",
        STACK,
        move || {
            while heartbeat.tick() {}
        },
    )
}

struct Heartbeat {
    process: &'static Process,
    /// The pause between two ticks.
    pause: Duration,
    /// The progress of posted commands at the last tick.
    posts: HashMap<String, u64>,
    /// Since when messages wait for room in the store.
    full_since: Option<Instant>,
    /// When the store was asked for the session last.
    checked: Instant,
    renewed: Instant,
}

impl Heartbeat {
    /// Sleeps, then looks at what is due. Returns false when the session is over.
    fn tick(&mut self) -> bool {
        self.pause = if self.full_since.is_some() {
            TICK
        } else if self.process.shared.unread.load(Ordering::Acquire) > 0 {
            CHECK_INTERVAL
        } else {
            let idle = IDLE_INTERVAL.min(self.check_interval() / 4);
            (self.pause * 2).min(idle).max(CHECK_INTERVAL)
        };
        // The sleep ends sooner after an outage, and after a broken connection: another store may have taken the old one's
        // place.
        let was_woken = self.process.shared.health.sleep(self.pause);
        if !self.process.is_current() {
            return false;
        }
        if was_woken || self.checked.elapsed() >= self.check_interval() {
            self.checked = Instant::now();
            if !self.check_session() {
                return false;
            }
        }
        // Last: on a slow connection the replies to large messages take long.
        self.look_after_posts();
        true
    }

    /// How often the store is asked whether it still has the session.
    fn check_interval(&self) -> Duration {
        match self.process.session.ttl {
            0 => PRIVATE_STORE_CHECK_INTERVAL,
            ttl => Duration::from_millis(ttl / 3),
        }
    }

    fn look_after_posts(&mut self) {
        let is_full = self.process.see_to_posts(&mut self.posts);
        self.full_since = is_full.then(|| self.full_since.unwrap_or_else(Instant::now));
        if let Some(since) = self.full_since {
            report_full_store(since);
        }
    }

    /// Asks for the session, and waits until the store answers. Meanwhile the lease runs on; it is then renewed at once.
    fn check_session(&mut self) -> bool {
        let process = self.process;
        let question = process.plain("EXISTS", process.key(keys::SESSION));
        match question.peek() {
            Ok(Value::Int(1)) => {
                self.renew_if_due();
                process.send_owed();
                return true;
            }
            Ok(_) => process.shared.health.set_lost(
                "the store no longer has it (its owner has ended or could not renew its lease, or the store was started without its data)",
            ),
            Err(_) => {}
        }
        let Err(lost) = process.healthy() else {
            return true;
        };
        if !process.is_current() {
            return false; // it has left the session meanwhile
        }
        if process.session.parent.is_some() {
            logging::report(&format!(
                "serverless_mp: worker {} stops: {lost}",
                std::process::id()
            ));
            // At once: nothing that the worker could still send would arrive.
            // SAFETY: no destructors are wanted.
            unsafe { nix::libc::_exit(exit_codes::SESSION_LOST) }
        }
        false
    }

    fn renew_if_due(&mut self) {
        let session = &self.process.session;
        let is_owner = session.parent.is_none() && session.ttl > 0;
        if is_owner && self.renewed.elapsed().as_millis() >= u128::from(session.ttl / 6) {
            self.renewed = Instant::now();
            // A failure is retried at the next tick, well within the lease.
            let _ = renew(self.process);
        }
    }
}

/// Reports once that messages wait for room, when they have waited for a while.
fn report_full_store(since: Instant) {
    static IS_REPORTED: AtomicBool = AtomicBool::new(false);
    if since.elapsed() > REPORT_AFTER && !IS_REPORTED.swap(true, Ordering::AcqRel) {
        logging::report(&format!(
            "serverless_mp: the store's memory is full: messages of process {} wait until others were taken; raise its maxmemory",
            std::process::id()
        ));
    }
}

/// How many objects' leases are renewed in one round trip.
const RENEWED_AT_ONCE: usize = 256;

/// Renews the lease of every key of the session. It does not wait for what other threads have posted, such as large messages.
fn renew(process: &Process) -> Result<()> {
    let mut objects = objects(process)?;
    // The session itself comes first, since without it everything is lost. In a cluster, objects on one node become adjacent.
    objects.sort_by_cached_key(|object| {
        let is_of_session = object == keys::SESSION || object == keys::INDEX;
        (!is_of_session, process.node_of(object))
    });
    for some in objects.chunks(RENEWED_AT_ONCE) {
        let renewals = some
            .iter()
            .map(|object| {
                process
                    .script(&scripts::RENEW, object)
                    .arg(process.session.ttl)
            })
            .collect();
        let replies = process.peek_all(renewals)?;
        let gone: Vec<&String> = some
            .iter()
            .zip(&replies)
            .filter(|(_, reply)| text(reply) == GONE)
            .map(|(object, _)| object)
            .collect();
        if !gone.is_empty() {
            let index = keys::held(&process.key(keys::INDEX));
            process.plain("SREM", index).arg(gone).peek()?;
        }
    }
    Ok(())
}

/// All objects of the session, the index included.
pub fn objects(process: &Process) -> Result<Vec<String>> {
    let index = keys::held(&process.key(keys::INDEX));
    match process.plain("SMEMBERS", index).peek()? {
        Value::Array(rows) | Value::Set(rows) => Ok(rows.iter().map(text).collect()),
        _ => Ok(Vec::new()),
    }
}
