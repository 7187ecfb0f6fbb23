//! The PostgreSQL wire protocol, without I/O: bytes and times in, values and bytes out.
//!
//! The crate does not open connections, run TLS, read a clock, generate random numbers, resolve
//! names or decode values: these are tasks of the caller. Messages borrow from the caller's receive
//! buffer. The list of the values of a changed row is allocated in the caller's [`TupleArena`].
//!
//! | layer | types |
//! |---|---|
//! | connection | [`Session`], [`Event`], [`CopySender`] |
//! | messages from the server | [`BackendMessage`], [`DataRow`], [`RowDescription`], [`Report`] |
//! | replication commands | [`command`] |
//! | content of CopyData in a stream | [`ReplicationMessage`], [`StandbyStatusUpdate`] |
//! | data of XLogData, from `pgoutput` | [`LogicalReplicationMessage`], [`Tuple`] |
//!
//! # Order of calls
//!
//! [`Session`] documents the order of calls. In short: send the bytes that
//! [`Session::poll_transmit`] returns, pass the received bytes to [`Session::handle_input`], and
//! react to the [`Event`]s. The messages of a replication stream are parsed separately from the
//! session:
//!
//! ```
//! use std::io::{Read, Write};
//!
//! use protocol::{
//!     Event, LogicalReplicationMessage, Lsn, ParseContext, ReplicationMessage, Session,
//!     SessionConfig, TupleArena, TupleData, command,
//! };
//!
//! /// Prints the rows that are inserted into the published tables.
//! fn print_inserts(
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
//!     let ReplicationMessage::XLogData(xlog_data) = ReplicationMessage::parse(data)? else {
//!         return Ok(());
//!     };
//!     let arena = TupleArena::default();
//!     let context = ParseContext::new(1);
//!     let message = LogicalReplicationMessage::parse(xlog_data.data, context, &arena)?;
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
//! # Hostile servers
//!
//! No input makes the crate panic or reserve excessive memory: lengths are checked against
//! [`Limits`] before [`Session::needed`] reports them, and counts against the bytes of the message.
//! When [`Event::Authenticated`] is reported, the server has proved its identity if the
//! authentication method provides for it: with SCRAM its signature has been verified.
//!
//! # Features
//!
//! - `testing` adds encoders for the messages that only a server sends.
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

/// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
