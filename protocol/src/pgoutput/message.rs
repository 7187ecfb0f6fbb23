//! Messages of every protocol version: transactions and rows.
//!
//! See <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>.

use std::fmt;

use nom::Parser;

use super::{OldTuple, ParseContext, Tuple, TupleArena};
use crate::{
    codec::{
        Malformed, Parsed, boolean, bytes, c_str, lsn, no_flags, oid, sized, timestamp, uint8,
        uint32, xid,
    },
    error::DecodeErrorKind,
    ids::{Oid, Xid},
    lsn::Lsn,
    timestamp::PgTimestamp,
};

/// Tags of the tuples in a message.
pub(crate) mod part {
    pub(crate) const KEY: u8 = b'K';
    pub(crate) const OLD: u8 = b'O';
    pub(crate) const NEW: u8 = b'N';
}

/// Parses the transaction identifier, which a message contains only within a stream block.
#[inline(always)]
pub(super) fn stream_xid(input: &[u8], context: ParseContext) -> Parsed<'_, Option<Xid>> {
    if context.in_stream_block {
        xid(input).map(|(rest, xid)| (rest, Some(xid)))
    } else {
        Ok((input, None))
    }
}

/// Begin of a transaction. All of its messages follow before those of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeginMessage {
    /// Position of the commit record.
    pub final_lsn: Lsn,
    /// Time of the commit.
    pub commit_time: PgTimestamp,
    /// Transaction.
    pub xid: Xid,
}

impl BeginMessage {
    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, (final_lsn, commit_time, xid)) = (lsn, timestamp, xid).parse(input)?;
        Ok((
            input,
            Self {
                final_lsn,
                commit_time,
                xid,
            },
        ))
    }
}

/// Logical decoding message: the arguments of `pg_logical_emit_message`.
///
/// Requires the option `messages`, which servers since 14 have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LogicalDecodingMessage<'a> {
    /// Transaction, within a stream block.
    pub xid: Option<Xid>,
    /// Whether the message is part of a transaction.
    pub transactional: bool,
    /// Position of the message.
    pub message_lsn: Lsn,
    /// Prefix of the message.
    pub prefix: &'a str,
    /// Content of the message.
    pub content: &'a [u8],
}

impl<'a> LogicalDecodingMessage<'a> {
    pub(super) fn parse(input: &'a [u8], context: ParseContext) -> Parsed<'a, Self> {
        let (input, xid) = stream_xid(input, context)?;
        let (input, (transactional, message_lsn, prefix, content)) =
            (boolean, lsn, c_str, sized).parse(input)?;
        Ok((
            input,
            Self {
                xid,
                transactional,
                message_lsn,
                prefix,
                content,
            },
        ))
    }
}

impl fmt::Debug for LogicalDecodingMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogicalDecodingMessage")
            .field("xid", &self.xid)
            .field("transactional", &self.transactional)
            .field("message_lsn", &self.message_lsn)
            .field("prefix", &self.prefix)
            .field("content", &format_args!("{} bytes", self.content.len()))
            .finish()
    }
}

/// Commit of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitMessage {
    /// Position of the commit record.
    pub commit_lsn: Lsn,
    /// Position after the commit record.
    pub end_lsn: Lsn,
    /// Time of the commit.
    pub commit_time: PgTimestamp,
}

impl CommitMessage {
    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, ((), commit_lsn, end_lsn, commit_time)) =
            (no_flags, lsn, lsn, timestamp).parse(input)?;
        Ok((
            input,
            Self {
                commit_lsn,
                end_lsn,
                commit_time,
            },
        ))
    }
}

/// Origin of a transaction that was replicated from another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginMessage<'a> {
    /// Position of the commit record on the origin server.
    pub commit_lsn: Lsn,
    /// Name of the replication origin.
    pub name: &'a str,
}

impl<'a> OriginMessage<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, (commit_lsn, name)) = (lsn, c_str).parse(input)?;
        Ok((input, Self { commit_lsn, name }))
    }
}

/// Insert of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InsertMessage<'a> {
    /// Transaction or subtransaction, within a stream block.
    pub xid: Option<Xid>,
    /// Table of the row.
    pub relation: Oid,
    /// New row.
    pub new: Tuple<'a>,
}

impl<'a> InsertMessage<'a> {
    /// Parses the message. Returns `None` if it is malformed.
    ///
    /// Unlike the result of `parse`, which tells the reason, this one fits in registers.
    #[inline(always)]
    pub(super) fn split(
        input: &'a [u8],
        context: ParseContext,
        arena: &'a TupleArena,
    ) -> Option<Self> {
        let (xid, input) = if context.in_stream_block {
            let (xid, input) = input.split_first_chunk()?;
            (Some(Xid(u32::from_be_bytes(*xid))), input)
        } else {
            (None, input)
        };
        let (relation, input) = input.split_first_chunk()?;
        let [part::NEW, input @ ..] = input else {
            return None;
        };
        let (new, []) = Tuple::split(input, arena)? else {
            return None;
        };
        let relation = Oid(u32::from_be_bytes(*relation));
        Some(Self { xid, relation, new })
    }

