//! Bytes as an object of their own, sealed, in pieces: payloads that are too big for an item, and code.

use redis::Value;

use crate::error::{Error, Result};
use crate::store::client::{Args, Client};
use crate::store::request::text;
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
    client.create(
        blob,
        0,
        &[
            b"version",
            b"0",
            b"size",
            sealed.len().to_string().as_bytes(),
        ],
    )?;
    let piece = PIECE.to_string();
    for (n, span) in sealed.chunks(PIECE).enumerate() {
        let offset = (n * PIECE).to_string();
        client.post(
            &scripts::PUBLISH,
            blob,
            &Args(&[piece.as_bytes(), offset.as_bytes(), span]),
        )?;
    }
    client.settle()
}

/// Fetches them.
pub fn get(client: &Client, blob: &str) -> Result<Vec<u8>> {
    let size = client.plain(client.key(blob), &Args(&[b"HGET", b"size"]))?;
    let size: usize = text(&size)
        .parse()
        .map_err(|_| Error::Lost(format!("the big message {blob}")))?;
    let pieces = size.div_ceil(PIECE).to_string();
    let mut sealed = Vec::with_capacity(size);
    let mut next = 0;
    while next >= 0 {
        let args = [
            "0".to_owned(),
            pieces.clone(),
            next.to_string(),
            AT_ONCE.to_string(),
        ];
        let reply = client.call(
            &scripts::FETCH,
            blob,
            &Args(&args.each_ref().map(String::as_bytes)),
        )?;
        let Value::Array(rows) = reply else { break };
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
