//! Timestamps of the protocol.

/// Timestamp in microseconds since 2000-01-01 00:00:00 UTC, PostgreSQL's epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PgTimestamp(pub i64);

/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

impl PgTimestamp {
    /// Creates a timestamp from microseconds since 1970-01-01 UTC, saturating at the lower bound.
    #[inline]
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(EPOCH_MICROS))
    }

    /// Returns the microseconds since 1970-01-01 UTC, saturating at the upper bound.
    #[inline]
    pub const fn unix_micros(self) -> i64 {
        self.0.saturating_add(EPOCH_MICROS)
    }

    /// Returns the whole milliseconds since 1970-01-01 UTC, rounded down.
    #[inline]
    pub const fn unix_millis(self) -> i64 {
        self.unix_micros().div_euclid(1000)
    }

    /// Returns the microseconds since 2000-01-01 UTC, as on the wire.
    #[inline]
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epochs_are_thirty_years_apart() {
        assert_eq!(PgTimestamp(0).unix_micros(), 946_684_800_000_000);
        assert_eq!(
            PgTimestamp::from_unix_micros(0).as_micros(),
            -946_684_800_000_000
        );
        assert_eq!(PgTimestamp::from_unix_micros(1).unix_micros(), 1);
    }

    #[test]
    fn milliseconds_round_down_before_and_after_1970() {
        assert_eq!(PgTimestamp::from_unix_micros(1999).unix_millis(), 1);
        assert_eq!(PgTimestamp::from_unix_micros(-1).unix_millis(), -1);
        assert_eq!(PgTimestamp::from_unix_micros(-1000).unix_millis(), -1);
        assert_eq!(PgTimestamp::from_unix_micros(-1001).unix_millis(), -2);
    }

    #[test]
    fn the_ends_of_the_range_saturate() {
        assert_eq!(PgTimestamp(i64::MAX).unix_micros(), i64::MAX);
        assert_eq!(
            PgTimestamp::from_unix_micros(i64::MIN).as_micros(),
            i64::MIN
        );
    }
}
