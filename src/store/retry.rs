//! The pauses between attempts to run a command that a store does not run now.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::logging;
use crate::store::conn::TICK;
use crate::store::health::Health;
use crate::store::request::Refusal;

/// After how long refusals are reported.
const REPORT_AFTER: Duration = Duration::from_secs(5);

pub struct Backoff<'a> {
    health: &'a Health,
    pause: Duration,
    begin: Instant,
    is_reported: bool,
}

impl<'a> Backoff<'a> {
    pub fn new(health: &'a Health) -> Self {
        Self {
            health,
            pause: Duration::from_millis(1),
            begin: Instant::now(),
            is_reported: false,
        }
    }

    /// The store has not answered, or cannot do its work: pauses before the next attempt, or gives up.
    pub fn after(&mut self, e: Error) -> Result<()> {
        if !matches!(e, Error::Io(_) | Error::Unreachable(_) | Error::Store(_)) {
            return Err(e);
        }
        self.health.silent(&e)?;
        tracing::info!(error = %e, pause = ?self.pause, "the store does not answer; it is tried again");
        self.sleep()
    }

    /// Pauses before the next attempt, or gives up, after the store has refused a command without changing anything.
    pub fn refused(&mut self, refusal: Refusal, e: Error) -> Result<()> {
        match refusal {
            Refusal::Unknown | Refusal::Elsewhere | Refusal::Full => {}
            Refusal::Unable => return self.after(e),
            Refusal::Gap => {
                self.health.goes_on()?;
                self.health.set_lost(
                    "the store has lost what it had acknowledged (it was restarted without its data, or failed over)",
                );
            }
        }
        self.health.answered(false);
        self.health.check()?;
        tracing::info!(error = %e, pause = ?self.pause, "the store refuses a command; it is tried again");
        if !self.is_reported && self.begin.elapsed() > REPORT_AFTER {
            self.is_reported = true;
            logging::report(&format!(
                "serverless_mp: {e}; process {} tries it again",
                std::process::id()
            ));
        }
        self.sleep()
    }

    fn sleep(&mut self) -> Result<()> {
        crate::signals::check()?;
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(TICK);
        Ok(())
    }
}
