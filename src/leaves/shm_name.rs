//! Names of shared memory: each stands for a region, and keeps it alive until the name is taken away.

use crate::error::{Error, Result};
use crate::objects::process::Process;
use crate::store::client::Args;
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;

/// Gives a region its name; false if the name is taken.
pub fn bind(p: &Process, name: &str, region: &str, size: usize) -> Result<bool> {
    p.acquire_ref_as(region, 0, &holder(name))?;
    let meaning = format!("{region} {size}");
    let args = [name, &meaning].map(str::as_bytes);
    if p.ask(&scripts::NAME, keys::SESSION, &Args(&args))?
        .is_empty()
    {
        return Ok(true);
    }
    p.release_ref_of(region, 0, &holder(name))?;
    Ok(false)
}

/// The region that a name stands for, and its size in bytes.
pub fn find(p: &Process, name: &str) -> Result<Option<(String, usize)>> {
    let field = format!("N:{name}");
    parse(&text(&p.plain(
        p.key(keys::SESSION),
        &Args(&[b"HGET", field.as_bytes()]),
    )?))
}

/// Takes a name away; false if there is none. The region stays as long as it is held.
pub fn unbind(p: &Process, name: &str) -> Result<bool> {
    let meaning = p.ask(
        &scripts::NAME,
        keys::SESSION,
        &Args(&[name.as_bytes(), b""]),
    )?;
    let Some((region, _)) = parse(&meaning)? else {
        return Ok(false);
    };
    p.release_ref_of(&region, 0, &holder(name))?;
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
