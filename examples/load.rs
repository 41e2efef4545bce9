//! Many workers against one store: the commands of a program's pool, queues, locks and values, from a process for each worker.
//!
//!     load URL SCENARIO WORKERS SECONDS
//!
//! * `pool`: this process sends 5,000 tasks of 100 bytes for each second, 40,000 at most, then the workers begin, and it takes
//!   the results. An operation is a task with its result.
//! * `pairs`: two workers each have a pipe, a lock and a value of their own, and an item of 100 bytes goes to and fro.
//! * `common`: all workers have one queue, one lock and one value, and an item of 100 bytes for each worker goes round.
//!
//! In the last two, an operation is an item that is taken, counted in the value under the lock, and sent on.
//!
//! When all workers have done something, it prints `ready` and waits for a line or the end of its standard input; then it runs,
//! and prints the number of operations and the seconds, as JSON. At the end of the input it checks that nothing was lost or
//! doubled, and ends. Meanwhile the store does nothing else but look after the session.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, mem, thread};

use _core::load::{self, Counter, End, Program, Worker};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The size of an item, a task or a result.
const SIZE: usize = 100;

/// How many tasks a pool gets for each second.
const TASKS: u32 = 5000;

/// More would not fit into the pipe, and the workers begin when all have been sent.
const MOST_TASKS: usize = 40_000;

/// How many tasks are sent together, as by a pool.
const TOGETHER: usize = 64;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["worker"] => work(),
        [url, scenario, workers, seconds] => {
            let seconds = Duration::from_secs_f64(seconds.parse()?);
            run(url, scenario, workers.parse()?, seconds)
        }
        _ => Err("usage: load URL pool|pairs|common WORKERS SECONDS".into()),
    }
}

// ---- the program -------------------------------------------------------------------------------------------------

/// A worker, as the program sees it.
struct Remote {
    id: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Remote {
    fn start(program: &Program) -> Result<Self> {
        let (id, invitation) = program.invite()?;
        // The workers give way to the program, which usually has a processor of its own.
        let mut command = Command::new("nice");
        let command = command.args(["-n", "19"]).arg(env::current_exe()?);
        let command = command.arg("worker").stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut worker = Self {
            id,
            child,
            input: input.expect("it is a pipe"),
            output: BufReader::new(output.expect("it is a pipe")),
        };
        worker.tell(&invitation)?;
        Ok(worker)
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.input, "{line}")
    }

    /// The next line of the worker.
    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a worker has ended".into());
        }
        Ok(line.trim().to_owned())
    }

    /// The next line of the worker, as numbers.
    fn hear_numbers(&mut self) -> Result<Vec<u64>> {
        let line = self.hear()?;
        Ok(line
            .split(' ')
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?)
    }
}

impl Drop for Remote {
    /// Ends a worker that has not ended; only after an error there is one.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A scenario: how its workers begin, do something, and are checked.
trait Scenario {
    /// Gives each worker its part.
    fn cast(&mut self, workers: &mut [Remote]) -> Result<()>;
    /// Lets all workers work for this long, which may be zero. Returns the number of operations.
    fn play(&mut self, workers: &mut [Remote], time: Duration) -> Result<u64>;
    /// Ends the play. Returns what was counted in other ways: each must equal the number of all operations.
    fn check(&mut self, workers: &mut [Remote]) -> Result<Vec<(&'static str, u64)>>;
}

fn run(url: &str, scenario: &str, workers: usize, time: Duration) -> Result<()> {
    let program = Program::open(url)?;
    let mut scenario: Box<dyn Scenario> = match scenario {
        "pool" => Box::new(Pool::new()?),
        "pairs" => Box::new(Pairs::default()),
        "common" => Box::new(Common::new()?),
        _ => return Err("the scenario must be pool, pairs or common".into()),
    };
    let started = (0..workers).map(|_| Remote::start(&program));
    let mut workers = started.collect::<Result<Vec<_>>>()?;
    program.settle()?;
    scenario.cast(&mut workers)?;
    let before = scenario.play(&mut workers, Duration::ZERO)?;
    program.settle()?;
    println!("ready");
    let mut go = String::new();
    io::stdin().read_line(&mut go)?;
    let began = Instant::now();
    let operations = scenario.play(&mut workers, time)?;
    program.settle()?;
    let seconds = began.elapsed().as_secs_f64();
    println!("{{\"operations\": {operations}, \"seconds\": {seconds:.3}}}");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    for (what, count) in scenario.check(&mut workers)? {
        let all = before + operations;
        if count != all {
            return Err(format!("{all} operations, but {what} is {count}").into());
        }
    }
    end(&program, workers)?;
    drop(scenario);
    Ok(program.close()?)
}

/// Ends the workers, and clears up after them.
fn end(program: &Program, mut workers: Vec<Remote>) -> Result<()> {
    for worker in &mut workers {
        worker.tell("end")?;
    }
    for worker in &mut workers {
        let status = worker.child.wait()?;
        if !status.success() {
            return Err(format!("a worker has failed: {status}").into());
        }
        program.reap(&worker.id)?;
    }
    Ok(())
}

/// A pool's program. The tasks are sent before the workers begin, so that none of them waits for one.
struct Pool {
    own_end: End,
    workers_end: End,
    /// Whether the result of each task has come.
    done: Vec<bool>,
    worked: u64,
}

impl Pool {
    fn new() -> Result<Self> {
        let [own_end, workers_end] = End::pair()?;
        Ok(Self {
            own_end,
            workers_end,
            done: Vec::new(),
            worked: 0,
        })
    }

