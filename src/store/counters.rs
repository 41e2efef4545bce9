//! Counts of what the program's operations ask of the store.

use std::cell::Cell;

thread_local! {
    static IS_LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

/// Excludes this thread from the counts: it serves no operation of the program.
pub fn leave_out_this_thread() {
    IS_LEFT_OUT.set(true);
}

pub fn is_left_out() -> bool {
    IS_LEFT_OUT.get()
}
