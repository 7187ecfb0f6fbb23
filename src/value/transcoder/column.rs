//! Transcoder of one column.

use std::cell::RefCell;

use protocol::Oid;

use super::super::builtin::Traits;
use super::super::error::ValueError;
use super::super::options::ValueOptions;
use super::super::pg_type::TypeKind;
use super::super::registry::TypeRegistry;
use super::array::{Array, ElementWriter};
use super::fast_path::{self, FastPath};
use super::scalar::Scalar;
use crate::buffer::Buffer;
use crate::json::{Kernel, OutputCursor, VALUE_WINDOW};

/// Writer of the values of one column as JSON, made once for the column.
///
/// It reads the server's text format with `DateStyle` ISO, `IntervalStyle` postgres, `bytea_output`
/// hex and `client_encoding` UTF8. The caller writes SQL NULL.
#[derive(Debug, Clone)]
pub struct Transcoder {
    fast_path: FastPath,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Scalar(Scalar),
    Array(Box<Array<Transcoder>>),
}

impl Transcoder {
    /// Makes the transcoder of a column. A value of an unknown type is written as a string of its
    /// text, a floating-point number of a key as a string.
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
            // With `multidimensional_arrays`, the schema of every array is an array.
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
        let fast_path = match &shape {
            Shape::Scalar(scalar) => scalar.fast_path(),
            Shape::Array(_) => FastPath::None,
        };
        Self { fast_path, shape }
    }

    /// Writes the JSON of a short value to the start of a window, and returns its length. Returns
    /// `None` if the fast path does not handle the value, valid or not; [`Transcoder::write_to`]
    /// handles all values.
    #[inline(always)]
    pub(crate) fn write_short<K: Kernel>(
        &self,
        text: &[u8],
        kernel: K,
        window: &mut [u8; VALUE_WINDOW],
    ) -> Option<usize> {
        match self.fast_path {
            FastPath::Text => kernel.quote(text, window),
            FastPath::Integer => kernel.integer(text, window),
            FastPath::Bool => fast_path::write_bool(text, window),
            FastPath::Date if fast_path::is_date(text) => kernel.quote(text, window),
            FastPath::Timestamp => fast_path::write_short(text, kernel, window),
            FastPath::Timestamptz => {
                fast_path::write_short(text.strip_suffix(b"+00")?, kernel, window)
            }
            FastPath::Date | FastPath::None => None,
        }
    }

    /// Appends the JSON of a value.
    ///
    /// # Errors
    ///
    /// Fails if the text is not in the text form of the type; the bytes that were appended are then
    /// unspecified.
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
    /// Fails if the text is not in the text form of the type; nothing is appended then.
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

impl ElementWriter for Transcoder {
    #[inline(always)]
    fn write_to(&self, text: &[u8], cursor: &mut OutputCursor<'_>) -> Result<(), ValueError> {
        Self::write_to(self, text, cursor)
    }
}
