//! The sending side of a channel: its items, and the room for them.
//!
//! A pipe has a bound. Who waits for the store's answer waits for room as well; who posts asks for room now and then.

use std::sync::atomic::Ordering;

use super::Channel;
use crate::error::{Error, Result};
use crate::objects::item;
use crate::objects::payload;
use crate::objects::pipe;
use crate::objects::wait::{self, Waited};
use crate::protocol::Reply;
use crate::store::client::Args;
use crate::store::conn::Until;
use crate::store::scripts;

/// Who sends without waiting asks for room after so many bytes: by so much it may exceed a pipe's bound.
const CHECK_EVERY: usize = 1 << 20;

impl Channel {
    /// Sends messages, in order; if it waits for the store's answer, it waits for room as well.
    pub fn send(&self, payloads: &[&[u8]], task: bool, result: bool, wait: bool) -> Result<()> {
        self.check_open()?;
        let (p, to) = (self.current_process()?, 1 - self.pipe.end);
        let items = payloads
            .iter()
            .map(|payload| payload::pack(p, &self.pipe.id, pipe::kind(to), task, payload))
            .collect::<Result<Vec<_>>>()?;
        let weight: usize = payloads
            .iter()
            .map(|payload| item::weight(payload.len()))
            .sum();
        if result {
            self.pipe.drop_blob(p)?;
        }
        let head = [
            to.to_string(),
            u8::from(result).to_string(),
            u8::from(wait).to_string(),
            weight.to_string(),
        ];
        let mut args: Vec<&[u8]> = head.iter().map(String::as_bytes).collect();
        args.extend(items.iter().map(|packed| packed.item.as_slice()));
        let mut blobs = items
            .iter()
            .filter_map(|item| item.blob.as_deref())
            .peekable();
        if !wait {
            self.bytes_since_check.fetch_add(weight, Ordering::AcqRel);
            if blobs.peek().is_none() {
                return p.post(&scripts::SEND, &self.pipe.id, &Args(&args));
            }
        }
        let sent = self.ask_to_send(&args);
        if sent.is_err() {
            // Nobody will ever take what lies apart.
            for blob in blobs {
                p.post(&scripts::DROP, blob, &Args(&[]))?;
            }
        }
        match sent {
            Err(Error::Broken) if !wait => Ok(()),
            sent => sent,
        }
    }

    /// Sends; again whenever there may be room.
    fn ask_to_send(&self, args: &[&[u8]]) -> Result<()> {
        loop {
            let reply = self
                .current_process()?
                .ask(&scripts::SEND, &self.pipe.id, &Args(args))?;
            let waiter = match Reply::decode(&reply)? {
                Reply::Wait(waiter) => waiter,
                Reply::Broken => return Err(Error::Broken),
                _ => return Ok(()),
            };
            // A question weighs less than the messages.
            let mut waiter = Some(waiter.to_owned());
            while let Some(w) = waiter {
                self.wait_for_capacity(&w)?;
                waiter = self.check_capacity()?;
            }
        }
    }

    /// For who sends without waiting: waits now and then, until there is room for more.
    pub fn wait_until_there_is_capacity(&self) -> Result<()> {
        if self.bytes_since_check.load(Ordering::Acquire) < CHECK_EVERY {
            return Ok(());
        }
        self.bytes_since_check.store(0, Ordering::Release);
        while let Some(waiter) = self.check_capacity()? {
            self.wait_for_capacity(&waiter)?;
        }
        Ok(())
    }

    /// None where there is room; else the waiter that now stands in line for it.
    fn check_capacity(&self) -> Result<Option<String>> {
        let to = (1 - self.pipe.end).to_string();
        let reply =
            self.current_process()?
                .ask(&scripts::ROOM, &self.pipe.id, &Args(&[to.as_bytes()]))?;
        Ok(match Reply::decode(&reply)? {
            Reply::Wait(waiter) => Some(waiter.to_owned()),
            _ => None,
        })
    }

    fn wait_for_capacity(&self, waiter: &str) -> Result<()> {
        match wait::token(
            self.current_process()?,
            &self.pipe.id,
            waiter,
            Until::default(),
            &wait::FOR_NEWS,
        )? {
            Waited::Stopped(e) => Err(e),
            Waited::Token(_) | Waited::Timeout => Ok(()),
        }
    }
}
