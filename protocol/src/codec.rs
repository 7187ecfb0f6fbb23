//! Parsers and encoders of the primitives in messages: integers, strings, lengths and counts.
//!
//! Parsers are nom functions, so nom's combinators apply. Fixed-size ones are written by hand: they
//! run for every row, and compile to one comparison and one load. Encoders check every length and
//! count against the size of its field.

use bytes::{BufMut, BytesMut};
use nom::{IResult, error::ErrorKind, error::ParseError};

use crate::{
    error::{DecodeError, DecodeErrorKind, EncodeError},
    ids::{Oid, Xid},
    lsn::Lsn,
    timestamp::PgTimestamp,
};

/// Result of a parser: the remaining input and the value.
pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Malformed>;

/// Error of a parser: the kind, and the position as the number of bytes that remained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    kind: DecodeErrorKind,
    remaining: usize,
}

impl Malformed {
    #[cold]
    pub(crate) fn at(input: &[u8], kind: DecodeErrorKind) -> nom::Err<Self> {
        nom::Err::Error(Self {
            kind,
            remaining: input.len(),
        })
    }
}

impl ParseError<&[u8]> for Malformed {
    fn from_error_kind(input: &[u8], kind: ErrorKind) -> Self {
        let kind = match kind {
            ErrorKind::Eof => DecodeErrorKind::UnexpectedEnd,
            _ => DecodeErrorKind::InvalidValue,
        };
        Self {
            kind,
            remaining: input.len(),
        }
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Parses a complete body. Bytes that the parser does not consume are an error.
#[inline(always)]
pub(crate) fn all_consuming<'a, T>(
    message: &'static str,
    body: &'a [u8],
    parser: impl FnOnce(&'a [u8]) -> Parsed<'a, T>,
) -> Result<T, DecodeError> {
    match parser(body) {
        Ok(([], value)) => Ok(value),
        Ok((rest, _)) => Err(failure(
            message,
            body,
            DecodeErrorKind::TrailingBytes,
            rest.len(),
        )),
        Err(nom::Err::Error(error) | nom::Err::Failure(error)) => {
            Err(failure(message, body, error.kind, error.remaining))
        }
        // Only nom's streaming parsers return this, and none is used.
        Err(nom::Err::Incomplete(_)) => {
            Err(failure(message, body, DecodeErrorKind::UnexpectedEnd, 0))
        }
    }
}

#[cold]
fn failure(
    message: &'static str,
    body: &[u8],
    kind: DecodeErrorKind,
    remaining: usize,
) -> DecodeError {
    DecodeError::new(kind, body.len().saturating_sub(remaining), message)
}

#[inline]
fn array<const N: usize>(input: &[u8]) -> Parsed<'_, [u8; N]> {
    match input.split_first_chunk::<N>() {
        Some((head, rest)) => Ok((rest, *head)),
        None => Err(Malformed::at(input, DecodeErrorKind::UnexpectedEnd)),
    }
}

#[inline]
pub(crate) fn uint8(input: &[u8]) -> Parsed<'_, u8> {
    array::<1>(input).map(|(rest, [byte])| (rest, byte))
}

#[inline]
pub(crate) fn uint16(input: &[u8]) -> Parsed<'_, u16> {
    array(input).map(|(rest, bytes)| (rest, u16::from_be_bytes(bytes)))
}

#[inline]
pub(crate) fn int16(input: &[u8]) -> Parsed<'_, i16> {
    array(input).map(|(rest, bytes)| (rest, i16::from_be_bytes(bytes)))
}

#[inline]
pub(crate) fn uint32(input: &[u8]) -> Parsed<'_, u32> {
    array(input).map(|(rest, bytes)| (rest, u32::from_be_bytes(bytes)))
}

#[inline]
pub(crate) fn int32(input: &[u8]) -> Parsed<'_, i32> {
    array(input).map(|(rest, bytes)| (rest, i32::from_be_bytes(bytes)))
}

#[inline]
pub(crate) fn salt(input: &[u8]) -> Parsed<'_, [u8; 4]> {
    array(input)
}

