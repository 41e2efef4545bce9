//! Names of shared memory: each stands for a region, and keeps it alive until the name is taken away.

use crate::error::{Error, Result};
use crate::objects::process::Process;
use crate::store::keys;
use crate::store::scripts;

/// Gives a region its name; false if the name is taken.
pub fn bind(process: &Process, name: &str, region: &str, size: usize) -> Result<bool> {
    process.acquire_ref_as(region, 0, &holder(name))?;
    let meaning = format!("{region} {size}");
    let script = process.script(&scripts::NAME, keys::SESSION);
    if script.arg(name).arg(meaning).text()?.is_empty() {
        return Ok(true);
    }
    process.release_ref_of(region, 0, &holder(name))?;
    Ok(false)
}

/// The region that a name stands for, and its size in bytes.
pub fn find(process: &Process, name: &str) -> Result<Option<(String, usize)>> {
    let question = process.plain("HGET", process.key(keys::SESSION));
    parse(&question.arg(format!("{}{name}", keys::NAME)).text()?)
}

/// Takes a name away; false if there is none. The region stays as long as it is held.
pub fn unbind(process: &Process, name: &str) -> Result<bool> {
    let script = process.script(&scripts::NAME, keys::SESSION);
    let meaning = script.arg(name).arg("").text()?;
    let Some((region, _)) = parse(&meaning)? else {
        return Ok(false);
    };
    process.release_ref_of(&region, 0, &holder(name))?;
    Ok(true)
}

fn holder(name: &str) -> String {
    format!("name {name}")
}

fn parse(meaning: &str) -> Result<Option<(String, usize)>> {
    if meaning.is_empty() {
        return Ok(None);
    }
    meaning
        .split_once(' ')
        .and_then(|(region, size)| Some((region.to_owned(), size.parse().ok()?)))
        .map(Some)
        .ok_or_else(|| Error::Store(format!("a name stands for {meaning:?}")))
}
