//! Everything that crosses between processes, through the store or a descriptor: items of pipes, events of processes, commands
//! to the supervisor of remote workers, replies of scripts, exit records, reports of launchers.
//!
//! Each is a type that encodes and decodes itself. Anything else is an error. The letters and words that scripts write or read
//! are constants; the scripts use them by the same names.

use crate::error::{Error, Result};

/// Defines each name as a constant, and `NAMES`: all of them with their texts, for the scripts.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* #[allow(dead_code, reason = "some are for the scripts alone")] pub const $name: &str = $text;)*

        /// All of them, for the scripts.
        pub const NAMES: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
}
pub(crate) use names;

names! {
    // ---- the first letter of an entry in a pipe's lists ----

    MESSAGE = "I";
    /// A task, which its result acknowledges.
    TASK = "P";
    /// The payload is in a blob of its own.
    MESSAGE_IN_BLOB = "B";
    TASK_IN_BLOB = "Q";
    /// A task that was begun too often.
    DIED = "D";
    END_OF_FILE = "E";
    /// The last entry of a list of items in flight. It keeps the list when that holds no item.
    ANCHOR = "A";

    // ---- the first word of a reply, or of a token that wakes a waiter ----

    /// Done.
    OK = "ok";
    /// The same; and the lock is lent to the caller's process. Or not done: it is lent to another one.
    LENT = "lent";
    /// A token will come.
    WAIT = "wait";
    /// Not now.
    NO = "no";
    /// The count would be too great.
    OVER = "over";
    /// The count would be less than zero.
    UNDER = "under";
    /// The barrier is broken; nobody holds the end of the pipe.
    IS_BROKEN = "broken";
    /// The waiter is in no queue any more; the object is not there.
    GONE = "gone";
    /// The pipe may have capacity, or items, again.
    LOOK = "look";
    /// The last party of a barrier is to run the action.
    ACT = "act";
    /// In the place of an item, in the answer that is kept: the item is in flight.
    TOOK = "took";
    /// No task is there.
    NONE = "none";
    /// In the place of an answer: the command was taken back.
    UNDONE = "undone";
    /// The thread takes from the list of items.
    LIST = "list";
    /// The thread waits in a line for items.
    LINE = "line";
    /// Another worker has claimed the job.
    TAKEN = "taken";
    /// A granule is newer than what was to be written to it.
    NEWER = "newer";

    // ---- what becomes of a token that came before its wait was cancelled ----

    /// The unit goes back to the semaphore.
    LATE_UNIT = "unit";
    /// The next waiter gets the notification.
    LATE_NOTIFICATION = "notification";
    /// The item goes back to the head of the pipe.
    LATE_ITEM = "item";
    /// Nothing: it is of no use any more.
    LATE_NEWS = "news";

    // ---- how the round of a barrier ends ----

    /// The action has run.
    PASS = "go";
    BREAK = "break";
    RESET = "reset";

    // ---- in the place of a region, in a list of versions ----

    /// An epoch, which stands for versions that are not listed.
    EPOCH = "epoch";
    /// How often the list has changed that an object keeps.
    CHANGED = "changes";

    // ---- the code of an error reply ----

    /// The object is not there.
    LOST = "SMPLOST";
    /// A command of the caller that came before this one has not run.
    GAP = "SMPGAP";
}

/// How many bytes an error shows.
const SHOWN: usize = 60;

fn malformed(what: &str, bytes: &[u8]) -> Error {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
    Error::Protocol(format!("malformed {what}: {shown:?}"))
}

/// The next word, and the rest after its space.
fn split_word(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes
        .iter()
        .position(|byte| *byte == b' ')
        .map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 1..]))
}

fn parse<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn name(word: &[u8]) -> Option<&str> {
    std::str::from_utf8(word)
        .ok()
        .filter(|name| !name.is_empty())
}

// ---- items of a pipe -----------------------------------------------------------------------------------------

