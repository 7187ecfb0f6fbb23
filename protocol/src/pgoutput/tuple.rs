//! Rows in messages of `pgoutput`.

use std::{fmt, iter::Copied, slice};

use super::TupleArena;
use crate::{
    codec::{Malformed, Parsed, sized, uint8, uint16},
    error::DecodeErrorKind,
};

/// Tags of the kinds of values.
pub(crate) mod kind {
    pub(crate) const NULL: u8 = b'n';
    pub(crate) const UNCHANGED_TOAST: u8 = b'u';
    pub(crate) const TEXT: u8 = b't';
    pub(crate) const BINARY: u8 = b'b';
}

/// Values of a row, in the order of the relation's columns.
///
/// See [TupleData](https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html#PROTOCOL-LOGICALREP-MESSAGE-FORMATS-TUPLEDATA).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tuple<'a> {
    values: &'a [TupleData<'a>],
}

impl<'a> Tuple<'a> {
    #[inline]
    pub(super) fn parse(input: &'a [u8], arena: &'a TupleArena) -> Parsed<'a, Self> {
        match Self::split(input, arena) {
            Some((tuple, rest)) => Ok((rest, tuple)),
            None => Err(Self::malformed(input)),
        }
    }

    /// Splits off a tuple. Returns `None` if it is malformed.
    #[inline(always)]
    pub(super) fn split(input: &'a [u8], arena: &'a TupleArena) -> Option<(Self, &'a [u8])> {
        let (count, rest) = input.split_first_chunk()?;
        let count = usize::from(u16::from_be_bytes(*count));
        // A value takes at least one byte. Nothing is allocated for a larger count.
        if count > rest.len() {
            return None;
        }
        let values = arena.alloc_nulls(count);
        let rest = fill_values(values, rest)?;
        Some((Self { values }, rest))
    }

    /// Returns the error for a malformed tuple.
    #[cold]
    fn malformed(input: &[u8]) -> nom::Err<Malformed> {
        let (mut rest, count) = match uint16(input) {
            Ok(parsed) => parsed,
            Err(error) => return error,
        };
        for _ in 0..count {
            match split_value(rest) {
                Some((_, after)) => rest = after,
                None => return malformed(rest),
            }
        }
        Malformed::at(input, DecodeErrorKind::InvalidValue)
    }

    /// Returns the number of columns.
    #[inline]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns whether there are no columns.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the values in the order of the columns.
    #[inline]
    pub fn values(&self) -> &'a [TupleData<'a>] {
        self.values
    }

    /// Returns an iterator over the values, in the order of the columns.
    #[inline]
    pub fn iter(&self) -> Copied<slice::Iter<'a, TupleData<'a>>> {
        self.values.iter().copied()
    }
}

impl<'a> IntoIterator for Tuple<'a> {
    type Item = TupleData<'a>;
    type IntoIter = Copied<slice::Iter<'a, TupleData<'a>>>;

    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Tuple<'_> {
    /// Shows the number of columns, without the values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tuple({} columns)", self.values.len())
    }
}

/// Value of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TupleData<'a> {
    /// NULL.
    Null,
    /// TOASTed value that did not change, which the server does not send.
    UnchangedToast,
    /// Value in text format.
    Text(&'a [u8]),
    /// Value in binary format. Requires the option `binary`, which servers since 14 have.
    Binary(&'a [u8]),
}

impl fmt::Debug for TupleData<'_> {
    /// Shows the kind and the length, without the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::UnchangedToast => f.write_str("UnchangedToast"),
            Self::Text(value) => write!(f, "Text({} bytes)", value.len()),
            Self::Binary(value) => write!(f, "Binary({} bytes)", value.len()),
        }
    }
}

/// Parses as many values as `values` holds, and returns the rest of the input.
///
/// This function is not inlined, so that its short loop has all registers for itself.
#[inline(never)]
fn fill_values<'a>(values: &mut [TupleData<'a>], input: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = input;
    for value in values {
        // Most values are text. Each branch stores its own value: a value that several branches
        // return would pass through memory.
        if let Some((text, after)) = split_text(rest) {
            (*value, rest) = (TupleData::Text(text), after);
        } else if let [kind::NULL, after @ ..] = rest {
            (*value, rest) = (TupleData::Null, after);
        } else {
            (*value, rest) = split_other(rest)?;
        }
    }
    Some(rest)
}

/// Splits off the first value. Returns `None` if it is malformed.
fn split_value(input: &[u8]) -> Option<(TupleData<'_>, &[u8])> {
    if let Some((text, rest)) = split_text(input) {
        return Some((TupleData::Text(text), rest));
    }
    match input {
        [kind::NULL, rest @ ..] => Some((TupleData::Null, rest)),
        _ => split_other(input),
    }
}

/// Splits off the first value if it is text, as nearly all values are. A single check of the length
/// of the input covers the kind and the length of the value.
#[inline(always)]
fn split_text(input: &[u8]) -> Option<(&[u8], &[u8])> {
    match input.split_first_chunk::<5>() {
        Some(([kind::TEXT, length @ ..], rest)) => rest.split_at_checked(size(*length)),
        _ => None,
    }
}

#[inline(never)]
fn split_other(input: &[u8]) -> Option<(TupleData<'_>, &[u8])> {
    match input {
        [kind::UNCHANGED_TOAST, rest @ ..] => Some((TupleData::UnchangedToast, rest)),
        [kind::BINARY, rest @ ..] => {
            split_sized(rest).map(|(value, rest)| (TupleData::Binary(value), rest))
        }
        _ => None,
    }
}

/// Splits off a length and as many bytes.
#[inline(always)]
fn split_sized(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first_chunk()?;
    rest.split_at_checked(size(*length))
}

/// Converts the length of a value. A negative length becomes larger than any slice.
#[inline(always)]
fn size(length: [u8; 4]) -> usize {
    let length = i64::from(i32::from_be_bytes(length)).cast_unsigned();
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Returns the error for a malformed value.
#[cold]
fn malformed(input: &[u8]) -> nom::Err<Malformed> {
    let parsed = uint8(input).and_then(|(rest, kind)| match kind {
        kind::TEXT | kind::BINARY => sized(rest),
        other => Err(Malformed::at(input, DecodeErrorKind::UnknownTag(other))),
    });
    match parsed {
        Err(error) => error,
        Ok(_) => Malformed::at(input, DecodeErrorKind::InvalidValue),
    }
}

/// Row before an update or delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldTuple<'a> {
    /// Row with the columns of the replica identity; all others are NULL.
    Key(Tuple<'a>),
    /// Row with all columns: the replica identity is FULL.
    Full(Tuple<'a>),
}

impl<'a> OldTuple<'a> {
    /// Returns the row.
    #[inline]
    pub fn tuple(&self) -> Tuple<'a> {
        match self {
            Self::Key(tuple) | Self::Full(tuple) => *tuple,
        }
    }
}
