//! Exit codes for processes that have none of their own: those of sysexits.h where one fits, 124 as in timeout(1), and a
//! negative number for a signal. The documentation of AWS Lambda lists them for users.

/// `EX_UNAVAILABLE`: no worker was available, or the worker could not reach the store.
pub const UNAVAILABLE: i32 = 69;
/// `EX_SOFTWARE`: the function failed outside the process.
pub const FAILED: i32 = 70;
/// `EX_TEMPFAIL`: the session was lost. The program has ended, or its store.
pub const SESSION_LOST: i32 = 75;
/// `EX_NOPERM`: AWS refuses the credentials.
pub const NOT_ALLOWED: i32 = 77;
/// `EX_CONFIG`: the function does not exist, or cannot be used.
pub const MISCONFIGURED: i32 = 78;
/// The function reached its time limit.
pub const TIME_LIMIT: i32 = 124;
/// Nothing is known about the end: `CPython`'s forkserver reports the same for such a child.
pub const UNKNOWN: i32 = 255;
/// SIGKILL.
pub const KILLED: i32 = -9;
