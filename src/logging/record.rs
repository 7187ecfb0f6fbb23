//! One log line: what it says, and how that is written in each format.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};

use super::{Format, RESERVED, Severity};
use crate::error::Error;

/// What one line says.
pub(super) struct Record {
    severity: Severity,
    message: String,
    fields: Vec<(&'static str, Value)>,
    /// Whether `eventType` may be among the fields.
    pub(super) is_status: bool,
}

enum Value {
    /// A number, or `true` or `false`.
    Plain(String),
    Text(String),
}

impl Record {
    pub(super) fn new(severity: Severity) -> Self {
        Self {
            severity,
            message: String::new(),
            fields: Vec::new(),
            is_status: false,
        }
    }

    pub(super) fn fatal(error: &Error) -> Self {
        let mut record = Self {
            message: error.to_string(),
            ..Self::new(Severity::Fatal)
        };
        if let Some(causes) = error.causes() {
            record.set("source", Value::Text(causes));
        }
        record
    }

    /// A later value of a field replaces an earlier one, since names in JSON should be unique.
    fn set(&mut self, name: &'static str, value: Value) {
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.fields.push((name, value)),
        }
    }

    /// What to put before the name of a field, so that it is not taken for something else.
    fn prefix(&self, name: &str) -> &'static str {
        let is_free = !RESERVED.contains(&name) || (self.is_status && name == "eventType");
        if is_free { "" } else { "fields." }
    }

    pub(super) fn line(&self, format: Format, now: SystemTime) -> String {
        let mut line = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = match format {
            Format::Json => self.write_json(&mut line, now),
            Format::Text => self.write_text(&mut line, now),
            Format::Color(color) => self.write_color(&mut line, now, color),
        };
        line.push('\n');
        line
    }

    fn write_json(&self, line: &mut String, now: SystemTime) -> fmt::Result {
        let (level, message) = (self.severity.name(), Json(&self.message));
        write!(
            line,
            "{{\"level\":\"{level}\",\"msg\":{message},\"time\":\"{}\"",
            Time(now)
        )?;
        for (name, value) in &self.fields {
            // Names come from the source code, but are escaped all the same.
            let name = format!("{}{name}", self.prefix(name));
            match value {
                Value::Plain(text) => write!(line, ",{}:{text}", Json(&name))?,
                Value::Text(text) => write!(line, ",{}:{}", Json(&name), Json(text))?,
            }
        }
        line.write_char('}')
    }

    fn write_text(&self, line: &mut String, now: SystemTime) -> fmt::Result {
        let (level, message) = (self.severity.name(), Quoted(&self.message));
        write!(line, "time=\"{}\" level={level} msg={message}", Time(now))?;
        self.fields.iter().try_for_each(|(name, value)| {
            write!(
                line,
                " {}{name}={}",
                self.prefix(name),
                Quoted(value.as_str())
            )
        })
    }

    fn write_color(&self, line: &mut String, now: SystemTime, color: bool) -> fmt::Result {
        let (on, off) = if color {
            (self.severity.color(), "\x1b[0m")
        } else {
            ("", "")
        };
        let level = self.severity.name().to_uppercase();
        write!(
            line,
            "{} {on}{level:<7}{off} {}",
            Time(now),
            Printable(&self.message)
        )?;
        self.fields.iter().try_for_each(|(name, value)| {
            write!(line, " {on}{name}{off}={}", Quoted(value.as_str()))
        })
    }
}

impl Value {
    fn as_str(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Text(text) => text,
        }
    }
}

impl Visit for Record {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no other numbers.
        let make = if value.is_finite() {
            Value::Plain
        } else {
            Value::Text
        };
        self.set(field.name(), make(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), Value::Plain(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), Value::Plain(value.to_string()));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.set(field.name(), Value::Plain(value.to_string()));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.set(field.name(), Value::Plain(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::Plain(value.to_string()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.set(field.name(), Value::Text(value.to_owned()));
        }
    }

    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let _ = write!(text, ": {cause}");
            next = cause.source();
        }
        self.record_str(field, &text);
    }

    /// Also what is recorded by `%`, and every message with arguments.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// A text as a JSON string.
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}

/// A text in quotes, unless it is a plain word.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+:".contains(&byte);
        if !self.0.is_empty() && self.0.bytes().all(is_plain) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}

/// A text for a terminal: what a server says must not move its cursor.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\n' | '\t' => f.write_char(character),
            control if control.is_control() => write!(f, "{}", control.escape_default()),
            other => f.write_char(other),
        })
    }
}

/// A time as RFC 3339 writes it, in UTC, with milliseconds.
pub(super) struct Time(pub(super) SystemTime);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No clock is set to before 1970 on purpose.
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, millis) = (since.as_secs(), since.subsec_millis());
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{millis:03}Z",
            { seconds % 60 }
        )
    }
}

/// The date that lies so many days after 1970-01-01. Years are counted from March, so that the leap
/// day is the last of its year, and in eras of 400 of them, after which the calendar repeats.
pub(super) fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01 on.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}
