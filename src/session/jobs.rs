//! The processes that this one has started, and their ends.
//!
//! Two threads start with the first process. One takes this process' events: a child has left its exit record; for a remote
//! child also its output, and its supervisor's report that it died. The other thread waits for the launchers' reports. A process
//! that ended without an exit record has failed, and its holds are released here. Either thread closes the sentinel.

#![allow(unsafe_code, reason = "as the client")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::error::{Error, Result};
use crate::exit_codes;
use crate::locked::Locked;
use crate::logging;
use crate::objects::mailbox::{self, Mailbox};
use crate::objects::process::Process;
use crate::protocol::{self, Event, ExitRecord, ExitReport};
use crate::session::exit_record;
use crate::session::started_job::{self, StartedJob};
use crate::store::conn::TICK;
use crate::store::keys;
use crate::store::threads;

/// The stack of a thread, in bytes.
const STACK: usize = 512 << 10;

/// The jobs that this process has started.
pub struct Jobs {
    process: &'static Process,
    started: Mutex<bool>,
    table: Mutex<HashMap<String, Arc<StartedJob>>>,
    reports: Mutex<Reports>,
    /// Launches the jobs of workers that cannot launch them themselves.
    forward: Mutex<Option<Forward>>,
}

/// The launchers' reports that have not come.
#[derive(Default)]
struct Reports {
    /// What watches their descriptors; None before the first job.
    registry: Option<Registry>,
    expected: HashMap<usize, (OwnedFd, Arc<StartedJob>)>,
    count: usize,
}

/// The end of a job, which the program may not see yet.
struct End {
    job: Arc<StartedJob>,
    code: i32,
    versions: String,
}

/// How many events are taken from the system at once.
const MOST_EVENTS: usize = 64;

type Forward = Box<dyn Fn(ForwardedJob) + Send>;

/// A job that a worker has started and that this process must launch.
pub struct ForwardedJob {
    pub job: Arc<StartedJob>,
    pub pid: i32,
    /// The process of that worker.
    pub parent: String,
}

static CURRENT: AtomicPtr<Jobs> = AtomicPtr::new(std::ptr::null_mut());

/// The jobs of this process.
pub fn of(process: &'static Process) -> &'static Jobs {
    let known = CURRENT.load(Ordering::Acquire);
    // SAFETY: made by `Box::leak` below and never freed.
    if let Some(jobs) = unsafe { known.as_ref() }
        && std::ptr::eq(jobs.process, process)
    {
        return jobs;
    }
    let new: &'static Jobs = Box::leak(Box::new(Jobs {
        process,
        started: Mutex::default(),
        table: Mutex::default(),
        reports: Mutex::default(),
        forward: Mutex::default(),
    }));
    let new_ptr = std::ptr::from_ref(new).cast_mut();
    match CURRENT.compare_exchange(known, new_ptr, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        // Another thread was first.
        Err(_) => of(process),
    }
}

/// In a child of the program's own `fork()`: forgets the sentinels, which only the parent may close. Those that another thread
/// was using are left.
pub fn after_fork() {
    // SAFETY: as above.
    let Some(jobs) = (unsafe { CURRENT.load(Ordering::Acquire).as_ref() }) else {
        return;
    };
    if let Ok(table) = jobs.table.try_lock() {
        for job in table.values() {
            job.forget_sentinel();
        }
    }
}

impl Jobs {
    /// Starts the threads, with the first job.
    pub fn begin(&'static self) -> Result<()> {
        let mut started = self.started.locked();
        if *started {
            return Ok(());
        }
        let events = Mailbox::open(self.process)?;
        let poll = Poll::new()?;
        self.reports.locked().registry = Some(poll.registry().try_clone()?);
        threads::spawn("serverless_mp-events", STACK, move || {
            self.take_events(&events);
        })?;
        threads::spawn("serverless_mp-exits", STACK, move || {
            self.take_reports(poll);
        })?;
        *started = true;
        Ok(())
    }

    /// From now on `launch` makes what launches the jobs of workers, unless there is one.
    pub fn forward_with(&self, launch: impl FnOnce() -> Forward) {
        self.forward.locked().get_or_insert_with(launch);
    }

    /// Enters a job that is about to be launched.
    pub fn enter(&self, job: &Arc<StartedJob>) {
        let mut table = self.table.locked();
        table.insert(job.id.clone(), job.clone());
    }

