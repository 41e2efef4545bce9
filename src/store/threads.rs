//! Threads beside the program's, none of which ever handles a signal of the program.
//!
//! A signal that is sent to the process goes to any thread that does not block it. The program may have blocked it in its own
//! threads, to take it with `sigwait`; in a thread that did not block it, the signal would kill the program.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use crate::error::Result;

/// Signals of a thread's own faults; if they were blocked, the process would end without a message.
const FAULTS: [Signal; 6] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGABRT,
];

/// Starts a thread of this name, with a stack of this many bytes.
pub fn spawn(name: &str, stack: usize, body: impl FnOnce() + Send + 'static) -> Result<()> {
    let builder = std::thread::Builder::new()
        .name(name.into())
        .stack_size(stack);
    with_signals_blocked(|| builder.spawn(body))?;
    Ok(())
}

/// Blocks signals in the calling thread: for the threads of a runtime, which any other thread may start.
pub fn block_signals() {
    // A valid mask is never refused.
    let _ = all_but_faults().thread_set_mask();
}

fn all_but_faults() -> SigSet {
    let mut mask = SigSet::all();
    for signal in FAULTS {
        mask.remove(signal);
    }
    mask
}

/// Runs something that starts threads, which inherit the blocked signals.
pub fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    let before = all_but_faults().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let result = start();
    if let Ok(before) = before {
        // The mask was in force a moment ago.
        let _ = before.thread_set_mask();
    }
    result
}
