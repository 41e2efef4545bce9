//! The readers of bytes that other processes have written, for a fuzzer and for the property tests below. No reader may panic,
//! and what was decoded must mean the same when it is encoded again.

use std::io::{self, Read};
use std::iter;

use redis::Value;

use crate::objects::item;
use crate::objects::versions::Heard;
use crate::protocol::{
    self, Arrival, Command, Entry, Event, ExitRecord, ExitReport, Grant, Item, Reply,
};
use crate::store::endpoint::Endpoint;
use crate::store::replies::Replies;
use crate::store::seal::Seal;

const PROCESS: &str = "0123456789abcdef";

/// Decodes all kinds of messages between processes.
pub fn protocol(bytes: &[u8]) {
    let _ = (Entry::decode(bytes), ExitReport::decode(bytes));
    if let Ok(event) = Event::decode(bytes) {
        assert_eq!(Event::decode(&event.encode()).expect("it is one"), event);
    }
    if let Ok(command) = Command::decode(bytes) {
        assert_eq!(
            Command::decode(&command.encode()).expect("it is one"),
            command
        );
    }
    let _ = (Grant::decode(bytes), protocol::waiter(bytes));
    let text = String::from_utf8_lossy(bytes);
    let _ = (
        Reply::decode(&text),
        Arrival::decode(&text),
        Heard::parse(&text),
    );
    if let Ok(record) = ExitRecord::decode(&text) {
        assert_eq!(
            ExitRecord::decode(&record.encode()).expect("it is one"),
            record
        );
    }
}

/// Opens a payload that no process of the session has sealed, whole and as an item.
pub fn sealed(bytes: &[u8]) {
    let seal = Seal::new("session", b"key", PROCESS);
    assert!(seal.open("object", "kind", bytes).is_err());
    if let Ok(payload) = Item::decode(bytes) {
        assert!(item::decode(&seal, "object", "kind", &payload).is_err());
    }
}

/// Decodes the content of a seal from a process of the session.
pub fn opened(bytes: &[u8]) {
    let seal = Seal::new("session", b"key", PROCESS);
    let mut sealed = Vec::new();
    let kind = format!("kind {}", Item::sealed_head(false, false, bytes.len()));
    seal.close("object", &kind, &[bytes], &mut sealed);
    let payload = Item {
        is_task: false,
        is_blob: false,
        begun: 0,
        size: bytes.len(),
        sealed: &sealed,
    };
    if let Ok(opened) = item::decode(&seal, "object", "kind", &payload) {
        assert!(opened.content.len() <= bytes.len());
    }
}

/// Reads the replies of a store, all at once and byte by byte: the values are the same.
pub fn replies(bytes: &[u8]) {
    assert_eq!(read_all(bytes), read_all(ByteByByte(bytes)));
}

/// The replies in a stream, up to the first that is malformed or incomplete.
fn read_all(mut stream: impl Read) -> Vec<Value> {
    let mut replies = Replies::default();
    iter::from_fn(|| replies.next(&mut stream).ok()).collect()
}

struct ByteByByte<'a>(&'a [u8]);

impl Read for ByteByByte<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

/// Parses the address of a store.
pub fn address(bytes: &[u8]) {
    if let Ok(url) = std::str::from_utf8(bytes)
        && let Ok(endpoint) = Endpoint::parse(url)
    {
        assert!(!endpoint.first.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// Bytes that are often close to a valid message.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<Vec<u8>>(),
            "[IPBQEDaxodse][0-9]{1,4} [ -~]{0,30}".prop_map(String::into_bytes),
            "(redis|rediss|valkey|redis\\+unix|redis\\+cluster)://[ -~]{0,30}"
                .prop_map(String::into_bytes),
        ]
    }

    /// Replies, whole and broken.
    fn replies_of_a_store() -> impl Strategy<Value = Vec<u8>> {
        let reply = prop_oneof![
            any::<Vec<u8>>(),
            any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
            "[-+$*:_]-?[0-9]{0,4}\r\n".prop_map(String::into_bytes),
            "[-+][ -~]{0,20}\r\n".prop_map(String::into_bytes),
            any::<Vec<u8>>().prop_map(|bytes| {
                [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat()
            }),
        ];
        prop::collection::vec(reply, 0..6).prop_map(|replies| replies.concat())
    }

    /// More cases than usual; still more if `PROPTEST_CASES` says so.
    fn config() -> ProptestConfig {
        ProptestConfig::with_cases(ProptestConfig::default().cases.max(2000))
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn protocol(bytes in bytes()) { super::protocol(&bytes); }

        #[test]
        fn sealed(bytes in bytes()) { super::sealed(&bytes); }

        #[test]
        fn opened(bytes in bytes()) { super::opened(&bytes); }

        #[test]
        fn address(bytes in bytes()) { super::address(&bytes); }

        #[test]
        fn replies(bytes in replies_of_a_store()) { super::replies(&bytes); }
    }
}
