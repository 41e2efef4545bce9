//! The beginning of a session and its end.

use std::time::Instant;

use redis::cmd;

use crate::error::{Error, Result};
use crate::objects::process::{self, Process};
use crate::session::heartbeat;
use crate::store::client::{Args, Session};
use crate::store::conn::{Conn, TICK, Until};
use crate::store::endpoint::{CONNECT_TIMEOUT, Endpoint, NodeAddr, VARIABLE};
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;
use crate::store::thread_client;

/// What a process' pipe of events begins with.
const MAILBOX: [&[u8]; 4] = [b"n0", b"1", b"n1", b"1"];

/// Opens a session: its first keys, its scripts on every node, its heartbeat.
pub fn open(session: Session) -> Result<()> {
    let p = process::enter(session, None)?;
    let opened = prepare(p).and_then(|()| {
        if p.session.ttl > 0 {
            p.create(keys::INDEX, 0, &[])?;
        }
        // A pipe, too: workers leave in it what the summary of a run wants to know.
        p.create(keys::SESSION, 0, &MAILBOX)?;
        p.create(&keys::process(&p.number), 0, &MAILBOX)?;
        p.settle()?;
        heartbeat::beat(p)
    });
    if opened.is_err() {
        process::leave();
    }
    opened
}

/// Joins a session as the process that its parent named.
pub fn join(session: Session, number: String) -> Result<()> {
    heartbeat::beat(process::enter(session, Some(number))?)
}

/// Joins the session of the program whose own `fork()` has made this process, with its first command.
fn settle_in(p: &'static Process) -> Result<()> {
    p.create(&keys::process(&p.number), 0, &MAILBOX)?;
    heartbeat::beat(p)
}

/// Joins a session as a supervisor of remote workers, whose own lease tells their parent that they live.
pub fn keep(session: Session, number: String) -> Result<()> {
    let p = process::enter(session, Some(number))?;
    p.create(&keys::process(&p.number), 0, &MAILBOX)?;
    p.settle()?;
    heartbeat::hold_lease(p)?;
    heartbeat::beat(p)
}

/// A supervisor that leaves: its lease ends with it.
pub fn leave() -> Result<()> {
    let p = process::current()?;
    p.post(&scripts::DROP, &keys::process(&p.number), &Args(&[]))?;
    p.post_plain(
        keys::lease(&p.key(&keys::process(&p.number))),
        &Args(&[b"DEL"]),
    )?;
    p.settle()?;
    process::leave();
    Ok(())
}

/// Ends the session: with an outside store all its keys go.
pub fn close() -> Result<()> {
    let p = process::current()?;
    let result = if p.session.ttl > 0 { sweep(p) } else { Ok(()) };
    process::leave();
    result
}

/// In a child of the program's own `fork()`.
pub fn after_fork() {
    process::after_fork(|| settle_in(process::current()?));
}

/// Every node gets the scripts, and must not throw keys away.
fn prepare(p: &Process) -> Result<()> {
    for place in p.shared.cluster.nodes() {
        let end = Instant::now() + CONNECT_TIMEOUT;
        while let Err(e) = prepare_node(p, &place) {
            if Instant::now() > end || !matches!(e, Error::Io(_) | Error::Unreachable(_)) {
                return Err(e);
            }
            crate::signals::check()?;
            std::thread::sleep(TICK);
        }
    }
    Ok(())
}

fn prepare_node(p: &Process, place: &NodeAddr) -> Result<()> {
    let mut conn = Conn::open(&p.shared.cluster.endpoint, place)?;
    conn.send(&cmd("INFO").arg("memory").get_packed_command())?;
    let until = Until {
        deadline: Some(Instant::now() + CONNECT_TIMEOUT),
        defer_signals: true,
        ..Until::default()
    };
    let info = conn.read(until).map(|v| text(&v)).unwrap_or_default();
    let policy = info
        .lines()
        .find_map(|l| l.strip_prefix("maxmemory_policy:"))
        .unwrap_or("noeviction")
        .trim();
    if policy != "noeviction" {
        return Err(Error::Value(format!(
            "the store at {place} ({VARIABLE}) has maxmemory-policy {policy}: it would throw locks and queues away; \
                 set it to noeviction"
        )));
    }
    thread_client::load(&mut conn, &scripts::all())
}

fn sweep(p: &Process) -> Result<()> {
    p.settle()?;
    for object in heartbeat::objects(p)? {
        if object != keys::INDEX {
            p.post(&scripts::DROP, &object, &Args(&[]))?;
        }
    }
    p.post(&scripts::DROP, keys::INDEX, &Args(&[]))?;
    p.settle()
}

/// Connects to a store once, as a session would.
pub fn try_store(url: &str) -> Result<()> {
    let endpoint = Endpoint::parse(url)?;
    let end = Instant::now() + CONNECT_TIMEOUT;
    loop {
        match Conn::open(&endpoint, &endpoint.first[0]) {
            Ok(_) => return Ok(()),
            Err(e) if Instant::now() > end || !matches!(e, Error::Unreachable(_)) => return Err(e),
            Err(_) => {
                crate::signals::check()?;
                std::thread::sleep(TICK);
            }
        }
    }
}

/// Checks a URL without opening anything.
pub fn check_url(url: &str) -> Result<()> {
    Endpoint::parse(url).map(|_| ())
}
