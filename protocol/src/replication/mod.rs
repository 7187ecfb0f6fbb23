//! The streaming replication protocol: commands, and what CopyData carries.
//!
//! See <https://www.postgresql.org/docs/current/protocol-replication.html>.

pub mod command;
mod message;
mod outgoing;

pub use message::{
    HotStandbyFeedback, PrimaryKeepalive, ReplicationMessage, StandbyStatusUpdate, XLogData,
};
pub use outgoing::{encode_copy_data, encode_copy_done};
