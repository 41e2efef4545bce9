//! Payloads leave this process sealed: AES-256-GCM under a key that the store never sees.
//!
//! Each process seals with a key of its own, derived from the session's key and the process' id, and counts its nonces; so no
//! nonce is used twice. The associated data are the session, the object and the kind: a payload that was moved elsewhere does
//! not open.
//!
//! Layout: sender's process id (16 hex digits), counter (8 bytes), ciphertext with tag.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;

use crate::error::{Error, Result};
use crate::kept;
use crate::locked::Locked;

/// The size of the sender and the counter, which no two payloads share.
pub const HEAD: usize = 16 + 8;
/// The size of the tag at the end.
const TAG: usize = 16;
/// How many keys of other processes are kept.
const MOST_KEYS: usize = 1024;

pub struct Seal {
    session: String,
    secret: hkdf::Prk,
    id: String,
    own: LessSafeKey,
    counter: AtomicU64,
    others: Mutex<HashMap<String, Arc<LessSafeKey>>>,
}

impl Seal {
    pub fn new(session: &str, key: &[u8], id: &str) -> Self {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, session.as_bytes()).extract(key);
        let own = derive(&secret, id);
        Self {
            session: session.to_owned(),
            secret,
            id: id.to_owned(),
            own,
            counter: AtomicU64::new(0),
            others: Mutex::default(),
        }
    }

    /// Appends the sealed payload to `out`.
    pub fn close(&self, object: &str, kind: &str, parts: &[&[u8]], out: &mut Vec<u8>) {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        let start = out.len();
        for part in parts {
            out.extend_from_slice(part);
        }
        let tag = self
            .own
            .seal_in_place_separate_tag(nonce(count), self.aad(object, kind), &mut out[start..])
            .expect("a payload is shorter than the cipher's limit");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens a payload, if it was sealed in this session for this object and kind.
    pub fn open(&self, object: &str, kind: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let mut plain = kept::filled(sealed.len().saturating_sub(HEAD + TAG));
        self.open_into(object, kind, sealed, &mut plain)?;
        Ok(plain)
    }

    /// The same into a buffer of exactly its size.
    pub fn open_into(
        &self,
        object: &str,
        kind: &str,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<()> {
        let refused = || {
            Error::Seal(format!(
                "payload refused: its seal does not open for {kind} of object {object}"
            ))
        };
        if sealed.len() != HEAD + plain.len() + TAG {
            return Err(refused());
        }
        let sender = std::str::from_utf8(&sealed[..16]).map_err(|_| refused())?;
        let count = u64::from_be_bytes(sealed[16..HEAD].try_into().expect("eight bytes"));
        let (text, tag) = sealed[HEAD..].split_at(plain.len());
        self.key_of(sender)
            .open_separate_gather(nonce(count), self.aad(object, kind), text, tag, plain)
            .map_err(|_| refused())
    }

    fn key_of(&self, sender: &str) -> Arc<LessSafeKey> {
        let mut others = self.others.locked();
        if let Some(key) = others.get(sender) {
            return key.clone();
        }
        let key = Arc::new(derive(&self.secret, sender));
        // Most of the keys belong to processes that have ended.
        if others.len() >= MOST_KEYS {
            others.clear();
        }
        others.insert(sender.to_owned(), key.clone());
        key
    }

    fn aad(&self, object: &str, kind: &str) -> Aad<Vec<u8>> {
        Aad::from([self.session.as_bytes(), object.as_bytes(), kind.as_bytes()].join(&0))
    }
}

fn derive(secret: &hkdf::Prk, id: &str) -> LessSafeKey {
    let info = [id.as_bytes()];
    let okm = secret
        .expand(&info, &AES_256_GCM)
        .expect("one key is within HKDF's limit");
    LessSafeKey::new(UnboundKey::from(okm))
}

fn nonce(count: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&count.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: &str = "0123456789abcdef";
    const OTHER: &str = "fedcba9876543210";

    fn sealed(seal: &Seal, object: &str, kind: &str, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        seal.close(object, kind, &[payload], &mut out);
        out
    }

    #[test]
    fn it_opens_for_what_it_was_made_for_only() {
        let (one, other) = (Seal::new("s", b"key", ONE), Seal::new("s", b"key", OTHER));
        let bytes = sealed(&one, "object", "kind", b"payload");
        assert_eq!(other.open("object", "kind", &bytes).unwrap(), b"payload");
        for (object, kind) in [("object", "other"), ("other", "kind"), ("objectkind", "")] {
            assert!(other.open(object, kind, &bytes).is_err());
        }
        assert!(
            Seal::new("t", b"key", OTHER)
                .open("object", "kind", &bytes)
                .is_err()
        );
        assert!(
            Seal::new("s", b"other key", OTHER)
                .open("object", "kind", &bytes)
                .is_err()
        );
    }

    #[test]
    fn no_seal_comes_twice() {
        let seal = Seal::new("s", b"key", ONE);
        assert_ne!(
            sealed(&seal, "o", "k", b"same"),
            sealed(&seal, "o", "k", b"same")
        );
    }

    #[test]
    fn keys_of_others_are_bounded() {
        let seal = Seal::new("s", b"key", ONE);
        for n in 0..2 * MOST_KEYS {
            seal.key_of(&format!("{n:016x}"));
        }
        assert!(seal.others.locked().len() <= MOST_KEYS);
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(payload: Vec<u8>, at: prop::sample::Index, change in 1_u8..) {
            let seal = Seal::new("s", b"key", ONE);
            let mut bytes = sealed(&seal, "o", "k", &payload);
            prop_assert_eq!(seal.open("o", "k", &bytes).unwrap(), payload);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(seal.open("o", "k", &bytes).is_err());
        }

        #[test]
        fn nothing_else_opens(bytes: Vec<u8>) {
            prop_assert!(Seal::new("s", b"key", ONE).open("o", "k", &bytes).is_err());
        }
    }
}
