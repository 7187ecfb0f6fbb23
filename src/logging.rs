//! Log lines as the Flow runtime reads them.
//!
//! Everything goes to stderr, each event in one write. In JSON the fields stand beside `level`,
//! `msg` and `time`, for that is where the runtime looks. The last line before a failure is what a
//! user gets to see of it; [`fatal`] writes that one.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::error::{Error, ErrorKind, Result};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// One line of `key=value` pairs.
    Text,
    /// For people; the flag says whether with escape sequences.
    Color(bool),
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    format: Format,
    level: Severity,
}

/// The levels of the environment variable, which are more than tracing has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    Panic,
    Fatal,
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

/// Set once by [`init`]; until then the default serves.
static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// The status that was logged last.
static STATUS: Mutex<String> = Mutex::new(String::new());

/// Events of this target may carry an `eventType`.
const STATUS_TARGET: &str = "source_postgres::status";

/// Names that the runtime, or the line itself, gives a meaning of its own.
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

/// Starts logging as `LOG_FORMAT` and `LOG_LEVEL` ask for. A second call has no effect.
///
/// # Errors
///
/// If one of the variables has a value that is unknown.
pub fn init() -> Result<()> {
    let variable = |name| {
        std::env::var_os(name)
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let settings = Settings::from_names(&variable("LOG_FORMAT"), &variable("LOG_LEVEL"))?;
    if SETTINGS.set(settings).is_ok() {
        let subscriber = tracing_subscriber::registry().with(LogLayer {
            settings,
            write: to_stderr,
        });
        // Only an embedding program could have set another one; its choice stands.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
    Ok(())
}

/// Returns the name of the level in use, for programs that are started from here.
pub fn level() -> &'static str {
    settings().level.name()
}

/// Logs what the connector is doing, as the task's status. An exact repeat is left out.
pub fn status(message: &str) {
    if is_new_status(message) {
        tracing::info!(target: STATUS_TARGET, eventType = "connectorStatus", "{message}");
    }
}

/// As [`status`], with the number of bindings.
pub fn status_with_bindings(message: &str, bindings: usize) {
    if is_new_status(message) {
        tracing::info!(target: STATUS_TARGET, eventType = "connectorStatus", bindings, "{message}");
    }
}

/// Logs the error that ends the process: its message for the user, its causes as the field
/// `source`. Written at every level, and even if [`init`] failed.
pub fn fatal(error: &Error) {
    to_stderr(&Record::fatal(error).line(settings().format, SystemTime::now()));
}

fn settings() -> Settings {
    SETTINGS.get().copied().unwrap_or_else(|| Settings {
        format: Format::Color(wants_color()),
        level: Severity::Info,
    })
}

fn is_new_status(message: &str) -> bool {
    let mut last = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if *last == message {
        return false;
    }
    message.clone_into(&mut last);
    true
}

/// A failure to log is nothing that could be logged, and no reason to stop.
fn to_stderr(line: &str) {
    let _ = io::stderr().write_all(line.as_bytes());
}

fn wants_color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Settings {
    /// Reads the values of the two variables; empty means the default.
    fn from_names(format: &str, level: &str) -> Result<Self> {
        let format = match format {
            "json" => Format::Json,
            "text" => Format::Text,
            // Asked for by name there is colour even if stderr is passed on to a pager.
            "color" => Format::Color(true),
            "" => Format::Color(wants_color()),
            other => {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    format!(
                        "environment variable LOG_FORMAT must be json, text or color, found {other:?}"
                    ),
                ));
            }
        };
        let name = level.to_ascii_lowercase();
        let known = match name.as_str() {
            "" => Some(Severity::Info),
            "warn" => Some(Severity::Warning),
            name => Severity::ALL
                .into_iter()
                .find(|severity| severity.name() == name),
        };
        match known {
            Some(level) => Ok(Self { format, level }),
            None => Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "environment variable LOG_LEVEL must be trace, debug, info, warn, error, fatal \
                     or panic, found {level:?}"
                ),
            )),
        }
    }
}

