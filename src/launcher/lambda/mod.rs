//! Workers as invocations of an AWS Lambda function.
//!
//! There is one synchronous Invoke for a process, or for a few that start together; many hundreds run at a time, over one pool
//! of connections. The event names the session, its store and key, and the jobs; code and arguments are in the store.
//!
//! A process counts as ended when its exit record is written, when the very request that claimed it fails, or when its
//! supervisor's lease ends. A broken connection says nothing. A job that nobody has claimed is invoked again; a second worker
//! finds it taken. So the SDK's own retries and time-outs, which know nothing of this, are off.

mod http;
mod job_state;
mod response;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_config::BehaviorVersion;
use aws_config::credential_process::CredentialProcessProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::LogType;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, write};
use serde_json::json;
use tokio::runtime::Runtime;

use super::Launched;
use super::invocation_queue::Queue;
use crate::error::{Error, Result};
use crate::hex;
use crate::locked::Locked;
use crate::logging;
use crate::objects::mailbox;
use crate::objects::process::Process;
use crate::protocol::{self, Event, ExitReport};
use crate::random;
use crate::session::jobs::{self, ForwardedJob};
use crate::session::started_job::StartedJob;
use crate::store::threads;
use job_state::JobState;
use response::{Response, WorkerEnd};

/// How long an invocation waits for one more process to share it, and how often at most while a start is under way: a start may
/// take longer than the window on a slow machine, or never end.
const BATCH_WINDOW: Duration = Duration::from_millis(50);
const MOST_WINDOWS: usize = 20;
/// The first pause between attempts. Each next pause is twice as long, at most `LONGEST_PAUSE`; a random share of it is taken.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The time between two looks at a lease.
const LEASE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The largest payload of a synchronous Invoke: 6 MB (Lambda quotas).
const MOST_PAYLOAD: usize = 6 * 1024 * 1024;

pub struct Invoker {
    function: String,
    pub endpoint: Option<String>,
    client: Client,
    /// Never dropped: after a `fork()` of the program the child does not have its threads.
    runtime: &'static Runtime,
    /// How many processes share an invocation.
    packing: usize,
    queue: Queue,
    /// The store's address for functions, if it is another one.
    url: Option<String>,
    batch: Mutex<Batch>,
    pub invocations: AtomicU64,
    pub milliseconds: AtomicU64,
}

/// The processes that wait for the next invocation.
#[derive(Default)]
struct Batch {
    pending: Vec<Pending>,
    /// How many processes have come so far.
    count: u64,
    /// How many starts of processes are under way: their objects are pickled, their records written.
    starting: usize,
}

/// A process that waits for its invocation, and the watcher to be told of its end.
struct Pending {
    job: Arc<StartedJob>,
    pid: i32,
    watcher: Watcher,
}

enum Watcher {
    /// This process, by the descriptor for the exit report.
    Own(OwnedFd),
    /// The worker that started it.
    Worker(String),
}

impl Pending {
    /// The process that started it.
    fn parent<'a>(&'a self, process: &'a Process) -> &'a str {
        match &self.watcher {
            Watcher::Own(_) => &process.id,
            Watcher::Worker(parent) => parent,
        }
    }

    /// Whether a process that a worker watches has ended: here only the store knows.
    async fn is_over_elsewhere(&self, process: &'static Process) -> bool {
        matches!(self.watcher, Watcher::Worker(_))
            && matches!(job_state::of(process, &self.job).await, JobState::Over)
    }

    async fn say(&self, process: &'static Process, end: &WorkerEnd) {
        match &self.watcher {
            // The reader may be gone with its session.
            Watcher::Own(report) => {
                let _ = write(report, &ExitReport::encode(end.code, &end.message));
            }
            Watcher::Worker(parent) => {
                let event = Event::Died {
                    job: &self.job.id,
                    code: end.code,
                    claimant: protocol::LAUNCHER,
                    message: end.message.clone(),
                };
                let (parent, event) = (parent.clone(), event.encode());
                let send = move || mailbox::send(process, &parent, &event, true);
                let _ = tokio::task::spawn_blocking(send).await;
            }
        }
    }
}

