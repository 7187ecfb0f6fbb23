//! The bodies of the messages about two-phase commit, since version 3.
//!
//! Each is described at
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>.

use nom::Parser;

use crate::{
    codec::{Parsed, c_str, lsn, no_flags, timestamp, xid},
    ids::Xid,
    lsn::Lsn,
    timestamp::PgTimestamp,
};

/// A transaction that will be prepared begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeginPrepareMessage<'a> {
    /// The position of the PREPARE TRANSACTION.
    pub prepare_lsn: Lsn,
    /// The position behind it.
    pub end_lsn: Lsn,
    /// When it was prepared.
    pub prepare_time: PgTimestamp,
    /// The transaction.
    pub xid: Xid,
    /// The name that the user gave it.
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

/// The transaction was prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareMessage<'a> {
    /// The position of the PREPARE TRANSACTION.
    pub prepare_lsn: Lsn,
    /// The position behind it.
    pub end_lsn: Lsn,
    /// When it was prepared.
    pub prepare_time: PgTimestamp,
    /// The transaction.
    pub xid: Xid,
    /// The name that the user gave it.
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

/// A prepared transaction was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitPreparedMessage<'a> {
    /// The position of the COMMIT PREPARED.
    pub commit_lsn: Lsn,
    /// The position behind it.
    pub end_lsn: Lsn,
    /// When it was committed.
    pub commit_time: PgTimestamp,
    /// The transaction.
    pub xid: Xid,
    /// The name that the user gave it.
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

/// A prepared transaction was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollbackPreparedMessage<'a> {
    /// The position behind the PREPARE TRANSACTION.
    pub prepare_end_lsn: Lsn,
    /// The position behind the ROLLBACK PREPARED.
    pub rollback_end_lsn: Lsn,
    /// When it was prepared.
    pub prepare_time: PgTimestamp,
    /// When it was rolled back.
    pub rollback_time: PgTimestamp,
    /// The transaction.
    pub xid: Xid,
    /// The name that the user gave it.
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

/// A streamed transaction was prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPrepareMessage<'a> {
    /// The position of the PREPARE TRANSACTION.
    pub prepare_lsn: Lsn,
    /// The position behind it.
    pub end_lsn: Lsn,
    /// When it was prepared.
    pub prepare_time: PgTimestamp,
    /// The transaction.
    pub xid: Xid,
    /// The name that the user gave it.
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
