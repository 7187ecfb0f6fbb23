//! Messages of the output plugin `pgoutput`, protocol versions 1 to 4, which XLogData carries.
//!
//! See <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>.

mod arena;
mod message;
mod prepare;
mod relation;
mod stream;
mod streamed;
mod tuple;

use crate::{
    codec::{all_consuming, uint8},
    error::{DecodeError, DecodeErrorKind},
};
pub use arena::TupleArena;
#[cfg(any(test, feature = "testing"))]
pub(crate) use message::part;
pub use message::{
    BeginMessage, CommitMessage, DeleteMessage, InsertMessage, LogicalDecodingMessage,
    OriginMessage, TruncateMessage, UpdateMessage,
};
pub use prepare::{
    BeginPrepareMessage, CommitPreparedMessage, PrepareMessage, RollbackPreparedMessage,
    StreamPrepareMessage,
};
pub use relation::{Column, ColumnIter, RelationMessage, ReplicaIdentity, TypeMessage};
pub use stream::{StreamAbortMessage, StreamCommitMessage, StreamStartMessage};
pub use streamed::Streamed;
#[cfg(any(test, feature = "testing"))]
pub(crate) use tuple::kind;
pub use tuple::{OldTuple, Tuple, TupleData};

/// Tags of messages: the first byte, as the manual writes it.
pub(crate) mod tag {
    pub(crate) const BEGIN: u8 = b'B';
    pub(crate) const MESSAGE: u8 = b'M';
    pub(crate) const COMMIT: u8 = b'C';
    pub(crate) const ORIGIN: u8 = b'O';
    pub(crate) const RELATION: u8 = b'R';
    pub(crate) const TYPE: u8 = b'Y';
    pub(crate) const INSERT: u8 = b'I';
    pub(crate) const UPDATE: u8 = b'U';
    pub(crate) const DELETE: u8 = b'D';
    pub(crate) const TRUNCATE: u8 = b'T';
    pub(crate) const STREAM_START: u8 = b'S';
    pub(crate) const STREAM_STOP: u8 = b'E';
    pub(crate) const STREAM_COMMIT: u8 = b'c';
    pub(crate) const STREAM_ABORT: u8 = b'A';
    pub(crate) const BEGIN_PREPARE: u8 = b'b';
    pub(crate) const PREPARE: u8 = b'P';
    pub(crate) const COMMIT_PREPARED: u8 = b'K';
    pub(crate) const ROLLBACK_PREPARED: u8 = b'r';
    pub(crate) const STREAM_PREPARE: u8 = b'p';
}

/// Context that the format of messages depends on: options of START_REPLICATION, and whether a
/// stream block is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseContext {
    /// Option `proto_version`, 1 to 4. Messages that the version does not define are errors.
    pub protocol_version: u8,
    /// Whether the message is within a stream block, between StreamStart and StreamStop. There each
    /// message contains its transaction identifier.
    pub in_stream_block: bool,
    /// Whether the option `streaming` is `parallel` (version 4). StreamAbort then contains the
    /// position and time of the abort.
    pub parallel_streaming: bool,
}

impl ParseContext {
    /// Creates the context at the start of a stream, without parallel streaming.
    pub const fn new(protocol_version: u8) -> Self {
        Self {
            protocol_version,
            in_stream_block: false,
            parallel_streaming: false,
        }
    }
}

impl Default for ParseContext {
    fn default() -> Self {
        Self::new(1)
    }
}

