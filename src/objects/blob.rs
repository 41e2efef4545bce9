//! Bytes as an object of their own, sealed, in pieces: payloads that are too big for an item, and code.

use redis::Value;

use crate::error::{Error, Result};
use crate::store::client::Client;
use crate::store::keys;
use crate::store::scripts;

const PIECE: usize = 1 << 20;
/// Pieces in one command, on the way there and back.
const AT_ONCE: usize = 4;

/// Stores bytes as an object of their own, in pieces, and returns its name: its life is up to the caller.
pub fn put(client: &Client, payload: &[u8]) -> Result<String> {
    let blob = client.new_object(None);
    put_as(client, &blob, payload)?;
    Ok(blob)
}

/// The same under a name of the caller's choice.
pub fn put_as(client: &Client, blob: &str, payload: &[u8]) -> Result<()> {
    let mut sealed = Vec::with_capacity(payload.len() + 64);
    client.seal.close(blob, "blob", &[payload], &mut sealed);
    client.create(blob, 0, &[(keys::VERSION, 0), (keys::SIZE, sealed.len())])?;
    for (n, piece) in sealed.chunks(PIECE).enumerate() {
        let store = client.script(&scripts::STORE, blob).waits_for_room();
        store.arg(n).arg(piece).post()?;
    }
    client.settle()
}

/// Fetches the bytes of a blob.
pub fn get(client: &Client, blob: &str) -> Result<Vec<u8>> {
    let size = client.plain("HGET", client.key(blob)).arg(keys::SIZE);
    let size: usize = size
        .text()?
        .parse()
        .map_err(|_| Error::ObjectGone(format!("the big message {blob}")))?;
    let pieces = size.div_ceil(PIECE);
    let mut sealed = Vec::with_capacity(size);
    let mut next = 0;
    while next >= 0 {
        let fetch = client.script(&scripts::FETCH, blob);
        let fetch = fetch.arg(0).arg(pieces).arg(next).arg(AT_ONCE);
        let Value::Array(rows) = fetch.call()? else {
            break;
        };
        let [_, Value::Int(more), rest @ ..] = rows.as_slice() else {
            break;
        };
        next = *more;
        for row in rest.iter().skip(1).step_by(2) {
            if let Value::BulkString(bytes) = row {
                sealed.extend_from_slice(bytes);
            }
        }
    }
    client.seal.open(blob, "blob", &sealed)
}
