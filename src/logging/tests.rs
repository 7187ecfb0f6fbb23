use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::record::Time;
use super::*;

const NOON: Duration = Duration::from_millis(1_767_355_445_678);

/// Runs `events` and returns the log lines that they write.
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
fn json_lines_have_their_fields_at_the_top_level() {
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
    let expected = serde_json::json!({
        "level": "warning", "msg": "read 7 rows\nof \"t\"", "rows": 7, "delta": -3,
        "ratio": 0.5, "nan": "NaN", "observable": true, "stream": "public.t\n\"x\"",
        "debug": "Some(1)", "display": "shown",
    });
    assert_eq!(value, expected);
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
fn each_level_has_its_name_and_filters_lower_levels() {
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
fn unknown_settings_are_rejected() {
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
fn a_fatal_error_has_its_message_and_causes_in_separate_fields() {
    let now = UNIX_EPOCH + NOON;
    let value = json(&fatal_record().format(Format::Json, now));
    let expected = serde_json::json!({
        "level": "fatal", "time": "2026-01-02T12:04:05.678Z",
        "msg": "the capture cannot run due to the following error(s):\n - one",
        "source": "permission\u{1b}[2J denied",
    });
    assert_eq!(value, expected);
    assert_eq!(
        fatal_record().format(Format::Text, now),
        "time=\"2026-01-02T12:04:05.678Z\" level=fatal msg=\"the capture cannot run due to \
         the following error(s):\\n - one\" source=\"permission\\u{1b}[2J denied\"\n"
    );
    assert_eq!(
        fatal_record().format(Format::Color(false), now),
        "2026-01-02T12:04:05.678Z FATAL   the capture cannot run due to the following \
         error(s):\n - one source=\"permission\\u{1b}[2J denied\"\n"
    );
    let colored = fatal_record().format(Format::Color(true), now);
    assert!(
        colored.contains(" \x1b[31mFATAL  \x1b[0m the capture"),
        "{colored}"
    );
    let bare = Record::fatal(&Error::new(ErrorKind::Io, "gone")).format(Format::Json, now);
    assert!(json(&bare).get("source").is_none());
}

#[test]
fn an_error_as_a_field_includes_its_causes() {
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
fn a_repeated_status_is_logged_once() {
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
    let expected = [
        "Starting capture",
        "Capture started",
        "Starting capture",
        "something else",
    ];
    assert_eq!(messages, expected);
    assert_eq!(found[0]["eventType"], "connectorStatus");
    assert_eq!(
        (&found[1]["level"], &found[1]["bindings"]),
        (&"info".into(), &3.into())
    );
    assert!(found[3].get("eventType").is_none());
}

#[test]
fn times_are_formatted_as_rfc_3339_dates() {
    for (days, date) in [
        (0, "1970-01-01"),
        (789, "1972-02-29"),
        (11_016, "2000-02-29"),
        (20_453, "2025-12-31"),
        (47_540, "2100-02-28"),
        (47_541, "2100-03-01"),
    ] {
        let time = UNIX_EPOCH + Duration::from_secs(days * 86_400);
        assert_eq!(Time(time).to_string(), format!("{date}T00:00:00.000Z"));
    }
    assert_eq!(
        Time(UNIX_EPOCH + NOON).to_string(),
        "2026-01-02T12:04:05.678Z"
    );
}
