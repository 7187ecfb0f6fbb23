//! Network connections to the server: TCP, SSH tunnels, TLS, and the bytes between a stream and a
//! protocol session.
//!
//! A [`Connection`] owns the byte stream, the protocol session and the receive buffer. Events that the
//! session reports borrow from the buffer, so that the buffer cannot be refilled while one is alive.
//!
//! Modules, lowest first:
//!
//! - `tls` and `tunnel` turn a socket into an encrypted stream and into a stream through an SSH server;
//!   `stream` is any of these.
//! - `buffer`, `coalesce` and `receiver` read messages: memory, pauses during a backlog, both together
//!   with the session.
//! - `connect` makes connections; the lower part of it, up to `connect::cancel`, opens a stream to
//!   the server, and its upper part makes a [`Connection`] of the stream and logs in.
//! - `connection` and `replication_io` are connections that are ready.

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
