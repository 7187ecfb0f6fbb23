//! Built-in ranges and multiranges, with converted endpoints and without quotes.

use super::super::builtin::Endpoint;
use super::super::error::ValueError;
use super::time;

const RANGE: ValueError = ValueError::new("range", "two endpoints in brackets, or empty");
const MULTIRANGE: ValueError = ValueError::new("multirange", "ranges in braces");

/// Appends a range.
pub(super) fn write(text: &[u8], endpoint: Endpoint, out: &mut Vec<u8>) -> Result<(), ValueError> {
    if text == b"empty" {
        out.extend_from_slice(text);
        return Ok(());
    }
    match write_bounds(text, endpoint, out)? {
        [] => Ok(()),
        _ => Err(RANGE),
    }
}

/// Appends a multirange: its ranges in braces, with commas between them.
pub(super) fn write_multirange(
    text: &[u8],
    endpoint: Endpoint,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    let ranges = text
        .strip_prefix(b"{")
        .and_then(|text| text.strip_suffix(b"}"));
    let mut rest = ranges.ok_or(MULTIRANGE)?;
    out.push(b'{');
    while !rest.is_empty() {
        rest = match write_bounds(rest, endpoint, out)? {
            [] => &[],
            [b',', next @ ..] if !next.is_empty() => {
                out.push(b',');
                next
            }
            _ => return Err(MULTIRANGE),
        };
    }
    out.push(b'}');
    Ok(())
}

/// Appends a range that is not empty, and returns the text after it.
fn write_bounds<'a>(
    text: &'a [u8],
    endpoint: Endpoint,
    out: &mut Vec<u8>,
) -> Result<&'a [u8], ValueError> {
    let [open @ (b'[' | b'('), rest @ ..] = text else {
        return Err(RANGE);
    };
    out.push(*open);
    let rest = write_endpoint(rest, endpoint, out)?;
    let [b',', rest @ ..] = rest else {
        return Err(RANGE);
    };
    out.push(b',');
    let rest = write_endpoint(rest, endpoint, out)?;
    let [close @ (b']' | b')'), rest @ ..] = rest else {
        return Err(RANGE);
    };
    out.push(*close);
    Ok(rest)
}

/// Appends an endpoint, if there is one, and returns the text after it.
fn write_endpoint<'a>(
    text: &'a [u8],
    endpoint: Endpoint,
    out: &mut Vec<u8>,
) -> Result<&'a [u8], ValueError> {
    // Endpoints of the built-in ranges have neither quotes nor backslashes, so a quoted one ends at
    // the next quote.
    let (inner, rest) = match text {
        [b'"', quoted @ ..] => {
            let end = quoted.iter().position(|&byte| byte == b'"').ok_or(RANGE)?;
            let (inner, rest) = quoted.split_at(end);
            (inner, rest.get(1..).unwrap_or_default())
        }
        _ => {
            let end = text
                .iter()
                .position(|byte| b",)]".contains(byte))
                .ok_or(RANGE)?;
            text.split_at(end)
        }
    };
    if inner.is_empty() {
        return Ok(rest);
    }
    match endpoint {
        // Dates are timestamps in ranges, whatever the feature flags are.
        Endpoint::Date => time::write_midnight(inner, out)?,
        Endpoint::Timestamp => time::write_timestamp(inner, false, out)?,
        Endpoint::Timestamptz => time::write_timestamp(inner, true, out)?,
        Endpoint::Verbatim
            if inner
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)) =>
        {
            out.extend_from_slice(inner);
        }
        Endpoint::Verbatim => return Err(RANGE),
    }
    Ok(rest)
}
