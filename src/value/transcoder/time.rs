//! Dates, times and intervals.
//!
//! The formats of JSON schema have only the years 0 to 9999. Dates of other years become the
//! smallest date, and infinity becomes the greatest, as in existing collections of the connector
//! that this one replaces.

use super::super::datetime::{self, DAY, Date, Reading, SECOND, Timestamp};
use super::super::error::ValueError;
use super::super::interval::Interval;
use crate::json;

const SMALLEST_DATE: &[u8] = b"0000-01-01";
const GREATEST_DATE: &[u8] = b"9999-12-31";
const SMALLEST_TIMESTAMP: &[u8] = b"0000-01-01T00:00:00Z";
const GREATEST_TIMESTAMP: &[u8] = b"9999-12-31T23:59:59Z";

const DATE: ValueError = ValueError::new("date", "an ISO date");

pub(super) fn write_date(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    match datetime::parse_date(text).ok_or(DATE)? {
        Reading::Finite(date) if has_four_digits(date) => datetime::write_date(date, out),
        Reading::Infinity => out.extend_from_slice(GREATEST_DATE),
        _ => out.extend_from_slice(SMALLEST_DATE),
    }
    Ok(())
}

/// Appends a date as the timestamp of its midnight.
pub(super) fn write_midnight(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let midnight = |date| Timestamp {
        date,
        clock: 0,
        offset: 0,
    };
    let reading = match datetime::parse_date(text).ok_or(DATE)? {
        Reading::Finite(date) => Reading::Finite(midnight(date)),
        Reading::Infinity => Reading::Infinity,
        Reading::NegativeInfinity => Reading::NegativeInfinity,
    };
    write_reading(reading, out);
    Ok(())
}

pub(super) fn write_timestamp(
    text: &[u8],
    zoned: bool,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    let name = if zoned { "timestamptz" } else { "timestamp" };
    let parsed = datetime::parse_timestamp(text, zoned);
    let reading = parsed.ok_or(ValueError::new(name, "an ISO date and time"))?;
    write_reading(reading, out);
    Ok(())
}

fn write_reading(reading: Reading<Timestamp>, out: &mut Vec<u8>) {
    match reading {
        // Checked twice: the year is local to the server's time zone, and rounding the offset to
        // minutes can move the date to another year.
        Reading::Finite(timestamp) if has_four_digits(timestamp.date) => {
            match timestamp.at_whole_minutes() {
                shown if has_four_digits(shown.date) => {
                    datetime::write_date(shown.date, out);
                    out.push(b'T');
                    datetime::write_clock(shown.clock, out);
                    datetime::write_offset(shown.offset, out);
                }
                _ => out.extend_from_slice(SMALLEST_TIMESTAMP),
            }
        }
        Reading::Infinity => out.extend_from_slice(GREATEST_TIMESTAMP),
        _ => out.extend_from_slice(SMALLEST_TIMESTAMP),
    }
}

fn has_four_digits(date: Date) -> bool {
    (0..=9999).contains(&date.year)
}

fn parse_time(text: &[u8]) -> Result<i64, ValueError> {
    datetime::parse_time(text).ok_or(ValueError::new("time", "HH:MM:SS with a fraction"))
}

/// Appends a time of day. The server's 24:00, which the format does not have, becomes 00:00.
pub(super) fn write_time(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    datetime::write_clock(parse_time(text)? % DAY, out);
    out.push(b'Z');
    Ok(())
}

/// Appends a time of day as a number of microseconds.
pub(super) fn write_time_number(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    json::write_i64(parse_time(text)?, out);
    Ok(())
}

/// Appends a time of day at an offset of whole minutes, as the format requires.
pub(super) fn write_timetz(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let parsed = datetime::parse_timetz(text);
    let error = ValueError::new("timetz", "HH:MM:SS with a fraction and an offset");
    let (clock, offset) = parsed.ok_or(error)?;
    let surplus = offset % 60;
    let clock = (clock - i64::from(surplus) * SECOND).rem_euclid(DAY);
    datetime::write_clock(clock, out);
    datetime::write_offset(offset - surplus, out);
    Ok(())
}

pub(super) fn write_interval(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let error = ValueError::new("interval", "IntervalStyle postgres");
    match Interval::parse(text).ok_or(error)? {
        Reading::Finite(interval) => interval.write(out),
        Reading::Infinity => out.extend_from_slice(b"infinity"),
        Reading::NegativeInfinity => out.extend_from_slice(b"-infinity"),
    }
    Ok(())
}
