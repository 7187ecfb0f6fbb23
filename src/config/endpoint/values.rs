//! Parsers of single members.

use std::time::Duration;

use super::ssl_mode::SslMode;
use crate::config::duration;
use crate::config::members::configuration;
use crate::error::Result;

const DEFAULT_STATEMENT_TIMEOUT: Duration = Duration::from_secs(2 * 60);
const DEFAULT_REDISCOVERY_INTERVAL: Duration = Duration::from_secs(15 * 60);
const MIN_REDISCOVERY_INTERVAL: Duration = Duration::from_secs(60);
const MAX_REDISCOVERY_INTERVAL: Duration = Duration::from_secs(8760 * 3600);
const DEFAULT_BACKFILL_CONNECTIONS: u32 = 2;
const MAX_BACKFILL_CONNECTIONS: u32 = 16;
/// Limits of the server's setting, which is an `int` in kB.
const MIN_DECODING_MEMORY: u32 = 64;
const MAX_DECODING_MEMORY: u32 = i32::MAX.unsigned_abs();
/// Limit of the server's setting, which is an `int` in milliseconds.
const MAX_STATEMENT_TIMEOUT: Duration = Duration::from_millis(i32::MAX.unsigned_abs() as u64);

/// Parses the qualified name of the watermarks table as SQL does: unquoted names are folded to lower
/// case, and the name of the database may precede the schema.
pub(super) fn parse_watermarks_table(text: &str, database: &str) -> Result<(String, String)> {
    let invalid = |why: &str| {
        configuration(format!(
            "invalid 'watermarksTable' configuration: {text:?} must be <schema>.<table>: {why}"
        ))
    };
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = split_identifier(rest).ok_or_else(|| {
            invalid("a part is empty, or a double quote opens or closes within a part")
        })?;
        parts.push(part);
        match after.strip_prefix('.') {
            Some(after) => rest = after,
            None => break,
        }
    }
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(schema), Some(table), None, None) => Ok((schema, table)),
        (Some(first), Some(schema), Some(table), None) if first == database => Ok((schema, table)),
        (_, None, ..) => Err(invalid("the schema is missing")),
        _ => Err(invalid("it has too many parts")),
    }
}

/// Splits off the first identifier, which ends at a dot outside quotes.
fn split_identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut quoted) = text.strip_prefix('"') else {
        let (name, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
        let is_valid = !name.is_empty() && !name.contains('"');
        return is_valid.then(|| (name.to_lowercase(), rest));
    };
    let mut name = String::new();
    loop {
        let (run, rest) = quoted.split_once('"')?;
        name.push_str(run);
        match rest.strip_prefix('"') {
            Some(rest) => {
                name.push('"');
                quoted = rest;
            }
            None => {
                let is_valid = !name.is_empty() && (rest.is_empty() || rest.starts_with('.'));
                return is_valid.then_some((name, rest));
            }
        }
    }
}

/// Parses an amount of memory in the server's syntax. Returns kB.
pub(super) fn parse_decoding_memory(text: &str) -> Result<Option<u32>> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(None);
    }
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let bytes: Option<u64> = match unit.trim_start() {
        "B" => Some(1),
        "" | "kB" => Some(1 << 10),
        "MB" => Some(1 << 20),
        "GB" => Some(1 << 30),
        "TB" => Some(1 << 40),
        _ => None,
    };
    number
        .parse()
        .ok()
        .zip(bytes)
        .and_then(|(number, bytes): (u64, u64)| number.checked_mul(bytes))
        .and_then(|bytes| u32::try_from(bytes >> 10).ok())
        .filter(|kilobytes| (MIN_DECODING_MEMORY..=MAX_DECODING_MEMORY).contains(kilobytes))
        .map(Some)
        .ok_or_else(|| {
            configuration(format!(
                "invalid 'logical_decoding_work_mem' configuration: {text:?} must be an amount of \
                 memory of at least 64kB, such as 256MB; units are B, kB, MB, GB and TB"
            ))
        })
}

pub(super) fn parse_sslmode(text: &str) -> Result<Option<SslMode>> {
    if text.is_empty() {
        return Ok(None);
    }
    match SslMode::parse(text) {
        Some(mode) => Ok(Some(mode)),
        None => Err(configuration(format!(
            "invalid 'sslmode' configuration: unknown setting {text:?}: it must be disable, \
             allow, prefer, require, verify-ca or verify-full"
        ))),
    }
}

pub(super) fn parse_statement_timeout(text: &str) -> Result<Option<Duration>> {
    if text.is_empty() {
        return Ok(Some(DEFAULT_STATEMENT_TIMEOUT));
    }
    let Some(nanos) = duration::parse(text) else {
        return Err(configuration(format!(
            "invalid statement timeout: 'advanced.statement_timeout' must be a duration such as \
             30s or 5m, or 0 for none, found {text:?}"
        )));
    };
    // The server's unit is a millisecond. Shorter times mean no limit; so do negative ones, which the
    // server would refuse.
    let timeout =
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)).min(MAX_STATEMENT_TIMEOUT);
    Ok(Some(timeout).filter(|timeout| timeout.as_millis() > 0))
}

pub(super) fn parse_rediscovery_interval(text: &str) -> Result<Duration> {
    if text.is_empty() {
        return Ok(DEFAULT_REDISCOVERY_INTERVAL);
    }
    duration::parse(text)
        .and_then(|nanos| u64::try_from(nanos).ok())
        .map(Duration::from_nanos)
        .filter(|interval| (MIN_REDISCOVERY_INTERVAL..=MAX_REDISCOVERY_INTERVAL).contains(interval))
        .ok_or_else(|| {
            configuration(format!(
                "invalid 'rediscovery_interval' configuration: it must be a duration from 1m to \
                 8760h such as 15m, found {text:?}"
            ))
        })
}

pub(super) fn parse_backfill_connections(number: Option<i64>) -> Result<u32> {
    let Some(number) = number else {
        return Ok(DEFAULT_BACKFILL_CONNECTIONS);
    };
    u32::try_from(number)
        .ok()
        .filter(|number| (1..=MAX_BACKFILL_CONNECTIONS).contains(number))
        .ok_or_else(|| {
            configuration(format!(
                "invalid 'advanced.backfill_connections': it must be a whole number from 1 to \
                 {MAX_BACKFILL_CONNECTIONS}, found {number}"
            ))
        })
}

/// Parses a transaction ID. The comparison with `xmin` is modular, so the epoch of a 64-bit ID is
/// discarded.
pub(super) fn parse_min_backfill_xid(text: &str) -> Result<Option<u32>> {
    if text.is_empty() {
        return Ok(None);
    }
    let low_bits = |xid: u64| u32::try_from(xid & u64::from(u32::MAX)).ok();
    match text.trim().parse().ok().and_then(low_bits) {
        Some(xid) => Ok(Some(xid)),
        None => Err(configuration(format!(
            "invalid 'advanced.min_backfill_xid': it must be a transaction ID, a whole number, \
             found {text:?}"
        ))),
    }
}
