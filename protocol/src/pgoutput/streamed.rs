//! Messages within a stream block, for somebody who keeps them for later.

use super::tag;
use crate::{
    error::{DecodeError, DecodeErrorKind},
    ids::{Oid, Xid},
};

/// A message between StreamStart and StreamStop, looked at no closer than it takes to keep it until
/// its transaction commits. What it says is parsed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streamed<'a> {
    /// Something that was done by a transaction or subtransaction, and is void if that is rolled
    /// back: a row was changed, tables were truncated, a message was emitted.
    Change(Xid),
    /// A relation or a type is described, on the occasion of a change of this transaction or
    /// subtransaction.
    Description {
        /// Whether it is a relation.
        is_relation: bool,
        /// Which relation or type.
        oid: Oid,
        /// What the message is without the transaction: the same for each transaction.
        content: &'a [u8],
    },
    /// The transaction comes from another server.
    Origin,
    /// The block ends.
    Stop,
}

impl<'a> Streamed<'a> {
    /// Looks at the data of an XLogData.
    ///
    /// # Errors
    ///
    /// If no message of this kind can stand in a stream block, or it is too short to have a
    /// transaction.
    #[inline]
    pub fn peek(data: &'a [u8]) -> Result<Self, DecodeError> {
        let (xid, rest) = match data {
            [
                tag::INSERT
                | tag::UPDATE
                | tag::DELETE
                | tag::TRUNCATE
                | tag::MESSAGE
                | tag::RELATION
                | tag::TYPE,
                rest @ ..,
            ] => rest.split_first_chunk().ok_or(short(data))?,
            [tag::ORIGIN, ..] => return Ok(Self::Origin),
            [tag::STREAM_STOP] => return Ok(Self::Stop),
            [] => return Err(short(data)),
            [other, ..] => {
                return Err(DecodeError::new(
                    DecodeErrorKind::UnknownTag(*other),
                    0,
                    "stream block",
                ));
            }
        };
        let tag = data.first().copied();
        if !matches!(tag, Some(tag::RELATION | tag::TYPE)) {
            return Ok(Self::Change(Xid(u32::from_be_bytes(*xid))));
        }
        let oid = rest.first_chunk().ok_or(short(data))?;
        Ok(Self::Description {
            is_relation: tag == Some(tag::RELATION),
            oid: Oid(u32::from_be_bytes(*oid)),
            content: rest,
        })
    }

    /// Puts a description of a relation into `out`, as it is sent outside of stream blocks.
    pub fn relation(content: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.push(tag::RELATION);
        out.extend_from_slice(content);
    }
}

fn short(data: &[u8]) -> DecodeError {
    DecodeError::new(DecodeErrorKind::UnexpectedEnd, data.len(), "stream block")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_carry_their_transaction() {
        for tag in *b"IUDTM" {
            let data = [tag, 0, 0, 1, 2, 9, 9];
            assert_eq!(Streamed::peek(&data), Ok(Streamed::Change(Xid(258))));
            for end in 0..5 {
                assert!(Streamed::peek(&data[..end]).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn descriptions_are_separated_from_their_transaction() {
        for (tag, is_relation) in [(b'R', true), (b'Y', false)] {
            let data = [tag, 0, 0, 0, 7, 0, 0, 1, 0, b'x'];
            let due = Streamed::Description {
                is_relation,
                oid: Oid(256),
                content: &data[5..],
            };
            assert_eq!(Streamed::peek(&data), Ok(due));
            for end in 0..9 {
                assert!(Streamed::peek(&data[..end]).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn messages_that_cannot_be_in_a_stream_block_are_refused() {
        for tag in *b"BCScAbPKrpx" {
            assert!(Streamed::peek(&[tag, 0, 0, 0, 7, 0]).is_err());
        }
        assert_eq!(Streamed::peek(b"E"), Ok(Streamed::Stop));
        assert!(Streamed::peek(b"E\0").is_err());
        assert_eq!(Streamed::peek(b"O\0\0"), Ok(Streamed::Origin));
    }
}
