//! The beginning of a session and its end.

use std::time::{Duration, Instant};

use redis::cmd;

use crate::error::{Error, Result};
use crate::objects::mailbox;
use crate::objects::process::{self, Process};
use crate::random;
use crate::session::{heartbeat, jobs, supervisor_lease};
use crate::store::client::Session;
use crate::store::conn::{Conn, Ended, TICK, Until};
use crate::store::endpoint::{self, CONNECT_TIMEOUT, Endpoint, NodeAddr, VARIABLE};
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;
use crate::store::subscriber;

/// A new session, with an id and a key of its own. `ttl`: the lease of its keys in ms, 0 for none.
pub fn new_session(url: &str, ttl: u64, seal_memory: bool) -> Result<Session> {
    Ok(Session {
        id: random::id()?,
        key: random::bytes::<32>()?.to_vec(),
        url: endpoint::portable(url)?,
        ttl,
        seal_memory,
        parent: None,
    })
}

/// Opens a session: its first keys, its scripts on every node, its heartbeat.
pub fn open(session: Session, needs_persistence: bool) -> Result<()> {
    let process = process::enter(session, None)?;
    let opened = prepare(process, needs_persistence).and_then(|max_memory| {
        if process.session.ttl > 0 {
            process.create::<&str>(keys::INDEX, 0, &[])?;
        }
        // The session is a pipe, too: workers send to it what the summary of a run needs.
        mailbox::create(process, keys::SESSION)?;
        if let Some(limit) = max_memory {
            let session = process.plain("HSET", process.key(keys::SESSION));
            session.arg(keys::MAX_MEMORY).arg(limit).post()?;
        }
        mailbox::create(process, &keys::process(&process.id))?;
        process.settle()?;
        heartbeat::begin(process)
    });
    if opened.is_err() {
        process::leave();
    }
    opened
}

/// Joins a session as the process that its parent has named.
pub fn join(session: Session, id: String) -> Result<()> {
    heartbeat::begin(process::enter(session, Some(id))?)
}

/// Joins the program's session in a child of its own `fork()`, with the child's first command.
fn join_after_fork(process: &'static Process) -> Result<()> {
    mailbox::create(process, &keys::process(&process.id))?;
    heartbeat::begin(process)
}

/// Joins a session as a supervisor of remote workers, whose own lease tells their parent that they live.
pub fn join_as_supervisor(session: Session, id: String) -> Result<()> {
    let process = process::enter(session, Some(id))?;
    mailbox::create(process, &keys::process(&process.id))?;
    process.settle()?;
    supervisor_lease::hold(process)?;
    heartbeat::begin(process)
}

/// Leaves the session, as a supervisor: its lease ends.
pub fn leave() -> Result<()> {
    let process = process::current()?;
    let object = keys::process(&process.id);
    process.script(&scripts::DROP, &object).post()?;
    let lease = keys::lease(&process.key(&object));
    process.plain("DEL", lease).post()?;
    process.settle()?;
    process::leave();
    Ok(())
}

/// Ends the session. In an outside store all of its keys are deleted.
pub fn close() -> Result<()> {
    let process = process::current()?;
    let result = if process.session.ttl > 0 {
        sweep(process)
    } else {
        Ok(())
    };
    process::leave();
    result
}

/// In a child of the program's own `fork()`: gives it a state of its own.
pub fn after_fork() {
    jobs::after_fork();
    process::after_fork(|| join_after_fork(process::current()?));
}

/// Loads the scripts on every node, and checks that no node evicts keys. Returns the memory of the smallest node in bytes, if
/// it has a limit.
fn prepare(process: &Process, needs_persistence: bool) -> Result<Option<u64>> {
    let mut limits = Vec::new();
    for place in process.shared.cluster.nodes() {
        let end = Instant::now() + CONNECT_TIMEOUT;
        limits.extend(loop {
            match prepare_node(process, &place, needs_persistence) {
                Ok(limit) => break limit,
                Err(e) if Instant::now() > end || !is_passing(&e) => return Err(e),
                Err(_) => {}
            }
            crate::signals::check()?;
            std::thread::sleep(TICK);
        });
    }
    Ok(limits.into_iter().min())
}

/// Whether a connection may succeed a moment later.
const fn is_passing(e: &Error) -> bool {
    matches!(e, Error::Io(_) | Error::Unreachable(_))
}

