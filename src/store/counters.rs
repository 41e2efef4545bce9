//! Counts of what a process asks of the store, for the program's operations.

use std::cell::Cell;

thread_local! {
    static IS_LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

/// What this thread asks is no operation of the program.
pub fn leave_out_this_thread() {
    IS_LEFT_OUT.set(true);
}

pub fn is_left_out() -> bool {
    IS_LEFT_OUT.get()
}
