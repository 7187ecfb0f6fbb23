//! Times at which snapshots are taken to learn whether a held checkpoint can be emitted.

use std::time::{Duration, Instant};

/// Longest interval between two such snapshots while the stream is read.
const LONGEST: Duration = Duration::from_secs(1);
/// Shortest interval between two such snapshots.
const SHORTEST: Duration = Duration::from_millis(5);
/// Such snapshots take at most one twentieth of the time.
const TIME_SHARE: u32 = 20;

/// Time of the last snapshot, and the interval to the next one for a held checkpoint.
#[derive(Debug)]
pub(super) struct SnapshotPacing {
    taken: Instant,
    interval: Duration,
}

impl SnapshotPacing {
    pub(super) fn new() -> Self {
        Self {
            taken: Instant::now(),
            interval: Duration::ZERO,
        }
    }

    /// Notes that a snapshot was taken.
    pub(super) fn note_taken(&mut self) {
        self.taken = Instant::now();
    }

    /// Returns the time since the last snapshot.
    pub(super) fn since_last(&self) -> Duration {
        self.taken.elapsed()
    }

    /// Returns whether the interval since the last snapshot has passed.
    pub(super) fn is_due(&self) -> bool {
        self.since_last() >= self.interval
    }

    /// Lengthens the interval: the last snapshot did not contain every commit that holds back the
    /// checkpoint.
    pub(super) fn back_off(&mut self) {
        self.interval = (self.interval * 2).clamp(SHORTEST, LONGEST);
    }

    /// Sets the interval by the time that the last snapshot took: it contained every commit that
    /// held back the checkpoint.
    pub(super) fn reset(&mut self, time_taken: Duration) {
        self.interval = (time_taken * TIME_SHARE).clamp(SHORTEST, LONGEST);
    }
}
