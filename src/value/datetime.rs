//! Dates and times: parsing the server's ISO text, calendar arithmetic, formatting.
//!
//! See <https://www.postgresql.org/docs/current/datatype-datetime.html>. The connector's sessions
//! set `DateStyle` to ISO; the time zone is the server's.

/// Microseconds in a second.
pub(super) const SECOND: i64 = 1_000_000;
/// Microseconds in a day.
pub(super) const DAY: i64 = 86_400 * SECOND;

/// Date or time that may be infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading<T> {
    Finite(T),
    Infinity,
    NegativeInfinity,
}

/// Day of the proleptic Gregorian calendar, with astronomical years: year 0 is 1 BC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    pub(super) month: u8,
    pub(super) day: u8,
}

/// Days from 1 March of year 0 to 1 January 2000, where the server's calendar starts.
const EPOCH: i64 = 730_425;
/// Days in 400 years.
const CYCLE: i64 = 146_097;

impl Date {
    /// Returns the number of days since 2000-01-01.
    pub(super) fn to_days(self) -> i64 {
        // Years start in March here, so that a leap day is the last day of its year.
        let month = i64::from(self.month);
        let year = self.year - i64::from(month <= 2);
        let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        cycle * CYCLE + year * 365 + year / 4 - year / 100 + of_year - EPOCH
    }

    /// Returns the date that is `days` days after 2000-01-01.
    pub(super) fn from_days(days: i64) -> Self {
        let days = days + EPOCH;
        let (cycle, of_cycle) = (days.div_euclid(CYCLE), days.rem_euclid(CYCLE));
        let year = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
        let of_year = of_cycle - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = (from_march + 2) % 12 + 1;
        let small = |number: i64| u8::try_from(number).unwrap_or(1);
        Self {
            year: cycle * 400 + year + i64::from(month <= 2),
            month: small(month),
            day: small(day),
        }
    }
}

/// Local date and time of day, with their offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timestamp {
    pub(super) date: Date,
    /// Microseconds since midnight.
    pub(super) clock: i64,
    /// Seconds east of UTC.
    pub(super) offset: i32,
}

impl Timestamp {
    /// Returns the number of microseconds since 2000-01-01 UTC.
    pub(super) fn to_micros(self) -> Option<i64> {
        let local = i128::from(self.date.to_days()) * i128::from(DAY) + i128::from(self.clock);
        i64::try_from(local - i128::from(self.offset) * i128::from(SECOND)).ok()
    }

    /// Makes the timestamp of an instant, in microseconds since 2000-01-01 UTC, at an offset.
    pub(super) fn from_micros(micros: i64, offset: i32) -> Self {
        let local = i128::from(micros) + i128::from(offset) * i128::from(SECOND);
        let day = i128::from(DAY);
        // Both fit: an i64 of microseconds is fewer than 107 million days.
        let days = i64::try_from(local.div_euclid(day)).unwrap_or(0);
        let clock = i64::try_from(local.rem_euclid(day)).unwrap_or(0);
        Self {
            date: Date::from_days(days),
            clock,
            offset,
        }
    }

    /// Returns the timestamp of this instant at an offset of whole minutes, as RFC 3339 requires.
    pub(super) fn at_whole_minutes(self) -> Self {
        let surplus = self.offset % 60;
        if surplus == 0 {
            return self;
        }
        let clock = self.clock - i64::from(surplus) * SECOND;
        let days = self.date.to_days() + clock.div_euclid(DAY);
        Self {
            date: Date::from_days(days),
            clock: clock.rem_euclid(DAY),
            offset: self.offset - surplus,
        }
    }
}

/// Reads the text of a `date`.
pub(super) fn parse_date(text: &[u8]) -> Option<Reading<Date>> {
    if let Some(infinite) = parse_infinite(text) {
        return Some(infinite);
    }
    let (date, rest) = split_date(text)?;
    finish_date(date, rest).map(Reading::Finite)
}

/// Reads the text of a `timestamp`, or of a `timestamptz`, which has an offset, if it is `zoned`.
pub(super) fn parse_timestamp(text: &[u8], zoned: bool) -> Option<Reading<Timestamp>> {
    if let Some(infinite) = parse_infinite(text) {
        return Some(infinite);
    }
    let (date, rest) = split_date(text)?;
    let (clock, rest) = split_clock(rest.strip_prefix(b" ")?)?;
    let (offset, rest) = if zoned {
        split_offset(rest)?
    } else {
        (0, rest)
    };
    let date = finish_date(date, rest)?;
    Some(Reading::Finite(Timestamp {
        date,
        clock,
        offset,
    }))
}

/// Reads the text of a `time`, as microseconds since midnight.
pub(super) fn parse_time(text: &[u8]) -> Option<i64> {
    split_clock(text)
        .filter(|(_, rest)| rest.is_empty())
        .map(|(clock, _)| clock)
}

