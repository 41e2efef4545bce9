//! The lease of a supervisor of remote workers, which tells the parent of its workers that they live.

use std::time::Duration;

use redis::Value;

use crate::error::Result;
use crate::objects::mailbox;
use crate::objects::process::Process;
use crate::protocol::Command;
use crate::store::keys;
use crate::store::threads;

/// The stack of a thread, in bytes.
const STACK: usize = 256 << 10;

/// The length of a supervisor's lease.
const SUPERVISOR_LEASE: Duration = Duration::from_secs(10);

/// Keeps the lease of this process.
pub fn hold(process: &'static Process) -> Result<()> {
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
