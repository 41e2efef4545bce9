//! The core's log on standard error, if `SERVERLESS_MP_LOG` asks for it: connections, retries, long waits, claims and ends.
//! Without the variable a line costs one comparison.

use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Once;
use std::time::Duration;

use tracing::Level;

const VARIABLE: &str = "SERVERLESS_MP_LOG";
/// A longer wait is logged.
pub const LONG_WAIT: Duration = Duration::from_secs(1);

/// Writes a line for the user to standard error, in one write: other processes may write at the same time. If that is closed
/// or full, nobody can be told.
pub fn report(line: &str) {
    let _ = io::stderr()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
}

/// Starts the log, once per process, when it enters a session.
pub fn begin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let wanted = std::env::var(VARIABLE).unwrap_or_default();
        if let Ok(level) = Level::from_str(&wanted) {
            // This fails if there is a subscriber already, which serves as well.
            let _ = tracing_subscriber::fmt()
                .with_max_level(level)
                .with_writer(io::stderr)
                // It would report a closed standard error there, and panic.
                .log_internal_errors(false)
                .with_ansi(false)
                .try_init();
        }
    });
}
