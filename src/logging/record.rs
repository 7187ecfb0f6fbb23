//! One log line: its content, and the three formats.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use x509_cert::der::DateTime;

use super::severity::Severity;
use crate::error::Error;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object per line.
    Json,
    /// One line of `key=value` pairs.
    Text,
    /// Text for terminals; with colour escape sequences if the flag is set.
    Color(bool),
}

/// Field names that have a meaning to the runtime or in the line format.
const RESERVED: [&str; 11] = [
    "eventTarget",
    "eventType",
    "fields",
    "level",
    "lvl",
    "msg",
    "shard",
    "spans",
    "time",
    "timestamp",
    "ts",
];

/// Content of one log line, except its time.
pub(super) struct Record {
    severity: Severity,
    message: String,
    fields: Vec<(&'static str, Value)>,
    /// Whether this is a status event, which may have the field `eventType`.
    pub(super) is_status: bool,
}

enum Value {
    /// A number, or `true` or `false`.
    Literal(String),
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

    /// Sets a field. Replaces an earlier value, since member names in JSON should be unique.
    fn set(&mut self, name: &'static str, value: Value) {
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.fields.push((name, value)),
        }
    }

    /// Returns the prefix of a field name, which keeps it distinct from reserved names.
    fn prefix(&self, name: &str) -> &'static str {
        let is_free = !RESERVED.contains(&name) || (self.is_status && name == "eventType");
        if is_free { "" } else { "fields." }
    }

    /// Returns the line, with its line feed.
    pub(super) fn format(&self, format: Format, now: SystemTime) -> String {
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
            // Escapes the name too, although names are literals of the source code.
            let name = format!("{}{name}", self.prefix(name));
            match value {
                Value::Literal(text) => write!(line, ",{}:{text}", Json(&name))?,
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
            Self::Literal(text) | Self::Text(text) => text,
        }
    }
}

impl Visit for Record {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinity.
        let make = if value.is_finite() {
            Value::Literal
        } else {
            Value::Text
        };
        self.set(field.name(), make(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), Value::Literal(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), Value::Literal(value.to_string()));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.set(field.name(), Value::Literal(value.to_string()));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.set(field.name(), Value::Literal(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::Literal(value.to_string()));
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

    /// Also receives fields written with `%`, and every message with arguments.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Displays a text as a JSON string.
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}

/// Displays a text in quotes with escapes, unless all its characters are safe without.
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

/// Displays a text with control characters escaped: a message from the server must not be able to
/// control the terminal.
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

/// Displays a time in the format of RFC 3339, in UTC, with milliseconds.
pub(super) struct Time(pub(super) SystemTime);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A clock before 1970 or after 9999 is wrong: the nearest valid time is shown.
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = DateTime::from_unix_duration(since).unwrap_or(DateTime::INFINITY);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minutes(),
            time.seconds(),
            since.subsec_millis(),
        )
    }
}
