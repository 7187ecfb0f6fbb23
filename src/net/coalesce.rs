//! Decides when to let bytes collect in the socket before they are read.
//!
//! A walsender flushes its socket after every row. A reader that wakes up for each row pays a
//! system call and a wake-up per row, and so does the server. While a backlog is read it is cheaper
//! to pause for a moment and to read the bytes that arrived meanwhile; a slow stream is read at
//! once.
//!
//! # States
//!
//! [`Pace`] tells a slow stream from a backlog, and within a backlog when to pause:
//!
//! ```text
//!                  READS reads within WINDOW
//!  +------------+ ---------------------------> +---------------------------------------------+
//!  | no backlog |                              | backlog                                     |
//!  | no pauses  | <--------------------------- |                                             |
//!  +------------+  still less than TRICKLE     |   +-------+  pause is over   +----------+   |
//!                  since the pause, after the  |   | pause | ---------------> | read     |   |
//!                  second read                 |   |       | <--------------- | at once  |-+ |
//!                                              |   +-------+  read < TRICKLE  +----------+ | |
//!                                              |       and since the pause         ^       | |
//!                                              |       at least TRICKLE            +-------+ |
//!                                              |                  read >= TRICKLE, or first  |
//!                                              |                  read after the pause less  |
//!                                              +---------------------------------------------+
//! ```
//!
//! A read of at least `TRICKLE` bytes is followed by another one at once, because it freed space in
//! the socket that the sender may have been waiting for. So is the first read after a pause that
//! yields less: only the second one ends the backlog (`may_be_over`).
//!
//! [`PauseChooser`] chooses the length of each pause when the pause begins. It compares the rates,
//! in bytes per second, at which bytes arrived during short and during long pauses:
//!
//! ```text
//!                  due for a trial, and rate in range
//!         +-------+ ------------------------> +-------+
//!  start  | Short |                           | Trial |  one long pause
//!  -----> |       | <------------------------ |       |
//!         +-------+  rate out of range, or    +-------+
//!             ^      below 3/4 of the rate        |
//!             |      of the short pause           | rate in range, and at least 3/4 of the rate
//!             |                                   v of the short pause
//!             |                               +-------+
//!             +------------------------------ | Long  |
//!                rate out of range, or        +-------+
//!                due for a trial
//! ```
//!
//! A rate is in range if a short pause yields at least `WORTHWHILE` bytes at that rate and a long
//! one less than `PauseLengths::capacity`. A trial is due after the first pause of a backlog, and
//! more than `PAUSES_BETWEEN_TRIALS` pauses after the last state change. When it is due in `Long`,
//! one short pause measures the rate that the next trial is compared with.

use std::time::{Duration, Instant};

/// Number of reads within [`WINDOW`] that make a backlog.
const READS: u32 = 24;
/// `READS` reads within this time make a backlog.
const WINDOW: Duration = Duration::from_millis(2);
/// Pauses while changes are read. A walsender decodes some 200 KB in a short one; a long one
/// collects enough that the server's cost per TCP segment becomes negligible.
const CHANGE_PAUSES: PauseLengths = PauseLengths {
    short: Duration::from_millis(3),
    long: Duration::from_millis(18),
    capacity: 4 * 1024 * 1024,
};
/// Pauses while rows of a table are read. Rows arrive faster than changes, so pauses are shorter:
/// a pause collects no more than fits into a socket.
const ROW_PAUSES: PauseLengths = PauseLengths {
    short: Duration::from_millis(1),
    long: Duration::from_millis(3),
    capacity: 2 * 1024 * 1024,
};
/// Minimum free space in the receive buffer for a read during a backlog. If the read with which a
/// backlog begins yields as much, the next read follows without a pause.
pub(super) const BACKLOG_READ_SIZE: usize = 128 * 1024;
/// A pause that yields fewer bytes than this, in its first two reads, ends the backlog. A later
/// read that yields fewer is followed by a pause.
const TRICKLE: usize = 16 * 1024;

/// Minimum yield of a short pause for long ones to be tried: a stream with less is hardly a
/// backlog, and is better read soon.
const WORTHWHILE: u64 = 64 * 1024;
/// Number of pauses of one length after which the other length is tried.
const PAUSES_BETWEEN_TRIALS: u32 = 64;

/// Lengths of the pauses for one kind of stream.
#[derive(Debug, Clone, Copy)]
struct PauseLengths {
    short: Duration,
    long: Duration,
    /// Maximum yield of a long pause in bytes: what the sockets of both sides hold.
    capacity: u64,
}

/// Decides by the pace of reads whether to pause before the next one.
#[derive(Debug)]
pub(super) struct Pace {
    /// Start of the current window, outside a backlog.
    window: Instant,
    /// Number of reads in the current window.
    reads: u32,
    backlog: bool,
    /// The next read is due at once: the last one may have left bytes unread.
    read_again: bool,
    /// Bytes read since the last pause.
    since_pause: u64,
    /// The first read after the last pause yielded less than `TRICKLE`; the next read decides
    /// whether the backlog is over.
    may_be_over: bool,
    pauses: PauseChooser,
}

