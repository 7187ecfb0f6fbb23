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
/// How long changes are left to collect: some 200 KB of what a walsender decodes, and in a long pause
/// so much more that what it does for each segment hardly counts.
const CHANGES: Lengths = Lengths {
    short: Duration::from_millis(3),
    long: Duration::from_millis(18),
    full: 4 * 1024 * 1024,
};
/// How long rows are, which come faster: no more than fits into a socket.
const ROWS: Lengths = Lengths {
    short: Duration::from_millis(1),
    long: Duration::from_millis(3),
    full: 2 * 1024 * 1024,
};
/// Room that a piece of a backlog has at least.
pub(super) const PIECE: usize = 128 * 1024;
/// A pause that has brought less than this ends the backlog, and a read that has is followed by a pause.
const TRICKLE: usize = 16 * 1024;

/// What a short pause must bring for long ones: less is hardly a backlog, and better read soon.
const WORTH: u64 = 64 * 1024;
/// After how many pauses of a kind the other is tried.
const AGAIN: u32 = 64;

/// How long to pause.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    short: Duration,
    long: Duration,
    /// What a long pause may bring: no more than the sockets of both sides hold.
    full: u64,
}

/// Decides by the pace of reads whether to pause before the next.
#[derive(Debug)]
pub(super) struct Pace {
    window: Instant,
    reads: u32,
    backlog: bool,
    /// The last read may have left more behind.
    more: bool,
    /// What was read since the last pause.
    collected: u64,
    /// That was next to nothing.
    doubt: bool,
    pauses: Pauses,
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

    fn new(lengths: Lengths) -> Self {
        let now = Instant::now();
        Self {
            window: now,
            reads: 0,
            backlog: false,
            more: false,
            collected: 0,
            doubt: false,
            pauses: Pauses::new(lengths, now),
        }
    }

    /// Returns how long to wait, from now on, before the next read; `None` where it is due at once.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Duration> {
        if !self.backlog || self.more {
            return None;
        }
        // Nothing was read if the last pause was cut short, by something else to do: it goes on. One that
        // began anew each time would keep what has come waiting for as long as there is something else.
        if self.collected > 0 {
            self.pauses.choose(self.collected, now);
            self.collected = 0;
        }
        let left = self.pauses.left(now);
        (!left.is_zero()).then_some(left)
    }

    /// Notes a read.
    pub(super) fn read(&mut self, bytes: usize, now: Instant) {
        if self.backlog {
            // What was read has made room for what the sender may be waiting with.
            self.more = bytes >= TRICKLE;
            self.collected += bytes as u64;
            if self.collected >= TRICKLE as u64 {
                self.doubt = false;
            } else if self.doubt {
                (self.doubt, self.backlog) = (false, false);
            } else {
                (self.doubt, self.more) = (true, true);
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
            self.collected = 0;
            self.more = bytes >= PIECE;
            self.pauses = Pauses::new(self.pauses.lengths, now);
        }
    }
}

/// Chooses how long the pauses of a backlog are.
///
/// What a sender writes while nobody reads collects in its own socket, and leaves it in large
/// segments, which costs both sides less than a segment a row. So pauses are long where bytes come
/// no more slowly then; where the sockets are full, the server would wait.
#[derive(Debug)]
struct Pauses {
    lengths: Lengths,
    kind: Kind,
    /// How many there were since the kind was chosen.
    count: u32,
    /// When the last began.
    since: Instant,
}

/// Which pause is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Short,
    /// A long one, on trial: with a short one so many bytes came in a second.
    Trial(u64),
    Long,
}

impl Pauses {
    fn new(lengths: Lengths, now: Instant) -> Self {
        Self {
            lengths,
            kind: Kind::Short,
            count: AGAIN,
            since: now,
        }
    }

    fn duration(&self) -> Duration {
        match self.kind {
            Kind::Short => self.lengths.short,
            Kind::Trial(_) | Kind::Long => self.lengths.long,
        }
    }

    /// Returns how long the pause that has begun goes on.
    fn left(&self, now: Instant) -> Duration {
        self.duration()
            .saturating_sub(now.saturating_duration_since(self.since))
    }

