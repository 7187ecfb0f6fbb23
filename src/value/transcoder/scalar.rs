//! Values that are not arrays: dispatch by text form, and the forms that take a few lines.

use super::super::builtin::TextForm;
use super::super::error::ValueError;
use super::super::float::{self, Digits, Float, Width};
use super::super::options::{LARGE_VALUE, ValueOptions};
use super::fast_path::{self, FastPath};
use super::{bytea, geometry, network, range, time};
use crate::json::{self, OutputCursor};

/// Writer of values that are not arrays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar {
    pub(super) text: TextForm,
    pub(super) options: ValueOptions,
    pub(super) is_key: bool,
    pub(super) is_element: bool,
}

impl Scalar {
    /// Returns the fast path for short values.
    pub(super) fn fast_path(&self) -> FastPath {
        match self.text {
            TextForm::Text | TextForm::Verbatim => FastPath::Text,
            TextForm::Integer => FastPath::Integer,
            TextForm::Bool => FastPath::Bool,
            TextForm::Date if self.options.date_as_date => FastPath::Date,
            TextForm::Timestamp => FastPath::Timestamp,
            TextForm::Timestamptz => FastPath::Timestamptz,
            _ => FastPath::None,
        }
    }

    #[inline]
    pub(super) fn write(
        &self,
        text: &[u8],
        cursor: &mut OutputCursor<'_>,
    ) -> Result<(), ValueError> {
        match self.text {
            TextForm::Text => cursor.push_string(truncated(text)),
            TextForm::Verbatim => cursor.push_string(text),
            TextForm::Integer => return write_integer(text, cursor),
            TextForm::Bool => return write_bool(text, cursor),
            TextForm::Float4 => return self.write_float(text, Width::Single, cursor),
            TextForm::Float8 => return self.write_float(text, Width::Double, cursor),
            TextForm::Char => cursor.push_u64(u64::from(parse_char(text)?)),
            TextForm::Bytea => return bytea::write(text, cursor),
            TextForm::Date if self.options.date_as_date && fast_path::is_date(text) => {
                copy_short(b"\"", text, b"\"", cursor);
            }
            TextForm::Date if self.options.date_as_date => {
                return quoted(cursor, |out| time::write_date(text, out));
            }
            TextForm::Date => return quoted(cursor, |out| time::write_midnight(text, out)),
            TextForm::Time if self.options.time_as_time && fast_path::is_time(text) => {
                copy_short(b"\"", text, b"Z\"", cursor);
            }
            TextForm::Time if self.options.time_as_time => {
                return quoted(cursor, |out| time::write_time(text, out));
            }
            TextForm::Time => return cursor.append_with(|out| time::write_time_number(text, out)),
            TextForm::Timetz => return quoted(cursor, |out| time::write_timetz(text, out)),
            TextForm::Timestamp if fast_path::write(text, false, cursor) => {}
            TextForm::Timestamp => {
                return quoted(cursor, |out| time::write_timestamp(text, false, out));
            }
            TextForm::Timestamptz if fast_path::write(text, true, cursor) => {}
            TextForm::Timestamptz => {
                return quoted(cursor, |out| time::write_timestamp(text, true, out));
            }
            TextForm::Interval if fast_path::is_clock(text) => {
                copy_short(b"\" ", text, b"\"", cursor)
            }
            TextForm::Interval => return quoted(cursor, |out| time::write_interval(text, out)),
            TextForm::Inet if network::is_ipv4(text) => copy_short(b"\"", text, b"/32\"", cursor),
            TextForm::Inet => return quoted(cursor, |out| network::write(text, out)),
            TextForm::Point => {
                return quoted(cursor, |out| {
                    geometry::write(text, Digits::write_point, out)
                });
            }
            TextForm::Geometry => {
                return quoted(cursor, |out| {
                    geometry::write(text, Digits::write_plain, out)
                });
            }
            TextForm::Json => return self.write_json(text, cursor),
            TextForm::Range(endpoint) => {
                return quoted(cursor, |out| range::write(text, endpoint, out));
            }
            TextForm::Multirange(endpoint) => {
                return quoted(cursor, |out| range::write_multirange(text, endpoint, out));
            }
            TextForm::Tid => return write_tid(text, cursor),
        }
        Ok(())
    }

