//! Numbers that determine the order of texts.

use super::super::builtin::Rank;
use super::super::datetime::{self, Reading};
use super::super::error::ValueError;
use super::super::interval::Interval;

/// Computes the number that orders a text as the server does; `None` if the text is malformed.
pub(super) fn find_rank(rank: Rank, text: &[u8]) -> Option<i128> {
    match rank {
        Rank::Unsigned => {
            let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            Some(number.into())
        }
        Rank::Lsn => {
            let (high, low) = std::str::from_utf8(text).ok()?.split_once('/')?;
            let part = |digits| u32::from_str_radix(digits, 16).ok();
            Some(i128::from(part(high)?) << 32 | i128::from(part(low)?))
        }
        Rank::Macaddr => text
            .split(|&byte| byte == b':')
            .try_fold(0, |number, pair| {
                let pair = std::str::from_utf8(pair)
                    .ok()
                    .filter(|pair| pair.len() == 2)?;
                // At most eight bytes are a MAC address.
                let number: i128 = number << 8 | i128::from(u8::from_str_radix(pair, 16).ok()?);
                (number < 1 << 64).then_some(number)
            }),
        Rank::Time => datetime::parse_time(text).map(i128::from),
        // By time of day in UTC, then by offset, the easternmost first.
        Rank::Timetz => {
            let (clock, offset) = datetime::parse_timetz(text)?;
            let utc = i128::from(clock) - i128::from(offset) * i128::from(datetime::SECOND);
            Some(utc * (1 << 20) - i128::from(offset))
        }
        Rank::Interval => Some(match Interval::parse(text)? {
            Reading::Finite(interval) => interval.rank(),
            Reading::Infinity => i128::MAX,
            Reading::NegativeInfinity => i128::MIN,
        }),
    }
}

/// Returns the error for a text of which the number cannot be computed.
pub(super) fn rank_error(rank: Rank) -> ValueError {
    match rank {
        Rank::Unsigned => ValueError::new("xid8", "a decimal number of 64 bits"),
        Rank::Lsn => ValueError::new("pg_lsn", "two hexadecimal numbers around a slash"),
        Rank::Macaddr => ValueError::new("macaddr", "pairs of hexadecimal digits between colons"),
        Rank::Time => ValueError::new("time", "HH:MM:SS with a fraction"),
        Rank::Timetz => ValueError::new("timetz", "HH:MM:SS with a fraction and an offset"),
        Rank::Interval => ValueError::new("interval", "IntervalStyle postgres"),
    }
}