impl Severity {
    const ALL: [Self; 7] = [
        Self::Panic,
        Self::Fatal,
        Self::Error,
        Self::Warning,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn of(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }

    /// What passes of tracing's events, to which the two levels at the top are unknown.
    fn filter(self) -> LevelFilter {
        match self {
            Self::Panic | Self::Fatal => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warning => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }

    fn color(self) -> &'static str {
        match self {
            Self::Panic | Self::Fatal | Self::Error => "\x1b[31m",
            Self::Warning => "\x1b[33m",
            Self::Info => "\x1b[36m",
            Self::Debug | Self::Trace => "\x1b[90m",
        }
    }
}

/// Turns events into lines.
struct LogLayer<W> {
    settings: Settings,
    write: W,
}

impl<S: Subscriber, W: Fn(&str) + 'static> Layer<S> for LogLayer<W> {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.settings.level.filter()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.settings.level.filter())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut record = Record {
            is_status: metadata.target() == STATUS_TARGET,
            ..Record::new(Severity::of(*metadata.level()))
        };
        event.record(&mut record);
        (self.write)(&record.line(self.settings.format, SystemTime::now()));
    }
}

/// What one line says.
struct Record {
    severity: Severity,
    message: String,
    fields: Vec<(&'static str, Value)>,
    /// Whether `eventType` may be among the fields.
    is_status: bool,
}

enum Value {
    /// A number, or `true` or `false`.
    Plain(String),
    Text(String),
}

impl Record {
    fn new(severity: Severity) -> Self {
        Self {
            severity,
            message: String::new(),
            fields: Vec::new(),
            is_status: false,
        }
    }

