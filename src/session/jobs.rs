//! The end of processes: what a parent knows of those it has started.
//!
//! Two threads, begun with the first process. One takes this process' events: a child has attached to what it was
//! given, or has left its exit record; of a remote one also what it prints, and its keeper's word that it died. The
//! other waits for the launchers' words. A process that ended without an exit record ended badly, and its holds are
//! cleared away here. Either closes the sentinel.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{pipe, read, write};

use crate::error::{Error, Result};
use crate::launcher::Word;
use crate::leaves::channel::Channel;
use crate::session::process::{Args, Process};
use crate::store::cluster::text;
use crate::store::conn::{TICK, Until};
use crate::store::keys;
use crate::store::scripts;
use crate::store::threads;

/// How `CPython`'s forkserver reports a child of which nothing is known.
const UNKNOWN: i32 = 255;

/// Of a thread, in bytes.
const STACK: usize = 512 << 10;

#[derive(Default)]
pub struct Jobs {
    started: Mutex<bool>,
    table: Mutex<HashMap<String, Arc<Job>>>,
    /// The launchers' words that are waited for.
    words: Mutex<Vec<(OwnedFd, Arc<Job>)>>,
    /// Wakes the thread that waits for them.
    bell: Mutex<Option<OwnedFd>>,
}

pub struct Job {
    pub number: String,
    /// The process number that its worker has in the session.
    pub process: String,
    /// Set once it is launched.
    pid: AtomicI32,
    /// Whether it runs on another machine. Then all news of it goes through this process' events, in their order: what
    /// it printed comes before its end, whoever tells of that.
    is_remote: bool,
    /// How often a task is begun before it counts as the killer of its workers.
    pub attempts: u32,
    end: Mutex<End>,
}

struct End {
    /// Closed at the end: the sentinel is the other end of this pipe.
    sentinel: Option<OwnedFd>,
    /// What the parent holds for the child until it has attached.
    holds: Vec<(String, u8)>,
    exit: Option<(i32, String)>,
}

impl Job {
    pub fn new(
        number: String,
        process: String,
        attempts: u32,
        is_remote: bool,
        sentinel: OwnedFd,
        holds: Vec<(String, u8)>,
    ) -> Self {
        let end = Mutex::new(End {
            sentinel: Some(sentinel),
            holds,
            exit: None,
        });
        Self {
            number,
            process,
            pid: AtomicI32::new(0),
            is_remote,
            attempts,
            end,
        }
    }

    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    pub fn has_ended(&self) -> bool {
        self.end
            .lock()
            .expect("no panic under this lock")
            .exit
            .is_some()
    }

    /// The exit code and the map that came with it.
    pub fn exit(&self) -> Option<(i32, String)> {
        self.end
            .lock()
            .expect("no panic under this lock")
            .exit
            .clone()
    }

    /// The child holds by itself what it was given.
    fn attached(&self, p: &Process) -> Result<()> {
        let holds = std::mem::take(&mut self.end.lock().expect("no panic under this lock").holds);
        holds
            .iter()
            .try_for_each(|(object, end)| p.unhold(object, *end))
    }

    pub fn complete(&self, p: &Process, code: i32, map: &str) -> Result<()> {
        self.attached(p)?;
        p.post(&scripts::DROP, &keys::job(&self.number), &Args(&[]))?;
        p.post(&scripts::DROP, &keys::process(&self.process), &Args(&[]))?;
        // Of its commands nothing is remembered any more.
        p.reap_object(
            &keys::process(&p.number),
            &self.process,
            code,
            self.attempts,
        )?;
        p.settle()?;
        p.bells.catch_up(p);
        let mut end = self.end.lock().expect("no panic under this lock");
        if end.exit.is_none() {
            end.exit = Some((code, map.to_owned()));
        }
        end.sentinel = None;
        Ok(())
    }
}

