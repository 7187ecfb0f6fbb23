//! Logging to stderr, in the format that the Flow runtime reads.
//!
//! Each event is written in one call. In JSON the fields are members of the top-level object, next
//! to `level`, `msg` and `time`, because the runtime reads them there. The runtime shows the last
//! line before a failure to the user; [`fatal`] writes that line.

mod record;
mod severity;

use std::io::{self, IsTerminal, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use self::record::{Format, Record};
use self::severity::Severity;
use crate::error::{Error, ErrorKind, Result};

/// Format and lowest severity of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settings {
    format: Format,
    level: Severity,
}

/// Settings in effect; [`init`] sets them once, and defaults apply before.
static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// Status that was logged last.
static STATUS: Mutex<String> = Mutex::new(String::new());

/// Target of status events, the only events that may have the field `eventType`.
const STATUS_TARGET: &str = "source_postgres::status";

/// Starts logging, configured by `LOG_FORMAT` and `LOG_LEVEL`. A second call has no effect.
///
/// # Errors
///
/// Fails if one of the variables has an unknown value.
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
        // Fails if an embedding program has set a subscriber, which then stays in use.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
    Ok(())
}

/// Logs a message as the task's status, unless the last status was identical.
pub fn status(message: &str) {
    if is_new_status(message) {
        tracing::info!(target: STATUS_TARGET, eventType = "connectorStatus", "{message}");
    }
}

/// Logs a message and the number of bindings as the task's status, unless the last status had an
/// identical message.
pub fn status_with_bindings(message: &str, bindings: usize) {
    if is_new_status(message) {
        tracing::info!(target: STATUS_TARGET, eventType = "connectorStatus", bindings, "{message}");
    }
}

/// Logs the error that ends the process: its message for the user, and its causes as the field
/// `source`. Writes at every `LOG_LEVEL`, and even if [`init`] failed.
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

/// Writes a line to stderr. Ignores errors, which could not be logged and must not end the capture.
fn to_stderr(line: &str) {
    let _ = io::stderr().write_all(line.as_bytes());
}

fn use_color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Settings {
    /// Parses the values of `LOG_FORMAT` and `LOG_LEVEL`; an empty value means the default.
    fn from_names(format: &str, level: &str) -> Result<Self> {
        let format = match format {
            "json" => Format::Json,
            "text" => Format::Text,
            // An explicit request enables colour even if stderr is not a terminal, as with a pager.
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

/// Layer that formats events and writes them as lines.
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