    fn fatal(error: &Error) -> Self {
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

    fn line(&self, format: Format, now: SystemTime) -> String {
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
struct Time(SystemTime);

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
fn civil_from_days(days: u64) -> (u64, u64, u64) {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const NOON: Duration = Duration::from_millis(1_767_355_445_678);

    /// Runs `events` and returns the lines that they write.
    fn lines(format: &str, level: &str, events: impl FnOnce()) -> Vec<String> {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&written);
        let layer = LogLayer {
            settings: Settings::from_names(format, level).unwrap(),
            write: move |line: &str| sink.lock().unwrap().push(line.to_owned()),
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), events);
        let lines = written.lock().unwrap().clone();
        assert!(lines.iter().all(|line| line.ends_with('\n')));
        lines
    }

    fn json(line: &str) -> serde_json::Value {
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn json_lines_have_their_fields_at_the_top() {
        let found = lines("json", "", || {
            let none: Option<u64> = None;
            tracing::warn!(
                rows = 7_u64,
                delta = -3,
                ratio = 0.5,
                nan = f64::NAN,
                observable = true,
                stream = "public.t\n\"x\"",
                debug = ?Some(1),
                display = %"shown",
                none,
                "read {} rows\nof {:?}",
                7,
                "t"
            );
        });
        let mut value = json(&found[0]);
        let time = value.as_object_mut().unwrap().remove("time").unwrap();
        assert_eq!(
            time.as_str().unwrap().len(),
            "2026-01-02T03:04:05.678Z".len()
        );
        let due = serde_json::json!({
            "level": "warning", "msg": "read 7 rows\nof \"t\"", "rows": 7, "delta": -3,
            "ratio": 0.5, "nan": "NaN", "observable": true, "stream": "public.t\n\"x\"",
            "debug": "Some(1)", "display": "shown",
        });
        assert_eq!(value, due);
    }

    #[test]
    fn fields_with_reserved_names_do_not_corrupt_the_line() {
        let found = lines("json", "", || {
            tracing::info!(
                level = "x",
                msg = "x",
                time = 1,
                ts = 1,
                eventType = "configUpdate",
                fields = "x",
                "real"
            );
        });
        let value = json(&found[0]);
        assert_eq!(
            (&value["level"], &value["msg"]),
            (&"info".into(), &"real".into())
        );
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
        assert!(value.get("eventType").is_none() && value.get("fields").is_none());
        assert_eq!(value["fields.eventType"], "configUpdate");
        assert_eq!(value["fields.level"], "x");
        assert_eq!(found[0].matches("\"level\"").count(), 1);
    }

    #[test]
    fn levels_have_their_names_and_their_limits() {
        let log_all = || {
            tracing::error!("e");
            tracing::warn!("w");
            tracing::info!("i");
            tracing::debug!("d");
            tracing::trace!("t");
        };
        let names = |level| {
            let found = lines("json", level, log_all);
            found
                .iter()
                .map(|line| json(line)["level"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let all = ["error", "warning", "info", "debug", "trace"];
        for (level, count) in [
            ("trace", 5),
            ("Debug", 4),
            ("", 3),
            ("INFO", 3),
            ("warn", 2),
            ("Warning", 2),
            ("error", 1),
            ("fatal", 0),
            ("panic", 0),
        ] {
            assert_eq!(names(level), all[..count], "{level}");
        }
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert_eq!(
            Settings::from_names("text", "").unwrap().format,
            Format::Text
        );
        assert_eq!(
            Settings::from_names("color", "").unwrap().format,
            Format::Color(true)
        );
        for (format, level) in [("xml", ""), ("JSON", ""), ("", "loud")] {
            let error = Settings::from_names(format, level).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(
                error.to_string().starts_with("environment variable LOG_"),
                "{error}"
            );
        }
    }

    fn fatal_record() -> Record {
        let error = Error::new(ErrorKind::Server, "permission\x1b[2J denied")
            .context("the capture cannot run due to the following error(s):\n - one");
        Record::fatal(&error)
    }

    #[test]
    fn a_fatal_error_shows_its_message_and_its_causes_apart() {
        let now = UNIX_EPOCH + NOON;
        let value = json(&fatal_record().line(Format::Json, now));
        let due = serde_json::json!({
            "level": "fatal", "time": "2026-01-02T12:04:05.678Z",
            "msg": "the capture cannot run due to the following error(s):\n - one",
            "source": "permission\u{1b}[2J denied",
        });
        assert_eq!(value, due);
        assert_eq!(
            fatal_record().line(Format::Text, now),
            "time=\"2026-01-02T12:04:05.678Z\" level=fatal msg=\"the capture cannot run due to \
             the following error(s):\\n - one\" source=\"permission\\u{1b}[2J denied\"\n"
        );
        assert_eq!(
            fatal_record().line(Format::Color(false), now),
            "2026-01-02T12:04:05.678Z FATAL   the capture cannot run due to the following \
             error(s):\n - one source=\"permission\\u{1b}[2J denied\"\n"
        );
        let colored = fatal_record().line(Format::Color(true), now);
        assert!(
            colored.contains(" \x1b[31mFATAL  \x1b[0m the capture"),
            "{colored}"
        );
        let bare = Record::fatal(&Error::new(ErrorKind::Io, "gone")).line(Format::Json, now);
        assert!(json(&bare).get("source").is_none());
    }

    #[test]
    fn an_error_as_a_field_shows_its_causes() {
        let error = Error::new(ErrorKind::Server, "inner").context("outer");
        let found = lines("text", "", || {
            tracing::error!(
                error = &error as &(dyn std::error::Error + 'static),
                "x\x1b"
            );
        });
        assert!(
            found[0].ends_with("level=error msg=\"x\\u{1b}\" error=\"outer: inner\"\n"),
            "{}",
            found[0]
        );
    }

    #[test]
    fn a_status_is_logged_once_until_it_changes() {
        let found = lines("json", "", || {
            status("Starting capture");
            status("Starting capture");
            status_with_bindings("Capture started", 3);
            status("Starting capture");
            tracing::info!("something else");
            status("Starting capture");
        });
        let found: Vec<_> = found.iter().map(|line| json(line)).collect();
        let messages: Vec<_> = found
            .iter()
            .map(|value| value["msg"].as_str().unwrap())
            .collect();
        let due = [
            "Starting capture",
            "Capture started",
            "Starting capture",
            "something else",
        ];
        assert_eq!(messages, due);
        assert_eq!(found[0]["eventType"], "connectorStatus");
        assert_eq!(
            (&found[1]["level"], &found[1]["bindings"]),
            (&"info".into(), &3.into())
        );
        assert!(found[3].get("eventType").is_none());
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (789, (1972, 2, 29)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_453, (2025, 12, 31)),
            (20_454, (2026, 1, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil_from_days(days), date, "{days}");
        }
        assert_eq!(
            Time(UNIX_EPOCH + NOON).to_string(),
            "2026-01-02T12:04:05.678Z"
        );
        assert_eq!(Time(UNIX_EPOCH).to_string(), "1970-01-01T00:00:00.000Z");
    }
}
