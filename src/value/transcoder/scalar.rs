//! One value that is not an array: the dispatch by form, and the forms of a few lines.

use super::super::LARGE_VALUE;
use super::super::builtin::TextForm;
use super::super::float::{self, Digits, Float, Width};
use super::{
    Usual, ValueError, ValueOptions, Written, bytea, due, geometry, network, quoted, range, time,
    usual,
};
use crate::json::{self, Room};

/// How one value is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar {
    pub(super) text: TextForm,
    pub(super) options: ValueOptions,
    pub(super) is_key: bool,
    pub(super) is_element: bool,
}

impl Scalar {
    /// Returns which of the usual forms it is.
    pub(super) fn usual(&self) -> Usual {
        match self.text {
            TextForm::Text | TextForm::Verbatim => Usual::Text,
            TextForm::Integer => Usual::Integer,
            TextForm::Bool => Usual::Bool,
            TextForm::Date if self.options.date_as_date => Usual::Date,
            TextForm::Timestamp => Usual::Timestamp,
            TextForm::Timestamptz => Usual::Timestamptz,
            _ => Usual::No,
        }
    }

    #[inline]
    pub(super) fn write(&self, text: &[u8], room: &mut Room<'_>) -> Written {
        match self.text {
            TextForm::Text => room.push_string(shortened(text)),
            TextForm::Verbatim => room.push_string(text),
            TextForm::Integer => return write_integer(text, room),
            TextForm::Bool => return write_bool(text, room),
            TextForm::Float4 => return self.write_float(text, Width::Single, room),
            TextForm::Float8 => return self.write_float(text, Width::Double, room),
            TextForm::Char => room.push_u64(u64::from(parse_char(text)?)),
            TextForm::Bytea => return bytea::write(text, room),
            TextForm::Date if self.options.date_as_date && usual::is_date(text) => {
                copy_short(b"\"", text, b"\"", room);
            }
            TextForm::Date if self.options.date_as_date => {
                return quoted(room, |out| time::write_date(text, out));
            }
            TextForm::Date => return quoted(room, |out| time::write_midnight(text, out)),
            TextForm::Time if self.options.time_as_time && usual::is_time(text) => {
                copy_short(b"\"", text, b"Z\"", room);
            }
            TextForm::Time if self.options.time_as_time => {
                return quoted(room, |out| time::write_time(text, out));
            }
            TextForm::Time => return room.with(|out| time::write_time_number(text, out)),
            TextForm::Timetz => return quoted(room, |out| time::write_timetz(text, out)),
            TextForm::Timestamp if usual::write(text, false, room) => {}
            TextForm::Timestamp => {
                return quoted(room, |out| time::write_timestamp(text, false, out));
            }
            TextForm::Timestamptz if usual::write(text, true, room) => {}
            TextForm::Timestamptz => {
                return quoted(room, |out| time::write_timestamp(text, true, out));
            }
            TextForm::Interval if usual::is_clock(text) => copy_short(b"\" ", text, b"\"", room),
            TextForm::Interval => return quoted(room, |out| time::write_interval(text, out)),
            TextForm::Inet if network::is_ipv4(text) => copy_short(b"\"", text, b"/32\"", room),
            TextForm::Inet => return quoted(room, |out| network::write(text, out)),
            TextForm::Point => {
                return quoted(room, |out| geometry::write(text, Digits::write_point, out));
            }
            TextForm::Geometry => {
                return quoted(room, |out| geometry::write(text, Digits::write_plain, out));
            }
            TextForm::Json => return self.write_json(text, room),
            TextForm::Range(endpoint) => {
                return quoted(room, |out| range::write(text, endpoint, out));
            }
            TextForm::Multirange(endpoint) => {
                return quoted(room, |out| range::write_multirange(text, endpoint, out));
            }
            TextForm::Tid => return write_tid(text, room),
        }
        Ok(())
    }

