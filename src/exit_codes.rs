//! Exit codes that we give to processes which have none of their own. Those of sysexits.h where one fits; 124 as of timeout(1);
//! a negative number is a signal, as everywhere. The documentation of AWS Lambda lists them for users.

/// `EX_UNAVAILABLE`: no worker could be had, or it could not reach the store.
pub const UNAVAILABLE: i32 = 69;
/// `EX_SOFTWARE`: the function failed outside the process.
pub const FAILED: i32 = 70;
/// `EX_TEMPFAIL`: the session was lost. The program has ended, or its store.
pub const SESSION_LOST: i32 = 75;
/// `EX_NOPERM`: AWS refuses the credentials.
pub const NOT_ALLOWED: i32 = 77;
/// `EX_CONFIG`: there is no such function, or it cannot be used.
pub const MISCONFIGURED: i32 = 78;
/// The function's time limit.
pub const TIME_LIMIT: i32 = 124;
/// Nothing is known of the end: as `CPython`'s forkserver reports a child of which nothing is known.
pub const UNKNOWN: i32 = 255;
/// SIGKILL.
pub const KILLED: i32 = -9;