impl Pace {
    /// Returns the pace for changes from the replication stream.
    pub(super) fn of_changes() -> Self {
        Self::new(CHANGE_PAUSES)
    }

    /// Returns the pace for rows of a table.
    pub(super) fn of_rows() -> Self {
        Self::new(ROW_PAUSES)
    }

    fn new(lengths: PauseLengths) -> Self {
        let now = Instant::now();
        Self {
            window: now,
            reads: 0,
            backlog: false,
            read_again: false,
            since_pause: 0,
            may_be_over: false,
            pauses: PauseChooser::new(lengths, now),
        }
    }

    /// Returns the time to wait, from now on, before the next read; `None` if it is due at once.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Duration> {
        if !self.backlog || self.read_again {
            return None;
        }
        // If nothing was read since the pause began, other work cut it short: the pause continues.
        // If it started again each time, bytes would stay unread for as long as there is other
        // work.
        if self.since_pause > 0 {
            self.pauses.begin(self.since_pause, now);
            self.since_pause = 0;
        }
        let left = self.pauses.left(now);
        (!left.is_zero()).then_some(left)
    }

    /// Records a read of `bytes` bytes.
    pub(super) fn record_read(&mut self, bytes: usize, now: Instant) {
        if self.backlog {
            // The read freed space that the sender may have been waiting for.
            self.read_again = bytes >= TRICKLE;
            self.since_pause += bytes as u64;
            if self.since_pause >= TRICKLE as u64 {
                self.may_be_over = false;
            } else if self.may_be_over {
                (self.may_be_over, self.backlog) = (false, false);
            } else {
                (self.may_be_over, self.read_again) = (true, true);
            }
            (self.window, self.reads) = (now, 0);
            return;
        }
        if now.saturating_duration_since(self.window) > WINDOW {
            (self.window, self.reads) = (now, 0);
        }
        self.reads += 1;
        if self.reads >= READS {
            self.backlog = true;
            self.since_pause = 0;
            self.read_again = bytes >= BACKLOG_READ_SIZE;
            self.pauses = PauseChooser::new(self.pauses.lengths, now);
        }
    }
}

/// Chooses the lengths of the pauses in a backlog.
///
/// Bytes that a sender writes while the receiver does not read collect in the sender's socket, and
/// leave it in large segments, which costs both sides less than a segment per row. So pauses are
/// long if bytes arrive at about the same rate with them. If they fill the sockets, the server has
/// to wait and the rate drops.
#[derive(Debug)]
struct PauseChooser {
    lengths: PauseLengths,
    state: PauseState,
    /// Number of pauses since `state` was chosen.
    count: u32,
    /// Beginning of the last pause.
    since: Instant,
}

/// State of a [`PauseChooser`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PauseState {
    /// Pauses are short.
    Short,
    /// One pause is long, to compare its rate with that of the short one before it.
    Trial {
        /// Bytes per second during the short pause.
        short_rate: u64,
    },
    /// Pauses are long.
    Long,
}

impl PauseChooser {
    fn new(lengths: PauseLengths, now: Instant) -> Self {
        Self {
            lengths,
            state: PauseState::Short,
            count: PAUSES_BETWEEN_TRIALS,
            since: now,
        }
    }

    fn duration(&self) -> Duration {
        match self.state {
            PauseState::Short => self.lengths.short,
            PauseState::Trial { .. } | PauseState::Long => self.lengths.long,
        }
    }

    /// Returns the remainder of the current pause.
    fn left(&self, now: Instant) -> Duration {
        self.duration()
            .saturating_sub(now.saturating_duration_since(self.since))
    }

    /// Begins the next pause. Chooses its length by the bytes `collected` since the last one began.
    fn begin(&mut self, collected: u64, now: Instant) {
        let rate = per_second(collected, now.saturating_duration_since(self.since));
        self.since = now;
        self.count = self.count.saturating_add(1);
        let is_due = self.count > PAUSES_BETWEEN_TRIALS;
        let PauseLengths {
            short,
            long,
            capacity,
        } = self.lengths;
        let in_range = rate >= per_second(WORTHWHILE, short) && rate < per_second(capacity, long);
        (self.state, self.count) = match self.state {
            PauseState::Short if is_due && in_range => (PauseState::Trial { short_rate: rate }, 0),
            PauseState::Short => (PauseState::Short, self.count),
            PauseState::Trial { short_rate } if in_range && rate >= short_rate / 4 * 3 => {
                (PauseState::Long, 0)
            }
            PauseState::Long if in_range && !is_due => (PauseState::Long, self.count),
            // The rate of this one short pause is what the next trial is compared with.
            PauseState::Long if in_range => (PauseState::Short, PAUSES_BETWEEN_TRIALS),
            PauseState::Trial { .. } | PauseState::Long => (PauseState::Short, 0),
        };
    }
}

fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    let microseconds = u64::try_from(elapsed.as_micros())
        .unwrap_or(u64::MAX)
        .max(1);
    bytes.saturating_mul(1_000_000) / microseconds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a pace whose backlog begins at `now`.
    fn backlog(now: Instant) -> Pace {
        let mut pace = Pace::of_changes();
        for _ in 0..READS {
            assert_eq!(pace.pause(now), None);
            pace.record_read(200, now);
        }
        pace
    }

    /// Runs 1000 pauses, each of which yields as many bytes as `yields` returns for its length.
    /// Returns the number of long ones.
    fn long_pauses(pace: &mut Pace, mut now: Instant, yields: impl Fn(Duration) -> usize) -> u32 {
        let mut long = 0;
        for _ in 0..1000 {
            let pause = pace.pause(now).expect("the backlog goes on");
            now += pause;
            long += u32::from(pause == CHANGE_PAUSES.long);
            pace.record_read(yields(pause), now);
            // The second read finds the socket empty.
            pace.record_read(0, now);
        }
        long
    }

    #[test]
    fn a_slow_stream_is_read_at_once() {
        let mut pace = Pace::of_changes();
        let start = Instant::now();
        // Four messages per millisecond: a busy stream, but no backlog.
        for read in 0..4000 {
            let now = start + Duration::from_micros(250 * read);
            pace.record_read(200, now);
            assert_eq!(pace.pause(now), None);
        }
    }

    #[test]
    fn a_backlog_is_read_with_pauses_until_it_is_over() {
        let now = Instant::now();
        let mut pace = backlog(now);
        assert_eq!(pace.pause(now), Some(CHANGE_PAUSES.short));
        pace.record_read(TRICKLE, now);
        assert_eq!(pace.pause(now), None, "there may be more");
        pace.record_read(1, now);
        assert_eq!(pace.pause(now), Some(CHANGE_PAUSES.short));
        // The sender may have been waiting for space in the socket.
        pace.record_read(TRICKLE - 2, now);
        assert_eq!(pace.pause(now), None);
        pace.record_read(2, now);
        assert!(pace.pause(now).is_some(), "there was more");
        pace.record_read(TRICKLE - 2, now);
        pace.record_read(1, now);
        assert!(!pace.backlog);
    }

    #[test]
    fn pauses_are_long_if_the_rate_does_not_drop() {
        let start = Instant::now();
        let rate =
            |rate: u128| move |pause: Duration| usize::try_from(pause.as_micros() * rate).unwrap();
        // 100 MB/s: all pauses but the first and one in `PAUSES_BETWEEN_TRIALS`.
        let long = long_pauses(&mut backlog(start), start, rate(100));
        assert!((980..1000).contains(&long), "{long} of 1000");
        // 10 MB/s is better read soon; 500 MB/s does not fit into the sockets.
        for other in [10, 500] {
            let long = long_pauses(&mut backlog(start), start, rate(other));
            assert_eq!(long, 0, "at {other} bytes per microsecond");
        }
    }

    #[test]
    fn pauses_are_short_if_the_sockets_are_full() {
        let start = Instant::now();
        // Every pause yields 600 KB, whatever its length: enough for a trial, whose rate is too
        // low.
        let long = long_pauses(&mut backlog(start), start, |_| 600_000);
        assert!((1..20).contains(&long), "{long} trials of 1000");
    }

    #[test]
    fn an_interrupted_pause_continues() {
        let start = Instant::now();
        let mut pace = backlog(start);
        assert_eq!(pace.pause(start), Some(CHANGE_PAUSES.short));
        assert_eq!(
            pace.pause(start + CHANGE_PAUSES.short / 3),
            Some(CHANGE_PAUSES.short * 2 / 3)
        );
        let end = start + CHANGE_PAUSES.short;
        assert_eq!(pace.pause(end), None, "the pause is over");
        pace.record_read(TRICKLE, end);
        pace.record_read(1, end);
        assert_eq!(pace.pause(end), Some(CHANGE_PAUSES.short));
    }

    #[test]
    fn each_backlog_begins_with_short_pauses() {
        let start = Instant::now();
        let mut pace = backlog(start);
        let yields = |pause: Duration| usize::try_from(pause.as_micros() * 100).unwrap();
        long_pauses(&mut pace, start, yields);
        assert_eq!(pace.pauses.state, PauseState::Long);
        pace.backlog = false;
        let later = start + Duration::from_secs(60);
        for _ in 0..READS {
            pace.record_read(200, later);
        }
        assert_eq!(pace.pause(later), Some(CHANGE_PAUSES.short));
        let long = long_pauses(&mut pace, later, yields);
        assert!((980..1000).contains(&long), "{long} of 1000");
    }

    #[test]
    fn long_pauses_end_when_the_rate_drops() {
        let start = Instant::now();
        let mut pace = backlog(start);
        long_pauses(&mut pace, start, |pause| {
            usize::try_from(pause.as_micros() * 100).unwrap()
        });
        assert_eq!(pace.pauses.state, PauseState::Long);
        let later = start + Duration::from_secs(60);
        pace.pauses.begin(WORTHWHILE, later);
        assert_eq!(pace.pauses.state, PauseState::Short);
    }
}
