//! Times at which periodic work is due.

use std::time::{Duration, Instant};

/// Time after which the server is checked first. A session that reads rows checks it earlier,
/// beside the first rows.
const FIRST_CHECK: Duration = Duration::from_secs(1);
/// Interval between checks of the server.
const CHECK_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Interval between log lines about progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Interval between log lines about chunks of one table.
const CHUNK_INTERVAL: Duration = Duration::from_secs(10);

/// Schedule of the periodic work.
#[derive(Debug)]
pub(in crate::capture) struct Upkeep {
    /// Configured interval between rediscoveries.
    interval: Duration,
    rediscovery: Instant,
    check: Instant,
    /// Whether the server was checked in this session.
    is_checked: bool,
    /// Time of the last log line about progress.
    progress_since: Instant,
    /// Binding of the last chunk that was logged, and the time of that.
    chunk: Option<(u32, Instant)>,
}

impl Upkeep {
    /// Starts the schedule: the check of the server is due after a moment, the rediscovery after
    /// its interval.
    pub(in crate::capture) fn new(interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            interval,
            rediscovery: now + jittered(interval),
            check: now + FIRST_CHECK,
            is_checked: false,
            progress_since: now,
            chunk: None,
        }
    }

    /// Returns whether a chunk of a binding is to be logged: the first one, and one per interval.
    pub(in crate::capture) fn is_chunk_log_due(&mut self, binding: u32) -> bool {
        let is_due = self
            .chunk
            .is_none_or(|(last, when)| last != binding || when.elapsed() >= CHUNK_INTERVAL);
        if is_due {
            self.chunk = Some((binding, Instant::now()));
        }
        is_due
    }

    /// Returns the time until something is due; zero if something is.
    pub(in crate::capture) fn until_due(&self) -> Duration {
        let progress = self.progress_since + PROGRESS_INTERVAL;
        let next = self.rediscovery.min(self.check).min(progress);
        next.saturating_duration_since(Instant::now())
    }

    /// Returns whether the server was checked in this session.
    pub(super) fn is_checked(&self) -> bool {
        self.is_checked
    }

    /// Returns whether the check of the server is due.
    pub(super) fn is_check_due(&self) -> bool {
        Instant::now() >= self.check
    }

    /// Returns whether the rediscovery is due; then schedules the next one.
    pub(super) fn take_due_rediscovery(&mut self) -> bool {
        let now = Instant::now();
        let is_due = now >= self.rediscovery;
        if is_due {
            self.rediscovery = now + jittered(self.interval);
        }
        is_due
    }

    /// Schedules the next check of the server.
    pub(super) fn note_check(&mut self) {
        self.check = Instant::now() + CHECK_INTERVAL;
        self.is_checked = true;
    }

    /// Returns whether progress is to be logged, and over which time; then schedules the next time.
    pub(super) fn take_due_progress(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let time = now - self.progress_since;
        if time < PROGRESS_INTERVAL {
            return None;
        }
        self.progress_since = now;
        Some(time)
    }
}

/// Returns a random duration from half of an interval to one and a half, so that captures that were
/// started together do not query the server at the same time.
fn jittered(interval: Duration) -> Duration {
    let mut random = [0; 4];
    if getrandom::fill(&mut random).is_err() {
        return interval;
    }
    interval / 2 + interval.mul_f64(f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX))
}
