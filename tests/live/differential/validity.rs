//! Validation of documents against their schemas.

use jsonschema::Validator;
use serde_json::Value;

use crate::support::task::Document;

/// The two schemas of a collection.
pub(crate) struct Schemas {
    discovered: Validator,
    sourced: Validator,
}

impl Schemas {
    pub(crate) fn new(discovered: &Value, sourced: &Value) -> Self {
        Self {
            discovered: validator(discovered),
            sourced: validator(sourced),
        }
    }

    /// Returns where and how a document violates a schema.
    pub(crate) fn problems(&self, document: &Document) -> Vec<(String, String)> {
        let value = &document.value;
        let problems =
            |schema: &str, validator: &Validator, value: &Value| -> Vec<(String, String)> {
                let errors = validator.iter_errors(value);
                errors
                    .map(|error| {
                        let place = format!(
                            "{schema} schema of {} at {}",
                            document.table,
                            error.instance_path()
                        );
                        let mut text = error.to_string();
                        if let Some((at, _)) = text.char_indices().nth(400) {
                            text.truncate(at);
                        }
                        (place, text)
                    })
                    .collect()
            };
        let mut found = problems("discovered", &self.discovered, value);
        // Under the sourced schema the row of null values is not valid by itself: the runtime adds
        // that values can be null.
        if value["id"]
            .as_i64()
            .is_some_and(|id| id % super::STREAMED != 0)
        {
            found.extend(problems("sourced", &self.sourced, value));
        }
        found
    }
}

fn validator(schema: &Value) -> Validator {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .with_format("number", |text: &str| {
            matches!(text, "NaN" | "Infinity" | "-Infinity") || is_decimal(text)
        })
        .with_format("date", is_date)
        .with_format("time", is_time)
        .with_format("date-time", |text: &str| {
            text.split_once('T')
                .is_some_and(|(date, time)| is_date(date) && is_time(time))
        })
        .build(schema)
        .unwrap_or_else(|error| panic!("{error} in {schema}"))
}

fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.strip_prefix('-').unwrap_or(text);
    match number.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(number),
    }
}

/// Returns whether a text is a `full-date` of RFC 3339, which allows the year 0.
fn is_date(text: &str) -> bool {
    let [year, month, day] = text.split('-').collect::<Vec<_>>()[..] else {
        return false;
    };
    let lengths = [year.len(), month.len(), day.len()] == [4, 2, 2];
    let number = |part: &str| part.parse::<u32>().ok();
    let (Some(year), Some(month), Some(day)) = (number(year), number(month), number(day)) else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    lengths && (1..=last).contains(&day)
}

/// Returns whether a text is a `full-time` of RFC 3339.
fn is_time(text: &str) -> bool {
    let pair = |part: &str, limit: u32| {
        part.len() == 2
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse::<u32>().is_ok_and(|n| n < limit)
    };
    let Some(at) = text.find(['Z', '+', '-']) else {
        return false;
    };
    let (clock, zone) = text.split_at(at);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let parts: Vec<&str> = whole.split(':').collect();
    let valid_clock = matches!(parts[..], [h, m, s] if pair(h, 24) && pair(m, 60) && pair(s, 60))
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let valid_zone = zone == "Z"
        || zone[1..]
            .split_once(':')
            .is_some_and(|(h, m)| pair(h, 24) && pair(m, 60));
    valid_clock && valid_zone
}
