//! Codec of one key column: from the server's text to a value, its stored form, and a parameter.

use protocol::Oid;

use super::super::builtin::KeyForm;
use super::super::datetime;
use super::super::error::ValueError;
use super::super::pg_type::TypeKind;
use super::super::registry::TypeRegistry;
use super::super::transcoder::{parse_bytea, parse_char};
use super::comparison::{Comparison, comparison};
use super::decimal::Decimal;
use super::rank::{find_rank, rank_error};
use super::value::{KeyValue, Ranked};
use super::{moment, tuple};

/// Codec for the values of one key column.
#[derive(Debug, Clone)]
pub struct KeyCodec {
    form: KeyForm,
    predictable: bool,
    comparable: bool,
    comparison: Comparison,
}

impl KeyCodec {
    /// Makes the codec of a column. `bytewise_collation` is whether the column's collation sorts by
    /// bytes; types without a collation ignore it.
    pub fn new(type_oid: Oid, types: &TypeRegistry, bytewise_collation: bool) -> Self {
        let form = types.traits(types.ultimate(type_oid)).key;
        // The mode of a backfill depends on this. Only one level of domains is resolved, as in the
        // connector that this one replaces, so that its tasks keep their mode.
        let (named, is_enum) = match types.kind(type_oid) {
            TypeKind::Domain { base, .. } => (base, false),
            kind => (type_oid, kind == TypeKind::Enum),
        };
        let is_text = |form| matches!(form, KeyForm::Text | KeyForm::Bpchar | KeyForm::Citext);
        let comparable = match form {
            KeyForm::Text | KeyForm::Bpchar | KeyForm::Name => bytewise_collation,
            KeyForm::Citext | KeyForm::Opaque => false,
            _ => true,
        };
        Self {
            form,
            predictable: !is_enum && !is_text(types.traits(named).key),
            comparable,
            comparison: comparison(type_oid, form, types),
        }
    }

    /// Returns the comparison of the column with a parameter, in SQL.
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }

    /// Returns whether the automatic choice of the backfill mode is a precise backfill: for all
    /// types but text and enums.
    pub fn is_predictable(&self) -> bool {
        self.predictable
    }

    /// Returns whether values compare in the server's order.
    pub fn is_comparable(&self) -> bool {
        self.comparable
    }

    /// Reads a value from the server's text; `None` is SQL NULL.
    ///
    /// # Errors
    ///
    /// Fails if the text is not in the text form of the type.
    #[inline]
    pub fn parse(&self, text: Option<&[u8]>) -> Result<KeyValue, ValueError> {
        let Some(text) = text else {
            return Ok(KeyValue::Null);
        };
        match self.form {
            KeyForm::Integer => parse_integer(text).map(KeyValue::Integer),
            KeyForm::Uuid => parse_uuid(text).map(KeyValue::Uuid),
            KeyForm::Text | KeyForm::Name | KeyForm::Citext | KeyForm::Bytewise => {
                utf8(text).map(|text| KeyValue::Text(text.into()))
            }
            _ => self.parse_uncommon(text),
        }
    }

    fn parse_uncommon(&self, text: &[u8]) -> Result<KeyValue, ValueError> {
        match self.form {
            KeyForm::Bool => match text {
                b"t" => Ok(KeyValue::Bool(true)),
                b"f" => Ok(KeyValue::Bool(false)),
                _ => Err(ValueError::new("bool", "t or f")),
            },
            KeyForm::Char => parse_char(text).map(|byte| KeyValue::Integer(byte.into())),
            KeyForm::Float4 => parse_float(text).map(KeyValue::Float4),
            KeyForm::Float8 => parse_float(text).map(KeyValue::Float8),
            KeyForm::Numeric => Decimal::parse(utf8(text)?).map(KeyValue::Numeric),
            KeyForm::Bytes => parse_bytea(text).map(|bytes| KeyValue::Bytes(bytes.into())),
            KeyForm::Date => {
                moment::from_date(datetime::parse_date(text)).ok_or(moment::error(self.form))
            }
            KeyForm::Timestamp | KeyForm::Timestamptz => {
                let zoned = self.form == KeyForm::Timestamptz;
                moment::from_timestamp(datetime::parse_timestamp(text, zoned))
                    .ok_or(moment::error(self.form))
            }
            KeyForm::Bpchar => utf8(text).map(|text| KeyValue::Padded(text.into())),
            KeyForm::Ranked(rank) => {
                let number = find_rank(rank, text).ok_or(rank_error(rank))?;
                let text = utf8(text)?.into();
                Ok(KeyValue::Ranked(Box::new(Ranked::new(number, text))))
            }
            _ => utf8(text).map(|text| KeyValue::Text(text.into())),
        }
    }

    /// Appends the stored form of a value.
    pub fn encode(&self, value: &KeyValue, out: &mut Vec<u8>) {
        match value {
            KeyValue::Null => tuple::write_null(out),
            KeyValue::Bool(value) => tuple::write_bool(*value, out),
            KeyValue::Integer(value) => tuple::write_integer(*value, out),
            KeyValue::Float4(value) => tuple::write_float4(*value, out),
            KeyValue::Float8(value) => tuple::write_float8(*value, out),
            KeyValue::Numeric(value) => value.encode(out),
            KeyValue::Bytes(bytes) => tuple::write_bytes(bytes, out),
            KeyValue::Uuid(bytes) => tuple::write_string(&uuid_text(bytes), out),
            KeyValue::Moment { ticks, offset } => {
                tuple::write_string(&moment::to_stored(self.form, *ticks, *offset), out);
            }
            KeyValue::Text(text) | KeyValue::Padded(text) => tuple::write_string(text, out),
            KeyValue::Ranked(ranked) => tuple::write_string(ranked.text(), out),
        }
    }

    /// Reads a value from its stored form at the start of the input, and moves the input past it.
    ///
    /// # Errors
    ///
    /// Fails if the input does not start with an element of the column's type; the input is then
    /// unchanged.
    pub fn decode(&self, input: &mut &[u8]) -> Result<KeyValue, ValueError> {
        let mut rest = *input;
        let value = self.decode_element(&mut rest)?;
        *input = rest;
        Ok(value)
    }

    fn decode_element(&self, rest: &mut &[u8]) -> Result<KeyValue, ValueError> {
        if tuple::read_null(rest) {
            return Ok(KeyValue::Null);
        }
        match self.form {
            KeyForm::Bool => tuple::read_bool(rest).map(KeyValue::Bool),
            KeyForm::Integer | KeyForm::Char => tuple::read_integer(rest).map(KeyValue::Integer),
            KeyForm::Float4 => tuple::read_float4(rest).map(KeyValue::Float4),
            KeyForm::Float8 => tuple::read_float8(rest).map(KeyValue::Float8),
            KeyForm::Numeric => Decimal::decode(rest).map(KeyValue::Numeric),
            KeyForm::Bytes => tuple::read_bytes(rest).map(|bytes| KeyValue::Bytes(bytes.into())),
            KeyForm::Date | KeyForm::Timestamp | KeyForm::Timestamptz => {
                let stored = tuple::read_string(rest)?;
                moment::from_stored(self.form, stored.as_bytes()).ok_or(moment::error(self.form))
            }
            _ => self.parse(Some(tuple::read_string(rest)?.as_bytes())),
        }
    }

    /// Returns the text of a value as a parameter of the column's type; `None` is NULL.
    pub fn parameter(&self, value: &KeyValue) -> Option<String> {
        Some(match value {
            KeyValue::Null => return None,
            KeyValue::Bool(value) => value.to_string(),
            KeyValue::Integer(value) if self.form == KeyForm::Char => signed_byte(*value),
            KeyValue::Integer(value) => value.to_string(),
            KeyValue::Float4(value) => float_text(value.is_infinite(), format!("{value:e}")),
            KeyValue::Float8(value) => float_text(value.is_infinite(), format!("{value:e}")),
            KeyValue::Numeric(value) => value.text().to_owned(),
            KeyValue::Bytes(bytes) => hex_text(bytes),
            KeyValue::Uuid(bytes) => uuid_text(bytes),
            KeyValue::Moment { ticks, .. } => moment::to_parameter(self.form, *ticks),
            KeyValue::Text(text) | KeyValue::Padded(text) => text.to_string(),
            KeyValue::Ranked(ranked) => ranked.text().to_owned(),
        })
    }
}

