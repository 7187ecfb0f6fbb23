//! Rows as pgoutput sends them.

use std::{fmt, iter::Copied, slice};

use super::TupleArena;
use crate::{
    codec::{Malformed, Parsed, sized, uint8, uint16},
    error::DecodeErrorKind,
};

/// The form of each value.
pub(crate) mod kind {
    pub(crate) const NULL: u8 = b'n';
    pub(crate) const UNCHANGED_TOAST: u8 = b'u';
    pub(crate) const TEXT: u8 = b't';
    pub(crate) const BINARY: u8 = b'b';
}

/// The values of a row, in the order of the relation's columns.
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

    /// Splits a tuple off, if it is well-formed.
    #[inline(always)]
    pub(super) fn split(input: &'a [u8], arena: &'a TupleArena) -> Option<(Self, &'a [u8])> {
        let (count, rest) = input.split_first_chunk()?;
        let count = usize::from(u16::from_be_bytes(*count));
        // A value takes a byte at least: for what cannot be there is no memory.
        if count > rest.len() {
            return None;
        }
        let values = arena.alloc_nulls(count);
        let rest = fill_values(values, rest)?;
        Some((Self { values }, rest))
    }

    /// Says what is wrong with a tuple that cannot be split off.
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

    /// Returns an iterator over them.
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
    /// Shows the shape of the row and none of its values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tuple({} columns)", self.values.len())
    }
}

/// A value of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TupleData<'a> {
    /// NULL.
    Null,
    /// A value out of line that did not change, and is not sent.
    UnchangedToast,
    /// The value in its text form.
    Text(&'a [u8]),
    /// The value in its binary form: option `binary`, servers since 14.
    Binary(&'a [u8]),
}

impl fmt::Debug for TupleData<'_> {
    /// Shows the form and the length, and not the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::UnchangedToast => f.write_str("UnchangedToast"),
            Self::Text(value) => write!(f, "Text({} bytes)", value.len()),
            Self::Binary(value) => write!(f, "Binary({} bytes)", value.len()),
        }
    }
}

/// Puts values in their places, and returns what is behind them.
///
/// It is a function of its own because the loop is short, and has the registers for itself there.
#[inline(never)]
fn fill_values<'a>(values: &mut [TupleData<'a>], input: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = input;
    for value in values {
        // Most values are text. Each kind is stored by itself: joined first, they would take the way
        // over memory.
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

/// Splits the first value off, if it is well-formed.
fn split_value(input: &[u8]) -> Option<(TupleData<'_>, &[u8])> {
    if let Some((text, rest)) = split_text(input) {
        return Some((TupleData::Text(text), rest));
    }
    match input {
        [kind::NULL, rest @ ..] => Some((TupleData::Null, rest)),
        _ => split_other(input),
    }
}

/// Splits the first value off, if it is text: nearly all are. One look at the length of the input is
/// enough for the kind and the length of the value.
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

/// Splits off a length and that many bytes.
#[inline(always)]
fn split_sized(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first_chunk()?;
    rest.split_at_checked(size(*length))
}

/// Reads the length of a value. A negative one becomes larger than any slice.
#[inline(always)]
fn size(length: [u8; 4]) -> usize {
    let length = i64::from(i32::from_be_bytes(length)).cast_unsigned();
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Says what is wrong with a value that cannot be split off.
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

/// What is known of a row before its change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldTuple<'a> {
    /// The columns of the replica identity, all others NULL.
    Key(Tuple<'a>),
    /// All columns: the replica identity is FULL.
    Full(Tuple<'a>),
}

impl<'a> OldTuple<'a> {
    /// Returns the row, whichever of its columns are known.
    #[inline]
    pub fn tuple(&self) -> Tuple<'a> {
        match self {
            Self::Key(tuple) | Self::Full(tuple) => *tuple,
        }
    }
}
