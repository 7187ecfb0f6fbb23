//! A PostgreSQL change-data-capture connector for Estuary Flow: the rows of a database, then every
//! committed change, as JSON documents, losing nothing.
//!
//! # One way through the house
//!
//! ```text
//! socket -> receive buffer -> frame -> CopyData -> XLogData -> pgoutput message (borrowed)
//!        -> change record (arena, borrowed values) -> JSON bytes inside a Flow frame -> stdout
//! ```
//!
//! A byte of a column's value is copied once: from the receive buffer ([`net::ReceiveBuffer`]) into
//! the output buffer ([`flow::Output`]), while it is escaped. For each relation a [`record::Plan`] is
//! made once; a row is a walk over it. Rows of a backfill come in the same text form as changes, so
//! one transcoder for each type ([`value::Transcoder`]) serves both, and become the same records.
//!
//! Large transactions can arrive while they are in progress. They wait in a [`replication::Spool`],
//! in memory and beyond a budget on disk, until they commit, and take the way above then: that is one
//! more copy, and what comes after it sees only whole transactions in the order of their commits.
//!
//! Ownership runs one way: the receive buffer owns the bytes, frames and messages borrow them,
//! records borrow from messages; where their values are is noted in a [`protocol::TupleArena`] that is
//! reset behind each row.
//! The borrow checker keeps a record from outliving its bytes.
//!
//! # Rooms
//!
//! | room | what lives there |
//! |---|---|
//! | `protocol` (a crate) | the wire protocol without I/O: frames, authentication, sessions, pgoutput |
//! | [`cli`] | the command line; the Flow service is what it does without arguments |
//! | [`capture`] | bindings, state, the joining of backfill and stream, checkpoints |
//! | [`schema`], [`catalog`] | collection schemas; what the database holds, of which they are made |
//! | [`replication`], [`backfill`] | reading the stream, transactions in progress; reading chunks and what they contain |
//! | [`record`], [`value`], [`json`] | from wire bytes to documents and row keys; no policy |
//! | [`client`], [`net`] | queries and replication commands; sockets, SSH tunnels and TLS |
//! | [`flow`], [`config`] | the capture protocol's messages and codecs; configuration |
//! | [`background`], [`buffer`], [`logging`], [`error`] | what every room may use |
//!
//! Imports run from the top of this table to its bottom. `capture` decides what to do and knows no
//! bytes; `record`, `value` and `json` know bytes and no policy.
//!
//! # Threads
//!
//! A session runs on the main thread and waits there for its sockets, so that what arrives wakes one
//! thread. It blocks when its output is not taken: nothing is read then, and the server is held back
//! by its own socket. So it is while a temporary file of a large transaction is written, and while
//! bytes of a backlog are left to collect. Beside it a thread ([`background`]) sends status updates
//! ([`replication::Feedback`]), so that the server does not end the connection meanwhile, and reads
//! acknowledgements ([`capture::Acknowledgements`]). The temporary file of a large transaction is
//! read back, if that has committed, and freed by a thread of its own.
//!
//! # Invariants
//!
//! - The position that the server is told ([`replication::DurablePosition`]) never passes what Flow has
//!   acknowledged. There is no other way to report one.
//! - The documents of a key are the row of the chunk that covered it, then every change whose
//!   transaction that chunk's snapshot did not contain, in commit order ([`backfill::Snapshot`], and
//!   `capture`'s documentation).
//! - A checkpoint covers everything before it, is never in the middle of a source transaction, and
//!   never passes a commit that a later chunk has to contain and might not.
//! - Going on where changes are missing (a slot that was created anew, another server, a cursor
//!   ahead of the log) is refused, with the remedy.
//! - No two changes of a capture share a `loc`; it orders them all, and the changes of one key come
//!   in this order. Changes of rows that a backfill has yet to emit come behind their rows.
//! - A password goes in clear text over TLS only, or where sslmode is `disable`; no byte from before a
//!   TLS handshake is read after it; sslmode means what it means to libpq.
//! - A value is never guessed: an unknown type is captured in its text form, a malformed value is an
//!   error. No error or log line holds a value of a row, or a secret.
//! - Nothing of a transaction is emitted or acknowledged before it has committed. What is kept of it
//!   until then dies with the process, and the server sends it again.
//! - Deliberately absent: intermediate values between wire and JSON; a second form of a type for the
//!   backfill; state that the reference does not know; two-phase decoding (prepared transactions
//!   arrive at COMMIT PREPARED); documents of transactions that have not committed.

pub mod backfill;
pub mod background;
pub mod buffer;
pub mod capture;
pub mod catalog;
pub mod cli;
pub mod client;
pub mod config;
pub mod error;
pub mod flow;
pub mod json;
pub mod logging;
pub mod net;
pub mod record;
pub mod replication;
pub mod schema;
pub mod value;