    pub(super) fn parse(
        input: &'a [u8],
        context: ParseContext,
        arena: &'a TupleArena,
    ) -> Parsed<'a, Self> {
        let (input, xid) = stream_xid(input, context)?;
        let (input, relation) = oid(input)?;
        let (input, new) = new_tuple(input, arena)?;
        Ok((input, Self { xid, relation, new }))
    }
}

/// Update of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateMessage<'a> {
    /// Transaction or subtransaction, within a stream block.
    pub xid: Option<Xid>,
    /// Table of the row.
    pub relation: Oid,
    /// Old row: its key if the key has changed, or all columns if the replica identity is FULL.
    pub old: Option<OldTuple<'a>>,
    /// New row.
    pub new: Tuple<'a>,
}

impl<'a> UpdateMessage<'a> {
    #[inline]
    pub(super) fn parse(
        input: &'a [u8],
        context: ParseContext,
        arena: &'a TupleArena,
    ) -> Parsed<'a, Self> {
        let (input, xid) = stream_xid(input, context)?;
        let (input, relation) = oid(input)?;
        let (input, old) = match input.first() {
            Some(&part::NEW) => (input, None),
            _ => old_tuple(input, arena).map(|(rest, old)| (rest, Some(old)))?,
        };
        let (input, new) = new_tuple(input, arena)?;
        Ok((
            input,
            Self {
                xid,
                relation,
                old,
                new,
            },
        ))
    }
}

/// Delete of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteMessage<'a> {
    /// Transaction or subtransaction, within a stream block.
    pub xid: Option<Xid>,
    /// Table of the row.
    pub relation: Oid,
    /// Deleted row.
    pub old: OldTuple<'a>,
}

impl<'a> DeleteMessage<'a> {
    #[inline]
    pub(super) fn parse(
        input: &'a [u8],
        context: ParseContext,
        arena: &'a TupleArena,
    ) -> Parsed<'a, Self> {
        let (input, xid) = stream_xid(input, context)?;
        let (input, relation) = oid(input)?;
        let (input, old) = old_tuple(input, arena)?;
        Ok((input, Self { xid, relation, old }))
    }
}

#[inline(always)]
fn new_tuple<'a>(input: &'a [u8], arena: &'a TupleArena) -> Parsed<'a, Tuple<'a>> {
    match uint8(input)? {
        (rest, part::NEW) => Tuple::parse(rest, arena),
        (_, other) => Err(Malformed::at(input, DecodeErrorKind::UnknownTag(other))),
    }
}

#[inline(always)]
fn old_tuple<'a>(input: &'a [u8], arena: &'a TupleArena) -> Parsed<'a, OldTuple<'a>> {
    match uint8(input)? {
        (rest, part::KEY) => {
            Tuple::parse(rest, arena).map(|(rest, tuple)| (rest, OldTuple::Key(tuple)))
        }
        (rest, part::OLD) => {
            Tuple::parse(rest, arena).map(|(rest, tuple)| (rest, OldTuple::Full(tuple)))
        }
        (_, other) => Err(Malformed::at(input, DecodeErrorKind::UnknownTag(other))),
    }
}

/// Truncation of tables by one command. Sent by servers since 11.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TruncateMessage<'a> {
    /// Transaction or subtransaction, within a stream block.
    pub xid: Option<Xid>,
    /// Whether the command had the option CASCADE.
    pub cascade: bool,
    /// Whether the command had the option RESTART IDENTITY.
    pub restart_identity: bool,
    relations: &'a [u8],
}

impl<'a> TruncateMessage<'a> {
    pub(crate) const CASCADE: u8 = 1;
    pub(crate) const RESTART_IDENTITY: u8 = 2;

    pub(super) fn parse(input: &'a [u8], context: ParseContext) -> Parsed<'a, Self> {
        let (input, xid) = stream_xid(input, context)?;
        let (rest, count) = uint32(input)?;
        let (rest, flags) = uint8(rest)?;
        let length = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(4));
        let relations = length.and_then(|length| bytes(rest, length).ok());
        let Some((rest, relations)) = relations else {
            return Err(Malformed::at(input, DecodeErrorKind::InvalidCount));
        };
        let message = Self {
            xid,
            cascade: flags & Self::CASCADE != 0,
            restart_identity: flags & Self::RESTART_IDENTITY != 0,
            relations,
        };
        Ok((rest, message))
    }

    /// Returns an iterator over the tables.
    pub fn relations(&self) -> impl Iterator<Item = Oid> + use<'a> {
        let mut input = self.relations;
        std::iter::from_fn(move || {
            let (rest, relation) = oid(input).ok()?;
            input = rest;
            Some(relation)
        })
    }
}

impl fmt::Debug for TruncateMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TruncateMessage")
            .field("xid", &self.xid)
            .field("cascade", &self.cascade)
            .field("restart_identity", &self.restart_identity)
            .field("relations", &self.relations().collect::<Vec<_>>())
            .finish()
    }
}
