//! A PostgreSQL change-data-capture connector for Estuary Flow: it reads the rows of a database and
//! then every committed change, writes them as JSON documents, and loses none.
//!
//! # Path of a value
//!
//! ```text
//! socket -> receive buffer -> frame -> CopyData -> XLogData -> pgoutput message (borrowed)
//!        -> change record (arena, borrowed values) -> JSON bytes inside a Flow frame -> stdout
//! ```
//!
//! Each byte of a column's value is copied once: from the receive buffer ([`net::ReceiveBuffer`])
//! into the output buffer ([`flow::Output`]), and is escaped on the way. Each relation has a
//! [`record::Plan`], which is made once; writing a row is one pass over that plan. The rows of a
//! backfill arrive in the same text form as changes and become the same records, so one transcoder
//! for each type ([`value::Transcoder`]) serves both.
//!
//! The server can stream a large transaction while it is in progress. Its changes wait in a
//! [`replication::Spool`] until it commits: in memory, and beyond a memory budget on disk. Then
//! they take the path above, at the cost of one more copy. Everything after the spool sees only
//! whole transactions, in the order of their commits.
//!
//! Ownership runs in one direction: the receive buffer owns the bytes, frames and messages borrow
//! them, and records borrow from messages. A [`protocol::TupleArena`] holds the positions of a
//! row's values and is reset after each row. The borrow checker keeps a record from outliving its
//! bytes.
//!
//! # Rooms
//!
//! A room is a module of the crate root; the last row is a crate of its own.
//!
//! | room | contents |
//! |---|---|
//! | [`cli`] | the command line; without arguments it runs the Flow service |
//! | [`capture`] | bindings, state, joining of backfill and change stream, checkpoints |
//! | [`schema`], [`catalog`] | collection schemas; the database objects that they are made from, and prerequisites |
//! | [`replication`], [`backfill`] | the change stream and transactions in progress; reading of chunks and their snapshots |
//! | [`record`], [`value`], [`json`] | from wire bytes to documents and row keys |
//! | [`client`], [`net`] | queries and replication commands; sockets, SSH tunnels and TLS |
//! | [`flow`], [`config`] | messages and codecs of Flow's capture protocol; configuration |
//! | [`background`], [`buffer`], [`logging`], [`error`] | modules that every room may use |
//! | `protocol` (a crate) | the wire protocol without I/O: frames, authentication, sessions, pgoutput |
//!
//! A room imports only rooms that come later in this table, read row by row and within a row from
//! left to right; every room may import `protocol`. The files of a room import each other without a
//! circle. A test checks both rules.
//! `capture` decides what to do and handles no bytes; `record`, `value` and `json` handle bytes and
//! decide nothing.
//!
//! # Threads
//!
//! A session runs on the main thread and waits there for its sockets, so that arriving data wakes
//! one thread only. The main thread blocks in three cases: while the reader of the output does not
//! take it, while it writes the temporary file of a large transaction, and while it lets bytes of a
//! backlog collect. It reads nothing meanwhile, so the socket's flow control holds the server back.
//!
//! A second thread ([`background`]) sends status updates ([`replication::Feedback`]), so that the
//! server does not end the connection while the main thread is blocked. Through an SSH tunnel they
//! are not sent then (`net/connecting.md`). The second thread also reads acknowledgements
//! ([`capture::Acknowledgements`]) and waits for signals. The temporary file of a large transaction
//! has a thread of its own, which reads it back if the transaction has committed, and frees it.
//!
//! # Invariants
//!
//! - The position reported to the server ([`replication::DurablePosition`]) never passes what Flow
//!   has acknowledged. There is no other way to report a position.
//! - After the row of a chunk, every change of its key follows whose transaction is not in the
//!   chunk's snapshot, once, in commit order ([`backfill::Snapshot`], and the documentation of
//!   `capture`).
//! - A checkpoint covers everything before it and is never in the middle of a source transaction.
//!   Where the row of a change is still to be emitted, no checkpoint passes the commit of the
//!   change until a snapshot has contained it; the snapshots of later chunks contain it then, too.
//! - If changes are missing (the slot was dropped and created again, the server is another one, the
//!   cursor is ahead of the server's WAL), the capture refuses to resume and states the remedy.
//! - No two changes of a capture share a `loc`. It orders all changes, and the changes of one key
//!   are emitted in this order. Changes of rows that a backfill has not emitted yet follow their
//!   rows.
//! - A password goes in clear text over TLS only, or where sslmode is `disable`; no byte from
//!   before a TLS handshake is read after it; sslmode means what it means to libpq.
//! - A value is never guessed: an unknown type is captured in its text form, a malformed value is
//!   an error. No error or log line holds a value of a row, or a secret.
//! - Nothing of a transaction is emitted or acknowledged before it has committed. Changes spooled
//!   until then are lost when the process ends, and the server sends them again.
//! - Deliberately absent: intermediate values between wire and JSON; a second form of a type for
//!   the backfill; state that the reference connector does not know; two-phase decoding (prepared
//!   transactions arrive at COMMIT PREPARED); documents of transactions that have not committed.

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
