//! Framing of messages: a tag, a length that includes itself, and a body.
//!
//! See <https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS>.

use crate::{error::ProtocolError, message::tag};

/// Size of the tag and the length before the body, in bytes.
pub(crate) const HEADER: usize = 5;

/// Maximum lengths of messages from the server, in bytes as the length field counts them.
///
/// A server never exceeds the defaults: its own buffers are limited to 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Limit for all other messages, such as those with parameters and command tags, and for every
    /// message until the authentication is complete. Default: 64 KiB.
    pub control: u32,
    /// Limit for RowDescription and ParameterDescription. Default: 2 MiB.
    pub description: u32,
    /// Limit for ErrorResponse, NoticeResponse and NotificationResponse, which may quote a
    /// statement. Default: 16 MiB.
    pub report: u32,
    /// Limit for DataRow and CopyData. Default: 1 GiB.
    pub data: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            control: 64 << 10,
            description: 2 << 20,
            report: 16 << 20,
            data: 1 << 30,
        }
    }
}

impl Limits {
    /// Returns the limit for a tag. Unknown tags have the smallest one: they are always errors.
    #[inline]
    pub(crate) fn cap(&self, tag: u8) -> u32 {
        match tag {
            tag::DATA_ROW | tag::COPY_DATA => self.data,
            tag::ROW_DESCRIPTION | tag::PARAMETER_DESCRIPTION => self.description,
            tag::ERROR_RESPONSE | tag::NOTICE_RESPONSE | tag::NOTIFICATION_RESPONSE => self.report,
            _ => self.control,
        }
    }

    /// Returns the limits until the authentication is complete. A peer that has not been
    /// authenticated is not trusted with messages longer than `control`.
    pub(crate) fn before_authentication(&self) -> Self {
        let Self {
            control,
            description,
            report,
            data,
        } = *self;
        Self {
            control,
            description: description.min(control),
            report: report.min(control),
            data: data.min(control),
        }
    }
}

/// Message with its tag and body, borrowed from the receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Splits off the first message. Returns `None` if it is incomplete.
    #[inline]
    pub(crate) fn split(input: &'a [u8], limits: &Limits) -> Result<Option<Self>, ProtocolError> {
        let Some((&[tag, a, b, c, d], rest)) = input.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = body_length(tag, u32::from_be_bytes([a, b, c, d]), limits)?;
        Ok(rest.get(..length).map(|body| Self { tag, body }))
    }

    /// Splits off the first message. Returns `None` if it is incomplete or invalid.
    ///
    /// Unlike the result of [`Self::split`], which tells the reason, this one fits in registers.
    #[inline(always)]
    pub(crate) fn split_whole(input: &'a [u8], limits: &Limits) -> Option<Self> {
        let (&[tag, a, b, c, d], rest) = input.split_first_chunk::<HEADER>()?;
        let found = u32::from_be_bytes([a, b, c, d]);
        if found > limits.cap(tag) {
            return None;
        }
        let body = rest.get(..usize::try_from(found.checked_sub(4)?).ok()?)?;
        Some(Self { tag, body })
    }

    /// Returns the size of the message on the wire, in bytes.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        HEADER + self.body.len()
    }
}

/// Returns the minimum number of bytes that are missing from the first message.
///
/// This is 0 if the header is invalid: [`Frame::split`] fails without further bytes.
pub(crate) fn missing(input: &[u8], limits: &Limits) -> usize {
    let Some((&[tag, a, b, c, d], rest)) = input.split_first_chunk::<HEADER>() else {
        return HEADER - input.len();
    };
    match body_length(tag, u32::from_be_bytes([a, b, c, d]), limits) {
        Ok(length) => length.saturating_sub(rest.len()),
        Err(_) => 0,
    }
}

#[inline]
fn body_length(tag: u8, found: u32, limits: &Limits) -> Result<usize, ProtocolError> {
    let limit = limits.cap(tag);
    if found > limit {
        return Err(ProtocolError::FrameTooLong { tag, found, limit });
    }
    found
        .checked_sub(4)
        .and_then(|length| usize::try_from(length).ok())
        .ok_or(ProtocolError::FrameTooShort { tag, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &[u8] = b"Z\0\0\0\x05I";

    #[test]
    fn a_message_is_split_off_once_it_is_complete() {
        let limits = Limits::default();
        for end in 0..READY.len() {
            assert_eq!(Frame::split(&READY[..end], &limits), Ok(None));
            let expected = if end < HEADER {
                HEADER - end
            } else {
                READY.len() - end
            };
            assert_eq!(missing(&READY[..end], &limits), expected);
        }
        let more = [READY, b"Z"].concat();
        let frame = Frame::split(&more, &limits).unwrap().unwrap();
        assert_eq!((frame.tag, frame.body, frame.size()), (b'Z', &b"I"[..], 6));
        assert_eq!(missing(&more, &limits), 0);
    }

    #[test]
    fn a_length_below_four_is_refused_at_once() {
        for found in 0..4 {
            let input = [b'Z', 0, 0, 0, u8::try_from(found).unwrap()];
            let result = Frame::split(&input, &Limits::default());
            assert_eq!(
                result,
                Err(ProtocolError::FrameTooShort { tag: b'Z', found })
            );
            assert_eq!(missing(&input, &Limits::default()), 0);
        }
    }

    #[test]
    fn the_cap_depends_on_the_tag() {
        let limits = Limits::default();
        for (tag, limit) in [
            (b'd', 1 << 30),
            (b'D', 1 << 30),
            (b'T', 2 << 20),
            (b'E', 16 << 20),
            (b'N', 16 << 20),
            (b'A', 16 << 20),
            (b'R', 64 << 10),
            (b'S', 64 << 10),
            (0xff, 64 << 10),
        ] {
            let header = |length: u32| [&[tag][..], &length.to_be_bytes()].concat();
            assert_eq!(Frame::split(&header(limit), &limits), Ok(None));
            for found in [limit + 1, u32::MAX, 1 << 31] {
                let input = header(found);
                let result = Frame::split(&input, &limits);
                assert_eq!(
                    result,
                    Err(ProtocolError::FrameTooLong { tag, found, limit })
                );
            }
            let strict = limits.before_authentication();
            assert!(Frame::split(&header((64 << 10) + 1), &strict).is_err());
        }
    }
}
