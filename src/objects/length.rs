//! The number of items that wait for one end of a pipe.

use redis::Value;

use crate::error::Result;
use crate::store::client::Client;
use crate::store::command::Cmd;
use crate::store::scripts;

/// How many items wait for an end, and whether the end of file follows them.
pub fn ask(client: &Client, id: &str, end: u8) -> Result<(i64, bool)> {
    question(client, id, end).call().map(|reply| read(&reply))
}

/// The same as a command, to be sent together with others.
pub fn question<'c>(client: &'c Client, id: &str, end: u8) -> Cmd<'c> {
    client.script(&scripts::LENGTH, id).arg(end)
}

/// Whether a reply says that there is something to take.
pub fn is_some(reply: &Value) -> bool {
    let (n, eof) = read(reply);
    n > 0 || eof
}

/// Reads the reply.
pub fn read(reply: &Value) -> (i64, bool) {
    match reply {
        Value::Array(row) => match row.as_slice() {
            [Value::Int(n), Value::Int(eof)] => (*n, *eof == 1),
            _ => (0, false),
        },
        _ => (0, false),
    }
}