    fn write_float(&self, text: &[u8], width: Width, room: &mut Room<'_>) -> Written {
        if !self.is_key && float::is_verbatim(text, width) {
            room.extend(text);
            return Ok(());
        }
        let float = due(
            Float::parse(text, width),
            "float",
            "a number, NaN or Infinity",
        )?;
        match float {
            Float::Nan => room.push(b"\"NaN\""),
            Float::Infinity => room.push(b"\"Infinity\""),
            Float::NegativeInfinity => room.push(b"\"-Infinity\""),
            Float::Finite(digits) if self.is_key => {
                return quoted(room, |out| {
                    digits.write_plain(out);
                    Ok(())
                });
            }
            Float::Finite(digits) => room.with(|out| digits.write_json(out)),
        }
        Ok(())
    }

    fn write_json(&self, text: &[u8], room: &mut Room<'_>) -> Written {
        if text.len() > LARGE_VALUE && !self.is_element {
            room.push(b"{\"flow_truncated\":true,\"original_size\":");
            room.push_u64(u64::try_from(text.len()).unwrap_or(u64::MAX));
            room.push(b"}");
            return Ok(());
        }
        let start = room.position();
        let compacted = json::compact(text, room);
        compacted.map_err(|_| ValueError::new("json", "one JSON value"))?;
        // Of the elements of an array only strings are cut.
        if room.position() - start > LARGE_VALUE && self.is_element {
            json::truncate_string(room, start, LARGE_VALUE);
        }
        Ok(())
    }
}

/// Returns as much of a text as is captured: whole characters.
fn shortened(text: &[u8]) -> &[u8] {
    if text.len() <= LARGE_VALUE {
        return text;
    }
    let continues = |at: usize| text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    // A character has at most three continuation bytes; more of them are no character's.
    let end = (0..4)
        .map(|back| LARGE_VALUE - back)
        .find(|&end| !continues(end));
    text.get(..end.unwrap_or(LARGE_VALUE)).unwrap_or(text)
}

fn write_integer(text: &[u8], room: &mut Room<'_>) -> Written {
    match json::short_integer(text) {
        Some(characters) => {
            room.push_low(characters, text.len());
            Ok(())
        }
        None => write_long_integer(text, room),
    }
}

#[cold]
fn write_long_integer(text: &[u8], room: &mut Room<'_>) -> Written {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    // Longer than any of 64 bits is not an integer; a leading zero is not JSON.
    let valid = (1..=20).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && (digits.len() == 1 || digits.first() != Some(&b'0'));
    if !valid {
        return Err(ValueError::new("integer", "a decimal number"));
    }
    room.extend(text);
    Ok(())
}

fn write_bool(text: &[u8], room: &mut Room<'_>) -> Written {
    match text {
        b"t" => room.push(b"true"),
        b"f" => room.push(b"false"),
        _ => return Err(ValueError::new("bool", "t or f")),
    }
    Ok(())
}

/// Appends at most 16 characters as they are, between others.
#[inline(always)]
fn copy_short<const N: usize, const M: usize>(
    before: &[u8; N],
    text: &[u8],
    behind: &[u8; M],
    room: &mut Room<'_>,
) {
    room.push(before);
    room.push_low(json::padded(text), text.len());
    room.push(behind);
}

/// Reads a `"char"`: a byte; its octal escape if it is not ASCII; nothing for zero.
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

fn write_tid(text: &[u8], room: &mut Room<'_>) -> Written {
    let error = ValueError::new("tid", "(block,offset)");
    let inner = text
        .strip_prefix(b"(")
        .and_then(|text| text.strip_suffix(b")"))
        .ok_or(error)?;
    let comma = inner.iter().position(|&byte| byte == b',').ok_or(error)?;
    let (block, offset) = inner.split_at(comma);
    room.push(b"{\"BlockNumber\":");
    write_integer(block, room)?;
    room.push(b",\"OffsetNumber\":");
    write_integer(offset.get(1..).unwrap_or_default(), room)?;
    room.push(b",\"Valid\":true}");
    Ok(())
}