impl Jobs {
    /// Begins to watch, with the first job.
    pub fn begin(&self, p: &'static Process) -> Result<()> {
        let mut started = self.started.lock().expect("no panic under this lock");
        if *started {
            return Ok(());
        }
        let events = Channel::open(keys::process(&p.number), 0)?;
        let (wake, bell) = pipe()?;
        fcntl(&wake, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        *self.bell.lock().expect("no panic under this lock") = Some(bell);
        threads::spawn("serverless_mp-events", STACK, move || {
            take_events(p, &events);
        })?;
        threads::spawn("serverless_mp-words", STACK, move || take_words(p, &wake))?;
        *started = true;
        Ok(())
    }

    /// A job that is about to be launched.
    pub fn enter(&self, job: &Arc<Job>) {
        let mut table = self.table.lock().expect("no panic under this lock");
        table.insert(job.number.clone(), job.clone());
    }

    /// Its worker was launched.
    pub fn watch(&self, job: &Arc<Job>, pid: i32, word: OwnedFd) {
        job.pid.store(pid, Ordering::Release);
        self.words
            .lock()
            .expect("no panic under this lock")
            .push((word, job.clone()));
        if let Some(bell) = &*self.bell.lock().expect("no panic under this lock") {
            let _ = write(bell, b"x");
        }
    }

    /// It could not be launched: nothing of it stays.
    pub fn give_up(&self, p: &Process, job: &Job) {
        self.remove(&job.number);
        // The launcher's error is the one to be seen.
        let _ = job.complete(p, UNKNOWN, "");
    }

    fn remove(&self, number: &str) {
        self.table
            .lock()
            .expect("no panic under this lock")
            .remove(number);
    }

    fn get(&self, number: &str) -> Option<Arc<Job>> {
        self.table
            .lock()
            .expect("no panic under this lock")
            .get(number)
            .cloned()
    }
}

/// Events: `a JOB`, `x JOB CODE MAP`, and of a remote job `o JOB FD BYTES` and `d JOB CODE CLAIMANT MESSAGE`. Ends with
/// the session.
fn take_events(p: &Process, events: &Channel) {
    loop {
        match events.next(Until::default()) {
            Ok(event) => take_event(p, &event),
            // Refused, and noted as such; what comes after it is news all the same.
            Err(Error::Seal(_)) => {}
            Err(Error::Lost(_)) => return,
            // The store does not answer. It may answer again, and what has happened since is told then.
            Err(_) if p.healthy().is_ok() => std::thread::sleep(TICK),
            Err(_) => return,
        }
    }
}

fn take_event(p: &Process, event: &[u8]) {
    let mut words = event.splitn(4, |byte| *byte == b' ');
    let mut next = || words.next().unwrap_or_default();
    let (kind, number) = (next(), String::from_utf8_lossy(next()));
    let Some(job) = p.jobs.get(&number) else {
        return;
    };
    let (first, rest) = (String::from_utf8_lossy(next()).into_owned(), next());
    let code = first.parse();
    // A store that fails here is noticed by the program's own next call.
    let _ = match kind {
        b"a" => job.attached(p),
        b"o" => {
            print(first == "2", rest);
            Ok(())
        }
        b"d" => {
            let rest = String::from_utf8_lossy(rest);
            let (claimant, message) = rest.split_once(' ').unwrap_or((&rest, ""));
            if is_claimed_by(p, &job, claimant) {
                let (code, message) = (code.ok(), message.to_owned());
                ended(p, &job, Word { code, message });
            }
            Ok(())
        }
        _ => {
            if job.is_remote {
                p.jobs.remove(&number);
            }
            let map = String::from_utf8_lossy(rest);
            job.complete(p, code.unwrap_or(UNKNOWN), &map)
        }
    };
}

/// A keeper may speak of a worker that came second; `-` is the launcher, which has looked.
fn is_claimed_by(p: &Process, job: &Job, claimant: &str) -> bool {
    let key = p.key(&keys::job(&job.number));
    claimant == "-"
        || p.plain(key, &Args(&[b"HGET", b"claim"]))
            .map_or(true, |claim| {
                let claim = text(&claim);
                claim.is_empty() || claim == claimant
            })
}

/// What a remote process printed, onto this one's own stream: as a child of this machine would have.
fn print(error: bool, bytes: &[u8]) {
    // A closed stream is nothing to a child either.
    let _ = if error {
        std::io::stderr().lock().write_all(bytes)
    } else {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    };
}

fn take_words(p: &Process, wake: &OwnedFd) {
    let mut watched: Vec<(OwnedFd, Arc<Job>)> = Vec::new();
    while p.is_current() {
        watched.append(&mut p.jobs.words.lock().expect("no panic under this lock"));
        let mut fds = vec![PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
        fds.extend(
            watched
                .iter()
                .map(|(fd, _)| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
        );
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            continue;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any() == Some(true)).collect();
        if ready[0] {
            let _ = read(wake, &mut [0; 64]);
        }
        let mut i = 0;
        for (fd, job) in watched.extract_if(.., |_| {
            i += 1;
            ready[i]
        }) {
            told(p, &job, Word::read(fd));
        }
    }
}

/// A launcher's word. Of a remote process it joins the queue of its events; without a code its keeper has said it all.
fn told(p: &Process, job: &Job, word: Word) {
    if !job.is_remote {
        return ended(p, job, word);
    }
    let Some(code) = word.code else { return };
    let event = format!("d {} {code} - {}", job.number, word.message);
    if crate::leaves::job::tell(p, &p.number, event.as_bytes(), true).is_err() {
        ended(p, job, word);
    }
}

/// The launcher says that the process is gone. Its exit record, written before, counts; else how it went.
fn ended(p: &Process, job: &Job, word: Word) {
    p.jobs.remove(&job.number);
    if job.has_ended() {
        return;
    }
    let record = p
        .plain(p.key(&keys::job(&job.number)), &Args(&[b"HGET", b"exit"]))
        .map(|v| text(&v));
    let record = record.unwrap_or_default();
    let (code, map) = record.split_once(' ').unwrap_or((&record, ""));
    let _ = if let Ok(code) = code.parse() {
        job.complete(p, code, map)
    } else {
        let code = word.code.unwrap_or(UNKNOWN);
        // What fails because the session has ended is no news.
        if !word.message.is_empty() && p.is_current() {
            let line = format!("serverless-mp: process {}: {}\n", job.pid(), word.message);
            print(true, line.as_bytes());
        }
        let cleared = p.reap(&job.process, code, job.attempts);
        job.complete(p, code, "").and(cleared)
    };
    // Even when the store is gone the sentinel must close.
    let mut end = job.end.lock().expect("no panic under this lock");
    end.exit.get_or_insert((UNKNOWN, String::new()));
    end.sentinel = None;
}
