//! Reads replies: RESP2, as far as servers send it to this client.
//!
//! A large bulk string goes straight from the stream into a kept buffer; everything else goes through a buffer that is filled
//! in larger pieces.

use std::io::{self, Read};

use redis::{Value, parse_redis_value};

use crate::kept;

/// How many bytes are read at once, at least.
const PIECE: usize = 16 << 10;
/// A bulk string of at least this size that has not come yet gets a buffer of its own.
const LARGE: usize = 32 << 10;
/// The longest bulk string that a server sends.
const LONGEST: usize = 1 << 30;
/// A larger buffer is not kept.
const KEPT: usize = 1 << 20;
/// How deep arrays may be nested.
const DEPTH: usize = 8;

#[derive(Default)]
pub struct Replies {
    buffer: Vec<u8>,
    /// How far the buffer was filled, and how far it was parsed.
    filled: usize,
    parsed: usize,
    /// A large bulk string that is arriving, and its length with the end of its line.
    bulk: Option<(Vec<u8>, usize)>,
}

/// The extent of a reply.
enum Extent {
    Whole(usize),
    /// The rest is still to come.
    Part,
    /// A bulk string: its beginning and its length.
    Bulk(usize, usize),
}

impl Replies {
    /// Reads the next reply. After an error of the stream other than its end, the same reply can be read later.
    pub fn next(&mut self, stream: &mut impl Read) -> io::Result<Value> {
        loop {
            if let Some((bytes, length)) = &mut self.bulk {
                let left = *length - bytes.len();
                if (&mut *stream).take(left as u64).read_to_end(bytes)? < left {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let (mut bytes, length) = self.bulk.take().expect("it is there");
                if !bytes.ends_with(b"\r\n") {
                    return Err(malformed(b"a bulk string without its end"));
                }
                bytes.truncate(length - 2);
                return Ok(Value::BulkString(bytes));
            }
            let found = &self.buffer[self.parsed..self.filled];
            match extent(found, 0)? {
                Extent::Whole(length) => {
                    let value = built(&found[..length])?.0;
                    self.parsed += length;
                    if self.parsed == self.filled {
                        self.clear();
                    }
                    return Ok(value);
                }
                Extent::Bulk(start, length) => {
                    let mut bytes = kept::take(length + 2);
                    bytes.extend_from_slice(&found[start..]);
                    self.clear();
                    self.bulk = Some((bytes, length + 2));
                }
                Extent::Part => self.fill(stream)?,
            }
        }
    }

    fn clear(&mut self) {
        (self.filled, self.parsed) = (0, 0);
        if self.buffer.len() > KEPT {
            self.buffer = Vec::new();
        }
    }

    fn fill(&mut self, stream: &mut impl Read) -> io::Result<()> {
        if self.buffer.len() - self.filled < PIECE {
            self.buffer.copy_within(self.parsed..self.filled, 0);
            self.filled -= self.parsed;
            self.parsed = 0;
            if self.buffer.len() - self.filled < PIECE {
                self.buffer
                    .resize((2 * self.buffer.len()).max(2 * PIECE), 0);
            }
        }
        let read = stream.read(&mut self.buffer[self.filled..])?;
        self.filled += read;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// The first line of a reply, and the position after it.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], end + 2))
}

/// The number behind a line's first letter; None if it is negative: the length of nil.
fn length(line: &[u8]) -> io::Result<Option<usize>> {
    let number = number(line)?;
    match usize::try_from(number) {
        Ok(length) if length > LONGEST => Err(malformed(line)),
        length => Ok(length.ok()),
    }
}

fn number(line: &[u8]) -> io::Result<i64> {
    let text = line
        .get(1..)
        .and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| malformed(line))
}

/// Finds the extent of a reply, without looking at the bytes of bulk strings.
fn extent(bytes: &[u8], depth: usize) -> io::Result<Extent> {
    let Some((line, behind)) = line(bytes) else {
        return Ok(Extent::Part);
    };
    match line.first() {
        Some(b':' | b'+' | b'-') => Ok(Extent::Whole(behind)),
        Some(b'$') => {
            let Some(length) = length(line)? else {
                return Ok(Extent::Whole(behind));
            };
            let end = behind + length + 2;
            if bytes.len() >= end {
                return Ok(Extent::Whole(end));
            }
            Ok(if depth == 0 && length >= LARGE {
                Extent::Bulk(behind, length)
            } else {
                Extent::Part
            })
        }
        Some(b'*') if depth < DEPTH => {
            let mut at = behind;
            for _ in 0..length(line)?.unwrap_or(0) {
                let Extent::Whole(length) = extent(&bytes[at..], depth + 1)? else {
                    return Ok(Extent::Part);
                };
                at += length;
            }
            Ok(Extent::Whole(at))
        }
        _ => Err(malformed(line)),
    }
}

/// Builds a reply that is complete. Returns it and its length.
fn built(bytes: &[u8]) -> io::Result<(Value, usize)> {
    let (line, behind) = line(bytes).ok_or_else(|| malformed(bytes))?;
    Ok(match line.first() {
        Some(b':') => (Value::Int(number(line)?), behind),
        Some(b'$') => {
            let Some(length) = length(line)? else {
                return Ok((Value::Nil, behind));
            };
            match bytes.get(behind..behind + length + 2) {
                Some([text @ .., b'\r', b'\n']) => {
                    (Value::BulkString(text.to_vec()), behind + length + 2)
                }
                _ => return Err(malformed(line)),
            }
        }
        Some(b'*') => {
            let Some(count) = length(line)? else {
                return Ok((Value::Nil, behind));
            };
            let (mut values, mut at) = (Vec::new(), behind);
            for _ in 0..count {
                let (value, length) = built(&bytes[at..])?;
                values.push(value);
                at += length;
            }
            (Value::Array(values), at)
        }
        _ => (simple(&bytes[..behind])?, behind),
    })
}

/// A status or an error, as the redis library parses it.
fn simple(line: &[u8]) -> io::Result<Value> {
    parse_redis_value(line).map_err(|_| malformed(line))
}

fn malformed(line: &[u8]) -> io::Error {
    let shown = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("no reply of a store: {shown:?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives a few bytes at a time, and now and then says that there are none.
    struct Slow<'a> {
        rest: &'a [u8],
        pieces: std::vec::IntoIter<usize>,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.pieces.next() {
                Some(0) => Err(io::ErrorKind::TimedOut.into()),
                piece => {
                    let most = piece.unwrap_or(usize::MAX).min(buffer.len());
                    self.rest.read(&mut buffer[..most])
                }
            }
        }
    }

