//! The exit record that a worker leaves in the store, sealed.

use redis::Value;

use crate::error::Result;
use crate::objects::process::Process;
use crate::protocol::ExitRecord;
use crate::store::keys;

/// The kind of an exit record, which its seal covers.
const EXIT: &str = "exit";

/// Seals an exit record.
pub fn seal(process: &Process, id: &str, record: ExitRecord<'_>) -> Vec<u8> {
    let mut sealed = Vec::new();
    let record = record.encode();
    process
        .seal
        .close(&keys::job(id), EXIT, &[record.as_bytes()], &mut sealed);
    sealed
}

/// The exit record of a job; empty if there is none, and an error if its seal does not open.
pub fn read(process: &Process, id: &str) -> Result<String> {
    let job = keys::job(id);
    let question = process.plain("HGET", process.key(&job));
    let Value::BulkString(sealed) = question.arg(keys::EXIT).call()? else {
        return Ok(String::new());
    };
    let record = process.seal.open(&job, EXIT, &sealed)?;
    Ok(String::from_utf8_lossy(&record).into_owned())
}