/// A payload in a pipe or in a job's record.
///
/// It begins with a letter: `I` for a message, `P` for a task, which must be acknowledged by its result; `B` and `Q` for the
/// same with the payload in a blob of its own. A digit follows, how often the task was begun; then the size in bytes, a space,
/// the sealed part.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Item<'a> {
    pub is_task: bool,
    /// The sealed part is the name of a blob.
    pub is_blob: bool,
    pub begun: u8,
    /// The size in bytes that counts against a pipe's bound.
    pub size: usize,
    pub sealed: &'a [u8],
}

impl<'a> Item<'a> {
    const fn letter(is_task: bool, is_blob: bool) -> &'static str {
        match (is_task, is_blob) {
            (false, false) => MESSAGE,
            (true, false) => TASK,
            (false, true) => MESSAGE_IN_BLOB,
            (true, true) => TASK_IN_BLOB,
        }
    }

    /// The head, before the sealed part.
    pub fn head(is_task: bool, is_blob: bool, size: usize) -> String {
        format!("{}0{size} ", Self::letter(is_task, is_blob))
    }

    /// The part of a head that the seal covers: all but how often a task was begun, which the store counts.
    pub fn sealed_head(is_task: bool, is_blob: bool, size: usize) -> String {
        format!("{}{size}", Self::letter(is_task, is_blob))
    }

    pub fn decode(item: &'a [u8]) -> Result<Self> {
        let refused = || malformed("item", item);
        let (head, sealed) = split_word(item);
        let [letter, begun, size @ ..] = head else {
            return Err(refused());
        };
        let (is_task, is_blob) = [(false, false), (true, false), (false, true), (true, true)]
            .into_iter()
            .find(|(is_task, is_blob)| Self::letter(*is_task, *is_blob).as_bytes() == [*letter])
            .ok_or_else(refused)?;
        if !begun.is_ascii_digit() || head.len() == item.len() {
            return Err(refused());
        }
        Ok(Self {
            is_task,
            is_blob,
            begun: begun - b'0',
            size: parse(size).ok_or_else(refused)?,
            sealed,
        })
    }
}

/// An entry of a pipe's list.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Entry<'a> {
    Item(Item<'a>),
    /// `D`: a task that was begun too often, with the exit code of its last worker.
    Died(i32, Item<'a>),
    /// `E`.
    EndOfFile,
}

impl<'a> Entry<'a> {
    pub fn decode(item: &'a [u8]) -> Result<Self> {
        if item == END_OF_FILE.as_bytes() {
            return Ok(Self::EndOfFile);
        }
        let Some(died) = item.strip_prefix(DIED.as_bytes()) else {
            return Item::decode(item).map(Self::Item);
        };
        let (code, task) = split_word(died);
        let code = parse(code).ok_or_else(|| malformed("item", item))?;
        Ok(Self::Died(code, Item::decode(task)?))
    }
}

// ---- events of a process -------------------------------------------------------------------------------------

/// An event: news for a process about a job that it has started.
#[derive(Debug, PartialEq, Eq, Clone)]
pub enum Event<'a> {
    /// `x JOB RECORD`: the process has ended.
    Exited {
        job: &'a str,
        record: ExitRecord<'a>,
    },
    /// `o JOB STREAM BYTES`: what a remote process printed, to standard output (1) or error (2).
    Output {
        job: &'a str,
        is_error: bool,
        bytes: &'a [u8],
    },
    /// `d JOB CODE CLAIMANT MESSAGE`: the process died without an exit record. The claimant `-` is the launcher.
    Died {
        job: &'a str,
        code: i32,
        claimant: &'a str,
        message: String,
    },
    /// `l JOB WORKER PID ATTEMPTS PARENT PRELOAD`: a worker on another machine asks the program to launch a process for it.
    Launch {
        job: &'a str,
        /// The name of the process to be launched, and the process id for those that send it signals.
        worker: &'a str,
        pid: i32,
        attempts: u32,
        /// The process that starts it.
        parent: &'a str,
        /// The name of what its worker may have imported already; empty for nothing.
        preload: &'a str,
    },
}

