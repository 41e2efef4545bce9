//! Renews the lease of a session, and notices that the session is gone.

#![allow(unsafe_code, reason = "a worker whose session is lost ends at once")]

use std::time::Duration;

use redis::Value;

use crate::error::Result;
use crate::exit_codes;
use crate::objects::mailbox;
use crate::objects::process::Process;
use crate::protocol::Command;
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;
use crate::store::threads;

/// How often a private store, which has no leases, is asked whether it still has the session.
const PRIVATE_STORE_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The stack of a thread, in bytes.
const STACK: usize = 256 << 10;

/// A supervisor's lease.
const SUPERVISOR_LEASE: Duration = Duration::from_secs(10);

/// Keeps a supervisor's own lease, which tells the parent of its workers that they live.
pub fn hold_lease(process: &'static Process) -> Result<()> {
    sign_of_life(process)?;
    threads::spawn("serverless_mp-lease", STACK, move || {
        let mut has_parent = true;
        while process.is_current() {
            std::thread::sleep(SUPERVISOR_LEASE / 3);
            // A failure is retried at the next beat; a session that is lost is noticed below.
            let _ = sign_of_life(process);
            if has_parent && matches!(parent_has_ended(process), Ok(true)) {
                has_parent =
                    mailbox::send(process, &process.id, &Command::ParentEnded.encode(), true)
                        .is_err();
            }
        }
    })
}

/// The workers of a supervisor whose parent has ended go on, but are to know.
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
    let set = process.plain("SET", key).arg(1).arg("PX").arg(lease);
    set.peek().map(drop)
}

/// Renews the session's lease while this process has it, and notices where it is gone.
pub fn beat(process: &'static Process) -> Result<()> {
    let pause = if process.session.ttl > 0 {
        Duration::from_millis(process.session.ttl / 3)
    } else {
        PRIVATE_STORE_CHECK_INTERVAL
    };
    threads::spawn("serverless_mp-heartbeat", STACK, move || {
        loop {
            // What could not be sent during an outage is sent at its end.
            process.shared.health.sleep(pause);
            if !process.is_current() {
                return;
            }
            // Waits until the store answers: the lease runs on, and is renewed at once.
            let question = process.plain("EXISTS", process.key(keys::SESSION));
            match question.peek() {
                Ok(Value::Int(1)) => {
                    process.send_owed();
                    if process.session.parent.is_none() && process.session.ttl > 0 {
                        // A failure is retried at the next beat, well within the lease.
                        let _ = renew(process);
                    }
                    continue;
                }
                Ok(_) => process.shared.health.set_lost("its owner has ended"),
                Err(_) => {}
            }
            let Err(lost) = process.healthy() else {
                continue;
            };
            if process.session.parent.is_some() {
                eprintln!("serverless_mp: worker {} stops: {lost}", std::process::id());
                // At once: nothing that it could still say would reach anybody.
                // SAFETY: no destructors are wanted.
                unsafe { nix::libc::_exit(exit_codes::SESSION_LOST) }
            }
            return;
        }
    })
}

/// A new lease for every key of the session.
fn renew(process: &Process) -> Result<()> {
    for object in objects(process)? {
        let script = process.script(&scripts::RENEW, &object);
        if script.arg(process.session.ttl).text()? == "gone" {
            let index = keys::held(&process.key(keys::INDEX));
            process.plain("SREM", index).arg(&object).call()?;
        }
    }
    Ok(())
}

/// All objects of the session; the index names itself as well.
pub fn objects(process: &Process) -> Result<Vec<String>> {
    let index = keys::held(&process.key(keys::INDEX));
    match process.plain("SMEMBERS", index).call()? {
        Value::Array(rows) | Value::Set(rows) => Ok(rows.iter().map(text).collect()),
        _ => Ok(Vec::new()),
    }
}
