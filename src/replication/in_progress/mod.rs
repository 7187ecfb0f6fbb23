//! Transactions in progress, kept until they commit.
//!
//! A server from version 14 on can send a large transaction while it is under way, in blocks between
//! those of others, instead of writing it to its own disk first. Here it is kept as it came
//! ([`Spool`]), in blocks of memory and beyond a budget in a temporary file, until the server says
//! how it has ended. When it is committed it is replayed as if it had been sent then, whole: its
//! begin, its messages, its commit. Whoever reads the stream sees the same with and without.
//!
//! What is kept dies with the process, and no position behind it is ever acknowledged: the server
//! sends a transaction again that had not committed before the position where the stream starts.

mod block_pool;
mod file;
mod file_reader;
mod replay;
mod spool;
#[cfg(test)]
mod tests;
mod transaction;

pub use spool::{Spool, SpoolOptions};