/// Stands for the launcher in place of a claimant.
pub const LAUNCHER: &str = "-";

impl<'a> Event<'a> {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Exited { job, record } => format!("x {job} {}", record.encode()).into_bytes(),
            Self::Output {
                job,
                is_error,
                bytes,
            } => {
                let stream = if *is_error { '2' } else { '1' };
                [format!("o {job} {stream} ").as_bytes(), bytes].concat()
            }
            Self::Died {
                job,
                code,
                claimant,
                message,
            } => format!("d {job} {code} {claimant} {message}").into_bytes(),
            Self::Launch {
                job,
                worker,
                pid,
                attempts,
                parent,
                preload,
            } => format!("l {job} {worker} {pid} {attempts} {parent} {preload}").into_bytes(),
        }
    }

    pub fn decode(event: &'a [u8]) -> Result<Self> {
        Self::read(event).ok_or_else(|| malformed("event", event))
    }

    fn read(event: &'a [u8]) -> Option<Self> {
        let (letter, rest) = split_word(event);
        let (job, rest) = split_word(rest);
        let job = name(job)?;
        match letter {
            b"x" => Some(Self::Exited {
                job,
                record: ExitRecord::decode(std::str::from_utf8(rest).ok()?).ok()?,
            }),
            b"o" => {
                let (stream, bytes) = split_word(rest);
                let is_error = match stream {
                    b"1" => false,
                    b"2" => true,
                    _ => return None,
                };
                Some(Self::Output {
                    job,
                    is_error,
                    bytes,
                })
            }
            b"d" => {
                let (code, rest) = split_word(rest);
                let (claimant, message) = split_word(rest);
                Some(Self::Died {
                    job,
                    code: parse(code)?,
                    claimant: name(claimant)?,
                    message: String::from_utf8_lossy(message).into_owned(),
                })
            }
            b"l" => {
                let (worker, rest) = split_word(rest);
                let (pid, rest) = split_word(rest);
                let (attempts, rest) = split_word(rest);
                let (parent, preload) = split_word(rest);
                Some(Self::Launch {
                    job,
                    worker: name(worker)?,
                    pid: parse(pid)?,
                    attempts: parse(attempts)?,
                    parent: name(parent)?,
                    preload: std::str::from_utf8(preload).ok()?,
                })
            }
            _ => None,
        }
    }
}

/// Who has claimed a job: `ATTEMPT:SUPERVISOR` for workers in a function, the process itself for a local worker.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Claim<'a> {
    /// The invocation, or the process of a local worker.
    pub by: &'a str,
    /// The supervisor's process; empty for a local worker.
    pub supervisor: &'a str,
}

/// The claim on a job that was cancelled before a worker had it.
pub const CANCELLED: &str = "cancelled:";

impl<'a> Claim<'a> {
    pub fn encode(&self) -> String {
        format!("{}:{}", self.by, self.supervisor)
    }

    pub fn decode(claim: &'a str) -> Self {
        let (by, supervisor) = claim.split_once(':').unwrap_or((claim, ""));
        Self { by, supervisor }
    }
}

/// The record that a worker leaves at its end: `CODE VERSIONS`.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct ExitRecord<'a> {
    pub code: i32,
    /// The versions of regions that it had written or seen.
    pub versions: &'a str,
}

impl<'a> ExitRecord<'a> {
    pub fn encode(&self) -> String {
        format!("{} {}", self.code, self.versions)
    }

    pub fn decode(record: &'a str) -> Result<Self> {
        let (code, versions) = record.split_once(' ').unwrap_or((record, ""));
        let code = code
            .parse()
            .map_err(|_| malformed("exit record", record.as_bytes()))?;
        Ok(Self { code, versions })
    }
}

// ---- regions ---------------------------------------------------------------------------------------------------