/// Logical replication message: the data of an XLogData.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogicalReplicationMessage<'a> {
    /// Begin of a transaction.
    Begin(BeginMessage),
    /// Logical decoding message, from `pg_logical_emit_message`.
    Message(LogicalDecodingMessage<'a>),
    /// Commit of a transaction.
    Commit(CommitMessage),
    /// Origin of a transaction that was replicated from another server.
    Origin(OriginMessage<'a>),
    /// Description of a table and its columns.
    Relation(RelationMessage<'a>),
    /// Description of a data type.
    Type(TypeMessage<'a>),
    /// Insert of a row.
    Insert(InsertMessage<'a>),
    /// Update of a row.
    Update(UpdateMessage<'a>),
    /// Delete of a row.
    Delete(DeleteMessage<'a>),
    /// Truncation of tables.
    Truncate(TruncateMessage<'a>),
    /// Begin of a stream block of a transaction in progress (version 2).
    StreamStart(StreamStartMessage),
    /// End of a stream block (version 2).
    StreamStop,
    /// Commit of a streamed transaction (version 2).
    StreamCommit(StreamCommitMessage),
    /// Rollback of a streamed transaction or of a subtransaction (version 2).
    StreamAbort(StreamAbortMessage),
    /// Begin of a transaction that is prepared (version 3).
    BeginPrepare(BeginPrepareMessage<'a>),
    /// Prepare of a transaction (version 3).
    Prepare(PrepareMessage<'a>),
    /// Commit of a prepared transaction (version 3).
    CommitPrepared(CommitPreparedMessage<'a>),
    /// Rollback of a prepared transaction (version 3).
    RollbackPrepared(RollbackPreparedMessage<'a>),
    /// Prepare of a streamed transaction (version 3).
    StreamPrepare(StreamPrepareMessage<'a>),
}

impl<'a> LogicalReplicationMessage<'a> {
    /// Parses the data of an XLogData.
    ///
    /// The message borrows from the data, and from the arena, which stores the values of rows. The
    /// data is validated completely here, so iterating over parts of the message does not fail.
    ///
    /// # Errors
    ///
    /// Fails if the data is not exactly one message of the protocol version.
    #[inline(always)]
    pub fn parse(
        data: &'a [u8],
        context: ParseContext,
        arena: &'a TupleArena,
    ) -> Result<Self, DecodeError> {
        // Offsets in errors count from the tag.
        match data.split_first() {
            Some((&tag::INSERT, body))
                if let Some(insert) = InsertMessage::split(body, context, arena) =>
            {
                Ok(Self::Insert(insert))
            }
            _ => Self::parse_change(data, context, arena),
        }
    }

    fn parse_change(
        data: &'a [u8],
        context: ParseContext,
        arena: &'a TupleArena,
    ) -> Result<Self, DecodeError> {
        match data.first() {
            Some(&tag::INSERT) => all_consuming("Insert", data, |input| {
                InsertMessage::parse(uint8(input)?.0, context, arena)
            })
            .map(Self::Insert),
            Some(&tag::UPDATE) => all_consuming("Update", data, |input| {
                UpdateMessage::parse(uint8(input)?.0, context, arena)
            })
            .map(Self::Update),
            Some(&tag::DELETE) => all_consuming("Delete", data, |input| {
                DeleteMessage::parse(uint8(input)?.0, context, arena)
            })
            .map(Self::Delete),
            _ => Self::parse_other(data, context),
        }
    }

    fn parse_other(data: &'a [u8], context: ParseContext) -> Result<Self, DecodeError> {
        macro_rules! body {
            ($name:literal, $parser:expr) => {
                all_consuming($name, data, |input| $parser(uint8(input)?.0))
            };
        }
        let Some(&tag) = data.first() else {
            return Err(DecodeError::new(
                DecodeErrorKind::UnexpectedEnd,
                0,
                "logical replication",
            ));
        };
        let since = match tag {
            tag::STREAM_START | tag::STREAM_STOP | tag::STREAM_COMMIT | tag::STREAM_ABORT => 2,
            tag::BEGIN_PREPARE
            | tag::PREPARE
            | tag::COMMIT_PREPARED
            | tag::ROLLBACK_PREPARED
            | tag::STREAM_PREPARE => 3,
            _ => 1,
        };
        match tag {
            _ if context.protocol_version < since => Err(unknown(tag)),
            tag::BEGIN => body!("Begin", BeginMessage::parse).map(Self::Begin),
            tag::MESSAGE => body!("Message", |input| LogicalDecodingMessage::parse(
                input, context
            ))
            .map(Self::Message),
            tag::COMMIT => body!("Commit", CommitMessage::parse).map(Self::Commit),
            tag::ORIGIN => body!("Origin", OriginMessage::parse).map(Self::Origin),
            tag::RELATION => body!("Relation", |input| RelationMessage::parse(input, context))
                .map(Self::Relation),
            tag::TYPE => body!("Type", |input| TypeMessage::parse(input, context)).map(Self::Type),
            tag::TRUNCATE => body!("Truncate", |input| TruncateMessage::parse(input, context))
                .map(Self::Truncate),
            tag::STREAM_START => {
                body!("Stream Start", StreamStartMessage::parse).map(Self::StreamStart)
            }
            tag::STREAM_STOP => body!("Stream Stop", |input| Ok((input, Self::StreamStop))),
            tag::STREAM_COMMIT => {
                body!("Stream Commit", StreamCommitMessage::parse).map(Self::StreamCommit)
            }
            tag::STREAM_ABORT => body!("Stream Abort", |input| StreamAbortMessage::parse(
                input, context
            ))
            .map(Self::StreamAbort),
            tag::BEGIN_PREPARE => {
                body!("Begin Prepare", BeginPrepareMessage::parse).map(Self::BeginPrepare)
            }
            tag::PREPARE => body!("Prepare", PrepareMessage::parse).map(Self::Prepare),
            tag::COMMIT_PREPARED => {
                body!("Commit Prepared", CommitPreparedMessage::parse).map(Self::CommitPrepared)
            }
            tag::ROLLBACK_PREPARED => body!("Rollback Prepared", RollbackPreparedMessage::parse)
                .map(Self::RollbackPrepared),
            tag::STREAM_PREPARE => {
                body!("Stream Prepare", StreamPrepareMessage::parse).map(Self::StreamPrepare)
            }
            _ => Err(unknown(tag)),
        }
    }
}

fn unknown(tag: u8) -> DecodeError {
    DecodeError::new(DecodeErrorKind::UnknownTag(tag), 0, "logical replication")
}
