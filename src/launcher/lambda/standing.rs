//! What the store knows of a process whose invocation says nothing.

use std::sync::Arc;

use redis::Value;

use crate::error::Result;
use crate::objects::process::Process;
use crate::session::jobs::Job;
use crate::store::client::Args;
use crate::store::keys;
use crate::store::request::text;

pub enum Standing {
    /// It has ended, or it is no longer of interest.
    Over,
    /// No worker has begun it.
    Unclaimed,
    /// A worker of this attempt has; alive while its keeper's lease lasts.
    Claimed { by: String, alive: bool },
}

pub async fn of(p: &'static Process, job: &Arc<Job>) -> Standing {
    let job = job.clone();
    let asked = tokio::task::spawn_blocking(move || ask(p, &job)).await;
    match asked {
        Ok(Ok(standing)) => standing,
        // The store does not answer: that its session is lost is the heart's to say.
        _ => Standing::Claimed {
            by: String::new(),
            alive: p.is_current(),
        },
    }
}

fn ask(p: &Process, job: &Job) -> Result<Standing> {
    if job.has_ended() || !p.is_current() {
        return Ok(Standing::Over);
    }
    let key = p.key(&keys::job(&job.number));
    let Value::Array(fields) = p.plain(key, &Args(&[b"HMGET", b"ttl", b"exit", b"claim"]))? else {
        return Ok(Standing::Over);
    };
    let [ttl, exit, claim] = fields.as_slice() else {
        return Ok(Standing::Over);
    };
    if *ttl == Value::Nil || *exit != Value::Nil {
        return Ok(Standing::Over);
    }
    if *claim == Value::Nil {
        return Ok(Standing::Unclaimed);
    }
    let claim = text(claim);
    let (by, keeper) = claim.split_once(':').unwrap_or((&claim, ""));
    let lease = keys::lease(&p.key(&keys::process(keeper)));
    let alive = p.plain(lease, &Args(&[b"EXISTS"]))? == Value::Int(1);
    Ok(Standing::Claimed {
        by: by.to_owned(),
        alive,
    })
}