    /// Begins the next pause, of a length that is chosen by what has come since the last began.
    fn choose(&mut self, collected: u64, now: Instant) {
        let rate = per_second(collected, now.saturating_duration_since(self.since));
        self.since = now;
        self.count = self.count.saturating_add(1);
        let due = self.count > AGAIN;
        let Lengths { short, long, full } = self.lengths;
        let fits = rate >= per_second(WORTH, short) && rate < per_second(full, long);
        (self.kind, self.count) = match self.kind {
            Kind::Short if due && fits => (Kind::Trial(rate), 0),
            Kind::Short => (Kind::Short, self.count),
            Kind::Trial(before) if fits && rate >= before / 4 * 3 => (Kind::Long, 0),
            Kind::Long if fits && !due => (Kind::Long, self.count),
            // The rate of one short pause is what the next long ones are compared with.
            Kind::Long if fits => (Kind::Short, AGAIN),
            Kind::Trial(_) | Kind::Long => (Kind::Short, 0),
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

    /// A pace that is in a backlog since `now`.
    fn backlog(now: Instant) -> Pace {
        let mut pace = Pace::of_changes();
        for _ in 0..READS {
            assert_eq!(pace.pause(now), None);
            pace.read(200, now);
        }
        pace
    }

    /// Lets so many pauses pass of which each brings what `brings` says. Returns how many were long.
    fn long_pauses(pace: &mut Pace, mut now: Instant, brings: impl Fn(Duration) -> usize) -> u32 {
        let mut long = 0;
        for _ in 0..1000 {
            let pause = pace.pause(now).expect("the backlog goes on");
            now += pause;
            long += u32::from(pause == CHANGES.long);
            pace.read(brings(pause), now);
            // The rest of it.
            pace.read(0, now);
        }
        long
    }

    #[test]
    fn what_comes_slowly_is_read_at_once() {
        let mut pace = Pace::of_changes();
        let start = Instant::now();
        // Four messages each millisecond: a busy stream, and no backlog.
        for read in 0..4000 {
            let now = start + Duration::from_micros(250 * read);
            pace.read(200, now);
            assert_eq!(pace.pause(now), None);
        }
    }

    #[test]
    fn a_backlog_is_read_in_pieces_until_it_is_over() {
        let now = Instant::now();
        let mut pace = backlog(now);
        assert_eq!(pace.pause(now), Some(CHANGES.short));
        pace.read(TRICKLE, now);
        assert_eq!(pace.pause(now), None, "there may be more");
        pace.read(1, now);
        assert_eq!(pace.pause(now), Some(CHANGES.short));
        // The sender may have been waiting for room.
        pace.read(TRICKLE - 2, now);
        assert_eq!(pace.pause(now), None);
        pace.read(2, now);
        assert!(pace.pause(now).is_some(), "there was more");
        pace.read(TRICKLE - 2, now);
        pace.read(1, now);
        assert!(!pace.backlog);
    }

    #[test]
    fn pauses_are_long_where_that_makes_nobody_wait() {
        let start = Instant::now();
        let rate =
            |rate: u128| move |pause: Duration| usize::try_from(pause.as_micros() * rate).unwrap();
        // 100 MB a second: all but one in `AGAIN`, and the first.
        let long = long_pauses(&mut backlog(start), start, rate(100));
        assert!((980..1000).contains(&long), "{long} of 1000");
        // 10 MB a second is better read soon; 500 MB do not fit into the sockets.
        for other in [10, 500] {
            let long = long_pauses(&mut backlog(start), start, rate(other));
            assert_eq!(long, 0, "at {other} bytes a microsecond");
        }
    }

    #[test]
    fn pauses_are_short_where_the_sockets_are_full() {
        let start = Instant::now();
        // Whatever the time, no more than 600 KB: enough for a long pause, but for how slowly it comes then.
        let long = long_pauses(&mut backlog(start), start, |_| 600_000);
        assert!((1..20).contains(&long), "{long} trials of 1000");
    }

    #[test]
    fn a_pause_that_is_cut_short_goes_on() {
        let start = Instant::now();
        let mut pace = backlog(start);
        assert_eq!(pace.pause(start), Some(CHANGES.short));
        assert_eq!(
            pace.pause(start + CHANGES.short / 3),
            Some(CHANGES.short * 2 / 3)
        );
        let end = start + CHANGES.short;
        assert_eq!(pace.pause(end), None, "whatever else there was to do");
        pace.read(TRICKLE, end);
        pace.read(1, end);
        assert_eq!(pace.pause(end), Some(CHANGES.short));
    }

    #[test]
    fn each_backlog_begins_with_short_pauses() {
        let start = Instant::now();
        let mut pace = backlog(start);
        let brings = |pause: Duration| usize::try_from(pause.as_micros() * 100).unwrap();
        long_pauses(&mut pace, start, brings);
        assert_eq!(pace.pauses.kind, Kind::Long);
        pace.backlog = false;
        let later = start + Duration::from_secs(60);
        for _ in 0..READS {
            pace.read(200, later);
        }
        assert_eq!(pace.pause(later), Some(CHANGES.short));
        let long = long_pauses(&mut pace, later, brings);
        assert!((980..1000).contains(&long), "{long} of 1000");
    }

    #[test]
    fn long_pauses_end_when_less_comes() {
        let start = Instant::now();
        let mut pace = backlog(start);
        long_pauses(&mut pace, start, |pause| {
            usize::try_from(pause.as_micros() * 100).unwrap()
        });
        assert_eq!(pace.pauses.kind, Kind::Long);
        let later = start + Duration::from_secs(60);
        pace.pauses.choose(WORTH, later);
        assert_eq!(pace.pauses.kind, Kind::Short);
    }
}