    fn send_tasks(&mut self, count: usize) -> load::Result<()> {
        let first = self.done.len();
        self.done.resize(first + count, false);
        let tasks: Vec<Vec<u8>> = (first..first + count)
            .map(|n| item(n as u64, false))
            .collect();
        let mut tasks = tasks.chunks(TOGETHER);
        tasks.try_for_each(|some| self.own_end.put_tasks(some))
    }

    /// Takes this many results.
    fn take_results(&mut self, count: usize) -> Result<()> {
        let mut taken = 0;
        while taken < count {
            let some = self.own_end.get_results()?;
            taken += some.len();
            for result in some {
                let (n, _) = content(&result);
                let done = self.done.get_mut(usize::try_from(n)?);
                if done.is_none_or(|done| mem::replace(done, true)) {
                    return Err(format!("the result of task {n} has come twice").into());
                }
            }
        }
        Ok(())
    }
}

impl Scenario for Pool {
    fn cast(&mut self, workers: &mut [Remote]) -> Result<()> {
        for worker in &mut *workers {
            worker.tell(&format!("pool {}", self.own_end.id()))?;
        }
        all_ready(workers)
    }

    fn play(&mut self, workers: &mut [Remote], time: Duration) -> Result<u64> {
        let count = if time.is_zero() {
            workers.len()
        } else {
            MOST_TASKS.min((time * TASKS).as_secs().try_into()?)
        };
        self.send_tasks(count)?;
        for worker in &mut *workers {
            worker.tell("run")?;
        }
        self.take_results(count)?;
        for _ in &*workers {
            self.own_end.put(&item(0, true))?;
        }
        for worker in workers {
            self.worked += worker.hear_numbers()?[0];
        }
        Ok(count as u64)
    }

    fn check(&mut self, _: &mut [Remote]) -> Result<Vec<(&'static str, u64)>> {
        if self.workers_end.get_now()?.is_some() {
            return Err("a task is left".into());
        }
        let done = self.done.iter().filter(|done| **done).count() as u64;
        Ok(vec![
            ("the number of results", done),
            ("the number of tasks worked on", self.worked),
        ])
    }
}

/// Workers in pairs. The first of each makes what the two of them have.
#[derive(Default)]
struct Pairs {
    hops: u64,
    counted: u64,
}

impl Scenario for Pairs {
    fn cast(&mut self, workers: &mut [Remote]) -> Result<()> {
        if !workers.len().is_multiple_of(2) {
            return Err("pairs need an even number of workers".into());
        }
        for pair in workers.chunks_mut(2) {
            pair[0].tell("pair")?;
        }
        for pair in workers.chunks_mut(2) {
            let parts = pair[0].hear()?;
            pair[1].tell(&format!("relay 1 1 {parts}"))?;
        }
        all_ready(workers)
    }

    fn play(&mut self, workers: &mut [Remote], time: Duration) -> Result<u64> {
        for pair in workers.chunks_mut(2) {
            pair[1].tell("run")?;
            pair[0].tell(&format!("run {}", time.as_secs_f64()))?;
        }
        let mut operations = 0;
        self.counted = 0;
        for pair in workers.chunks_mut(2) {
            let (first, second) = (pair[0].hear_numbers()?, pair[1].hear_numbers()?);
            operations += first[0] + second[0];
            self.hops += first[1];
            // The first has counted last.
            self.counted += first[2];
        }
        Ok(operations)
    }

    fn check(&mut self, _: &mut [Remote]) -> Result<Vec<(&'static str, u64)>> {
        Ok(vec![
            ("the number of hops of the items", self.hops),
            ("the sum of the values", self.counted),
        ])
    }
}

/// Workers that have everything in common.
struct Common {
    ends: [End; 2],
    counter: Counter,
    items: usize,
}

impl Common {
    fn new() -> Result<Self> {
        Ok(Self {
            ends: End::pair()?,
            counter: Counter::new()?,
            items: 0,
        })
    }
}

impl Scenario for Common {
    fn cast(&mut self, workers: &mut [Remote]) -> Result<()> {
        let [lock, number] = self.counter.ids();
        let part = format!("relay 1 0 {} {lock} {number}", self.ends[0].id());
        for worker in &mut *workers {
            worker.tell(&part)?;
        }
        all_ready(workers)?;
        self.items = workers.len();
        for _ in 0..self.items {
            self.ends[0].put(&item(0, false))?;
        }
        Ok(())
    }

