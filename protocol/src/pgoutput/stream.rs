//! The bodies of the messages about transactions in progress, since version 2.
//!
//! Each is described at
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>.

use nom::Parser;

use super::ParseContext;
use crate::{
    codec::{Parsed, boolean, lsn, no_flags, timestamp, xid},
    ids::Xid,
    lsn::Lsn,
    timestamp::PgTimestamp,
};

/// A block of a transaction in progress begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamStartMessage {
    /// The transaction.
    pub xid: Xid,
    /// Whether it is the transaction's first block.
    pub first_segment: bool,
}

impl StreamStartMessage {
    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, (xid, first_segment)) = (xid, boolean).parse(input)?;
        Ok((input, Self { xid, first_segment }))
    }
}

/// A streamed transaction is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamCommitMessage {
    /// The transaction.
    pub xid: Xid,
    /// The position of the commit.
    pub commit_lsn: Lsn,
    /// The position behind the transaction.
    pub end_lsn: Lsn,
    /// When it was committed.
    pub commit_time: PgTimestamp,
}

impl StreamCommitMessage {
    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, (xid, (), commit_lsn, end_lsn, commit_time)) =
            (xid, no_flags, lsn, lsn, timestamp).parse(input)?;
        Ok((
            input,
            Self {
                xid,
                commit_lsn,
                end_lsn,
                commit_time,
            },
        ))
    }
}

/// A streamed transaction, or a subtransaction of it, was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamAbortMessage {
    /// The transaction.
    pub xid: Xid,
    /// The subtransaction; the same as `xid` if all of it was rolled back.
    pub subxid: Xid,
    /// Where and when it was rolled back, with parallel streaming.
    pub abort: Option<(Lsn, PgTimestamp)>,
}

impl StreamAbortMessage {
    pub(super) fn parse(input: &[u8], context: ParseContext) -> Parsed<'_, Self> {
        let (input, (top, subxid)) = (xid, xid).parse(input)?;
        let (input, abort) = if context.parallel_streaming {
            let (input, (abort_lsn, abort_time)) = (lsn, timestamp).parse(input)?;
            (input, Some((abort_lsn, abort_time)))
        } else {
            (input, None)
        };
        Ok((
            input,
            Self {
                xid: top,
                subxid,
                abort,
            },
        ))
    }
}
