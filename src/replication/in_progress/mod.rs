//! Spooling of transactions in progress until they commit.
//!
//! From version 14 on, a server can send a large transaction while it is in progress, in stream
//! blocks that alternate with those of other transactions, instead of writing it to its own disk
//! first. The [`Spool`] stores the messages as they arrive, in memory and beyond a budget in a
//! temporary file, until the server reports the end of the transaction. After a commit it replays
//! the transaction as if the server had sent it then: Begin, the messages, Commit. The reader of
//! the stream sees the same messages with and without streaming of transactions in progress.
//!
//! States of a transaction:
//!
//! ```text
//!   StreamStart (first)
//!          |
//!          v        StreamStop                   StreamAbort of the transaction
//!      receiving ---------------> waiting ------------------------------------> discarded
//!          ^                      |  |  ^
//!          |                      |  |  |  StreamAbort of a subtransaction: its changes are
//!          +----------------------+  |  +- left out of the replay
//!            StreamStart (later)     |
//!                                    | StreamCommit
//!                                    v
//!                                replaying: Begin, messages, newer relations, Commit
//! ```
//!
//! At most one transaction is receiving, and at most one is replaying: no further message of the
//! stream is read until the reader has taken all messages of a replay.
//!
//! Spooled messages are lost when the process ends. Positions after them may be acknowledged all the
//! same: the server sends every transaction again whose commit is not before the position at which
//! the stream starts, wherever its changes are in the log.
//!
//! Terms: a *stream block* is the messages between StreamStart and StreamStop. A *block* is a piece
//! of memory, or of a temporary file, with spooled messages.

mod block_pool;
mod file;
mod file_reader;
mod replay;
mod spool;
#[cfg(test)]
mod tests;
mod transaction;

pub use spool::{Spool, SpoolOptions};