#[inline]
pub(crate) fn oid(input: &[u8]) -> Parsed<'_, Oid> {
    uint32(input).map(|(rest, number)| (rest, Oid(number)))
}

#[inline]
pub(crate) fn xid(input: &[u8]) -> Parsed<'_, Xid> {
    uint32(input).map(|(rest, number)| (rest, Xid(number)))
}

#[inline]
pub(crate) fn lsn(input: &[u8]) -> Parsed<'_, Lsn> {
    array(input).map(|(rest, bytes)| (rest, Lsn::new(u64::from_be_bytes(bytes))))
}

#[inline]
pub(crate) fn timestamp(input: &[u8]) -> Parsed<'_, PgTimestamp> {
    array(input).map(|(rest, bytes)| (rest, PgTimestamp(i64::from_be_bytes(bytes))))
}

/// Parses a byte that is 0 or 1.
#[inline]
pub(crate) fn boolean(input: &[u8]) -> Parsed<'_, bool> {
    let (rest, byte) = uint8(input)?;
    match byte {
        0 => Ok((rest, false)),
        1 => Ok((rest, true)),
        _ => Err(Malformed::at(input, DecodeErrorKind::InvalidValue)),
    }
}

/// Parses a byte of flags of which none is defined: it has to be 0.
#[inline]
pub(crate) fn no_flags(input: &[u8]) -> Parsed<'_, ()> {
    match uint8(input)? {
        (rest, 0) => Ok((rest, ())),
        _ => Err(Malformed::at(input, DecodeErrorKind::InvalidValue)),
    }
}

/// Parses `length` bytes.
#[inline]
pub(crate) fn bytes(input: &[u8], length: usize) -> Parsed<'_, &[u8]> {
    match input.split_at_checked(length) {
        Some((head, rest)) => Ok((rest, head)),
        None => Err(Malformed::at(input, DecodeErrorKind::InvalidLength)),
    }
}

/// Parses all remaining bytes.
#[inline]
pub(crate) fn rest(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (head, tail) = input.split_at(input.len());
    Ok((tail, head))
}

/// Parses a non-negative 32-bit length and as many bytes.
#[inline]
pub(crate) fn sized(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, length) = int32(input)?;
    match usize::try_from(length) {
        Ok(length) => bytes(rest, length),
        Err(_) => Err(Malformed::at(input, DecodeErrorKind::InvalidLength)),
    }
}

/// Parses bytes up to a zero byte, which is consumed but not returned.
pub(crate) fn c_bytes(input: &[u8]) -> Parsed<'_, &[u8]> {
    let end = input.iter().position(|&byte| byte == 0);
    match end.and_then(|end| input.split_at_checked(end)) {
        Some((text, [_, rest @ ..])) => Ok((rest, text)),
        _ => Err(Malformed::at(input, DecodeErrorKind::UnterminatedString)),
    }
}

/// Parses a zero-terminated UTF-8 string.
pub(crate) fn c_str(input: &[u8]) -> Parsed<'_, &str> {
    let (rest, text) = c_bytes(input)?;
    match str::from_utf8(text) {
        Ok(text) => Ok((rest, text)),
        Err(_) => Err(Malformed::at(input, DecodeErrorKind::InvalidUtf8)),
    }
}

/// Iterates over consecutive zero-terminated UTF-8 strings, up to the end of the input.
pub(crate) fn c_strs<'a>(mut input: &'a [u8]) -> impl Iterator<Item = &'a str> + use<'a> {
    std::iter::from_fn(move || {
        let (rest, text) = c_str(input).ok()?;
        input = rest;
        Some(text)
    })
}

/// Appends a zero-terminated string.
pub(crate) fn put_c_str(
    out: &mut BytesMut,
    text: &str,
    what: &'static str,
) -> Result<(), EncodeError> {
    if text.as_bytes().contains(&0) {
        return Err(EncodeError::ZeroByte(what));
    }
    out.put_slice(text.as_bytes());
    out.put_u8(0);
    Ok(())
}

/// Appends a 16-bit count.
pub(crate) fn put_count16(
    out: &mut BytesMut,
    count: usize,
    what: &'static str,
) -> Result<(), EncodeError> {
    out.put_u16(u16::try_from(count).map_err(|_| EncodeError::TooLong(what))?);
    Ok(())
}

