//! The session's life: its beginning, its lease, its end.

use std::time::{Duration, Instant};

use redis::{Value, cmd};

use crate::error::{Error, Result};
use crate::session::process::{self, Args, Process, Session};
use crate::store::cluster::text;
use crate::store::conn::{Conn, TICK, Until};
use crate::store::endpoint::{CONNECT, Endpoint, Place, VARIABLE};
use crate::store::keys;
use crate::store::link;
use crate::store::scripts;
use crate::store::threads;

/// How often a private store, which has no leases, is asked whether it still has the session.
const PRIVATE: Duration = Duration::from_secs(5);

/// Of a thread, in bytes.
const STACK: usize = 256 << 10;

/// A keeper's lease.
const KEEPER: Duration = Duration::from_secs(10);

/// The exit code of a worker whose session is gone: of its parent nobody renews the lease any more.
pub const EXIT_SESSION_LOST: i32 = 75;

/// Opens a session: its first keys, its scripts on every node, its heartbeat.
pub fn open(session: Session) -> Result<()> {
    process::enter(session, None)?;
    let opened = process::current().and_then(|p| {
        prepare(p)?;
        if p.session.ttl > 0 {
            p.create(keys::INDEX, 0, &[])?;
        }
        // A pipe, too: workers leave in it what the summary of a run wants to know.
        p.create(keys::SESSION, 0, &[b"n0", b"1", b"n1", b"1"])?;
        p.create(&keys::process(&p.number), 0, &[b"n0", b"1", b"n1", b"1"])?;
        p.settle()?;
        beat(p)
    });
    if opened.is_err() {
        process::leave();
    }
    opened
}

/// Joins a session as the process that its parent named.
pub fn join(session: Session, number: String) -> Result<()> {
    process::enter(session, Some(number))?;
    process::current().and_then(beat)
}

/// Joins the session of the program whose own `fork()` has made this process, with its first command.
pub fn settle_in(p: &'static Process) -> Result<()> {
    p.create(&keys::process(&p.number), 0, &[b"n0", b"1", b"n1", b"1"])?;
    beat(p)
}

/// Joins a session as a keeper of remote workers, whose own lease tells their parent that they live.
pub fn keep(session: Session, number: String) -> Result<()> {
    process::enter(session, Some(number))?;
    let p = process::current()?;
    p.create(&keys::process(&p.number), 0, &[b"n0", b"1", b"n1", b"1"])?;
    sign_of_life(p)?;
    p.settle()?;
    threads::spawn("serverless_mp-lease", STACK, move || {
        let mut has_parent = true;
        while p.is_current() {
            std::thread::sleep(KEEPER / 3);
            // What fails now is tried again at the next beat; a session that is lost is noticed below.
            let _ = sign_of_life(p);
            if has_parent && matches!(parent_has_ended(p), Ok(true)) {
                has_parent = crate::leaves::job::tell(p, &p.number, b"e", true).is_err();
            }
        }
    })?;
    beat(p)
}

/// The workers of a keeper whose parent has ended go on, but are to know.
fn parent_has_ended(p: &Process) -> Result<bool> {
    let Some(parent) = &p.session.parent else {
        return Ok(false);
    };
    let found = p.peek(p.key(&keys::process(parent)), &Args(&[b"EXISTS"]))?;
    Ok(found == Value::Int(0))
}

fn sign_of_life(p: &Process) -> Result<()> {
    let key = keys::lease(&p.key(&keys::process(&p.number)));
    let lease = KEEPER.as_millis().to_string();
    p.peek(key, &Args(&[b"SET", b"1", b"PX", lease.as_bytes()]))?;
    Ok(())
}

/// A keeper that leaves: its lease ends with it.
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

/// Every node gets the scripts, and must not throw keys away.
fn prepare(p: &Process) -> Result<()> {
    for place in p.store.nodes() {
        let end = Instant::now() + CONNECT;
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

fn prepare_node(p: &Process, place: &Place) -> Result<()> {
    let mut conn = Conn::open(&p.store.endpoint, place)?;
    conn.send(&cmd("INFO").arg("memory").get_packed_command())?;
    let until = Until {
        deadline: Some(std::time::Instant::now() + CONNECT),
        deaf: true,
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
    link::load(&mut conn, &scripts::all())
}

fn beat(p: &'static Process) -> Result<()> {
    let pause = if p.session.ttl > 0 {
        Duration::from_millis(p.session.ttl / 3)
    } else {
        PRIVATE
    };
    threads::spawn("serverless_mp-heart", STACK, move || {
        loop {
            std::thread::sleep(pause);
            if !p.is_current() {
                return;
            }
            // Waits until the store answers: the lease runs on, and is renewed at once.
            match p.peek(p.key(keys::SESSION), &Args(&[b"EXISTS"])) {
                Ok(Value::Int(1)) => {
                    p.debts.settle(p);
                    if p.session.parent.is_none() && p.session.ttl > 0 {
                        // What fails now is tried again at the next beat, well within the lease.
                        let _ = renew(p);
                    }
                    continue;
                }
                Ok(_) => p.set_lost("its owner has ended"),
                Err(_) => {}
            }
            let Err(lost) = p.healthy() else {
                continue;
            };
            if p.session.parent.is_some() {
                eprintln!("serverless_mp: worker {} stops: {lost}", std::process::id());
                // At once: nothing that it could still say would reach anybody.
                // SAFETY: no destructors are wanted.
                unsafe { nix::libc::_exit(EXIT_SESSION_LOST) }
            }
            return;
        }
    })
}

/// A new lease for every key of the session.
fn renew(p: &Process) -> Result<()> {
    let ttl = p.session.ttl.to_string();
    for object in objects(p)? {
        if p.ask(&scripts::RENEW, &object, &Args(&[ttl.as_bytes()]))? == "gone" {
            let index = keys::held(&p.key(keys::INDEX));
            p.plain(index, &Args(&[b"SREM", object.as_bytes()]))?;
        }
    }
    Ok(())
}

/// All objects of the session; the index names itself as well.
fn objects(p: &Process) -> Result<Vec<String>> {
    match p.plain(keys::held(&p.key(keys::INDEX)), &Args(&[b"SMEMBERS"]))? {
        Value::Array(rows) | Value::Set(rows) => Ok(rows.iter().map(text).collect()),
        _ => Ok(Vec::new()),
    }
}

fn sweep(p: &Process) -> Result<()> {
    p.settle()?;
    for object in objects(p)? {
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
    let end = Instant::now() + CONNECT;
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
