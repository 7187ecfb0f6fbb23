//! The replication stream: frames in, transactions and changes out, positions back.
//!
//! Two positions matter. What was *received* is known to the caller, who sees every message; what is
//! *durable* is what Flow has acknowledged, and only that is ever reported to the server
//! ([`DurablePosition`]): the server throws away what it was told is durable.
//!
//! A server can send large transactions before they have committed. They are kept until they do
//! ([`Spool`]), so that whoever reads the stream sees whole transactions in the order of their
//! commits, in either case.

mod connect;
mod durable_position;
mod error;
mod feedback;
mod in_progress;
mod options;
mod slot;
mod stream;

pub use connect::{connect, set_decoding_memory};
pub use durable_position::DurablePosition;
pub use feedback::Feedback;
pub use in_progress::{Spool, SpoolOptions};
pub use options::{InProgress, StreamOptions};
pub use slot::{CreatedSlot, SlotInUseRetry, create_slot, drop_slot};
pub use stream::{ReplicationStream, StreamItem};
