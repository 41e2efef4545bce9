//! Events that a supervisor of remote workers sends to their parent, and commands that it receives.

use pyo3::prelude::*;

use crate::objects::{mailbox, process};
use crate::protocol::{Claim, Command, Event};

/// Sends the parent what a job has printed, without waiting.
#[pyfunction]
pub fn send_output(
    py: Python<'_>,
    parent: &str,
    job: &str,
    is_error: bool,
    bytes: &[u8],
) -> PyResult<()> {
    let event = Event::Output {
        job,
        is_error,
        bytes,
    };
    Ok(py.detach(|| mailbox::send(process::current()?, parent, &event.encode(), false))?)
}

/// The claimant of a supervisor's workers.
#[pyfunction]
pub fn claimant(attempt: &str, supervisor: &str) -> String {
    let by = attempt;
    Claim { by, supervisor }.encode()
}

/// Tells the parent that a job died without an exit record, and waits until the store has the event.
#[pyfunction]
pub fn send_death(
    py: Python<'_>,
    parent: &str,
    job: &str,
    code: i32,
    claimant: &str,
    message: String,
) -> PyResult<()> {
    let event = Event::Died {
        job,
        code,
        claimant,
        message,
    };
    Ok(py.detach(|| mailbox::send(process::current()?, parent, &event.encode(), true))?)
}

/// Decodes a command of the parent: the job and the number of a signal for it; None if the parent has ended.
#[pyfunction]
pub fn read_command(command: &[u8]) -> PyResult<Option<(String, i32)>> {
    Ok(match Command::decode(command)? {
        Command::Signal { job, signum } => Some((job.to_owned(), signum)),
        Command::ParentEnded => None,
    })
}
