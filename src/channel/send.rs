//! The sending side of a channel: its items, and the room for them.
//!
//! A pipe has a bound. Who waits for the store's answer waits for room as well; who posts asks for room now and then.

use std::sync::atomic::Ordering;

use super::Channel;
use crate::conn::Until;
use crate::error::{Error, Result};
use crate::message;
use crate::process::Args;
use crate::scripts::{self, Script};
use crate::wait::{self, Waited};

/// What an item weighs in the store beside its payload, in bytes.
const OVERHEAD: usize = 256;
/// Who sends without waiting asks for room after so many bytes: by so much it may exceed a pipe's bound.
const UNASKED: usize = 1 << 20;

/// What counts against a pipe's bound.
pub const fn weight(payload: &[u8]) -> usize {
    payload.len() + OVERHEAD
}

impl Channel {
    /// Sends messages, in order; if it waits for the store's answer, it waits for room as well.
    pub fn send(&self, payloads: &[&[u8]], task: bool, result: bool, wait: bool) -> Result<()> {
        self.check_open()?;
        let (p, to) = (self.now()?, 1 - self.end);
        let items = payloads
            .iter()
            .map(|payload| message::encode(p, &self.id, Self::kind(to), task, payload))
            .collect::<Result<Vec<_>>>()?;
        let weight: usize = payloads.iter().map(|payload| weight(payload)).sum();
        if result {
            self.drop_blob()?;
        }
        let head = [
            to.to_string(),
            u8::from(result).to_string(),
            u8::from(wait).to_string(),
            weight.to_string(),
        ];
        let mut args: Vec<&[u8]> = head.iter().map(String::as_bytes).collect();
        args.extend(items.iter().map(Vec::as_slice));
        if wait {
            return self.ask(&scripts::SEND, &args);
        }
        self.unasked.fetch_add(weight, Ordering::AcqRel);
        p.post(&scripts::SEND, &self.id, &Args(&args))
    }

    /// For who sends without waiting: waits now and then, until there is room for more.
    pub fn room(&self) -> Result<()> {
        if self.unasked.load(Ordering::Acquire) < UNASKED {
            return Ok(());
        }
        self.unasked.store(0, Ordering::Release);
        self.ask(&scripts::ROOM, &[(1 - self.end).to_string().as_bytes()])
    }

    /// Asks again whenever there may be room in the pipe.
    fn ask(&self, script: &'static Script, args: &[&[u8]]) -> Result<()> {
        let p = self.now()?;
        loop {
            let reply = p.ask(script, &self.id, &Args(args))?;
            let Some((_, waiter)) = reply.split_once(' ') else {
                return if reply == "broken" {
                    Err(Error::Broken)
                } else {
                    Ok(())
                };
            };
            if let Waited::Stopped(e, _) =
                wait::token(p, &self.id, waiter, Until::default(), &scripts::CANCEL)?
            {
                return Err(e);
            }
        }
    }
}
