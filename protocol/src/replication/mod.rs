//! The streaming replication protocol: commands, and what CopyData carries.
//!
//! See <https://www.postgresql.org/docs/current/protocol-replication.html>.

pub mod command;
mod message;

pub use message::{
    HotStandbyFeedback, PrimaryKeepalive, ReplicationMessage, StandbyStatusUpdate, XLogData,
};