    fn play(&mut self, workers: &mut [Remote], time: Duration) -> Result<u64> {
        for worker in &mut *workers {
            worker.tell("run")?;
        }
        thread::sleep(time);
        for _ in &*workers {
            self.ends[0].put(&item(0, true))?;
        }
        let mut operations = 0;
        for worker in workers {
            operations += worker.hear_numbers()?[0];
        }
        Ok(operations)
    }

    fn check(&mut self, _: &mut [Remote]) -> Result<Vec<(&'static str, u64)>> {
        let (mut hops, mut items) = (0, 0);
        while let Some(item) = self.ends[1].get_now()? {
            hops += content(&item).0;
            items += 1;
        }
        if items != self.items {
            return Err(format!("{items} of {} items are left", self.items).into());
        }
        Ok(vec![
            ("the number of hops of the items", hops),
            ("the value", self.counter.add(0)?),
        ])
    }
}

fn all_ready(workers: &mut [Remote]) -> Result<()> {
    for worker in workers {
        let line = worker.hear()?;
        if line != "ready" {
            return Err(format!("a worker says {line}").into());
        }
    }
    Ok(())
}

// ---- items -------------------------------------------------------------------------------------------------------

/// An item with a number; the last one ends the worker's play.
fn item(n: u64, is_last: bool) -> Vec<u8> {
    let mut item = n.to_ne_bytes().to_vec();
    item.push(is_last.into());
    item.resize(SIZE, 0);
    item
}

/// The number of an item, and whether it is the last one.
fn content(item: &[u8]) -> (u64, bool) {
    let (n, rest) = item.split_at(size_of::<u64>());
    (
        u64::from_ne_bytes(n.try_into().expect("it has this size")),
        rest[0] == 1,
    )
}

// ---- a worker ----------------------------------------------------------------------------------------------------

fn work() -> Result<()> {
    let mut lines = io::stdin().lines();
    let mut next = || {
        lines
            .next()
            .unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    };
    let worker = Worker::join(&next()?)?;
    let part = next()?;
    let part: Vec<&str> = part.split(' ').collect();
    match part[..] {
        ["pool", pipe] => {
            let tasks = End::attach(pipe, 1)?;
            play(&worker, next, |_| do_tasks(&tasks))?;
        }
        ["pair"] => {
            let ([end, _other], counter) = (End::pair()?, Counter::new()?);
            worker.settle()?;
            let [lock, number] = counter.ids();
            println!("{} {lock} {number}", end.id());
            play(&worker, next, |time| relay(&end, &end, &counter, time))?;
        }
        ["relay", from, to, pipe, lock, number] => {
            let (input, output) = (
                End::attach(pipe, from.parse()?)?,
                End::attach(pipe, to.parse()?)?,
            );
            let counter = Counter::attach(lock, number)?;
            play(&worker, next, |time| relay(&input, &output, &counter, time))?;
        }
        _ => return Err(format!("no part is {part:?}").into()),
    }
    Ok(worker.leave()?)
}

/// Does what the program says, a line at a time: `run` or `run SECONDS`. Prints the numbers of each play.
fn play<const N: usize>(
    worker: &Worker,
    mut next: impl FnMut() -> io::Result<String>,
    once: impl Fn(Option<Duration>) -> load::Result<[u64; N]>,
) -> Result<()> {
    worker.settle()?;
    println!("ready");
    loop {
        // Workers that have nothing to do usually wait for the store.
        let line = worker.wait_for(&mut next)?;
        let words: Vec<&str> = line.split(' ').collect();
        let time = match words[..] {
            ["run"] => None,
            ["run", seconds] => Some(Duration::from_secs_f64(seconds.parse()?)),
            _ => return Ok(()),
        };
        let numbers = once(time)?.map(|number| number.to_string());
        worker.settle()?;
        println!("{}", numbers.join(" "));
    }
}

/// Does tasks until the last one. Returns how many.
fn do_tasks(tasks: &End) -> load::Result<[u64; 1]> {
    let mut count = 0;
    loop {
        let task = tasks.get_task()?;
        if content(&task).1 {
            return Ok([count]);
        }
        tasks.put_result(&task)?;
        count += 1;
    }
}

/// Counts items and sends them on, until one is the last one; or, with a time, begins with an item of its own, which becomes
/// the last one after this time. Returns the number of operations, the hops of its own item, and the value after the last
/// operation.
fn relay(
    input: &End,
    output: &End,
    counter: &Counter,
    time: Option<Duration>,
) -> load::Result<[u64; 3]> {
    let end = time.map(|time| Instant::now() + time);
    if end.is_some() {
        output.put(&item(0, false))?;
    }
    let (mut operations, mut value) = (0, 0);
    loop {
        let (hops, is_last) = content(&input.get()?);
        if is_last {
            return Ok([operations, 0, value]);
        }
        value = counter.add(1)?;
        operations += 1;
        let is_over = end.is_some_and(|end| end <= Instant::now());
        output.put(&item(hops + 1, is_over))?;
        if is_over {
            return Ok([operations, hops + 1, value]);
        }
    }
}
