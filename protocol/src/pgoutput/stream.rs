//! Messages of transactions that are streamed while in progress, since protocol version 2.
//!
//! See <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>.

use nom::Parser;

use super::ParseContext;
use crate::{
    codec::{Parsed, boolean, lsn, no_flags, timestamp, xid},
    ids::Xid,
    lsn::Lsn,
    timestamp::PgTimestamp,
};

/// Begin of a stream block of a transaction in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamStartMessage {
    /// Transaction.
    pub xid: Xid,
    /// Whether this is the first stream block of the transaction.
    pub first_segment: bool,
}

impl StreamStartMessage {
    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, (xid, first_segment)) = (xid, boolean).parse(input)?;
        Ok((input, Self { xid, first_segment }))
    }
}

/// Commit of a streamed transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamCommitMessage {
    /// Transaction.
    pub xid: Xid,
    /// Position of the commit record.
    pub commit_lsn: Lsn,
    /// Position after the commit record.
    pub end_lsn: Lsn,
    /// Time of the commit.
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

/// Rollback of a streamed transaction or of a subtransaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamAbortMessage {
    /// Transaction.
    pub xid: Xid,
    /// Subtransaction; equal to `xid` if the whole transaction was rolled back.
    pub subxid: Xid,
    /// Position and time of the rollback, with parallel streaming.
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