    fn write_float(
        &self,
        text: &[u8],
        width: Width,
        cursor: &mut OutputCursor<'_>,
    ) -> Result<(), ValueError> {
        if !self.is_key && float::is_verbatim(text, width) {
            cursor.extend(text);
            return Ok(());
        }
        let float = Float::parse(text, width)
            .ok_or(ValueError::new("float", "a number, NaN or Infinity"))?;
        match float {
            Float::Nan => cursor.push(b"\"NaN\""),
            Float::Infinity => cursor.push(b"\"Infinity\""),
            Float::NegativeInfinity => cursor.push(b"\"-Infinity\""),
            Float::Finite(digits) if self.is_key => {
                return quoted(cursor, |out| {
                    digits.write_plain(out);
                    Ok(())
                });
            }
            Float::Finite(digits) => cursor.append_with(|out| digits.write_json(out)),
        }
        Ok(())
    }

    fn write_json(&self, text: &[u8], cursor: &mut OutputCursor<'_>) -> Result<(), ValueError> {
        if text.len() > LARGE_VALUE && !self.is_element {
            cursor.push(b"{\"flow_truncated\":true,\"original_size\":");
            cursor.push_u64(u64::try_from(text.len()).unwrap_or(u64::MAX));
            cursor.push(b"}");
            return Ok(());
        }
        let start = cursor.position();
        let compacted = json::compact(text, cursor);
        compacted.map_err(|_| ValueError::new("json", "one JSON value"))?;
        // Elements of an array are truncated only if they are strings.
        if cursor.position() - start > LARGE_VALUE && self.is_element {
            json::truncate_string(cursor, start, LARGE_VALUE);
        }
        Ok(())
    }
}

/// Appends a JSON string with the contents that the closure appends, which need no escapes.
#[inline]
fn quoted(
    cursor: &mut OutputCursor<'_>,
    contents: impl FnOnce(&mut Vec<u8>) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    cursor.push(b"\"");
    cursor.append_with(contents)?;
    cursor.push(b"\"");
    Ok(())
}

/// Truncates a text to the limit for large values, between two characters.
fn truncated(text: &[u8]) -> &[u8] {
    if text.len() <= LARGE_VALUE {
        return text;
    }
    let continues = |at: usize| text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    // A character has at most three continuation bytes. A fourth one belongs to no character.
    let end = (0..4)
        .map(|back| LARGE_VALUE - back)
        .find(|&end| !continues(end));
    text.get(..end.unwrap_or(LARGE_VALUE)).unwrap_or(text)
}

fn write_integer(text: &[u8], cursor: &mut OutputCursor<'_>) -> Result<(), ValueError> {
    match json::short_integer(text) {
        Some(characters) => {
            cursor.push_register(characters, text.len());
            Ok(())
        }
        None => write_long_integer(text, cursor),
    }
}

#[cold]
fn write_long_integer(text: &[u8], cursor: &mut OutputCursor<'_>) -> Result<(), ValueError> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    // No integer of 64 bits has more than 20 digits, and JSON allows no leading zero.
    let valid = (1..=20).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && (digits.len() == 1 || digits.first() != Some(&b'0'));
    if !valid {
        return Err(ValueError::new("integer", "a decimal number"));
    }
    cursor.extend(text);
    Ok(())
}

fn write_bool(text: &[u8], cursor: &mut OutputCursor<'_>) -> Result<(), ValueError> {
    match text {
        b"t" => cursor.push(b"true"),
        b"f" => cursor.push(b"false"),
        _ => return Err(ValueError::new("bool", "t or f")),
    }
    Ok(())
}

/// Appends at most 16 characters unchanged, between two arrays.
#[inline(always)]
fn copy_short<const N: usize, const M: usize>(
    before: &[u8; N],
    text: &[u8],
    after: &[u8; M],
    cursor: &mut OutputCursor<'_>,
) {
    cursor.push(before);
    cursor.push_register(json::padded(text), text.len());
    cursor.push(after);
}

/// Reads a `"char"`: one byte, its octal escape if it is not ASCII, or no byte for zero.
pub(in crate::value) fn parse_char(text: &[u8]) -> Result<u8, ValueError> {
    match text {
        [] => Ok(0),
        [byte] => Ok(*byte),
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'] => {
            Ok((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
        }
        _ => Err(ValueError::new("\"char\"", "one byte or its octal escape")),
    }
}

fn write_tid(text: &[u8], cursor: &mut OutputCursor<'_>) -> Result<(), ValueError> {
    let error = ValueError::new("tid", "(block,offset)");
    let inner = text
        .strip_prefix(b"(")
        .and_then(|text| text.strip_suffix(b")"))
        .ok_or(error)?;
    let comma = inner.iter().position(|&byte| byte == b',').ok_or(error)?;
    let (block, offset) = inner.split_at(comma);
    cursor.push(b"{\"BlockNumber\":");
    write_integer(block, cursor)?;
    cursor.push(b",\"OffsetNumber\":");
    write_integer(offset.get(1..).unwrap_or_default(), cursor)?;
    cursor.push(b",\"Valid\":true}");
    Ok(())
}
