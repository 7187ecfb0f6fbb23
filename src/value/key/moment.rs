//! Dates and timestamps as keys.
//!
//! The stored form is a timestamp of RFC 3339 with nine digits of a fraction. A date is stored as
//! its midnight, a `timestamptz` with the offset of the server's time zone. Years before 1 are
//! counted astronomically, with a sign below 0, and years after 9999 have more digits. An infinite
//! value is stored as the server's word for it.

use super::super::builtin::KeyForm;
use super::super::datetime::{self, Date, Reading, SECOND, Timestamp};
use super::super::error::ValueError;
use super::value::KeyValue;

const INFINITY: i64 = i64::MAX;
const NEGATIVE_INFINITY: i64 = i64::MIN;

pub(super) fn error(form: KeyForm) -> ValueError {
    match form {
        KeyForm::Date => ValueError::new("date", "an ISO date"),
        KeyForm::Timestamp => ValueError::new("timestamp", "an ISO date and time"),
        _ => ValueError::new("timestamptz", "an ISO date and time with an offset"),
    }
}

pub(super) fn from_date(read: Option<Reading<Date>>) -> Option<KeyValue> {
    let ticks = match read? {
        Reading::Finite(date) => date.to_days(),
        Reading::Infinity => INFINITY,
        Reading::NegativeInfinity => NEGATIVE_INFINITY,
    };
    Some(KeyValue::Moment { ticks, offset: 0 })
}

pub(super) fn from_timestamp(read: Option<Reading<Timestamp>>) -> Option<KeyValue> {
    let (ticks, offset) = match read? {
        Reading::Finite(timestamp) => (timestamp.to_micros()?, timestamp.offset),
        Reading::Infinity => (INFINITY, 0),
        Reading::NegativeInfinity => (NEGATIVE_INFINITY, 0),
    };
    Some(KeyValue::Moment { ticks, offset })
}

/// Returns the stored form.
pub(super) fn to_stored(form: KeyForm, ticks: i64, offset: i32) -> String {
    if let Some(word) = infinite(ticks) {
        return word.to_owned();
    }
    let shown = timestamp(form, ticks, offset).at_whole_minutes();
    let mut text = Vec::with_capacity(40);
    datetime::write_date(shown.date, &mut text);
    text.push(b'T');
    datetime::write_whole_seconds(shown.clock, &mut text);
    text.push(b'.');
    let mut unit = SECOND / 10;
    for _ in 0..6 {
        text.push(datetime::digit(shown.clock % SECOND / unit % 10));
        unit = (unit / 10).max(1);
    }
    text.extend_from_slice(b"000");
    datetime::write_offset(shown.offset, &mut text);
    into_string(text)
}

/// Reads the stored form.
pub(super) fn from_stored(form: KeyForm, text: &[u8]) -> Option<KeyValue> {
    match text {
        b"infinity" => {
            return Some(KeyValue::Moment {
                ticks: INFINITY,
                offset: 0,
            });
        }
        b"-infinity" => {
            return Some(KeyValue::Moment {
                ticks: NEGATIVE_INFINITY,
                offset: 0,
            });
        }
        _ => {}
    }
    let timestamp = datetime::parse_rfc3339(text)?;
    let ticks = match form {
        KeyForm::Date => timestamp.date.to_days(),
        _ => timestamp.to_micros()?,
    };
    Some(KeyValue::Moment {
        ticks,
        offset: timestamp.offset,
    })
}

/// Returns the text of a parameter.
pub(super) fn to_parameter(form: KeyForm, ticks: i64) -> String {
    if let Some(word) = infinite(ticks) {
        return word.to_owned();
    }
    let Timestamp {
        mut date, clock, ..
    } = timestamp(form, ticks, 0);
    let is_before_christ = date.year < 1;
    if is_before_christ {
        date.year = 1 - date.year;
    }
    let mut text = Vec::with_capacity(40);
    datetime::write_date(date, &mut text);
    if form != KeyForm::Date {
        text.push(b' ');
        datetime::write_clock(clock, &mut text);
    }
    if form == KeyForm::Timestamptz {
        text.extend_from_slice(b"+00");
    }
    if is_before_christ {
        text.extend_from_slice(b" BC");
    }
    into_string(text)
}

fn infinite(ticks: i64) -> Option<&'static str> {
    match ticks {
        INFINITY => Some("infinity"),
        NEGATIVE_INFINITY => Some("-infinity"),
        _ => None,
    }
}

/// Converts days of a date, or microseconds of a timestamp.
fn timestamp(form: KeyForm, ticks: i64, offset: i32) -> Timestamp {
    if form == KeyForm::Date {
        return Timestamp {
            date: Date::from_days(ticks),
            clock: 0,
            offset: 0,
        };
    }
    Timestamp::from_micros(ticks, offset)
}

/// Converts ASCII bytes.
fn into_string(text: Vec<u8>) -> String {
    text.into_iter().map(char::from).collect()
}
