//! The state of a job by its record in the store, for an invocation that has no answer.

use std::sync::Arc;

use redis::Value;

use crate::error::Result;
use crate::objects::process::Process;
use crate::protocol::Claim;
use crate::session::started_job::StartedJob;
use crate::store::keys;
use crate::store::request::text;

pub enum JobState {
    /// The job has ended, or is no longer of interest.
    Over,
    /// No worker has claimed it.
    Unclaimed,
    /// A worker of this attempt has claimed it; alive while its supervisor's lease lasts.
    Claimed { by: String, alive: bool },
}

pub async fn of(process: &'static Process, job: &Arc<StartedJob>) -> JobState {
    let job = job.clone();
    let asked = tokio::task::spawn_blocking(move || ask(process, &job)).await;
    match asked {
        Ok(Ok(job_state)) => job_state,
        // The store does not answer: the heartbeat notices if the session is lost.
        _ => JobState::Claimed {
            by: String::new(),
            alive: process.is_current(),
        },
    }
}

fn ask(process: &Process, job: &StartedJob) -> Result<JobState> {
    if job.has_ended() || !process.is_current() {
        return Ok(JobState::Over);
    }
    let question = process.plain("HMGET", process.key(&keys::job(&job.id)));
    let question = question.arg(keys::TTL).arg(keys::EXIT).arg(keys::CLAIM);
    let Value::Array(fields) = question.call()? else {
        return Ok(JobState::Over);
    };
    let [ttl, exit, claim] = fields.as_slice() else {
        return Ok(JobState::Over);
    };
    if *ttl == Value::Nil || *exit != Value::Nil {
        return Ok(JobState::Over);
    }
    if *claim == Value::Nil {
        return Ok(JobState::Unclaimed);
    }
    let claim = text(claim);
    let Claim { by, supervisor } = Claim::decode(&claim);
    let lease = keys::lease(&process.key(&keys::process(supervisor)));
    let alive = process.plain("EXISTS", lease).call()? == Value::Int(1);
    Ok(JobState::Claimed {
        by: by.to_owned(),
        alive,
    })
}
