//! Snapshots, which decide which transactions the rows of a chunk contain.

use std::collections::BTreeSet;
use std::str::FromStr;

use protocol::{Lsn, Xid};

use crate::error::{Error, ErrorKind, Result};

/// Snapshot as `pg_current_snapshot()` prints it: `xmin:xmax:xip,xip`, with 64-bit transaction ids.
///
/// See <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgSnapshot {
    xmin: u64,
    xmax: u64,
    running: BTreeSet<u64>,
}

impl PgSnapshot {
    /// Returns whether the snapshot contains a transaction that has committed. The id has to be
    /// that of a top-level transaction, since a snapshot lists only these.
    pub fn contains(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }

    /// Returns the transactions that were running, in ascending order. The snapshot contains
    /// neither these nor transactions from `xmax` on.
    pub fn running(&self) -> impl Iterator<Item = u64> + '_ {
        self.running.iter().copied()
    }

    /// Returns the lower 32 bits of `xmax`: one more than the highest id of a transaction that had
    /// ended. No row that the snapshot contains has this or a higher `xmin`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "ids in rows are the lower 32 bits"
    )]
    pub fn next_xid(&self) -> u32 {
        self.xmax as u32
    }

    /// Returns the 64-bit id for a 32-bit id of the stream: the one with these lower bits that is
    /// nearest to `xmax`. Ids in use are never more than 2^31 apart.
    fn widen(&self, xid: Xid) -> u64 {
        let low = u64::from(xid.as_u32());
        let guess = (self.xmax & !0xffff_ffff) | low;
        let half = 1u64 << 31;
        if guess > self.xmax.saturating_add(half) {
            guess.checked_sub(1 << 32).unwrap_or(guess)
        } else if guess.saturating_add(half) < self.xmax {
            guess.saturating_add(1 << 32)
        } else {
            guess
        }
    }
}

impl FromStr for PgSnapshot {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = || {
            Error::new(
                ErrorKind::Protocol,
                "a snapshot does not have the form xmin:xmax:xid,xid",
            )
        };
        let mut parts = text.split(':');
        let mut number = || {
            parts
                .next()
                .and_then(|part| part.parse().ok())
                .ok_or_else(malformed)
        };
        let (xmin, xmax) = (number()?, number()?);
        let list = parts.next().ok_or_else(malformed)?;
        let running = list
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().map_err(|_| malformed()))
            .collect::<Result<_>>()?;
        if parts.next().is_some() {
            return Err(malformed());
        }
        Ok(Self {
            xmin,
            xmax,
            running,
        })
    }
}

/// Snapshot of a chunk, which decides which transactions its rows contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshot {
    /// Snapshot of a primary.
    Primary(PgSnapshot),
    /// Replay position of a standby, whose snapshots list no running transactions: the rows contain
    /// the transactions that were replayed before the chunk was read.
    Standby {
        /// Position before which the commit records of contained transactions are.
        until: Lsn,
    },
}

impl Snapshot {
    /// Returns whether the rows contain a transaction of the stream, given the position of its
    /// commit record.
    pub fn contains(&self, xid: Xid, commit_lsn: Lsn) -> bool {
        match self {
            Self::Primary(snapshot) => snapshot.contains(snapshot.widen(xid)),
            Self::Standby { until } => commit_lsn < *until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_contains_ended_transactions() {
        let snapshot: PgSnapshot = "100:110:102,105".parse().unwrap();
        for (xid, contained) in [
            (99, true),
            (100, true),
            (102, false),
            (104, true),
            (105, false),
            (109, true),
            (110, false),
        ] {
            assert_eq!(snapshot.contains(xid), contained, "{xid}");
        }
        assert_eq!(snapshot.running().collect::<Vec<_>>(), [102, 105]);
        assert!(
            "100:100:"
                .parse::<PgSnapshot>()
                .unwrap()
                .running()
                .next()
                .is_none()
        );
    }

    #[test]
    fn malformed_snapshots_are_refused() {
        for text in ["", "1", "1:2", "1:2:x", "a:2:", "1:2:3:4", "-1:2:"] {
            assert!(text.parse::<PgSnapshot>().is_err(), "{text}");
        }
    }

    #[test]
    fn xids_of_the_stream_are_widened_across_a_wraparound() {
        let epoch = 3u64 << 32;
        let after: PgSnapshot = format!("{0}:{0}:", epoch + 5).parse().unwrap();
        assert_eq!(after.widen(Xid::from(4)), epoch + 4);
        assert_eq!(after.widen(Xid::from(u32::MAX)), epoch - 1);
        assert!(after.contains(after.widen(Xid::from(u32::MAX))));
        let before: PgSnapshot = format!("{0}:{0}:", epoch - 5).parse().unwrap();
        assert_eq!(before.widen(Xid::from(3)), epoch + 3);
        assert!(!before.contains(before.widen(Xid::from(3))));
        let first: PgSnapshot = "700:700:".parse().unwrap();
        assert_eq!(first.widen(Xid::from(699)), 699);
    }
}
