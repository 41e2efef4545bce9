//! A connection that hears what is published on channels.
//!
//! What is published while the connection is broken is lost. The listener must look for itself whenever it has a new one.

use std::collections::HashSet;

use redis::{Value, cmd};

use crate::error::{Error, Result};
use crate::store::client::Client;
use crate::store::conn::{Conn, Ended, Until};
use crate::store::endpoint::{NodeAddr, VARIABLE};
use crate::store::request::{checked, text};

pub struct Subscriber {
    conn: Conn,
    channels: HashSet<String>,
    /// Whether the store was asked for a sign of life, and has not given one.
    is_asked: bool,
    /// Messages that came while an answer was awaited.
    heard: Vec<Message>,
}

/// What was published.
pub struct Message {
    pub channel: String,
    pub text: String,
}

/// Checks that the user of the store may publish and subscribe.
pub fn check_permission(conn: &mut Conn, place: &NodeAddr) -> Result<()> {
    let channel = "smp:";
    let words = [
        vec!["SUBSCRIBE", channel],
        vec!["UNSUBSCRIBE", channel],
        vec!["PUBLISH", channel, ""],
    ];
    let packed = words.map(|words| redis::Cmd::new().arg(words).get_packed_command());
    conn.send(&packed.concat())?;
    for _ in packed {
        match conn.read(Until::prompt()) {
            Ok(Value::ServerError(e)) if e.code() == "NOPERM" => {
                return Err(Error::Refused(format!(
                    "the store at {place} ({VARIABLE}) does not let this user publish and subscribe ({}): add \
                     `+publish +subscribe +unsubscribe +ping &smp:*` to its access list",
                    e.details().unwrap_or_default()
                )));
            }
            Ok(_) => {}
            Err(Ended::Failed(e)) => return Err(e),
            Err(_) => return Err(silent()),
        }
    }
    Ok(())
}

impl Subscriber {
    /// Connects to any node: in a cluster, each node passes on what is published on another one.
    pub fn open(client: &Client) -> Result<Self> {
        let cluster = &client.shared.cluster;
        let mut last = Error::Unreachable("the cluster has no nodes".into());
        for place in cluster.nodes() {
            match Conn::open(&cluster.endpoint, &place) {
                Ok(mut conn) => {
                    let name = format!("serverless_mp:{}.bells", client.id);
                    checked(conn.ask(cmd("CLIENT").arg("SETNAME").arg(name))?)?;
                    return Ok(Self {
                        conn,
                        channels: HashSet::new(),
                        is_asked: false,
                        heard: Vec::new(),
                    });
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Subscribes to those of the channels to which it has not yet. What is published from now on is heard.
    pub fn subscribe(&mut self, mut channels: Vec<String>) -> Result<()> {
        channels.retain(|channel| self.channels.insert(channel.clone()));
        if channels.is_empty() {
            return Ok(());
        }
        self.conn
            .send(&cmd("SUBSCRIBE").arg(&channels).get_packed_command())?;
        // One answer for each channel.
        let mut missing = channels.len();
        while missing > 0 {
            match self.read(Until::prompt())? {
                Some(Heard::Message(message)) => self.heard.push(message),
                Some(Heard::Subscribed) => missing -= 1,
                Some(Heard::Answer) => {}
                None => return Err(silent()),
            }
        }
        Ok(())
    }

    /// Ends the subscriptions to all channels but these, and asks the store for a sign of life. An error if it has not given one
    /// since the last time.
    pub fn check(&mut self, channels: &HashSet<String>) -> Result<()> {
        if self.is_asked {
            return Err(silent());
        }
        let old: Vec<&String> = self.channels.difference(channels).collect();
        if !old.is_empty() {
            self.conn
                .send(&cmd("UNSUBSCRIBE").arg(&old).get_packed_command())?;
            self.channels.retain(|channel| channels.contains(channel));
        }
        self.conn.send(&cmd("PING").get_packed_command())?;
        self.is_asked = true;
        Ok(())
    }

    /// The next message; None if something else has ended the wait.
    pub fn next(&mut self, until: Until<'_>) -> Result<Option<Message>> {
        if let Some(message) = self.heard.pop() {
            return Ok(Some(message));
        }
        loop {
            match self.read(until)? {
                Some(Heard::Message(message)) => return Ok(Some(message)),
                Some(Heard::Subscribed | Heard::Answer) => {}
                None => return Ok(None),
            }
        }
    }

    fn read(&mut self, until: Until<'_>) -> Result<Option<Heard>> {
        let value = match self.conn.read(until) {
            Ok(value) => checked(value)?,
            Err(Ended::Failed(e)) => return Err(e),
            Err(Ended::Deadline | Ended::Woken) => return Ok(None),
        };
        let Value::Array(row) = value else {
            return Err(Error::Store(format!(
                "no reply to a subscriber: {}",
                text(&value)
            )));
        };
        let words: Vec<String> = row.iter().map(text).collect();
        Ok(Some(match words.first().map(String::as_str) {
            Some("message") if words.len() == 3 => {
                let [_, channel, text] = words.try_into().expect("three");
                Heard::Message(Message { channel, text })
            }
            Some("subscribe") => Heard::Subscribed,
            Some("pong") => {
                self.is_asked = false;
                Heard::Answer
            }
            _ => Heard::Answer,
        }))
    }
}

fn silent() -> Error {
    Error::Unreachable("the store does not answer".into())
}

enum Heard {
    Message(Message),
    Subscribed,
    /// To a question, or to the end of a subscription.
    Answer,
}
