//! The sealed part of an item: the sender's versions, and the payload or the name of its blob.

use crate::error::{Error, Result};
use crate::kept::{self, Bytes};
use crate::protocol::Item;
use crate::store::seal::Seal;

/// How many bytes an item counts in addition to its payload.
const OVERHEAD: usize = 256;

/// Where the payload is.
pub enum Payload<'a> {
    Inline(&'a [u8]),
    /// The payload is in a blob of this name and size.
    Blob(&'a str, usize),
}

/// An item that was opened.
pub struct Opened {
    pub versions: String,
    pub content: Bytes,
}

/// The size of an item with a payload of this size, as it counts against a pipe's bound.
pub const fn size(payload: usize) -> usize {
    payload + OVERHEAD
}

/// Seals a payload for an object, with versions. `is_task`: it must be acknowledged by its result.
pub fn encode(
    seal: &Seal,
    object: &str,
    kind: &str,
    is_task: bool,
    versions: &str,
    content: &Payload<'_>,
) -> Result<Vec<u8>> {
    let length = u32::try_from(versions.len())
        .map_err(|_| Error::State("too many shared regions".into()))?;
    let plain_head = [&length.to_be_bytes(), versions.as_bytes()].concat();
    let (is_blob, content, size) = match content {
        Payload::Inline(payload) => (false, *payload, payload.len()),
        Payload::Blob(name, size) => (true, name.as_bytes(), *size),
    };
    let mut bytes = kept::take(content.len() + plain_head.len() + 128);
    let size = self::size(size);
    bytes.extend_from_slice(Item::head(is_task, is_blob, size).as_bytes());
    let kind = format!("{kind} {}", Item::sealed_head(is_task, is_blob, size));
    seal.close(object, &kind, &[&plain_head, content], &mut bytes);
    Ok(bytes)
}

/// Opens the sealed part of an item.
pub fn decode(seal: &Seal, object: &str, kind: &str, payload: &Item<'_>) -> Result<Opened> {
    let refused = || {
        Error::Seal(format!(
            "payload refused: no item for {kind} of object {object}"
        ))
    };
    let head = Item::sealed_head(payload.is_task, payload.is_blob, payload.size);
    let plain = seal.open(object, &format!("{kind} {head}"), payload.sealed)?;
    let (length, rest) = plain.split_first_chunk().ok_or_else(refused)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (versions, _) = rest.split_at_checked(length).ok_or_else(refused)?;
    let versions = String::from_utf8_lossy(versions).into_owned();
    Ok(Opened {
        versions,
        content: Bytes::behind(plain, 4 + length),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Entry;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_item_comes_back(is_task: bool, versions in "[a-z:0-9 ]*", payload: Vec<u8>, blob in prop::option::of("[a-f0-9-]{1,30}")) {
            let seal = Seal::new("s", b"key", "0123456789abcdef");
            let content = match &blob {
                Some(name) => Payload::Blob(name, payload.len()),
                None => Payload::Inline(&payload),
            };
            let bytes = encode(&seal, "o", "to 0", is_task, &versions, &content).unwrap();
            let Entry::Item(found) = Entry::decode(&bytes).unwrap() else { panic!("another kind of item") };
            prop_assert_eq!((found.is_task, found.is_blob, found.size), (is_task, blob.is_some(), self::size(payload.len())));
            let opened = decode(&seal, "o", "to 0", &found).unwrap();
            prop_assert_eq!(opened.versions, versions);
            prop_assert_eq!(opened.content.to_vec(), blob.map_or(payload, String::into_bytes));
            prop_assert!(decode(&seal, "o", "to 1", &found).is_err());
            // A store may write another head before it.
            for other in [Item { is_blob: !found.is_blob, ..found }, Item { is_task: !found.is_task, ..found }, Item { size: found.size + 1, ..found }] {
                prop_assert!(decode(&seal, "o", "to 0", &other).is_err());
            }
        }
    }
}
