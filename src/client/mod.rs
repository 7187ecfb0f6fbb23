//! Queries and replication commands over a connection.
//!
//! [`Client`] is for queries of few rows: its results own their values. The rows of a backfill
//! chunk are read from the [`Connection`](crate::net::Connection) of a client, without a copy.

mod connecting;
mod query;
mod report;
mod rows;

pub use crate::net::{ReplicationReader, ReplicationWriter};
pub use connecting::Connecting;
pub use query::{Client, Statement};
pub use report::{log_notice, server_error, unsendable};
pub use rows::{FieldInfo, Row, Rows, parse_json};
