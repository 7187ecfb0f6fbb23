//! Log lines as the Flow runtime reads them.
//!
//! Everything goes to stderr, each event in one write. In JSON the fields stand beside `level`,
//! `msg` and `time`, for that is where the runtime looks. The last line before a failure is what a
//! user gets to see of it; [`fatal`] writes that one.

mod record;

use std::io::{self, IsTerminal, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use self::record::Record;
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
    to_stderr(&Record::fatal(error).format(settings().format, SystemTime::now()));
}

fn settings() -> Settings {
    SETTINGS.get().copied().unwrap_or_else(|| Settings {
        format: Format::Color(use_color()),
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

fn use_color() -> bool {
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
            "" => Format::Color(use_color()),
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

    fn from_level(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }

    /// What passes of tracing's events, to which the two levels at the top are unknown.
    fn max_level(self) -> LevelFilter {
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
        *metadata.level() <= self.settings.level.max_level()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.settings.level.max_level())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut record = Record::new(Severity::from_level(*metadata.level()));
        record.is_status = metadata.target() == STATUS_TARGET;
        event.record(&mut record);
        (self.write)(&record.format(self.settings.format, SystemTime::now()));
    }
}

#[cfg(test)]
mod tests;
