//! Results of queries: DataRow and RowDescription.

use std::{fmt, iter::FusedIterator};

use nom::Parser;

use crate::{
    codec::{Malformed, Parsed, all_consuming, bytes, c_str, int16, int32, oid, uint16},
    error::{DecodeError, DecodeErrorKind},
    ids::Oid,
    message::Format,
};

/// Row of a result: the value of each column, or `None` for NULL.
///
/// See [DataRow](https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-DATAROW).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DataRow<'a> {
    count: u16,
    values: &'a [u8],
}

impl<'a> DataRow<'a> {
    #[inline]
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        all_consuming("DataRow", body, |input| {
            let (values, count) = uint16(input)?;
            let mut rest = values;
            for _ in 0..count {
                (rest, _) = value(rest)?;
            }
            Ok((rest, Self { count, values }))
        })
    }

    /// Returns the number of columns.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Returns whether there are no columns.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns an iterator over the values, in the order of the columns.
    #[inline]
    pub fn iter(&self) -> DataRowIter<'a> {
        DataRowIter {
            left: self.count,
            rest: self.values,
        }
    }
}

impl<'a> IntoIterator for DataRow<'a> {
    type Item = Option<&'a [u8]>;
    type IntoIter = DataRowIter<'a>;

    #[inline]
    fn into_iter(self) -> DataRowIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for DataRow<'_> {
    /// Shows the size of the row, without its values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "DataRow({} columns, {} bytes)",
            self.count,
            self.values.len()
        )
    }
}

/// Iterator over the values of a [`DataRow`].
#[derive(Clone)]
pub struct DataRowIter<'a> {
    left: u16,
    rest: &'a [u8],
}

impl<'a> Iterator for DataRowIter<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // The row has been validated: the count reaches 0 before the bytes run out.
        self.left = self.left.checked_sub(1)?;
        let (rest, value) = value(self.rest).ok()?;
        self.rest = rest;
        Some(value)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for DataRowIter<'_> {}

impl FusedIterator for DataRowIter<'_> {}

impl fmt::Debug for DataRowIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "DataRowIter({} columns, {} bytes left)",
            self.left,
            self.rest.len()
        )
    }
}

/// Parses a length and as many bytes. A length of -1 means NULL.
#[inline(always)]
fn value(input: &[u8]) -> Parsed<'_, Option<&[u8]>> {
    let (rest, length) = int32(input)?;
    match usize::try_from(length) {
        Ok(length) => bytes(rest, length).map(|(rest, value)| (rest, Some(value))),
        Err(_) if length == -1 => Ok((rest, None)),
        Err(_) => Err(Malformed::at(input, DecodeErrorKind::InvalidLength)),
    }
}

/// Columns of a result.
///
/// See [RowDescription](https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-ROWDESCRIPTION).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RowDescription<'a> {
    count: u16,
    fields: &'a [u8],
}

impl<'a> RowDescription<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        all_consuming("RowDescription", body, |input| {
            let (fields, count) = uint16(input)?;
            let mut rest = fields;
            for _ in 0..count {
                (rest, _) = field(rest)?;
            }
            Ok((rest, Self { count, fields }))
        })
    }

    /// Returns the number of columns.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Returns whether there are no columns.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns an iterator over the columns, in order.
    pub fn iter(&self) -> RowDescriptionIter<'a> {
        RowDescriptionIter {
            left: self.count,
            rest: self.fields,
        }
    }
}

impl<'a> IntoIterator for RowDescription<'a> {
    type Item = FieldDescription<'a>;
    type IntoIter = RowDescriptionIter<'a>;

    fn into_iter(self) -> RowDescriptionIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for RowDescription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterator over the columns of a [`RowDescription`].
#[derive(Debug, Clone)]
pub struct RowDescriptionIter<'a> {
    left: u16,
    rest: &'a [u8],
}

impl<'a> Iterator for RowDescriptionIter<'a> {
    type Item = FieldDescription<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (rest, field) = field(self.rest).ok()?;
        self.rest = rest;
        Some(field)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for RowDescriptionIter<'_> {}

impl FusedIterator for RowDescriptionIter<'_> {}

/// Column of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldDescription<'a> {
    /// Name of the column.
    pub name: &'a str,
    /// Table of the column; [`Oid::INVALID`] if it is not a column of a table.
    pub table: Oid,
    /// Number of the column in its table; 0 if it is not a column of a table.
    pub column: i16,
    /// Data type.
    pub type_oid: Oid,
    /// Size of the type in bytes; negative for a type of variable size.
    pub type_size: i16,
    /// Type modifier, such as the length of a varchar; -1 for none.
    pub type_modifier: i32,
    /// Format of the values. In the description of a statement it is not known yet: always text.
    pub format: Format,
}

fn field(input: &[u8]) -> Parsed<'_, FieldDescription<'_>> {
    let (input, (name, table, column, type_oid, type_size, type_modifier, format)) =
        (c_str, oid, int16, oid, int16, int32, Format::parse).parse(input)?;
    let field = FieldDescription {
        name,
        table,
        column,
        type_oid,
        type_size,
        type_modifier,
        format,
    };
    Ok((input, field))
}
