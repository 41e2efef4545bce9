//! Random numbers from the operating system.

use crate::error::{Error, Result};
use crate::hex;

pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Error::State("no source of random numbers".into()))?;
    Ok(bytes)
}

/// 16 hexadecimal digits: unique in a session without asking anybody.
pub fn id() -> Result<String> {
    Ok(hex::encode(&bytes::<8>()?))
}
