//! Intervals, in the server's `IntervalStyle` `postgres`.
//!
//! See <https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-INTERVAL-OUTPUT>.

use super::datetime::{DAY, Reading, SECOND, digit, split_fraction, write_pair};
use crate::json;

/// Interval with the three fields that the server stores: months, days and microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Interval {
    months: i64,
    days: i64,
    micros: i128,
}

impl Interval {
    /// Reads the server's text.
    pub(super) fn parse(text: &[u8]) -> Option<Reading<Self>> {
        match text {
            b"infinity" => return Some(Reading::Infinity),
            b"-infinity" => return Some(Reading::NegativeInfinity),
            b"" => return None,
            _ => {}
        }
        let mut interval = Self::default();
        let mut words = text.split(|&byte| byte == b' ');
        while let Some(word) = words.next() {
            let (negative, digits) = match word {
                [b'-', digits @ ..] => (true, digits),
                [b'+', digits @ ..] => (false, digits),
                digits => (false, digits),
            };
            if digits.contains(&b':') {
                let micros = parse_clock(digits)?;
                interval.micros = if negative { -micros } else { micros };
                return words.next().is_none().then_some(Reading::Finite(interval));
            }
            let (number, []) = split_number(digits)? else {
                return None;
            };
            let number = if negative { -number } else { number };
            match words.next()? {
                b"year" | b"years" => interval.months += number * 12,
                b"mon" | b"mons" => interval.months += number,
                b"day" | b"days" => interval.days += number,
                _ => return None,
            }
        }
        Some(Reading::Finite(interval))
    }

    /// Appends the notation of existing collections: each field only if it is not zero, a blank
    /// after the months, and a blank before the time.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.months != 0 {
            json::write_i64(self.months, out);
            out.extend_from_slice(b" mon ");
        }
        if self.days != 0 {
            json::write_i64(self.days, out);
            out.extend_from_slice(b" day");
        }
        if self.micros != 0 {
            out.push(b' ');
            self.write_clock(out);
        }
    }

    fn write_clock(&self, out: &mut Vec<u8>) {
        if self.micros < 0 {
            out.push(b'-');
        }
        // The server stores 64 bits of microseconds.
        let micros = i64::try_from(self.micros.unsigned_abs()).unwrap_or(i64::MAX);
        let (seconds, mut fraction) = (micros / SECOND, micros % SECOND);
        match seconds / 3600 {
            hours @ ..100 => write_pair(hours, out),
            hours => json::write_i64(hours, out),
        }
        for part in [seconds / 60 % 60, seconds % 60] {
            out.push(b':');
            write_pair(part, out);
        }
        if fraction != 0 {
            out.push(b'.');
            for _ in 0..6 {
                out.push(digit(fraction * 10 / SECOND));
                fraction = fraction * 10 % SECOND;
            }
        }
    }

    /// Returns the number by which the server orders intervals, counting 30 days for a month and 24
    /// hours for a day.
    pub(super) fn rank(&self) -> i128 {
        i128::from(self.months * 30 + self.days) * i128::from(DAY) + self.micros
    }
}

/// Splits off a number of at most 12 digits, which is more than the server's fields have.
fn split_number(text: &[u8]) -> Option<(i64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length)?;
    (1..=12).contains(&length).then(|| {
        (
            digits
                .iter()
                .fold(0, |number, byte| number * 10 + i64::from(byte - b'0')),
            rest,
        )
    })
}

/// Reads `HH:MM:SS`. The hours may have more digits, the seconds a fraction.
fn parse_clock(text: &[u8]) -> Option<i128> {
    let (hours, rest) = split_number(text)?;
    let (minutes, rest) = split_number(rest.strip_prefix(b":")?)?;
    let (seconds, rest) = split_number(rest.strip_prefix(b":")?)?;
    let (fraction, []) = split_fraction(rest)? else {
        return None;
    };
    let valid = minutes < 60 && seconds < 60;
    let whole = i128::from(hours) * 3600 + i128::from(minutes * 60 + seconds);
    valid.then(|| whole * i128::from(SECOND) + i128::from(fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_the_server_are_read_and_written() {
        let rows = [
            ("1 year 2 mons 3 days", "14 mon 3 day"),
            ("05:30:00", " 05:30:00"),
            ("00:00:00", ""),
            ("1 mon", "1 mon "),
            ("1 year", "12 mon "),
            ("3 days", "3 day"),
            ("1 mon 04:05:06", "1 mon  04:05:06"),
            (
                "1 mon 2 days 03:04:05.000001",
                "1 mon 2 day 03:04:05.000001",
            ),
            ("-1 days -02:03:04.5", "-1 day -02:03:04.500000"),
            ("-00:00:00.5", " -00:00:00.500000"),
            ("100:00:00", " 100:00:00"),
            (
                "-1 years -2 mons +3 days 12:00:00",
                "-14 mon 3 day 12:00:00",
            ),
            ("1 mon -1 days +00:00:01", "1 mon -1 day 00:00:01"),
            (
                "1 year 2 mons 3 days 04:05:06.789",
                "14 mon 3 day 04:05:06.789000",
            ),
            ("-2562047788:00:54.775807", " -2562047788:00:54.775807"),
            (
                "-178956970 years -8 mons -2147483648 days",
                "-2147483648 mon -2147483648 day",
            ),
        ];
        for (text, expected) in rows {
            let Some(Reading::Finite(interval)) = Interval::parse(text.as_bytes()) else {
                panic!("{text}");
            };
            let mut out = Vec::new();
            interval.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn malformed_text_is_refused() {
        let rows = [
            "",
            " ",
            "1",
            "1 mon ",
            "1 week",
            "1:2",
            "12:00:00x",
            "P1Y",
            "1 day 1",
            "12:61:00",
            "@ 1 day",
            "1-2",
            "01:00:00 1 day",
        ];
        for text in rows {
            assert_eq!(Interval::parse(text.as_bytes()), None, "{text}");
        }
    }
}