/// The file with the content of a region at a version: `MACHINE PID FD DEVICE INODE VERSION`.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Base<'a> {
    /// The machine on which the process is.
    pub machine: &'a str,
    pub pid: u32,
    /// The file in that process.
    pub fd: i32,
    pub device: u64,
    pub inode: u64,
    pub version: u64,
}

impl<'a> Base<'a> {
    pub fn encode(&self) -> String {
        format!(
            "{} {} {} {} {} {}",
            self.machine, self.pid, self.fd, self.device, self.inode, self.version
        )
    }

    pub fn decode(base: &'a str) -> Result<Self> {
        Self::read(base).ok_or_else(|| malformed("base", base.as_bytes()))
    }

    fn read(base: &'a str) -> Option<Self> {
        let mut words = base.split(' ');
        let found = Self {
            machine: words.next()?,
            pid: words.next()?.parse().ok()?,
            fd: words.next()?.parse().ok()?,
            device: words.next()?.parse().ok()?,
            inode: words.next()?.parse().ok()?,
            version: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(found)
    }
}

// ---- commands to a supervisor ------------------------------------------------------------------------------------

/// A command for the supervisor of remote workers.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Command<'a> {
    /// `s JOB SIGNAL`: a signal for a worker.
    Signal { job: &'a str, signum: i32 },
    /// `e`: the parent of the workers has ended.
    ParentEnded,
}

impl<'a> Command<'a> {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Signal { job, signum } => format!("s {job} {signum}").into_bytes(),
            Self::ParentEnded => b"e".to_vec(),
        }
    }

    pub fn decode(command: &'a [u8]) -> Result<Self> {
        Self::read(command).ok_or_else(|| malformed("command", command))
    }

    fn read(command: &'a [u8]) -> Option<Self> {
        match split_word(command) {
            (b"e", []) => Some(Self::ParentEnded),
            (b"s", rest) => {
                let (job, signum) = split_word(rest);
                Some(Self::Signal {
                    job: name(job)?,
                    signum: parse(signum)?,
                })
            }
            _ => None,
        }
    }
}

// ---- replies of scripts --------------------------------------------------------------------------------------

