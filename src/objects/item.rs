//! What travels through a pipe or stands in a job's record: a payload with the sender's map, sealed.
//!
//! An item begins with a letter, a digit, its weight and a space. `I` is a message, `P` a task that must be acknowledged by
//! its result (the digit counts how often it was begun), `B` and `Q` are the same with the payload in a blob of its own,
//! since it is big. `E` alone is the end of file, `A` an anchor, `D` a task whose worker died.

use crate::error::{Error, Result};
use crate::session::process::{Args, Process};
use crate::store::scripts;
use redis::Value;

/// A greater payload travels in pieces.
const INLINE: usize = (1 << 20) + 4096;
const PIECE: usize = 1 << 20;
/// Pieces in one command, on the way there and back.
const AT_ONCE: usize = 4;

/// What an item weighs in the store beside its payload, in bytes.
const OVERHEAD: usize = 256;

/// What is sent.
pub struct Item {
    pub bytes: Vec<u8>,
    /// The object that the payload lies in, if it is big.
    pub blob: Option<String>,
}

/// What is received.
pub struct Message {
    pub map: String,
    pub payload: Vec<u8>,
    /// The object that the payload came from, to be deleted when the message is acknowledged.
    pub blob: Option<String>,
}

/// What counts against a pipe's bound.
pub const fn weight(payload: &[u8]) -> usize {
    payload.len() + OVERHEAD
}

/// What an item says of its own weight, and where its sealed part begins.
pub fn weight_of(item: &[u8]) -> Option<(usize, usize)> {
    let end = item.iter().position(|byte| *byte == b' ')?;
    let digits = std::str::from_utf8(item.get(2..end)?).ok()?;
    Some((digits.parse().ok()?, end + 1))
}

/// Seals a payload for an object. `task` if it must be acknowledged by its result.
pub fn encode(p: &Process, object: &str, kind: &str, task: bool, payload: &[u8]) -> Result<Item> {
    let map = p.memory.publish(p)?;
    let length =
        u32::try_from(map.len()).map_err(|_| Error::State("too many shared regions".into()))?;
    let head = [&length.to_be_bytes(), map.as_bytes()].concat();
    let blob = if payload.len() > INLINE {
        Some(put_blob(p, payload)?)
    } else {
        None
    };
    let letter = match (&blob, task) {
        (None, false) => 'I',
        (None, true) => 'P',
        (Some(_), false) => 'B',
        (Some(_), true) => 'Q',
    };
    let content = blob.as_ref().map_or(payload, |blob| blob.as_bytes());
    let mut bytes = Vec::with_capacity(content.len() + head.len() + 64);
    bytes.extend_from_slice(format!("{letter}0{} ", weight(payload)).as_bytes());
    p.seal.close(object, kind, &[&head, content], &mut bytes);
    Ok(Item { bytes, blob })
}

/// Opens an item and fetches what is not in it. The map is not applied yet.
pub fn decode(p: &Process, object: &str, kind: &str, item: &[u8]) -> Result<Message> {
    let refused = || {
        Error::Seal(format!(
            "payload refused: no item for {kind} of object {object}"
        ))
    };
    let (_, start) = weight_of(item).ok_or_else(refused)?;
    let plain = p.seal.open(object, kind, &item[start..])?;
    let (head, rest) = plain.split_at_checked(4).ok_or_else(refused)?;
    let length = u32::from_be_bytes(head.try_into().expect("four bytes")) as usize;
    let (map, rest) = rest.split_at_checked(length).ok_or_else(refused)?;
    let map = String::from_utf8_lossy(map).into_owned();
    if matches!(item[0], b'B' | b'Q') {
        let blob = String::from_utf8_lossy(rest).into_owned();
        return Ok(Message {
            map,
            payload: get_blob(p, &blob)?,
            blob: Some(blob),
        });
    }
    Ok(Message {
        map,
        payload: rest.to_vec(),
        blob: None,
    })
}

/// Stores bytes as an object of their own, in pieces, and returns its name: its life is up to the caller.
pub fn put_blob(p: &Process, payload: &[u8]) -> Result<String> {
    let blob = p.new_object(None);
    put_blob_as(p, &blob, payload)?;
    Ok(blob)
}

pub fn put_blob_as(p: &Process, blob: &str, payload: &[u8]) -> Result<()> {
    let mut sealed = Vec::with_capacity(payload.len() + 64);
    p.seal.close(blob, "blob", &[payload], &mut sealed);
    p.create(
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
        p.post(
            &scripts::PUBLISH,
            blob,
            &Args(&[piece.as_bytes(), offset.as_bytes(), span]),
        )?;
    }
    p.settle()
}

pub fn get_blob(p: &Process, blob: &str) -> Result<Vec<u8>> {
    let size = p.plain(p.key(blob), &Args(&[b"HGET", b"size"]))?;
    let size: usize = crate::store::cluster::text(&size)
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
        let reply = p.call(
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
    p.seal.open(blob, "blob", &sealed)
}