fn utf8(text: &[u8]) -> Result<&str, ValueError> {
    std::str::from_utf8(text).map_err(|_| ValueError::new("text of a key", "UTF-8"))
}

#[inline]
fn parse_integer(text: &[u8]) -> Result<i64, ValueError> {
    let error = ValueError::new("integer", "a decimal number of 64 bits");
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(error);
    }
    // Eighteen digits fit in 64 bits; the few longer numbers are parsed with checks.
    if digits.len() > 18 {
        return std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(error);
    }
    let number = digits
        .iter()
        .fold(0, |number, byte| number * 10 + i64::from(byte - b'0'));
    Ok(if negative { -number } else { number })
}

fn parse_float<T: std::str::FromStr>(text: &[u8]) -> Result<T, ValueError> {
    let number = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    number.ok_or(ValueError::new("float", "a number, NaN or Infinity"))
}

#[inline]
fn parse_uuid(text: &[u8]) -> Result<[u8; 16], ValueError> {
    let error = ValueError::new("uuid", "32 hexadecimal digits in five groups");
    let text: &[u8; 36] = text.try_into().map_err(|_| error)?;
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => 0xFF,
    };
    let (mut bytes, mut seen) = ([0; 16], 0);
    for (byte, at) in bytes
        .iter_mut()
        .zip([0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34])
    {
        let (high, low) = (nibble(text[at]), nibble(text[at + 1]));
        seen |= high | low;
        *byte = high << 4 | low & 0xF;
    }
    let hyphens = [8, 13, 18, 23].iter().all(|&at| text[at] == b'-');
    if seen > 0xF || !hyphens {
        Err(error)
    } else {
        Ok(bytes)
    }
}

fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        push_hex(*byte, &mut text);
    }
    text
}

fn hex_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    bytes.iter().for_each(|byte| push_hex(*byte, &mut text));
    text
}

fn push_hex(byte: u8, text: &mut String) {
    for nibble in [byte >> 4, byte & 0xF] {
        text.extend(char::from_digit(nibble.into(), 16));
    }
}

/// Returns the number that the server casts to a `"char"`. Before version 16, it cannot read all
/// values of the type as text.
fn signed_byte(value: i64) -> String {
    let byte = u8::try_from(value).unwrap_or_default();
    byte.cast_signed().to_string()
}

/// Returns a number as the server reads it, from the notation of the standard library.
fn float_text(is_infinite: bool, text: String) -> String {
    if is_infinite {
        text.replace("inf", "Infinity")
    } else {
        text
    }
}