/// Reads the text of a `timetz`, as microseconds since midnight and seconds east of UTC.
pub(super) fn parse_timetz(text: &[u8]) -> Option<(i64, i32)> {
    let (clock, rest) = split_clock(text)?;
    let (offset, rest) = split_offset(rest)?;
    rest.is_empty().then_some((clock, offset))
}

/// Reads a timestamp of RFC 3339. The year may have more digits or a sign, and the fraction may
/// have zeros after microseconds.
pub(super) fn parse_rfc3339(text: &[u8]) -> Option<Timestamp> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut date, rest) = split_calendar(rest)?;
    if negative {
        date.year = -date.year;
    }
    let rest = rest.strip_prefix(b"T")?;
    // Six digits of the fraction are read; the digits after them have to be zeros.
    let digits = rest
        .iter()
        .position(|byte| !byte.is_ascii_digit() && !b":.".contains(byte))?;
    let (clock, offset) = rest.split_at_checked(digits)?;
    let (kept, more) = clock.split_at(clock.len().min(b"HH:MM:SS.ffffff".len()));
    let (clock, []) = split_clock(kept)? else {
        return None;
    };
    let (offset, []) = (if offset == b"Z" {
        (0, &[][..])
    } else {
        split_offset(offset)?
    }) else {
        return None;
    };
    more.iter().all(|&byte| byte == b'0').then_some(Timestamp {
        date,
        clock,
        offset,
    })
}

/// Appends `YYYY-MM-DD`, with more digits or a sign where the year needs them.
pub(super) fn write_date(date: Date, out: &mut Vec<u8>) {
    if date.year < 0 {
        out.push(b'-');
    }
    let year = date.year.unsigned_abs();
    if let Ok(short @ ..=9999) = u16::try_from(year) {
        write_pair(i64::from(short / 100), out);
        write_pair(i64::from(short % 100), out);
    } else {
        crate::json::write_u64(year, out);
    }
    for part in [date.month, date.day] {
        out.push(b'-');
        write_pair(i64::from(part), out);
    }
}

/// Appends `HH:MM:SS`, and a fraction without trailing zeros if there is one.
pub(super) fn write_clock(clock: i64, out: &mut Vec<u8>) {
    write_whole_seconds(clock, out);
    let mut fraction = clock % SECOND;
    if fraction > 0 {
        out.push(b'.');
        let mut unit = SECOND / 10;
        while fraction > 0 {
            out.push(digit(fraction / unit));
            fraction %= unit;
            unit /= 10;
        }
    }
}

/// Appends `HH:MM:SS`.
pub(super) fn write_whole_seconds(clock: i64, out: &mut Vec<u8>) {
    let seconds = clock / SECOND;
    write_pair(seconds / 3600, out);
    out.push(b':');
    write_pair(seconds / 60 % 60, out);
    out.push(b':');
    write_pair(seconds % 60, out);
}

/// Appends `Z` or `±HH:MM`.
pub(super) fn write_offset(offset: i32, out: &mut Vec<u8>) {
    if offset == 0 {
        out.push(b'Z');
        return;
    }
    out.push(if offset < 0 { b'-' } else { b'+' });
    let minutes = i64::from(offset.unsigned_abs() / 60);
    write_pair(minutes / 60, out);
    out.push(b':');
    write_pair(minutes % 60, out);
}

/// Appends the last two digits of a number.
pub(super) fn write_pair(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[digit(number / 10 % 10), digit(number % 10)]);
}

pub(super) fn digit(number: i64) -> u8 {
    b'0' + u8::try_from(number).unwrap_or(0)
}

fn parse_infinite<T>(text: &[u8]) -> Option<Reading<T>> {
    match text {
        b"infinity" => Some(Reading::Infinity),
        b"-infinity" => Some(Reading::NegativeInfinity),
        _ => None,
    }
}

/// Splits off a date. Its era is at the end of the text, after the time of day.
fn split_date(text: &[u8]) -> Option<(Date, &[u8])> {
    split_calendar(text).filter(|(date, _)| date.year >= 1)
}

fn split_calendar(text: &[u8]) -> Option<(Date, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (year, rest) = text.split_at_checked(length)?;
    if !(4..=7).contains(&length) {
        return None;
    }
    let year = year
        .iter()
        .fold(0, |year, byte| year * 10 + i64::from(byte - b'0'));
    let [b'-', m1, m2, b'-', d1, d2, rest @ ..] = rest else {
        return None;
    };
    let (month, day) = (pair(*m1, *m2)?, pair(*d1, *d2)?);
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day);
    valid.then_some((Date { year, month, day }, rest))
}

