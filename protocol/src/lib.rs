//! The PostgreSQL wire protocol, without I/O: bytes and times in, values and bytes out.
//!
//! What it does not do: open connections, run TLS, read a clock, make random numbers, resolve names,
//! decode values. Those are the caller's. What arrives is borrowed from the caller's buffer, all the
//! way down to the values of a row, whose places are noted in the caller's [`TupleArena`].
//!
//! | layer | types |
//! |---|---|
//! | a connection | [`Session`], [`Event`] |
//! | messages of a server | [`BackendMessage`], [`DataRow`], [`RowDescription`], [`Report`] |
//! | replication commands | [`command`] |
//! | the content of CopyData in a replication stream | [`ReplicationMessage`], [`StandbyStatusUpdate`] |
//! | the data of XLogData, from the plugin `pgoutput` | [`LogicalReplicationMessage`], [`Tuple`] |
//!
//! The order of calls is described at [`Session`]. In short: send what [`Session::poll_transmit`]
//! gives, hand what arrives to [`Session::handle_input`], react to the [`Event`]s. The messages of a
//! replication stream know nothing of the session that carries them:
//!
//! ```
//! use std::io::{Read, Write};
//!
//! use protocol::{
//!     Event, LogicalReplicationMessage, Lsn, ParseContext, ReplicationMessage, Session,
//!     SessionConfig, TupleArena, TupleData, command,
//! };
//!
//! /// Prints the rows that are inserted into any published table.
//! fn follow(
//!     connection: &mut (impl Read + Write),
//!     nonce: [u8; 24],
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut config = SessionConfig::new("replicator", nonce);
//!     config.password = Some("secret".into());
//!     config.parameters.push(("replication".to_owned(), "database".to_owned()));
//!     let mut session = Session::new(config)?;
//!     let mut buffer = Vec::new();
//!     while !session.is_closed() {
//!         while let Some(output) = session.poll_transmit() {
//!             connection.write_all(&output)?;
//!         }
//!         let start = buffer.len();
//!         buffer.resize(start + session.needed(&buffer), 0);
//!         connection.read_exact(&mut buffer[start..])?;
//!         let mut consumed = 0;
//!         while let Some((size, event)) = session.handle_input(&buffer[consumed..])? {
//!             consumed += size;
//!             match event {
//!                 Event::Ready(_) => {
//!                     let options = [("proto_version", "1"), ("publication_names", "flow")];
//!                     let start = Lsn::INVALID;
//!                     session.query(&command::start_replication("slot", start, &options))?;
//!                 }
//!                 Event::CopyData(data) => print(data)?,
//!                 Event::Error(report) => return Err(report.into_owned().into()),
//!                 _ => {}
//!             }
//!         }
//!         buffer.drain(..consumed);
//!     }
//!     Ok(())
//! }
//!
//! fn print(data: &[u8]) -> Result<(), protocol::DecodeError> {
//!     let ReplicationMessage::XLogData(piece) = ReplicationMessage::parse(data)? else {
//!         return Ok(());
//!     };
//!     let arena = TupleArena::default();
//!     let message = LogicalReplicationMessage::parse(piece.data, ParseContext::new(1), &arena)?;
//!     if let LogicalReplicationMessage::Insert(insert) = message {
//!         for value in insert.new.iter() {
//!             match value {
//!                 TupleData::Text(text) => println!("{}", text.escape_ascii()),
//!                 other => println!("{other:?}"),
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Nothing that a server sends makes the crate panic, or makes it reserve memory: lengths are checked
//! against [`Limits`] before a caller is told to make room, counts against the bytes that are there.
//! The server is authenticated before [`Event::Authenticated`] is reported, where the method is one
//! that lets it: with SCRAM its signature has been verified by then.
//!
//! The feature `testing` adds encoders for what only a server sends.
//!
//! See <https://www.postgresql.org/docs/current/protocol.html>.

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

pub use auth::{AllowedMethods, BindingPolicy, Secret};
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
    StreamStartMessage, Streamed, TruncateMessage, Tuple, TupleArena, TupleData, TypeMessage,
    UpdateMessage,
};
pub use replication::{
    HotStandbyFeedback, PrimaryKeepalive, ReplicationMessage, StandbyStatusUpdate, XLogData,
    command::{self, quote_identifier, quote_literal},
};
pub use session::{CopySender, Event, Session, SessionConfig, TlsRequest};
pub use timestamp::PgTimestamp;