/// The reply of a script on a lock, a latch, a condition or a pipe; also the token that wakes a waiter.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Reply<'a> {
    /// `ok VERSIONS`: done; these versions must be visible from now on.
    Ok(&'a str),
    /// `lent VERSIONS`: the same, and the lock is lent to this process.
    Lent(&'a str),
    /// `wait WAITER`: a token will come.
    Wait(&'a str),
    /// `no VERSIONS`: not now.
    No(&'a str),
    /// `over`, `under`: the count would be too great, or negative.
    Over,
    Under,
    /// `broken`: the barrier is broken, or nobody holds the end of the pipe.
    Broken,
    /// `gone`: the waiter is in no queue any more.
    Gone,
    /// `look`: a pipe may have capacity again, or items that another thread had read ahead.
    Look,
}

impl<'a> Reply<'a> {
    pub fn decode(reply: &'a str) -> Result<Self> {
        let (word, rest) = reply.split_once(' ').unwrap_or((reply, ""));
        match (word, rest) {
            (OK, versions) => Ok(Self::Ok(versions)),
            (LENT, versions) => Ok(Self::Lent(versions)),
            (WAIT, waiter) if !waiter.is_empty() => Ok(Self::Wait(waiter)),
            (NO, versions) => Ok(Self::No(versions)),
            (OVER, "") => Ok(Self::Over),
            (UNDER, "") => Ok(Self::Under),
            (IS_BROKEN, "") => Ok(Self::Broken),
            (GONE, "") => Ok(Self::Gone),
            (LOOK, "") => Ok(Self::Look),
            _ => Err(malformed("reply of a script", reply.as_bytes())),
        }
    }
}

/// A lock that was granted.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant<'a> {
    pub is_lent: bool,
    pub versions: &'a str,
    pub regions: Vec<GrantedRegion<'a>>,
}

/// The content of a region, which came with a grant.
#[derive(Debug, PartialEq, Eq)]
pub struct GrantedRegion<'a> {
    pub key: &'a str,
    pub version: u64,
    pub bytes: &'a [u8],
}

impl<'a> Grant<'a> {
    /// Decodes `ok VERSIONS`, a line feed, and for each region `KEY VERSION SIZE`, a line feed and the bytes. None if the
    /// reply is another one: the lock was not granted.
    pub fn decode(reply: &'a [u8]) -> Result<Option<Self>> {
        let line = |bytes: &'a [u8]| -> Option<(&'a str, &'a [u8])> {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let end = end.unwrap_or(bytes.len());
            let text = std::str::from_utf8(&bytes[..end]).ok()?;
            Some((text, bytes.get(end + 1..).unwrap_or_default()))
        };
        let refused = || malformed("grant", reply);
        let (text, mut rest) = line(reply).ok_or_else(refused)?;
        let (versions, is_lent) = match Reply::decode(text)? {
            Reply::Ok(versions) => (versions, false),
            Reply::Lent(versions) => (versions, true),
            _ => return Ok(None),
        };
        let mut regions = Vec::new();
        while !rest.is_empty() {
            let (head, behind) = line(rest).ok_or_else(refused)?;
            let (key, numbers) = head.split_once(' ').ok_or_else(refused)?;
            let (version, size) = numbers.split_once(' ').ok_or_else(refused)?;
            let size = size.parse().map_err(|_| refused())?;
            let (bytes, behind) = behind.split_at_checked(size).ok_or_else(refused)?;
            let version = version.parse().map_err(|_| refused())?;
            regions.push(GrantedRegion {
                key,
                version,
                bytes,
            });
            rest = behind;
        }
        Ok(Some(Self {
            is_lent,
            versions,
            regions,
        }))
    }
}

/// How many items are left of an end, and how many processes hold it; None if the store could not tell.
pub fn left(reply: &str) -> Option<(u64, u64)> {
    let (items, holders) = reply.split_once(' ')?;
    Some((items.parse().ok()?, holders.parse().ok()?))
}

/// The waiter in the reply to a take; None if the reply is an item, which never begins with `w`.
pub fn waiter(reply: &[u8]) -> Option<&str> {
    let (word, waiter) = split_word(reply);
    (word == WAIT.as_bytes()).then(|| name(waiter)).flatten()
}

