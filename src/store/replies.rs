//! The reading of replies: RESP2, as far as servers send it to us.
//!
//! A large bulk string goes straight from the stream into a kept buffer; anything else through one that is read in larger pieces.

use std::io::{self, Read};

use redis::{Value, parse_redis_value};

use crate::kept;

/// What is read at once.
const PIECE: usize = 16 << 10;
/// A bulk string that is longer, and has not come yet, gets a buffer of its own.
const LARGE: usize = 32 << 10;
/// Nesting of arrays; more is no reply to us.
const DEPTH: usize = 8;

#[derive(Default)]
pub struct Replies {
    buffer: Vec<u8>,
    /// What was parsed of it.
    parsed: usize,
    /// A large bulk string that is on its way, and its length with the line's end behind it.
    bulk: Option<(Vec<u8>, usize)>,
}

/// How far a reply goes.
enum Found {
    Reply(Value, usize),
    /// The rest is still to come.
    Part,
    /// A bulk string of so many bytes, which begins there.
    Bulk(usize, usize),
}

impl Replies {
    /// The next reply. After an error of the stream that is not its end the same can be read later.
    pub fn next(&mut self, stream: &mut impl Read) -> io::Result<Value> {
        loop {
            if let Some((bytes, length)) = &mut self.bulk {
                let left = (*length - bytes.len()) as u64;
                if (&mut *stream).take(left).read_to_end(bytes)?
                    < usize::try_from(left).unwrap_or(0)
                {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let (mut bytes, length) = self.bulk.take().expect("it is there");
                bytes.truncate(length - 2);
                return Ok(Value::BulkString(bytes));
            }
            match parse(&self.buffer[self.parsed..], 0)? {
                Found::Reply(value, length) => {
                    self.parsed += length;
                    if self.parsed == self.buffer.len() {
                        self.buffer.clear();
                        self.parsed = 0;
                    }
                    return Ok(value);
                }
                Found::Bulk(start, length) => {
                    let mut bytes = kept::take(length + 2);
                    bytes.extend_from_slice(&self.buffer[self.parsed + start..]);
                    self.buffer.clear();
                    self.parsed = 0;
                    self.bulk = Some((bytes, length + 2));
                }
                Found::Part => self.fill(stream)?,
            }
        }
    }

    fn fill(&mut self, stream: &mut impl Read) -> io::Result<()> {
        self.buffer.drain(..self.parsed);
        self.parsed = 0;
        let length = self.buffer.len();
        // As much again as there is, so that a long reply is not parsed from its beginning too often.
        self.buffer.resize(length + PIECE.max(length), 0);
        let result = stream.read(&mut self.buffer[length..]);
        self.buffer
            .truncate(length + *result.as_ref().unwrap_or(&0));
        if matches!(result, Ok(0)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        result.map(drop)
    }
}

fn parse(bytes: &[u8], depth: usize) -> io::Result<Found> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        return Ok(Found::Part);
    };
    let (line, behind) = (&bytes[..end], end + 2);
    let number = || {
        let text = std::str::from_utf8(&line[1..]).ok();
        text.and_then(|text| text.parse::<i64>().ok())
            .ok_or_else(|| malformed(line))
    };
    Ok(match line.first() {
        Some(b':') => Found::Reply(Value::Int(number()?), behind),
        Some(b'+' | b'-') => Found::Reply(simple(&bytes[..behind])?, behind),
        Some(b'$') => {
            let Ok(length) = usize::try_from(number()?) else {
                return Ok(Found::Reply(Value::Nil, behind));
            };
            match bytes.get(behind..behind + length + 2) {
                Some([text @ .., b'\r', b'\n']) => {
                    Found::Reply(Value::BulkString(text.to_vec()), behind + length + 2)
                }
                Some(_) => return Err(malformed(line)),
                None if depth == 0 && length >= LARGE => Found::Bulk(behind, length),
                None => Found::Part,
            }
        }
        Some(b'*') if depth < DEPTH => {
            let Ok(count) = usize::try_from(number()?) else {
                return Ok(Found::Reply(Value::Nil, behind));
            };
            let (mut values, mut at) = (Vec::new(), behind);
            for _ in 0..count {
                let Found::Reply(value, length) = parse(&bytes[at..], depth + 1)? else {
                    return Ok(Found::Part);
                };
                values.push(value);
                at += length;
            }
            Found::Reply(Value::Array(values), at)
        }
        _ => return Err(malformed(line)),
    })
}

/// A status or an error, as the library reads it.
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

    /// Gives a few bytes at a time, and says now and then that there are none.
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
