//! The replication stream: creation of the slot, messages of the stream, acknowledgement of
//! positions.
//!
//! Two positions matter. The *received* position is known to the caller, who sees every message.
//! The *durable* position is the one that Flow has acknowledged. Only the durable position is ever
//! reported to the server ([`DurablePosition`]), which may remove its log up to it.
//!
//! A server can send large transactions before they have committed. The [`Spool`] stores them until
//! they do, so that the reader of the stream sees whole transactions in commit order in either
//! case.

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
