//! Bytes as hexadecimal digits.

use std::fmt::Write;

pub fn encode(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
            let _ = write!(out, "{b:02x}");
            out
        })
}

/// None if the text is not hexadecimal.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_was_encoded_comes_back() {
        let bytes = [0, 1, 127, 128, 255];
        assert_eq!(super::decode(&super::encode(&bytes)), Some(bytes.to_vec()));
        for wrong in ["0", "0g", "ää"] {
            assert_eq!(super::decode(wrong), None);
        }
    }
}
