//! Random numbers from the operating system.

use crate::error::{Error, Result};
use crate::hex;

pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::State(format!("no source of random numbers: {e}")))?;
    Ok(bytes)
}

/// 16 hexadecimal digits: unique in a session without coordination.
pub fn id() -> Result<String> {
    Ok(hex::encode(&bytes::<8>()?))
}
