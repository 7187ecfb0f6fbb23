//! The PostgreSQL wire protocol, without I/O: bytes and times in, values and bytes out.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod auth;
mod codec;
mod error;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod ids;
mod lsn;
mod message;
mod pgoutput;
mod replication;
mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timestamp;

pub use auth::Secret;
pub use error::{
    AuthenticationError, DecodeError, DecodeErrorKind, EncodeError, Fault, ProtocolError,
};
pub use frame::Limits;
pub use ids::{Oid, ProcessId, Xid};
pub use lsn::{Lsn, ParseLsnError};
pub use message::{
    Authentication, BackendKeyData, BackendMessage, CancelKey, CopyResponse, DataRow, DataRowIter,
    FieldDescription, Format, NegotiateProtocolVersion, Notification, ParameterDescription,
    ProtocolVersion, Report, RowDescription, RowDescriptionIter, SaslMechanisms, ServerError,
    Severity, SqlState, TransactionStatus,
};
pub use pgoutput::{
    BeginMessage, BeginPrepareMessage, Column, ColumnIter, CommitMessage, CommitPreparedMessage,
    DeleteMessage, InsertMessage, LogicalDecodingMessage, LogicalReplicationMessage, OldTuple,
    OriginMessage, ParseContext, PrepareMessage, RelationMessage, ReplicaIdentity,
    RollbackPreparedMessage, StreamAbortMessage, StreamCommitMessage, StreamPrepareMessage,
    StreamStartMessage, TruncateMessage, Tuple, TupleData, TupleIter, TypeMessage, UpdateMessage,
};
pub use replication::{
    HotStandbyFeedback, PrimaryKeepalive, ReplicationMessage, StandbyStatusUpdate, XLogData,
    command::{self, quote_identifier, quote_literal},
};
pub use session::{Event, Session, SessionConfig, TlsRequest};
pub use timestamp::PgTimestamp;