/// Reads the era at the end of the text.
fn finish_date(date: Date, rest: &[u8]) -> Option<Date> {
    match rest {
        b"" => Some(date),
        b" BC" => Some(Date {
            year: 1 - date.year,
            ..date
        }),
        _ => None,
    }
}

/// Splits off a time of day from 00:00:00 to 24:00:00.
fn split_clock(text: &[u8]) -> Option<(i64, &[u8])> {
    let [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = text else {
        return None;
    };
    let (hours, minutes, seconds) = (pair(*h1, *h2)?, pair(*m1, *m2)?, pair(*s1, *s2)?);
    let (fraction, rest) = split_fraction(rest)?;
    let whole = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    let clock = whole * SECOND + fraction;
    (minutes < 60 && seconds <= 60 && clock <= DAY).then_some((clock, rest))
}

/// Splits off a fraction of a second, if there is one, in microseconds.
pub(super) fn split_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length)?;
    if !(1..=6).contains(&length) {
        return None;
    }
    let mut padded = [b'0'; 6];
    padded
        .iter_mut()
        .zip(digits)
        .for_each(|(to, from)| *to = *from);
    Some((
        padded
            .iter()
            .fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0')),
        rest,
    ))
}

/// Splits off an offset, `±HH`, `±HH:MM` or `±HH:MM:SS`, as seconds east of UTC.
fn split_offset(text: &[u8]) -> Option<(i32, &[u8])> {
    let (sign, text) = match text {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let [h1, h2, rest @ ..] = text else {
        return None;
    };
    let mut rest = rest;
    let mut seconds = i32::from(pair(*h1, *h2)?) * 3600;
    for unit in [60, 1] {
        let [b':', d1, d2, after @ ..] = rest else {
            break;
        };
        seconds += i32::from(pair(*d1, *d2)?) * unit;
        rest = after;
    }
    Some((sign * seconds, rest))
}

/// Reads two digits.
fn pair(tens: u8, ones: u8) -> Option<u8> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_day_numbers_convert_both_ways_over_the_whole_calendar() {
        let known = [
            (
                Date {
                    year: 2000,
                    month: 1,
                    day: 1,
                },
                0,
            ),
            (
                Date {
                    year: 1999,
                    month: 12,
                    day: 31,
                },
                -1,
            ),
            (
                Date {
                    year: 1970,
                    month: 1,
                    day: 1,
                },
                -10_957,
            ),
            (
                Date {
                    year: 2024,
                    month: 2,
                    day: 29,
                },
                8825,
            ),
            // The server's first and last day.
            (
                Date {
                    year: -4713,
                    month: 11,
                    day: 24,
                },
                -2_451_545,
            ),
            (
                Date {
                    year: 5_874_897,
                    month: 12,
                    day: 31,
                },
                2_145_031_948,
            ),
        ];
        for (date, days) in known {
            assert_eq!((date.to_days(), Date::from_days(days)), (days, date));
        }
        let mut days = -2_451_545;
        while days < 2_145_031_948 {
            assert_eq!(Date::from_days(days).to_days(), days);
            days += if days.abs() < 1_000_000 { 13 } else { 104_729 };
        }
    }

    #[test]
    fn prefixes_trailing_text_and_malformed_text_are_refused() {
        let text = b"2024-01-15 06:30:00.25-08";
        let whole = parse_timestamp(text, true);
        assert!(matches!(
            whole,
            Some(Reading::Finite(Timestamp {
                offset: -28_800,
                ..
            }))
        ));
        for length in 0..text.len() {
            assert_eq!(parse_timestamp(&text[..length], true), None);
        }
        assert_eq!(parse_timestamp(b"2024-01-15 06:30:00.25-08x", true), None);
        assert_eq!(parse_timestamp(b"2024-01-15 06:30:00-08", false), None);
        for text in [
            "2024-13-01",
            "0000-01-01",
            "15/01/2024",
            "2024-01-15 AD",
            "",
            "24-01-01",
        ] {
            assert_eq!(parse_date(text.as_bytes()), None, "{text}");
        }
        for text in [
            "24:00:00.1",
            "12:60:00",
            "1:00:00",
            "12:00:00.1234567",
            "12:00",
            "12:00:00.",
        ] {
            assert_eq!(parse_time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn rounding_an_offset_to_minutes_keeps_the_instant() {
        let Some(Reading::Finite(read)) = parse_timestamp(b"1879-12-31 19:03:58-04:56:02", true)
        else {
            panic!("expected a timestamp");
        };
        let shown = read.at_whole_minutes();
        assert_eq!(shown.offset, -17_760);
        assert_eq!(shown.clock, (19 * 3600 + 4 * 60) * SECOND);
        assert_eq!(shown.to_micros(), read.to_micros());
        assert_eq!(
            Timestamp::from_micros(read.to_micros().unwrap(), read.offset),
            read
        );
    }
}