    fn all(bytes: &[u8], pieces: Vec<usize>) -> Vec<Value> {
        let (mut replies, mut found) = (Replies::default(), Vec::new());
        let mut stream = Slow {
            rest: bytes,
            pieces: pieces.into_iter(),
        };
        loop {
            match replies.next(&mut stream) {
                Ok(value) => found.push(value),
                Err(e) if e.kind() == io::ErrorKind::TimedOut => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return found,
                Err(e) => panic!("{e}"),
            }
        }
    }

    fn written(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Int(n) => out.extend(format!(":{n}\r\n").bytes()),
            Value::Nil => out.extend(b"$-1\r\n"),
            Value::Okay => out.extend(b"+OK\r\n"),
            Value::SimpleString(text) => out.extend(format!("+{text}\r\n").bytes()),
            Value::BulkString(bytes) => {
                out.extend(format!("${}\r\n", bytes.len()).bytes());
                out.extend(bytes);
                out.extend(b"\r\n");
            }
            Value::Array(values) => {
                out.extend(format!("*{}\r\n", values.len()).bytes());
                for value in values {
                    written(value, out);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn any_reply() -> impl Strategy<Value = Value> {
        let bulk = (
            any::<u8>(),
            prop_oneof![0..200_usize, LARGE - 4..LARGE + 4, Just(3 * LARGE)],
        )
            .prop_map(|(byte, length)| Value::BulkString(vec![byte; length]));
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::Int),
            Just(Value::Nil),
            Just(Value::Okay),
            "[a-z]{1,9}".prop_map(Value::SimpleString),
            bulk,
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(Value::Array)
        })
    }

    proptest! {
        #[test]
        fn replies_are_read_as_they_were_written(
            values in prop::collection::vec(any_reply(), 0..5),
            pieces in prop::collection::vec(prop_oneof![0..5_usize, 0..40_000_usize], 0..40),
        ) {
            let mut bytes = Vec::new();
            for value in &values {
                written(value, &mut bytes);
            }
            prop_assert_eq!(all(&bytes, pieces), values);
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let _ = Replies::default().next(&mut bytes.as_slice());
            let _ = Replies::default().next(&mut [b"*3\r\n:1\r\n", bytes.as_slice()].concat().as_slice());
        }
    }

    #[test]
    fn errors_are_replies() {
        let found = all(
            b"-MOVED 7 host:1\r\n-ERR no\r\n*2\r\n-ERR in\r\n:1\r\n",
            Vec::new(),
        );
        let codes: Vec<_> = found[..2]
            .iter()
            .map(|value| match value {
                Value::ServerError(e) => (
                    e.code().to_owned(),
                    e.details().unwrap_or_default().to_owned(),
                ),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            codes,
            [
                ("MOVED".into(), "7 host:1".into()),
                ("ERR".into(), "no".into())
            ]
        );
        assert!(matches!(&found[2], Value::Array(row) if matches!(row[0], Value::ServerError(_))));
    }
}
