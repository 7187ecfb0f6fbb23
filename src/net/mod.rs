//! Sockets: TCP, SSH tunnels, TLS by sslmode, bytes between a stream and a protocol session.
//!
//! A [`Connection`] owns the socket, the protocol session and the receive buffer, in that order of
//! dependence: events that the session reports borrow from the buffer, and the buffer cannot be
//! refilled while one is alive.

mod aws;
mod buffer;
mod coalesce;
mod connect;
mod connection;
mod error;
mod receiver;
mod replication_io;
mod stream;
mod tls;
mod tunnel;

pub use buffer::ReceiveBuffer;
pub use connect::{ConnectConfig, Purpose};
pub use connection::Connection;
pub use replication_io::{ReplicationReader, ReplicationWriter};
