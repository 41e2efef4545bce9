//! What keeps a session alive, and notices that it is gone.

#![allow(unsafe_code, reason = "a worker whose session is lost ends at once")]

use std::time::Duration;

use redis::Value;

use crate::error::Result;
use crate::objects::mailbox;
use crate::objects::process::Process;
use crate::protocol::Command;
use crate::store::client::Args;
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;
use crate::store::threads;

/// How often a private store, which has no leases, is asked whether it still has the session.
const PRIVATE_STORE_LIMIT: Duration = Duration::from_secs(5);

/// Of a thread, in bytes.
const STACK: usize = 256 << 10;

/// A supervisor's lease.
const SUPERVISOR_LEASE: Duration = Duration::from_secs(10);

/// The exit code of a worker whose session is gone: of its parent nobody renews the lease any more.
pub const EXIT_SESSION_LOST: i32 = 75;

/// Keeps a supervisor's own lease, which tells the parent of its workers that they live.
pub fn hold_lease(p: &'static Process) -> Result<()> {
    sign_of_life(p)?;
    threads::spawn("serverless_mp-lease", STACK, move || {
        let mut has_parent = true;
        while p.is_current() {
            std::thread::sleep(SUPERVISOR_LEASE / 3);
            // What fails now is tried again at the next beat; a session that is lost is noticed below.
            let _ = sign_of_life(p);
            if has_parent && matches!(parent_has_ended(p), Ok(true)) {
                has_parent =
                    mailbox::send(p, &p.number, &Command::ParentEnded.encode(), true).is_err();
            }
        }
    })
}

/// The workers of a supervisor whose parent has ended go on, but are to know.
fn parent_has_ended(p: &Process) -> Result<bool> {
    let Some(parent) = &p.session.parent else {
        return Ok(false);
    };
    let found = p.peek(p.key(&keys::process(parent)), &Args(&[b"EXISTS"]))?;
    Ok(found == Value::Int(0))
}

fn sign_of_life(p: &Process) -> Result<()> {
    let key = keys::lease(&p.key(&keys::process(&p.number)));
    let lease = SUPERVISOR_LEASE.as_millis().to_string();
    p.peek(key, &Args(&[b"SET", b"1", b"PX", lease.as_bytes()]))?;
    Ok(())
}

/// Renews the session's lease while this process has it, and notices where it is gone.
pub fn beat(p: &'static Process) -> Result<()> {
    let pause = if p.session.ttl > 0 {
        Duration::from_millis(p.session.ttl / 3)
    } else {
        PRIVATE_STORE_LIMIT
    };
    threads::spawn("serverless_mp-heartbeat", STACK, move || {
        loop {
            std::thread::sleep(pause);
            if !p.is_current() {
                return;
            }
            // Waits until the store answers: the lease runs on, and is renewed at once.
            match p.peek(p.key(keys::SESSION), &Args(&[b"EXISTS"])) {
                Ok(Value::Int(1)) => {
                    p.settle_owed();
                    if p.session.parent.is_none() && p.session.ttl > 0 {
                        // What fails now is tried again at the next beat, well within the lease.
                        let _ = renew(p);
                    }
                    continue;
                }
                Ok(_) => p.shared.health.set_lost("its owner has ended"),
                Err(_) => {}
            }
            let Err(lost) = p.healthy() else {
                continue;
            };
            if p.session.parent.is_some() {
                eprintln!("serverless_mp: worker {} stops: {lost}", std::process::id());
                // At once: nothing that it could still say would reach anybody.
                // SAFETY: no destructors are wanted.
                unsafe { nix::libc::_exit(EXIT_SESSION_LOST) }
            }
            return;
        }
    })
}

/// A new lease for every key of the session.
fn renew(p: &Process) -> Result<()> {
    let ttl = p.session.ttl.to_string();
    for object in objects(p)? {
        if p.ask(&scripts::RENEW, &object, &Args(&[ttl.as_bytes()]))? == "gone" {
            let index = keys::held(&p.key(keys::INDEX));
            p.plain(index, &Args(&[b"SREM", object.as_bytes()]))?;
        }
    }
    Ok(())
}

/// All objects of the session; the index names itself as well.
pub fn objects(p: &Process) -> Result<Vec<String>> {
    match p.plain(keys::held(&p.key(keys::INDEX)), &Args(&[b"SMEMBERS"]))? {
        Value::Array(rows) | Value::Set(rows) => Ok(rows.iter().map(text).collect()),
        _ => Ok(Vec::new()),
    }
}