impl Invoker {
    /// Reads AWS' own configuration: environment, profiles, the roles of containers and instances. `credentials` is a command
    /// that prints credentials, as AWS' `credential_process`; it takes the place of the configured ones.
    pub fn new(
        function: String,
        packing: usize,
        queue: Queue,
        url: Option<String>,
        credentials: Option<String>,
    ) -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder
            .worker_threads(2)
            .thread_name("serverless_mp-lambda")
            .on_thread_start(threads::block_signals)
            .enable_all();
        let runtime = threads::with_signals_blocked(|| builder.build())?;
        let runtime: &'static Runtime = Box::leak(Box::new(runtime));
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http::client()?)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(command) = credentials {
            loader = loader.credentials_provider(CredentialProcessProvider::new(command));
        }
        let config = runtime.block_on(loader.load());
        if config.region().is_none() {
            return Err(Error::Value(
                "no AWS region: set AWS_REGION, or `region` in the profile (~/.aws/config)".into(),
            ));
        }
        let endpoint = std::env::var("AWS_ENDPOINT_URL_LAMBDA")
            .ok()
            .or_else(|| config.endpoint_url().map(str::to_owned))
            .filter(|url| !url.is_empty());
        Ok(Self {
            function,
            endpoint,
            client: Client::new(&config),
            runtime,
            packing,
            queue,
            url,
            batch: Mutex::default(),
            invocations: AtomicU64::new(0),
            milliseconds: AtomicU64::new(0),
        })
    }

    /// The function's configuration, as JSON; an error says what to do before anything is launched.
    pub fn describe(&self) -> Result<String> {
        let request = self
            .client
            .get_function_configuration()
            .function_name(&self.function);
        let found = self
            .runtime
            .block_on(request.send())
            .map_err(|e| Error::State(response::explain(&self.function, &e).message))?;
        let environment = found.environment().and_then(|e| e.variables());
        Ok(json!({
            "memory": found.memory_size(),
            "timeout": found.timeout(),
            "runtime": found.runtime().map(aws_sdk_lambda::types::Runtime::as_str),
            "architecture": found.architectures().first().map(aws_sdk_lambda::types::Architecture::as_str),
            "state": found.state().map(aws_sdk_lambda::types::State::as_str),
            "reason": found.state_reason(),
            "environment": environment,
        })
        .to_string())
    }

    /// Notes that the start of a process begins or ends. The start ends after the launch, if it comes to one.
    pub fn note_start(&self, begins: bool) {
        let mut batch = self.batch.locked();
        batch.starting = if begins {
            batch.starting + 1
        } else {
            batch.starting.saturating_sub(1)
        };
    }

    /// Launches a process, without waiting.
    pub fn launch(
        self: &Arc<Self>,
        process: &'static Process,
        job: &Arc<StartedJob>,
    ) -> Result<Launched> {
        let pid = process.next_pid()?;
        let (read, report) = pipe2(OFlag::O_CLOEXEC)?;
        jobs::of(process).forward_with(|| self.forwarder(process));
        let job = job.clone();
        let watcher = Watcher::Own(report);
        let mut batch = self.batch.locked();
        batch.pending.push(Pending { job, pid, watcher });
        batch.count += 1;
        if batch.pending.len() >= self.packing {
            let pending = std::mem::take(&mut batch.pending);
            self.runtime.spawn(self.clone().run(process, pending));
        } else {
            self.runtime
                .spawn(self.clone().wait_for_batch(process, batch.count));
        }
        Ok(Launched { pid, report: read })
    }

    /// Launches the jobs of workers, each in an invocation of its own, whose event names the worker as the parent.
    fn forwarder(self: &Arc<Self>, process: &'static Process) -> Box<dyn Fn(ForwardedJob) + Send> {
        let invoker = self.clone();
        Box::new(move |forwarded| {
            let ForwardedJob { job, pid, parent } = forwarded;
            let watcher = Watcher::Worker(parent);
            let pending = vec![Pending { job, pid, watcher }];
            invoker.runtime.spawn(invoker.clone().run(process, pending));
        })
    }

    /// Invokes an incomplete batch if no other process has come in time.
    async fn wait_for_batch(self: Arc<Self>, process: &'static Process, count: u64) {
        let mut windows = 0;
        let pending = loop {
            tokio::time::sleep(BATCH_WINDOW).await;
            windows += 1;
            let mut batch = self.batch.locked();
            if batch.count != count {
                return;
            }
            if batch.starting == 0 || windows == MOST_WINDOWS {
                break std::mem::take(&mut batch.pending);
            }
        };
        self.run(process, pending).await;
    }

    /// Invokes until each process has been begun by some worker, or cannot be.
    async fn run(self: Arc<Self>, process: &'static Process, mut pending: Vec<Pending>) {
        let mut place = None;
        let mut pause = FIRST_PAUSE;
        loop {
            // Processes that were ended before they began are dropped.
            pending.retain(|one| !one.job.has_ended());
            for one in std::mem::take(&mut pending) {
                if !one.is_over_elsewhere(process).await {
                    pending.push(one);
                }
            }
            if pending.is_empty() || !process.is_current() {
                return;
            }
            let attempt = random::id().unwrap_or_default();
            let (after, why) = match self.invoke(process, &pending, &attempt).await {
                Response::Report(taken) => {
                    let (elsewhere, here): (Vec<_>, Vec<_>) = pending
                        .into_iter()
                        .partition(|one| taken.contains(&one.job.id));
                    self.apply_end(process, elsewhere, &attempt, None).await;
                    return self.check_begun(process, here).await;
                }
                Response::Ended(end) => {
                    self.apply_end(process, pending, &attempt, Some(&end)).await;
                    return;
                }
                Response::Doubtful(why) => {
                    pending = self.apply_end(process, pending, &attempt, None).await;
                    (None, why)
                }
                Response::NotNow(after, why) => (after, why),
                Response::Unreachable(why) => (None, why),
            };
            let place = place.get_or_insert_with(|| self.queue.join());
            if let Err(given_up) = place.check() {
                let end = response::abandoned(&self.function, &given_up, &why);
                self.apply_end(process, pending, &attempt, Some(&end)).await;
                return;
            }
            let is_freed = place.pause(jittered(pause, after)).await;
            pause = if is_freed { FIRST_PAUSE } else { pause * 2 }.min(LONGEST_PAUSE);
            if let Some((running, waiting)) = place.news() {
                self.report_wait(running, waiting, &why).await;
            }
        }
    }

    async fn invoke(&self, process: &Process, pending: &[Pending], attempt: &str) -> Response {
        let event = self.event(process, pending, attempt);
        if event.len() > MOST_PAYLOAD {
            return Response::Ended(response::too_large(event.len(), MOST_PAYLOAD));
        }
        self.invocations.fetch_add(1, Ordering::Relaxed);
        let ticket = self.queue.enter();
        let begun = Instant::now();
        let request = self
            .client
            .invoke()
            .function_name(&self.function)
            .log_type(LogType::Tail)
            .payload(Blob::new(event));
        let (answer, milliseconds) = match request.send().await {
            Ok(output) => {
                let payload = output.payload().map_or(&[][..], AsRef::as_ref);
                let answer = response::read(&self.function, output.function_error(), payload);
                (answer, output.log_result().and_then(response::billed))
            }
            Err(e) => (response::refused(&self.function, &e), Some(0)),
        };
        let elapsed = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.milliseconds
            .fetch_add(milliseconds.unwrap_or_else(elapsed), Ordering::Relaxed);
        if matches!(answer, Response::NotNow(..) | Response::Unreachable(_)) {
            self.invocations.fetch_sub(1, Ordering::Relaxed);
        }
        self.queue.leave(ticket, answer.outcome());
        answer
    }

    /// The event: all that a function is told.
    fn event(&self, process: &Process, pending: &[Pending], attempt: &str) -> Vec<u8> {
        let s = &process.session;
        let url = self.url.as_ref().unwrap_or(&s.url);
        // The processes of one invocation have one parent.
        let parent = pending
            .first()
            .map_or(&*process.id, |one| one.parent(process));
        let jobs: Vec<_> = pending
            .iter()
            .map(|one| json!({"job": one.job.id, "process": one.job.worker, "pid": one.pid, "attempts": one.job.attempts, "preload": one.job.preload}))
            .collect();
        json!({"serverless_mp": {
            "session": s.id, "key": hex::encode(&s.key), "url": url, "ttl": s.ttl, "seal_memory": s.seal_memory, "parent": parent, "program": process.id, "attempt": attempt, "jobs": jobs,
        }})
        .to_string()
        .into_bytes()
    }

    /// How many invocations are unanswered.
    pub fn open(&self) -> usize {
        self.queue.open()
    }

    /// Tells the user why processes wait, and what would help.
    async fn report_wait(&self, running: usize, waiting: usize, why: &str) {
        let settings = self.client.get_account_settings().send().await;
        let quota = settings
            .ok()
            .and_then(|found| Some(found.account_limit()?.concurrent_executions()))
            .map_or(String::new(), |quota| {
                format!(" The account may run {quota} at once.")
            });
        logging::report(&format!(
            "serverless-mp: {waiting} invocations of {} wait for their turn, {running} run ({why}).{quota} Raise the quota \
             `Concurrent executions` of AWS Lambda (Service Quotas) or the function's reserved concurrency, or start fewer \
             processes (SERVERLESS_MP_WORKERS)",
            self.function
        ));
    }

    /// Applies a response to each process. Returns the processes that nobody has claimed, unless the response ends them.
    async fn apply_end(
        self: &Arc<Self>,
        process: &'static Process,
        pending: Vec<Pending>,
        attempt: &str,
        end: Option<&WorkerEnd>,
    ) -> Vec<Pending> {
        let mut unclaimed = Vec::new();
        for one in pending {
            match job_state::of(process, &one.job).await {
                JobState::Over => {}
                JobState::Unclaimed => match end {
                    Some(end) => one.say(process, end).await,
                    None => unclaimed.push(one),
                },
                JobState::Claimed { by, .. } => match end {
                    Some(end) if by == attempt => one.say(process, end).await,
                    _ => drop(self.runtime.spawn(self.clone().follow(process, one))),
                },
            }
        }
        unclaimed
    }

    /// The supervisor has reported the ends of these processes before it answered; a process that it never began has ended as
    /// well.
    async fn check_begun(&self, process: &'static Process, pending: Vec<Pending>) {
        for one in pending {
            if matches!(job_state::of(process, &one.job).await, JobState::Unclaimed) {
                let end = response::not_begun(&self.function);
                one.say(process, &end).await;
            }
        }
    }

    /// Without a connection: waits until the exit record is written, or the lease has ended.
    async fn follow(self: Arc<Self>, process: &'static Process, one: Pending) {
        while process.is_current() {
            match job_state::of(process, &one.job).await {
                JobState::Over => return,
                JobState::Claimed { alive: false, .. } => {
                    let end = response::vanished(&self.function);
                    return one.say(process, &end).await;
                }
                _ => tokio::time::sleep(LEASE_CHECK_INTERVAL).await,
            }
        }
    }
}

/// At least the pause that the service asks for; a random part separates processes that were refused together.
fn jittered(pause: Duration, after: Option<Duration>) -> Duration {
    let share =
        f64::from(u16::from_ne_bytes(random::bytes().unwrap_or_default())) / f64::from(u16::MAX);
    after.unwrap_or_default() + pause.mul_f64(share)
}
