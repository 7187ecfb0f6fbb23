//! Waits for transactions, with a growing pause and a log line at times.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Interval between two log lines about one wait.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// First and longest pause of a wait.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Pauses and log lines of one wait.
#[derive(Debug)]
pub(super) struct WaitBackoff {
    pause: Duration,
    /// Time of the last log line, and the transactions that it named.
    logged: Option<(Instant, BTreeSet<u32>)>,
}

impl WaitBackoff {
    pub(super) fn new() -> Self {
        Self {
            pause: PAUSES.0,
            logged: None,
        }
    }

    /// Returns whether the wait is to be logged now: for other transactions than the last time, or
    /// after an interval.
    pub(super) fn is_log_due(&mut self, xids: &BTreeSet<u32>) -> bool {
        let is_due = self
            .logged
            .as_ref()
            .is_none_or(|(when, before)| before != xids || when.elapsed() >= LOG_INTERVAL);
        if is_due {
            self.logged = Some((Instant::now(), xids.clone()));
        }
        is_due
    }

    /// Returns the next pause; each is twice as long as the one before, up to a limit.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES.1);
        pause
    }
}