    /// Watches a job whose worker was launched.
    pub fn watch(&self, job: &Arc<StartedJob>, pid: i32, report: OwnedFd) -> Result<()> {
        job.launched(pid);
        let mut reports = self.reports.locked();
        reports.count += 1;
        let (name, fd) = (reports.count, report.as_raw_fd());
        reports.expected.insert(name, (report, job.clone()));
        if let Some(registry) = &reports.registry {
            registry.register(&mut SourceFd(&fd), Token(name), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Removes a job that could not be launched.
    pub fn abandon(&self, job: &StartedJob) {
        self.remove(&job.id);
        // The launcher's error is raised instead.
        let _ = job.complete(self.process, exit_codes::UNKNOWN, "");
    }

    fn remove(&self, id: &str) {
        self.table.locked().remove(id);
    }

    fn get(&self, id: &str) -> Option<Arc<StartedJob>> {
        self.table.locked().get(id).cloned()
    }

    /// Takes the events of the jobs, until the session ends.
    fn take_events(&self, events: &Mailbox) {
        let mut ends = Vec::new();
        let mut is_over = false;
        while !is_over {
            match events.next(self.process) {
                Ok(event) => self.take_event(&event, &mut ends),
                // The event was refused and acknowledged; the next one still counts.
                Err(Error::Seal(_)) => {}
                Err(Error::ObjectGone(_)) => is_over = true,
                // The store does not answer. It may answer again, and then tell what has happened since.
                Err(_) if self.process.healthy().is_ok() => std::thread::sleep(TICK),
                Err(_) => is_over = true,
            }
            // Those that came together wait for the store together.
            if !ends.is_empty() && (is_over || !events.has_more(self.process)) {
                // The program's next call notices a store that fails here.
                let _ = started_job::settle(self.process);
                for End {
                    job,
                    code,
                    versions,
                } in ends.drain(..)
                {
                    job.ended(code, &versions);
                }
            }
        }
    }

    /// Handles an event. The end of a job is added to `ends`.
    fn take_event(&self, event: &[u8], ends: &mut Vec<End>) {
        let event = match Event::decode(event) {
            Ok(event) => event,
            Err(e) => return logging::report(&format!("serverless_mp: {e}")),
        };
        // The program's next call notices a store that fails here.
        let _ = match event {
            Event::Launch {
                job,
                worker,
                pid,
                attempts,
                parent,
                preload,
            } => {
                if let Some(forward) = &*self.forward.locked() {
                    forward(ForwardedJob {
                        job: Arc::new(StartedJob::of_worker(job, worker, attempts, preload)),
                        pid,
                        parent: parent.to_owned(),
                    });
                }
                Ok(())
            }
            Event::Output {
                job,
                is_error,
                bytes,
            } => self.with(job, |_| {
                print(is_error, bytes);
                Ok(())
            }),
            Event::Died {
                job,
                code,
                claimant,
                message,
            } => self.with(job, |job| {
                if is_claimed_by(self.process, job, claimant) {
                    let code = Some(code);
                    self.ended(job, &ExitReport { code, message });
                }
                Ok(())
            }),
            Event::Exited { job, record } => self.get(job).map_or(Ok(()), |job| {
                if job.is_remote {
                    self.remove(&job.id);
                }
                let cleared = job.clear(self.process, record.code);
                ends.push(End {
                    job,
                    code: record.code,
                    versions: record.versions.to_owned(),
                });
                cleared
            }),
        };
    }

    /// Does something with a job; nothing if it has ended.
    fn with(&self, id: &str, work: impl FnOnce(&StartedJob) -> Result<()>) -> Result<()> {
        self.get(id).map_or(Ok(()), |job| work(&job))
    }

    fn take_reports(&self, mut poll: Poll) {
        let mut events = Events::with_capacity(MOST_EVENTS);
        while self.process.is_current() {
            if poll.poll(&mut events, None).is_err() {
                continue;
            }
            for event in &events {
                let report = self.reports.locked().expected.remove(&event.token().0);
                if let Some((fd, job)) = report {
                    // It is closed in any case.
                    let _ = poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()));
                    self.reported(&job, &read_report(fd));
                }
            }
        }
    }

    /// Handles a launcher's report. For a remote process it becomes an event, in order with the others; a report without a
    /// code is ignored, since the supervisor has reported the end.
    fn reported(&self, job: &StartedJob, report: &ExitReport) {
        let process = self.process;
        if !job.is_remote {
            return self.ended(job, report);
        }
        let Some(code) = report.code else { return };
        let event = Event::Died {
            job: &job.id,
            code,
            claimant: protocol::LAUNCHER,
            message: report.message.clone(),
        };
        if mailbox::send(process, &process.id, &event.encode(), true).is_err() {
            self.ended(job, report);
        }
    }

    /// Handles the launcher's report that the process is gone. Its exit record counts, if there is one; otherwise the report
    /// does.
    fn ended(&self, job: &StartedJob, report: &ExitReport) {
        let process = self.process;
        self.remove(&job.id);
        if job.is_cleared() {
            return;
        }
        let record = exit_record::read(process, &job.id).unwrap_or_default();
        if let Ok(record) = ExitRecord::decode(&record) {
            let _ = job.complete(process, record.code, record.versions);
        } else {
            let code = report.code.unwrap_or(exit_codes::UNKNOWN);
            // A failure after the end of the session is not reported.
            if !report.message.is_empty() && process.is_current() {
                let line = format!("serverless-mp: process {}: {}\n", job.pid(), report.message);
                print(true, line.as_bytes());
            }
            let _ = process.reap(&job.worker, code, job.attempts);
            let _ = job.complete(process, code, "");
        }
    }
}

/// Reads a launcher's report from a readable descriptor, whose other end is closed after the report.
fn read_report(fd: OwnedFd) -> ExitReport {
    let mut bytes = Vec::new();
    // A broken connection counts as an empty report.
    let _ = std::fs::File::from(fd).read_to_end(&mut bytes);
    ExitReport::decode(&bytes)
}

/// Whether the claimant of an event still has the job. The launcher (`-`) has checked that itself.
fn is_claimed_by(process: &Process, job: &StartedJob, claimant: &str) -> bool {
    if claimant == protocol::LAUNCHER {
        return true;
    }
    let question = process.plain("HGET", process.key(&keys::job(&job.id)));
    let claim = question.arg(keys::CLAIM).text();
    claim.map_or(true, |claim| claim.is_empty() || claim == claimant)
}

/// Writes the output of a remote process to this one's own stream, as a child of this machine would.
fn print(error: bool, bytes: &[u8]) {
    // A closed stream is ignored.
    let _ = if error {
        std::io::stderr().lock().write_all(bytes)
    } else {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    };
}
