//! Messages of two-phase commit, since protocol version 3.
//!
//! See <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>.

use nom::Parser;

use crate::{
    codec::{Parsed, c_str, lsn, no_flags, timestamp, xid},
    ids::Xid,
    lsn::Lsn,
    timestamp::PgTimestamp,
};

/// Begin of a transaction that is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeginPrepareMessage<'a> {
    /// Position of the PREPARE TRANSACTION record.
    pub prepare_lsn: Lsn,
    /// Position after the PREPARE TRANSACTION record.
    pub end_lsn: Lsn,
    /// Time of the prepare.
    pub prepare_time: PgTimestamp,
    /// Transaction.
    pub xid: Xid,
    /// Global transaction identifier, which the user has chosen.
    pub gid: &'a str,
}

impl<'a> BeginPrepareMessage<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, (prepare_lsn, end_lsn, prepare_time, xid, gid)) =
            (lsn, lsn, timestamp, xid, c_str).parse(input)?;
        Ok((
            input,
            Self {
                prepare_lsn,
                end_lsn,
                prepare_time,
                xid,
                gid,
            },
        ))
    }
}

/// Prepare of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareMessage<'a> {
    /// Position of the PREPARE TRANSACTION record.
    pub prepare_lsn: Lsn,
    /// Position after the PREPARE TRANSACTION record.
    pub end_lsn: Lsn,
    /// Time of the prepare.
    pub prepare_time: PgTimestamp,
    /// Transaction.
    pub xid: Xid,
    /// Global transaction identifier, which the user has chosen.
    pub gid: &'a str,
}

impl<'a> PrepareMessage<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, ((), begin)) = (no_flags, BeginPrepareMessage::parse).parse(input)?;
        let BeginPrepareMessage {
            prepare_lsn,
            end_lsn,
            prepare_time,
            xid,
            gid,
        } = begin;
        Ok((
            input,
            Self {
                prepare_lsn,
                end_lsn,
                prepare_time,
                xid,
                gid,
            },
        ))
    }
}

/// Commit of a prepared transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitPreparedMessage<'a> {
    /// Position of the COMMIT PREPARED record.
    pub commit_lsn: Lsn,
    /// Position after the COMMIT PREPARED record.
    pub end_lsn: Lsn,
    /// Time of the commit.
    pub commit_time: PgTimestamp,
    /// Transaction.
    pub xid: Xid,
    /// Global transaction identifier, which the user has chosen.
    pub gid: &'a str,
}

impl<'a> CommitPreparedMessage<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, ((), commit_lsn, end_lsn, commit_time, xid, gid)) =
            (no_flags, lsn, lsn, timestamp, xid, c_str).parse(input)?;
        Ok((
            input,
            Self {
                commit_lsn,
                end_lsn,
                commit_time,
                xid,
                gid,
            },
        ))
    }
}

/// Rollback of a prepared transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollbackPreparedMessage<'a> {
    /// Position after the PREPARE TRANSACTION record.
    pub prepare_end_lsn: Lsn,
    /// Position after the ROLLBACK PREPARED record.
    pub rollback_end_lsn: Lsn,
    /// Time of the prepare.
    pub prepare_time: PgTimestamp,
    /// Time of the rollback.
    pub rollback_time: PgTimestamp,
    /// Transaction.
    pub xid: Xid,
    /// Global transaction identifier, which the user has chosen.
    pub gid: &'a str,
}

impl<'a> RollbackPreparedMessage<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, ((), prepare_end_lsn, rollback_end_lsn, prepare_time, rollback_time, xid, gid)) =
            (no_flags, lsn, lsn, timestamp, timestamp, xid, c_str).parse(input)?;
        let message = Self {
            prepare_end_lsn,
            rollback_end_lsn,
            prepare_time,
            rollback_time,
            xid,
            gid,
        };
        Ok((input, message))
    }
}

/// Prepare of a streamed transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPrepareMessage<'a> {
    /// Position of the PREPARE TRANSACTION record.
    pub prepare_lsn: Lsn,
    /// Position after the PREPARE TRANSACTION record.
    pub end_lsn: Lsn,
    /// Time of the prepare.
    pub prepare_time: PgTimestamp,
    /// Transaction.
    pub xid: Xid,
    /// Global transaction identifier, which the user has chosen.
    pub gid: &'a str,
}

impl<'a> StreamPrepareMessage<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, prepare) = PrepareMessage::parse(input)?;
        let PrepareMessage {
            prepare_lsn,
            end_lsn,
            prepare_time,
            xid,
            gid,
        } = prepare;
        Ok((
            input,
            Self {
                prepare_lsn,
                end_lsn,
                prepare_time,
                xid,
                gid,
            },
        ))
    }
}
