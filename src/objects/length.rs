//! How many items wait for one end of a pipe.

use redis::Value;

use crate::error::Result;
use crate::store::client::{Args, Client};
use crate::store::scripts;

/// How many items wait for an end, and whether the end of file stands behind them.
pub fn ask(client: &Client, id: &str, end: u8) -> Result<(i64, bool)> {
    let reply = client.call(&scripts::LENGTH, id, &Args(&[end.to_string().as_bytes()]))?;
    Ok(read(&reply))
}

/// What the reply says.
pub fn read(reply: &Value) -> (i64, bool) {
    match reply {
        Value::Array(row) => match row.as_slice() {
            [Value::Int(n), Value::Int(eof)] => (*n, *eof == 1),
            _ => (0, false),
        },
        _ => (0, false),
    }
}
