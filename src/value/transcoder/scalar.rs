//! One value that is not an array: the dispatch by form, and the forms of a few lines.

use super::super::LARGE_VALUE;
use super::super::builtin::TextForm;
use super::super::float::{Digits, Float, Width};
use super::{
    Usual, ValueError, ValueOptions, Written, bytea, due, geometry, network, quoted, range, time,
};
use crate::json;

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
            TextForm::Timestamp => Usual::Timestamp,
            TextForm::Timestamptz => Usual::Timestamptz,
            _ => Usual::No,
        }
    }

    #[inline]
    pub(super) fn write(&self, text: &[u8], out: &mut Vec<u8>) -> Written {
        match self.text {
            TextForm::Text => json::write_string(shortened(text), out),
            TextForm::Verbatim => json::write_string(text, out),
            TextForm::Integer => return write_integer(text, out),
            TextForm::Bool => return write_bool(text, out),
            TextForm::Float4 => return self.write_float(text, Width::Single, out),
            TextForm::Float8 => return self.write_float(text, Width::Double, out),
            TextForm::Char => json::write_u64(u64::from(parse_char(text)?), out),
            TextForm::Bytea => return quoted(out, |out| bytea::write(text, out)),
            TextForm::Date if self.options.date_as_date => {
                return quoted(out, |out| time::write_date(text, out));
            }
            TextForm::Date => return quoted(out, |out| time::write_midnight(text, out)),
            TextForm::Time if self.options.time_as_time => {
                return quoted(out, |out| time::write_time(text, out));
            }
            TextForm::Time => return time::write_time_number(text, out),
            TextForm::Timetz => return quoted(out, |out| time::write_timetz(text, out)),
            TextForm::Timestamp => {
                return quoted(out, |out| time::write_timestamp(text, false, out));
            }
            TextForm::Timestamptz => {
                return quoted(out, |out| time::write_timestamp(text, true, out));
            }
            TextForm::Interval => return quoted(out, |out| time::write_interval(text, out)),
            TextForm::Inet => return quoted(out, |out| network::write(text, out)),
            TextForm::Point => {
                return quoted(out, |out| geometry::write(text, Digits::write_point, out));
            }
            TextForm::Geometry => {
                return quoted(out, |out| geometry::write(text, Digits::write_plain, out));
            }
            TextForm::Json => return self.write_json(text, out),
            TextForm::Range(endpoint) => {
                return quoted(out, |out| range::write(text, endpoint, out));
            }
            TextForm::Multirange(endpoint) => {
                return quoted(out, |out| range::write_multirange(text, endpoint, out));
            }
            TextForm::Tid => return write_tid(text, out),
        }
        Ok(())
    }

    fn write_float(&self, text: &[u8], width: Width, out: &mut Vec<u8>) -> Written {
        let float = due(
            Float::parse(text, width),
            "float",
            "a number, NaN or Infinity",
        )?;
        match float {
            Float::Nan => out.extend_from_slice(b"\"NaN\""),
            Float::Infinity => out.extend_from_slice(b"\"Infinity\""),
            Float::NegativeInfinity => out.extend_from_slice(b"\"-Infinity\""),
            Float::Finite(digits) if self.is_key => {
                out.push(b'"');
                digits.write_plain(out);
                out.push(b'"');
            }
            Float::Finite(digits) => digits.write_json(out),
        }
        Ok(())
    }

    fn write_json(&self, text: &[u8], out: &mut Vec<u8>) -> Written {
        let start = out.len();
        if text.len() > LARGE_VALUE && !self.is_element {
            out.extend_from_slice(b"{\"flow_truncated\":true,\"original_size\":");
            json::write_u64(u64::try_from(text.len()).unwrap_or(u64::MAX), out);
            out.push(b'}');
            return Ok(());
        }
        let compacted = json::compact(text, out);
        compacted.map_err(|_| ValueError::new("json", "one JSON value"))?;
        // Of the elements of an array only strings are cut.
        if out.len() - start > LARGE_VALUE && self.is_element {
            json::truncate_string(out, start, LARGE_VALUE);
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

fn write_integer(text: &[u8], out: &mut Vec<u8>) -> Written {
    match json::short_integer(text) {
        Some(characters) => {
            json::push_part(&characters.to_le_bytes(), text.len(), out);
            Ok(())
        }
        None => write_long_integer(text, out),
    }
}

#[cold]
fn write_long_integer(text: &[u8], out: &mut Vec<u8>) -> Written {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    // Longer than any of 64 bits is not an integer; a leading zero is not JSON.
    let valid = (1..=20).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && (digits.len() == 1 || digits.first() != Some(&b'0'));
    if !valid {
        return Err(ValueError::new("integer", "a decimal number"));
    }
    out.extend_from_slice(text);
    Ok(())
}

fn write_bool(text: &[u8], out: &mut Vec<u8>) -> Written {
    let word: &[u8] = match text {
        b"t" => b"true",
        b"f" => b"false",
        _ => return Err(ValueError::new("bool", "t or f")),
    };
    out.extend_from_slice(word);
    Ok(())
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

fn write_tid(text: &[u8], out: &mut Vec<u8>) -> Written {
    let error = ValueError::new("tid", "(block,offset)");
    let inner = text
        .strip_prefix(b"(")
        .and_then(|text| text.strip_suffix(b")"))
        .ok_or(error)?;
    let comma = inner.iter().position(|&byte| byte == b',').ok_or(error)?;
    let (block, offset) = inner.split_at(comma);
    out.extend_from_slice(b"{\"BlockNumber\":");
    write_integer(block, out)?;
    out.extend_from_slice(b",\"OffsetNumber\":");
    write_integer(offset.get(1..).unwrap_or_default(), out)?;
    out.extend_from_slice(b",\"Valid\":true}");
    Ok(())
}
