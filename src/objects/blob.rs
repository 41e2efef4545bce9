//! Bytes as an object of their own, in pieces of 1 MiB, each sealed for its place: payloads that are too large for an item,
//! and code.
//!
//! The pieces are plain strings beside the object's hash, written and read without a script, which would copy them.

use redis::Value;

use crate::error::{Error, Result};
use crate::kept::{self, Bytes};
use crate::store::client::Client;
use crate::store::command::Cmd;
use crate::store::keys;
use crate::store::scripts;

/// The size of a piece in bytes.
const PIECE: usize = 1 << 20;
/// How many leases a blob lives that is not named yet.
const UNNAMED_LEASES: u64 = 10;
/// How many pieces are fetched at once.
const AT_ONCE: usize = 4;

/// Stores bytes beside an object, without waiting, and returns their name. They live until the caller deletes them, or as long
/// as the object that names them. Later commands on the object come after them. If the store refuses a piece, a script that
/// has the blob as a key is refused too, and is sent again.
pub fn post_beside(client: &Client, object: &str, payload: &[u8]) -> Result<String> {
    let name = client.new_object(Some(object));
    // Nobody renews it before it is named: on a slow or broken connection that takes long.
    let ttl = UNNAMED_LEASES * client.session.ttl;
    let made = client.create_unlisted(&name, 0, ttl, &fields(payload));
    match made.and_then(|()| post(client, &name, ttl, payload)) {
        Ok(()) => Ok(name),
        Err(e) => {
            // A signal handler has raised: nobody learns the name.
            drop(client, &name, None)?;
            Err(e)
        }
    }
}

/// Stores bytes under a name of the caller's choice.
pub fn put(client: &Client, name: &str, payload: &[u8]) -> Result<()> {
    client.create(name, 0, &fields(payload))?;
    post(client, name, client.session.ttl, payload)?;
    client.settle()
}

/// The field by which an object's hash names a blob, and its value.
pub fn named(client: &Client, name: &str, size: usize) -> (String, usize) {
    (format!("{}{}", keys::BLOB, client.key(name)), pieces(size))
}

fn fields(payload: &[u8]) -> [(&'static str, usize); 2] {
    let size = payload.len();
    [(keys::SIZE, size), (keys::PIECES, pieces(size))]
}

fn post(client: &Client, name: &str, ttl: u64, payload: &[u8]) -> Result<()> {
    let size = payload.len();
    for (n, piece) in payload.chunks(PIECE).enumerate() {
        let mut sealed = kept::take(piece.len() + 64);
        client
            .seal
            .close(name, &kind(n, size), &[piece], &mut sealed);
        let mut set = client.plain("SET", key(client, name, n)).bytes(sealed);
        if ttl > 0 {
            set = set.arg("PX").arg(ttl);
        }
        set.post()?;
    }
    Ok(())
}

/// The size of a blob in bytes.
pub fn size(client: &Client, name: &str) -> Result<usize> {
    let size = client.plain("HGET", client.key(name)).arg(keys::SIZE);
    size.text()?.parse().map_err(|_| gone(name))
}

/// Fetches a blob of this size.
pub fn get(client: &Client, name: &str, size: usize) -> Result<Bytes> {
    let mut payload = kept::filled(size);
    read(client, name, &mut payload)?;
    Ok(payload.into())
}

/// The same into a buffer, which must have the size of the blob.
pub fn read(client: &Client, name: &str, out: &mut [u8]) -> Result<()> {
    let size = out.len();
    let mut n = 0;
    for some in out.chunks_mut(AT_ONCE * PIECE) {
        let asked = (n..n + pieces(some.len())).map(|n| client.plain("GET", key(client, name, n)));
        let replies = client.call_all(asked.collect())?;
        for (piece, reply) in some.chunks_mut(PIECE).zip(replies) {
            let Value::BulkString(sealed) = reply else {
                return Err(gone(name));
            };
            client
                .seal
                .open_into(name, &kind(n, size), &sealed, piece)?;
            kept::give(sealed);
            n += 1;
        }
    }
    Ok(())
}

/// Deletes a blob, which an item of an object may name, without waiting.
pub fn drop(client: &Client, name: &str, named_by: Option<&str>) -> Result<()> {
    let script = client.script(&scripts::DROP, name);
    let object = named_by.map(|object| client.key(object));
    object.into_iter().fold(script, Cmd::key).post()
}

fn gone(name: &str) -> Error {
    Error::ObjectGone(format!("the big message {name}"))
}

const fn pieces(size: usize) -> usize {
    size.div_ceil(PIECE)
}

fn key(client: &Client, name: &str, n: usize) -> String {
    keys::granule(&client.key(name), n)
}

/// The kind of a piece, which its seal covers: a store can neither exchange pieces nor leave some out.
fn kind(n: usize, size: usize) -> String {
    format!("piece {n} of {size} bytes")
}
