//! Server text to JSON.

mod array;
mod bytea;
mod geometry;
mod network;
mod range;
mod scalar;
mod time;
mod usual;

use std::cell::RefCell;

use super::builtin::Traits;
use super::registry::{TypeKind, TypeRegistry};
use super::{Oid, ValueError, ValueOptions};
use crate::buffer::Buffer;
use crate::json::{Kernel, OutputCursor, VALUE_WINDOW};
use array::Array;
pub(super) use bytea::parse as parse_bytea;
use scalar::Scalar;
pub(super) use scalar::parse_char;

/// Writes the values of one column as JSON: made once for a column, used for each row.
///
/// The text is what the server sends in text format, with `DateStyle` ISO, `IntervalStyle`
/// postgres, `bytea_output` hex and `client_encoding` UTF8. SQL NULL is the caller's.
#[derive(Debug, Clone)]
pub struct Transcoder {
    usual: Usual,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Scalar(Scalar),
    Array(Box<Array>),
}

impl Transcoder {
    /// Makes the transcoder of a column. A type that is not known is written as a string of its
    /// text. A key's floating-point numbers are strings.
    pub fn new(type_oid: Oid, types: &TypeRegistry, options: &ValueOptions, is_key: bool) -> Self {
        Self::nested(type_oid, types, options, is_key, false)
    }

    fn nested(
        type_oid: Oid,
        types: &TypeRegistry,
        options: &ValueOptions,
        is_key: bool,
        is_element: bool,
    ) -> Self {
        let oid = types.ultimate(type_oid);
        let scalar = |text| {
            Shape::Scalar(Scalar {
                text,
                options: *options,
                is_key,
                is_element,
            })
        };
        let shape = match types.kind(oid) {
            // In nested mode the schema of every array is an array.
            TypeKind::Array { element }
                if options.multidimensional_arrays || types.traits(element).arrays =>
            {
                let delimiter = types.get(oid).map_or(b',', |array| array.delimiter);
                let element = Self::nested(element, types, options, is_key, true);
                Shape::Array(Box::new(Array {
                    element,
                    delimiter,
                    options: *options,
                    scratch: RefCell::default(),
                }))
            }
            TypeKind::Array { .. } => scalar(Traits::UNKNOWN.text),
            _ => scalar(types.traits(oid).text),
        };
        let usual = match &shape {
            Shape::Scalar(scalar) => scalar.usual(),
            Shape::Array(_) => Usual::No,
        };
        Self { usual, shape }
    }

    /// Writes the JSON of a value to the start of a place and returns its length, if it is a short one
    /// of the usual forms. `None` says nothing about the value: [`Transcoder::write_to`] is next.
    #[inline(always)]
    pub(crate) fn write_short<K: Kernel>(
        &self,
        text: &[u8],
        kernel: K,
        place: &mut [u8; VALUE_WINDOW],
    ) -> Option<usize> {
        match self.usual {
            Usual::Text => kernel.quote(text, place),
            Usual::Integer => kernel.integer(text, place),
            Usual::Bool => usual::write_bool(text, place),
            Usual::Date if usual::is_date(text) => kernel.quote(text, place),
            Usual::Timestamp => usual::write_short(text, kernel, place),
            Usual::Timestamptz => usual::write_short(text.strip_suffix(b"+00")?, kernel, place),
            Usual::Date | Usual::No => None,
        }
    }

    /// Appends the JSON of a value.
    ///
    /// # Errors
    ///
    /// Fails if the text is not what the server writes for the type; what was appended by then is of
    /// no use.
    #[inline(never)]
    pub(crate) fn write_to(
        &self,
        text: &[u8],
        cursor: &mut OutputCursor<'_>,
    ) -> Result<(), ValueError> {
        match &self.shape {
            Shape::Scalar(scalar) => scalar.write(text, cursor),
            Shape::Array(array) => array.write(text, cursor),
        }
    }

    /// Appends the JSON of a value.
    ///
    /// # Errors
    ///
    /// Fails if the text is not what the server writes for the type; nothing is appended then.
    pub fn write(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
        Buffer::wrap(out, |out| {
            let start = out.len();
            let mut cursor = OutputCursor::new(out, text.len());
            let written = self.write_to(text, &mut cursor);
            if written.is_err() {
                cursor.resume_at(start);
            }
            cursor.finish();
            written
        })
    }
}

/// The forms that most values have: short ones are written without a way over the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usual {
    /// A string as it is, unless it is too large.
    Text,
    Integer,
    Bool,
    /// A date as one, not as a timestamp.
    Date,
    Timestamp,
    Timestamptz,
    /// None of these.
    No,
}

/// What the dispatch of [`Scalar`] needs of the forms that take more than a line.
type Written = Result<(), ValueError>;

/// Appends a JSON string around what `contents` appends; the contents need no escapes.
#[inline]
fn quoted(
    cursor: &mut OutputCursor<'_>,
    contents: impl FnOnce(&mut Vec<u8>) -> Written,
) -> Written {
    cursor.push(b"\"");
    cursor.append_with(contents)?;
    cursor.push(b"\"");
    Ok(())
}

/// Returns the error if there is none.
fn due<T>(found: Option<T>, type_name: &'static str, due: &'static str) -> Result<T, ValueError> {
    found.ok_or(ValueError::new(type_name, due))
}

#[cfg(test)]
mod tests;
