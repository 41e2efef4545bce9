//! A connection that hears what is published on channels.
//!
//! What is published while the connection is broken is lost. The listener must look for itself whenever it has a new one.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use redis::{Value, cmd};

use crate::error::{Error, Result};
use crate::store::client::Client;
use crate::store::conn::{Conn, Ended, Until};
use crate::store::endpoint::{CONNECT_TIMEOUT, NodeAddr, VARIABLE};
use crate::store::request::{checked, text};

pub struct Subscriber {
    conn: Conn,
    channels: HashSet<String>,
    /// Since when a question is not answered.
    asked: Option<Instant>,
    /// What came while it subscribed.
    heard: VecDeque<Heard>,
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
        vec!["PING", ""],
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
                        asked: None,
                        heard: VecDeque::new(),
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
                Some(Read::Heard(heard)) => self.heard.push_back(heard),
                Some(Read::Subscribed) => missing -= 1,
                Some(Read::Unsubscribed) => {}
                None => return Err(silent()),
            }
        }
        Ok(())
    }

    /// Ends the subscriptions to all channels but these.
    pub fn keep(&mut self, channels: &HashSet<String>) -> Result<()> {
        let old: Vec<&String> = self.channels.difference(channels).collect();
        if !old.is_empty() {
            self.conn
                .send(&cmd("UNSUBSCRIBE").arg(&old).get_packed_command())?;
            self.channels.retain(|channel| channels.contains(channel));
        }
        Ok(())
    }

    /// Asks a question, whose answer comes in order with the messages and names this number.
    pub fn ask(&mut self, number: u64) -> Result<()> {
        self.asked.get_or_insert_with(Instant::now);
        Ok(self
            .conn
            .send(&cmd("PING").arg(number).get_packed_command())?)
    }

    /// The same. An error if an answer is overdue.
    pub fn check(&mut self, number: u64) -> Result<()> {
        if self
            .asked
            .is_some_and(|since| since.elapsed() > CONNECT_TIMEOUT)
        {
            return Err(silent());
        }
        self.ask(number)
    }

    /// The next message or answer; None if something else has ended the wait.
    pub fn next(&mut self, until: Until<'_>) -> Result<Option<Heard>> {
        if let Some(heard) = self.heard.pop_front() {
            return Ok(Some(heard));
        }
        loop {
            match self.read(until)? {
                Some(Read::Heard(heard)) => return Ok(Some(heard)),
                Some(Read::Subscribed | Read::Unsubscribed) => {}
                None => return Ok(None),
            }
        }
    }

    fn read(&mut self, until: Until<'_>) -> Result<Option<Read>> {
        let value = match self.conn.read(until) {
            Ok(value) => checked(value)?,
            Err(Ended::Failed(e)) => return Err(e),
            Err(Ended::Deadline | Ended::Woken) => return Ok(None),
        };
        let words: Vec<String> = match &value {
            Value::Array(row) => row.iter().map(text).collect(),
            // So is a question answered as long as there are no subscriptions.
            Value::BulkString(_) => vec!["pong".into(), text(&value)],
            _ => Vec::new(),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(Some(match words.as_slice() {
            ["message", channel, text] => Read::Heard(Heard::Message(Message {
                channel: (*channel).to_owned(),
                text: (*text).to_owned(),
            })),
            ["pong", number] => {
                self.asked = None;
                Read::Heard(Heard::Answer(number.parse().unwrap_or(0)))
            }
            ["subscribe", ..] => Read::Subscribed,
            ["unsubscribe", ..] => Read::Unsubscribed,
            _ => {
                let answer = text(&value);
                return Err(Error::Store(format!("no answer to a subscriber: {answer}")));
            }
        }))
    }
}

/// What a subscriber hears.
pub enum Heard {
    Message(Message),
    /// The answer to a question.
    Answer(u64),
}

enum Read {
    Heard(Heard),
    Subscribed,
    Unsubscribed,
}

fn silent() -> Error {
    Error::Unreachable("the store does not answer".into())
}