/// Appends a 32-bit length, which is signed on the wire, and the bytes; or -1 for `None`.
pub(crate) fn put_sized(
    out: &mut BytesMut,
    value: Option<&[u8]>,
    what: &'static str,
) -> Result<(), EncodeError> {
    match value {
        None => out.put_i32(-1),
        Some(value) => {
            out.put_i32(i32::try_from(value.len()).map_err(|_| EncodeError::TooLong(what))?);
            out.put_slice(value);
        }
    }
    Ok(())
}

/// Appends a message: the tag if there is one, the length, and the body that `body` appends.
///
/// Nothing is appended if `body` fails or the body is too long for the length field.
pub(crate) fn put_frame(
    out: &mut BytesMut,
    tag: Option<u8>,
    what: &'static str,
    body: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    if let Some(tag) = tag {
        out.put_u8(tag);
    }
    let header = out.len();
    out.put_i32(0);
    let result = body(out).and_then(|()| {
        let length = i32::try_from(out.len() - header).map_err(|_| EncodeError::TooLong(what))?;
        if let Some(prefix) = out.get_mut(header..header + 4) {
            prefix.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_offsets_count_from_the_start_of_the_body() {
        let parser = |input| {
            let (rest, _) = uint16(input)?;
            uint32(rest)
        };
        let error = all_consuming("Test", &[0, 1, 2, 3], parser).unwrap_err();
        assert_eq!(
            error,
            DecodeError::new(DecodeErrorKind::UnexpectedEnd, 2, "Test")
        );
        let error = all_consuming("Test", &[0; 7], parser).unwrap_err();
        assert_eq!(
            error,
            DecodeError::new(DecodeErrorKind::TrailingBytes, 6, "Test")
        );
        assert_eq!(
            error.to_string(),
            "malformed Test message at byte 6: bytes remain after the last field"
        );
        assert_eq!(all_consuming("Test", &[0, 0, 0, 0, 1, 0], parser), Ok(256));
    }

    #[test]
    fn excessive_and_negative_lengths_are_refused() {
        for input in [
            &[0, 0, 0, 2, 1][..],
            &[0xff; 4],
            &[0x7f, 0xff, 0xff, 0xff, 0],
        ] {
            let error = all_consuming("Test", input, sized).unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::InvalidLength);
        }
        assert_eq!(
            all_consuming("Test", &[0, 0, 0, 2, 1, 2], sized),
            Ok(&[1, 2][..])
        );
    }

    #[test]
    fn strings_end_at_the_zero_byte() {
        assert_eq!(c_str(b"ab\0c"), Ok((&b"c"[..], "ab")));
        let kind = |input| all_consuming("Test", input, c_str).unwrap_err().kind();
        assert_eq!(kind(b"ab"), DecodeErrorKind::UnterminatedString);
        assert_eq!(kind(b""), DecodeErrorKind::UnterminatedString);
        assert_eq!(kind(b"a\xffb\0"), DecodeErrorKind::InvalidUtf8);
    }

    #[test]
    fn a_frame_that_cannot_be_encoded_appends_nothing() {
        let mut out = BytesMut::new();
        put_frame(&mut out, Some(b'Q'), "query", |out| {
            put_c_str(out, "a", "query")
        })
        .unwrap();
        let before = out.clone();
        let result = put_frame(&mut out, Some(b'Q'), "query", |out| {
            out.put_u8(1);
            put_c_str(out, "a\0b", "query")
        });
        assert_eq!(result, Err(EncodeError::ZeroByte("query")));
        assert_eq!(out, before);
        assert_eq!(&out[..], b"Q\0\0\0\x06a\0");
    }

    #[test]
    fn counts_that_outgrow_their_prefix_are_refused() {
        let mut out = BytesMut::new();
        assert_eq!(put_count16(&mut out, 65_535, "list"), Ok(()));
        assert_eq!(
            put_count16(&mut out, 65_536, "list"),
            Err(EncodeError::TooLong("list"))
        );
    }
}