fn prepare_node(
    process: &Process,
    place: &NodeAddr,
    needs_persistence: bool,
) -> Result<Option<u64>> {
    let mut conn = Conn::open(&process.shared.cluster.endpoint, place)?;
    let (limit, eviction) = memory(&mut conn)?;
    if let Some(policy) = eviction {
        return Err(Error::Value(format!(
            "the store at {place} ({VARIABLE}) has maxmemory-policy {policy}: it would throw locks and queues away; \
                 set it to noeviction"
        )));
    }
    if let Some(master) = info(&mut conn, "replication", "master_host:")? {
        return Err(Error::Value(format!(
            "the store at {place} ({VARIABLE}) is a replica of {master}, which takes no writes: use the address of its primary"
        )));
    }
    if needs_persistence && info(&mut conn, "persistence", "aof_enabled:")?.as_deref() != Some("1")
    {
        return Err(Error::Value(format!(
            "the store at {place} ({VARIABLE}) keeps no append-only file, and SERVERLESS_MP_NEEDS_PERSISTENCE=1 asks for one: set \
                 its appendonly to yes (and appendfsync to always, where not even the last second may be lost)"
        )));
    }
    subscriber::check_permission(&mut conn, place)?;
    Conn::for_commands(&process.shared.cluster.endpoint, place, "serverless_mp")?;
    Ok(limit)
}

/// The limit of a store's memory in bytes, if it has one and tells it; and the policy by which it evicts keys when its memory is
/// full, None if it does not, if its memory has no limit, or if it does not tell its policy.
fn memory(conn: &mut Conn) -> Result<(Option<u64>, Option<String>)> {
    let section = section(conn, "memory")?;
    let limit = line(&section, "maxmemory:");
    let policy = line(&section, "maxmemory_policy:").filter(|policy| policy != "noeviction");
    let is_unlimited = limit.as_deref() == Some("0");
    Ok((
        limit
            .and_then(|limit| limit.parse().ok())
            .filter(|limit| *limit > 0),
        policy.filter(|_| !is_unlimited),
    ))
}

/// The value of a line of a section of INFO, by the beginning of the line.
fn info(conn: &mut Conn, name: &str, beginning: &str) -> Result<Option<String>> {
    Ok(line(&section(conn, name)?, beginning))
}

fn section(conn: &mut Conn, name: &str) -> Result<String> {
    conn.send(&cmd("INFO").arg(name).get_packed_command())?;
    let reply = conn.read(Until::prompt());
    Ok(reply.map(|v| text(&v)).unwrap_or_default())
}

fn line(section: &str, beginning: &str) -> Option<String> {
    let mut lines = section.lines();
    let value = lines.find_map(|line| line.strip_prefix(beginning))?;
    Some(value.trim().to_owned())
}

fn sweep(process: &Process) -> Result<()> {
    process.settle()?;
    for object in heartbeat::objects(process)? {
        if object != keys::INDEX {
            process.script(&scripts::DROP, &object).post()?;
        }
    }
    process.script(&scripts::DROP, keys::INDEX).post()?;
    process.settle()
}

/// Connects to a store once, as a session would.
pub fn try_store(url: &str) -> Result<()> {
    connect(url).map(drop)
}

fn connect(url: &str) -> Result<Conn> {
    let endpoint = Endpoint::parse(url)?;
    let end = Instant::now() + CONNECT_TIMEOUT;
    loop {
        match Conn::open(&endpoint, &endpoint.first[0]) {
            Ok(conn) => return Ok(conn),
            Err(e) if Instant::now() > end || !is_passing(&e) => return Err(e),
            Err(_) => {
                crate::signals::check()?;
                std::thread::sleep(TICK);
            }
        }
    }
}

/// How many round trips are measured.
const ROUND_TRIPS: usize = 21;

/// The facts about a store before a session.
pub struct Facts {
    pub version: String,
    /// The policy by which it evicts keys, if it does.
    pub eviction: Option<String>,
    /// The median time of a round trip.
    pub latency: Duration,
}

pub fn examine(url: &str) -> Result<Facts> {
    let mut conn = connect(url)?;
    let valkey = info(&mut conn, "server", "valkey_version:")?.map(|v| format!("Valkey {v}"));
    let redis = info(&mut conn, "server", "redis_version:")?.map(|v| format!("Redis {v}"));
    let version = valkey.or(redis).unwrap_or_else(|| "unknown".into());
    let eviction = memory(&mut conn)?.1;
    let mut times = Vec::new();
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        conn.send(&cmd("CLIENT").arg("ID").get_packed_command())?;
        if let Err(Ended::Failed(e)) = conn.read(Until::prompt()) {
            return Err(e);
        }
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(Facts {
        version,
        eviction,
        latency: times[ROUND_TRIPS / 2],
    })
}

/// How many connections a store has, and how many it takes; None if it does not say.
pub fn connections(process: &Process) -> Result<Option<(u64, u64)>> {
    let told = process.plain("INFO", "clients".into()).text()?;
    let number = |name: &str| {
        let mut lines = told.lines();
        lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    Ok(number("connected_clients:").zip(number("maxclients:")))
}

/// Checks a URL without opening anything.
pub fn check_url(url: &str) -> Result<()> {
    Endpoint::parse(url).map(|_| ())
}
