//! When to let bytes collect before they are read.
//!
//! A walsender flushes its socket after every row. A reader that wakes for each pays a system call
//! and a wake-up a row, and so does the server. While a backlog is read it is better to sleep for a
//! moment and take what has come meanwhile; a stream that is slow is read at once.

use std::time::{Duration, Instant};

/// How many reads in quick succession make a backlog.
const READS: u32 = 24;
/// Within which time.
const WINDOW: Duration = Duration::from_millis(2);
/// How long changes are left to collect: some 200 KB of what a walsender decodes.
const CHANGES: Duration = Duration::from_millis(3);
/// How long rows are, which come faster: no more than fits into a socket.
const ROWS: Duration = Duration::from_millis(1);
/// Room that a piece of a backlog has at least. A read that fills it is followed by the next at once.
pub(super) const PIECE: usize = 128 * 1024;
/// A read after a pause that has brought less than this ends the backlog.
const TRICKLE: usize = 16 * 1024;

/// Decides by the pace of reads whether to pause before the next.
#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
    window: Instant,
    reads: u32,
    backlog: bool,
    /// The last read has left more behind.
    more: bool,
}

impl Pace {
    /// Makes the pace for changes from the log.
    pub(super) fn of_changes() -> Self {
        Self::new(CHANGES)
    }

    /// Makes the pace for rows of a table.
    pub(super) fn of_rows() -> Self {
        Self::new(ROWS)
    }

    fn new(pause: Duration) -> Self {
        Self {
            pause,
            window: Instant::now(),
            reads: 0,
            backlog: false,
            more: false,
        }
    }

    /// Returns how long to wait before the next read; `None` where it is due at once.
    pub(super) fn pause(&self) -> Option<Duration> {
        (self.backlog && !self.more).then_some(self.pause)
    }

    /// Notes a read.
    pub(super) fn read(&mut self, bytes: usize, now: Instant) {
        self.more = bytes >= PIECE;
        if self.backlog {
            self.backlog = bytes >= TRICKLE;
            (self.window, self.reads) = (now, 0);
            return;
        }
        if now.saturating_duration_since(self.window) > WINDOW {
            (self.window, self.reads) = (now, 0);
        }
        self.reads += 1;
        self.backlog = self.reads >= READS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_commit_is_never_waited_with() {
        let mut pace = Pace::of_changes();
        let start = Instant::now();
        // Four messages each millisecond: a busy stream, and no backlog.
        for read in 0..4000 {
            pace.read(200, start + Duration::from_micros(250 * read));
            assert_eq!(pace.pause(), None);
        }
    }

    #[test]
    fn a_backlog_is_read_in_pieces_until_it_is_over() {
        let mut pace = Pace::of_changes();
        let start = Instant::now();
        for read in 0..u64::from(READS) {
            assert_eq!(pace.pause(), None);
            pace.read(200, start + Duration::from_micros(5 * read));
        }
        assert_eq!(pace.pause(), Some(CHANGES));
        pace.read(TRICKLE, start);
        assert_eq!(pace.pause(), Some(CHANGES));
        pace.read(TRICKLE - 1, start);
        assert_eq!(pace.pause(), None);
    }
}
