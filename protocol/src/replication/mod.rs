//! Streaming replication protocol: commands, and the messages that CopyData carries.
//!
//! See <https://www.postgresql.org/docs/current/protocol-replication.html>.

pub mod command;
mod message;

pub use message::{
    HotStandbyFeedback, PrimaryKeepalive, ReplicationMessage, StandbyStatusUpdate, XLogData,
};
