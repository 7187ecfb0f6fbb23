//! Messages within a stream block, for a caller that stores them until the transaction commits.

use super::tag;
use crate::{
    error::{DecodeError, DecodeErrorKind},
    ids::{Oid, Xid},
};

/// Message within a stream block, between StreamStart and StreamStop, of which only the header is
/// parsed.
///
/// This suffices to store the message until its transaction commits, when
/// [`LogicalReplicationMessage::parse`](crate::LogicalReplicationMessage::parse) parses all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streamed<'a> {
    /// Change of a row, truncation of tables, or logical decoding message. Contains its transaction
    /// or subtransaction, whose rollback discards it.
    Change(Xid),
    /// Description of a relation or a data type.
    Description {
        /// Whether the description is that of a relation.
        is_relation: bool,
        /// Identifier of the relation or type.
        oid: Oid,
        /// Message without the tag and the transaction: equal for every transaction.
        content: &'a [u8],
    },
    /// Origin of a transaction that was replicated from another server.
    Origin,
    /// End of the stream block.
    Stop,
}

impl<'a> Streamed<'a> {
    /// Parses the header of a message, from the data of an XLogData.
    ///
    /// # Errors
    ///
    /// Fails if a stream block cannot contain a message of this kind, or if the data is too short
    /// for the header.
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

    /// Replaces the content of `out` with the description of a relation as it is outside of stream
    /// blocks: the tag and `content`.
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
            let expected = Streamed::Description {
                is_relation,
                oid: Oid(256),
                content: &data[5..],
            };
            assert_eq!(Streamed::peek(&data), Ok(expected));
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
