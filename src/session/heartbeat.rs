//! Renews the lease of a session, and notices that the session is gone.

#![allow(unsafe_code, reason = "a worker whose session is lost ends at once")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::Value;

use crate::error::Result;
use crate::exit_codes;
use crate::objects::mailbox;
use crate::objects::process::Process;
use crate::protocol::{Command, GONE};
use crate::store::conn::TICK;
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;
use crate::store::threads;

/// How often a private store, which has no leases, is asked whether it still has the session.
const PRIVATE_STORE_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The stack of a thread, in bytes.
const STACK: usize = 256 << 10;

/// How often posted commands with unread replies are looked at. This costs no round trip.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// After how long it is reported that messages wait for room.
const REPORT_AFTER: Duration = Duration::from_secs(5);

/// The length of a supervisor's lease.
const SUPERVISOR_LEASE: Duration = Duration::from_secs(10);

/// Keeps a supervisor's own lease, which tells the parent of its workers that they live.
pub fn hold_lease(process: &'static Process) -> Result<()> {
    sign_of_life(process)?;
    threads::spawn("serverless_mp-lease", STACK, move || {
        let mut has_parent = true;
        while process.is_current() {
            std::thread::sleep(SUPERVISOR_LEASE / 3);
            // A failure is retried at the next tick; the heartbeat notices a lost session.
            let _ = sign_of_life(process);
            if has_parent && matches!(parent_has_ended(process), Ok(true)) {
                has_parent =
                    mailbox::send(process, &process.id, &Command::ParentEnded.encode(), true)
                        .is_err();
            }
        }
    })
}

/// Whether the parent of a supervisor has ended. Its workers go on, but must learn it.
fn parent_has_ended(process: &Process) -> Result<bool> {
    let Some(parent) = &process.session.parent else {
        return Ok(false);
    };
    let question = process.plain("EXISTS", process.key(&keys::process(parent)));
    Ok(question.peek()? == Value::Int(0))
}

fn sign_of_life(process: &Process) -> Result<()> {
    let key = keys::lease(&process.key(&keys::process(&process.id)));
    let lease = u64::try_from(SUPERVISOR_LEASE.as_millis()).unwrap_or(u64::MAX);
    // A store without memory takes this, but not a new key.
    if process.plain("PEXPIRE", key.clone()).arg(lease).peek()? == Value::Int(1) {
        return Ok(());
    }
    let set = process.plain("SET", key).arg(1).arg("PX").arg(lease);
    set.peek().map(drop)
}

/// Renews the session's lease, in the process that owns it, and notices if the session is gone.
pub fn tick(process: &'static Process) -> Result<()> {
    let pause = if process.session.ttl > 0 {
        Duration::from_millis(process.session.ttl / 3)
    } else {
        PRIVATE_STORE_CHECK_INTERVAL
    };
    threads::spawn("serverless_mp-heartbeat", STACK, move || {
        let mut full_since = None;
        let (mut posts, mut looked) = (HashMap::new(), Instant::now());
        let mut renewed = Instant::now();
        loop {
            // Looks sooner after an outage, and after a broken connection: another store may have taken the old one's place.
            let was_woken = process.shared.health.sleep(if full_since.is_some() {
                TICK
            } else {
                CHECK_INTERVAL
            });
            if !process.is_current() {
                return;
            }
            full_since = process
                .see_to_posts(&mut posts)
                .then(|| full_since.unwrap_or_else(Instant::now));
            if let Some(since) = full_since {
                report_full_store(since);
            }
            if !was_woken && looked.elapsed() < pause {
                continue;
            }
            looked = Instant::now();
            // Waits until the store answers; meanwhile the lease runs on, and is then renewed at once.
            let question = process.plain("EXISTS", process.key(keys::SESSION));
            match question.peek() {
                Ok(Value::Int(1)) => {
                    process.send_owed();
                    let is_owner = process.session.parent.is_none() && process.session.ttl > 0;
                    if is_owner && renewed.elapsed().as_millis() >= u128::from(process.session.ttl / 6) {
                        renewed = Instant::now();
                        // A failure is retried at the next tick, well within the lease.
                        let _ = renew(process);
                    }
                    continue;
                }
                Ok(_) => process.shared.health.set_lost(
                    "the store no longer has it (its owner has ended, or the store was started without its data)",
                ),
                Err(_) => {}
            }
            let Err(lost) = process.healthy() else {
                continue;
            };
            if process.session.parent.is_some() {
                // In one write: other workers write the same at the same time.
                let line = format!(
                    "serverless_mp: worker {} stops: {lost}\n",
                    std::process::id()
                );
                eprint!("{line}");
                // At once: nothing that the worker could still send would arrive.
                // SAFETY: no destructors are wanted.
                unsafe { nix::libc::_exit(exit_codes::SESSION_LOST) }
            }
            return;
        }
    })
}

/// Reports once that messages wait for room, when they have waited for a while.
fn report_full_store(since: Instant) {
    static IS_REPORTED: AtomicBool = AtomicBool::new(false);
    if since.elapsed() > REPORT_AFTER && !IS_REPORTED.swap(true, Ordering::AcqRel) {
        let line = format!(
            "serverless_mp: the store's memory is full: messages of process {} wait until others were taken; raise its maxmemory\n",
            std::process::id()
        );
        eprint!("{line}");
    }
}

/// How many objects' leases are renewed in one round trip.
const RENEWED_AT_ONCE: usize = 256;

/// Renews the lease of every key of the session.
fn renew(process: &Process) -> Result<()> {
    let mut objects = objects(process)?;
    // In a cluster, objects on one node become adjacent.
    objects.sort_by_cached_key(|object| process.node_of(object));
    for some in objects.chunks(RENEWED_AT_ONCE) {
        let renewals = some
            .iter()
            .map(|object| {
                process
                    .script(&scripts::RENEW, object)
                    .arg(process.session.ttl)
            })
            .collect();
        let replies = process.call_all(renewals)?;
        let gone: Vec<&String> = some
            .iter()
            .zip(&replies)
            .filter(|(_, reply)| text(reply) == GONE)
            .map(|(object, _)| object)
            .collect();
        if !gone.is_empty() {
            let index = keys::held(&process.key(keys::INDEX));
            process.plain("SREM", index).arg(gone).call()?;
        }
    }
    Ok(())
}

/// All objects of the session, the index included.
pub fn objects(process: &Process) -> Result<Vec<String>> {
    let index = keys::held(&process.key(keys::INDEX));
    match process.plain("SMEMBERS", index).call()? {
        Value::Array(rows) | Value::Set(rows) => Ok(rows.iter().map(text).collect()),
        _ => Ok(Vec::new()),
    }
}
