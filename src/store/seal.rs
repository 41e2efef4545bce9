//! Payloads leave this process sealed: AES-256-GCM under a key that the store never sees.
//!
//! Each process seals with a key of its own, derived from the session's key and the process' number, and counts
//! its nonces; so no nonce comes twice. The associated data name session, object and kind: a payload that was
//! moved elsewhere does not open.
//!
//! Layout: sender's process number (16 hex digits), counter (8 bytes), ciphertext with tag.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;

use crate::error::{Error, Result};

const HEAD: usize = 16 + 8;

pub struct Seal {
    session: String,
    secret: hkdf::Prk,
    number: String,
    own: LessSafeKey,
    counter: AtomicU64,
    others: Mutex<HashMap<String, Arc<LessSafeKey>>>,
}

impl Seal {
    pub fn new(session: &str, key: &[u8], number: &str) -> Self {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, session.as_bytes()).extract(key);
        let own = derive(&secret, number);
        Self {
            session: session.to_owned(),
            secret,
            number: number.to_owned(),
            own,
            counter: AtomicU64::new(0),
            others: Mutex::default(),
        }
    }

    /// Appends the sealed payload to `out`.
    pub fn close(&self, object: &str, kind: &str, parts: &[&[u8]], out: &mut Vec<u8>) {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        out.extend_from_slice(self.number.as_bytes());
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

    /// The payload, if it was sealed in this session for this object and kind.
    pub fn open(&self, object: &str, kind: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let refused = || {
            Error::Seal(format!(
                "payload refused: its seal does not open for {kind} of object {object}"
            ))
        };
        if sealed.len() < HEAD {
            return Err(refused());
        }
        let sender = std::str::from_utf8(&sealed[..16]).map_err(|_| refused())?;
        let count = u64::from_be_bytes(sealed[16..HEAD].try_into().expect("eight bytes"));
        let key = self.key_of(sender);
        let mut body = sealed[HEAD..].to_vec();
        let length = key
            .open_in_place(nonce(count), self.aad(object, kind), &mut body)
            .map_err(|_| refused())?
            .len();
        body.truncate(length);
        Ok(body)
    }

    fn key_of(&self, sender: &str) -> Arc<LessSafeKey> {
        let mut others = self.others.lock().expect("no panic under this lock");
        if let Some(key) = others.get(sender) {
            return key.clone();
        }
        let key = Arc::new(derive(&self.secret, sender));
        others.insert(sender.to_owned(), key.clone());
        key
    }

    fn aad(&self, object: &str, kind: &str) -> Aad<Vec<u8>> {
        Aad::from([self.session.as_bytes(), object.as_bytes(), kind.as_bytes()].join(&0))
    }
}

fn derive(secret: &hkdf::Prk, number: &str) -> LessSafeKey {
    let info = [number.as_bytes()];
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
