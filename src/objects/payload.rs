//! Packs payloads for items and unpacks them. Shared memory is published first; a large payload is stored as a blob.

use crate::error::Result;
use crate::kept::Bytes;
use crate::objects::blob;
use crate::objects::item::{self, Payload};
use crate::objects::process::Process;
use crate::protocol::Item;

/// A larger payload is stored as a blob.
const INLINE: usize = 128 << 10;

/// Whether a payload fits into its item.
pub const fn is_inline(payload: &[u8]) -> bool {
    payload.len() <= INLINE
}

/// A packed payload.
pub struct Packed {
    pub item: Vec<u8>,
    /// The blob, if the payload is large. It is on its way: a command that tells others of the item must be sent after it.
    pub blob: Option<String>,
}

/// An unpacked payload.
pub struct Message {
    pub versions: String,
    pub payload: Bytes,
    /// The blob that held the payload, to be deleted when the message is acknowledged.
    pub blob: Option<String>,
}

/// Packs a payload for an object and a kind of item, after publishing what this process has written.
pub fn pack(
    process: &Process,
    object: &str,
    kind: &str,
    task: bool,
    payload: &[u8],
) -> Result<Packed> {
    let versions = process.memory.publish(process)?;
    pack_with(process, object, kind, task, &versions, payload)
}

/// The same, with versions that were just published.
pub fn pack_with(
    process: &Process,
    object: &str,
    kind: &str,
    task: bool,
    versions: &str,
    payload: &[u8],
) -> Result<Packed> {
    let blob = if is_inline(payload) {
        None
    } else {
        Some(blob::post_beside(process, object, payload)?)
    };
    let content = blob.as_deref().map_or(Payload::Inline(payload), |name| {
        Payload::Blob(name, payload.len())
    });
    Ok(Packed {
        item: item::encode(&process.seal, object, kind, task, versions, &content)?,
        blob,
    })
}

/// Opens an item, and fetches its blob if it has one. The versions are not applied yet.
pub fn unpack(process: &Process, object: &str, kind: &str, payload: &Item<'_>) -> Result<Message> {
    let opened = item::decode(&process.seal, object, kind, payload)?;
    if !payload.is_blob {
        return Ok(Message {
            versions: opened.versions,
            payload: opened.content,
            blob: None,
        });
    }
    let blob = String::from_utf8_lossy(&opened.content).into_owned();
    Ok(Message {
        versions: opened.versions,
        payload: blob::get(process, &blob, payload.size.saturating_sub(item::size(0)))?,
        blob: Some(blob),
    })
}