/// The reply to a party's arrival at a barrier: its index, and how it proceeds.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Arrival<'a> {
    /// `ok INDEX VERSIONS`: it was the last one.
    Passed(usize, &'a str),
    /// `act INDEX VERSIONS`: it was the last one, and is to run the action.
    Act(usize, &'a str),
    /// `wait INDEX WAITER`.
    Wait(usize, &'a str),
    /// `broken`.
    Broken,
}

impl<'a> Arrival<'a> {
    pub fn decode(reply: &'a str) -> Result<Self> {
        Self::read(reply).ok_or_else(|| malformed("reply of a script", reply.as_bytes()))
    }

    fn read(reply: &'a str) -> Option<Self> {
        if reply == IS_BROKEN {
            return Some(Self::Broken);
        }
        let mut words = reply.splitn(3, ' ');
        let (word, index) = (words.next()?, words.next()?.parse().ok()?);
        match (word, words.next()) {
            (OK, rest) => Some(Self::Passed(index, rest.unwrap_or_default())),
            (ACT, rest) => Some(Self::Act(index, rest.unwrap_or_default())),
            (WAIT, Some(waiter)) if !waiter.is_empty() => Some(Self::Wait(index, waiter)),
            _ => None,
        }
    }
}

// ---- reports of launchers ------------------------------------------------------------------------------------

/// The final report of a launcher about a worker, on the descriptor that the launcher gave: the exit code in four bytes, then
/// a message for the user. If it is empty, the launcher knows nothing, and the worker's record in the store counts.
#[derive(Debug, PartialEq, Eq, Clone, Default)]
pub struct ExitReport {
    pub code: Option<i32>,
    pub message: String,
}

impl ExitReport {
    pub fn encode(code: i32, message: &str) -> Vec<u8> {
        [&code.to_ne_bytes(), message.as_bytes()].concat()
    }

    pub fn decode(bytes: &[u8]) -> Self {
        let Some((code, message)) = bytes.split_first_chunk() else {
            return Self::default();
        };
        Self {
            code: Some(i32::from_ne_bytes(*code)),
            message: String::from_utf8_lossy(message).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn items_are_told_apart() {
        assert_eq!(Entry::decode(b"E").unwrap(), Entry::EndOfFile);
        let task = Item {
            is_task: true,
            is_blob: false,
            begun: 1,
            size: 260,
            sealed: b"a b",
        };
        assert_eq!(Entry::decode(b"P1260 a b").unwrap(), Entry::Item(task));
        assert_eq!(
            Entry::decode(b"D-9 P1260 a b").unwrap(),
            Entry::Died(-9, task)
        );
    }

    #[test]
    fn a_grant_brings_what_regions_hold() {
        let grant = Grant::decode(b"ok a-1:3 changes:2\nkey 3 4\n\xff\nb\0other 12 0\n");
        let content = |key, version, bytes| GrantedRegion {
            key,
            version,
            bytes,
        };
        assert_eq!(
            grant.unwrap(),
            Some(Grant {
                is_lent: false,
                versions: "a-1:3 changes:2",
                regions: vec![content("key", 3, b"\xff\nb\0"), content("other", 12, b"")],
            })
        );
        assert!(Grant::decode(b"lent ").unwrap().unwrap().is_lent);
        assert_eq!(Grant::decode(b"no").unwrap(), None);
        for malformed in [
            &b"ok \nkey 3 4\nabc"[..],
            b"ok \nkey",
            b"ok \nkey x 1\na",
            b"ok \nkey 1 -1\n",
            b"maybe",
        ] {
            assert!(Grant::decode(malformed).is_err());
        }
    }

    #[test]
    fn claims_are_told_apart() {
        let (by, supervisor) = ("attempt", "process");
        let claim = Claim { by, supervisor };
        assert_eq!(Claim::decode(&claim.encode()), claim);
        let supervisor = "";
        assert_eq!(Claim::decode("attempt"), Claim { by, supervisor });
        assert_eq!(Claim::decode(CANCELLED).supervisor, "");
    }

    proptest! {
        #[test]
        fn a_base_comes_back(machine in "[!-~]{1,40}", pid: u32, fd: i32, numbers: [u64; 3]) {
            let [device, inode, version] = numbers;
            let base = Base { machine: &machine, pid, fd, device, inode, version };
            let text = base.encode();
            prop_assert_eq!(Base::decode(&text).unwrap(), base);
            let longer = text + " 1";
            prop_assert!(Base::decode(&longer).is_err());
        }

        #[test]
        fn no_grant_panics(bytes: Vec<u8>) {
            let _ = Grant::decode(&bytes);
            let _ = Grant::decode(&[b"ok \nk 1 9\n", bytes.as_slice()].concat());
        }
    }

    #[test]
    fn a_waiter_is_told_from_an_item() {
        assert_eq!(waiter(b"wait p.1:7"), Some("p.1:7"));
        for item in [&b"E"[..], b"I03 \xff\xfe", b"D-9 P1260 a b", b"wait "] {
            assert_eq!(waiter(item), None);
        }
    }

    #[test]
    fn what_is_no_item_is_refused() {
        for bytes in [
            &b""[..],
            b"A",
            b"I",
            b"I0",
            b"I0 ",
            b"I01",
            b"Ix1 s",
            b"X01 s",
            b"D I01 s",
            b"D1",
            b"Dx P01 s",
            b"I0-1 s",
        ] {
            let refused = matches!(Entry::decode(bytes), Err(Error::Protocol(_)));
            assert!(refused, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn replies_are_told_apart() {
        assert_eq!(Reply::decode("ok").unwrap(), Reply::Ok(""));
        assert_eq!(Reply::decode("ok a:1 b:2").unwrap(), Reply::Ok("a:1 b:2"));
        assert_eq!(
            Reply::decode("wait process.1:7").unwrap(),
            Reply::Wait("process.1:7")
        );
        assert_eq!(
            Arrival::decode("ok 2 a:1").unwrap(),
            Arrival::Passed(2, "a:1")
        );
        assert_eq!(
            Arrival::decode("act 2 a:1").unwrap(),
            Arrival::Act(2, "a:1")
        );
        assert_eq!(
            Arrival::decode("wait 0 process.1:7").unwrap(),
            Arrival::Wait(0, "process.1:7")
        );
        for reply in ["", "okay", "wait", "wait ", "over 1", "7"] {
            assert!(Reply::decode(reply).is_err(), "{reply:?}");
        }
        for reply in ["", "ok", "act", "act x", "wait 1", "wait 1 "] {
            assert!(Arrival::decode(reply).is_err(), "{reply:?}");
        }
    }

    #[test]
    fn an_unknown_event_or_command_is_an_error() {
        for bytes in [
            &b""[..],
            b"x",
            b"q 1",
            b"x 1 y",
            b"o 1 3 text",
            b"d 1 x - m",
            b"d 1 1",
        ] {
            assert!(
                Event::decode(bytes).is_err(),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
        for bytes in [&b""[..], b"e 1", b"s", b"s 1", b"s 1 x", b"k 1 9"] {
            assert!(
                Command::decode(bytes).is_err(),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    proptest! {
        #[test]
        fn an_item_head_comes_back(is_task: bool, is_blob: bool, size: usize, sealed: Vec<u8>) {
            let bytes = [Item::head(is_task, is_blob, size).as_bytes(), &sealed].concat();
            let item = Item { is_task, is_blob, begun: 0, size, sealed: &sealed };
            prop_assert_eq!(Entry::decode(&bytes).unwrap(), Entry::Item(item));
        }

        #[test]
        fn an_event_comes_back(job in "[0-9a-f]{1,16}", code: i32, is_error: bool, bytes: Vec<u8>,
                               claimant in "[0-9a-f:]{1,20}|-", message in ".*", versions in "[a-z:0-9 ]*",
                               preload in "([a-z0-9]{1,40}-[0-9a-f]{1,16})?") {
            for event in [
                Event::Exited { job: &job, record: ExitRecord { code, versions: &versions } },
                Event::Output { job: &job, is_error, bytes: &bytes },
                Event::Died { job: &job, code, claimant: &claimant, message },
                Event::Launch { job: &job, worker: &claimant, pid: code, attempts: 2, parent: &job, preload: &preload },
            ] {
                let bytes = event.encode();
                prop_assert_eq!(Event::decode(&bytes).unwrap(), event);
            }
        }

        #[test]
        fn a_command_comes_back(job in "[0-9a-f]{1,16}", signum: i32) {
            for command in [Command::Signal { job: &job, signum }, Command::ParentEnded] {
                let bytes = command.encode();
                prop_assert_eq!(Command::decode(&bytes).unwrap(), command);
            }
        }

        #[test]
        fn a_report_comes_back(code: i32, message in ".*") {
            let report = ExitReport { code: Some(code), message: message.clone() };
            prop_assert_eq!(ExitReport::decode(&ExitReport::encode(code, &message)), report);
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let _ = (Entry::decode(&bytes), Event::decode(&bytes), Command::decode(&bytes), ExitReport::decode(&bytes));
            let text = String::from_utf8_lossy(&bytes);
            let _ = (Reply::decode(&text), Arrival::decode(&text), ExitRecord::decode(&text), Base::decode(&text));
        }
    }
}
