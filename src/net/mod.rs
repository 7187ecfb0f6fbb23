//! Network connections to the server: TCP, SSH tunnels, TLS, and the bytes between a stream and a
//! protocol session.
//!
//! A [`Connection`] owns the byte stream, the protocol session and the receive buffer. Events that
//! the session reports borrow from the buffer, so that the buffer cannot be refilled while one is
//! alive.
//!
//! Modules, lowest first:
//!
//! - `aws`, `tls` and `tunnel`: tokens for RDS, the TLS handshake, forwarding through an SSH
//!   server.
//! - `stream`: the byte stream to a server, over any of these.
//! - `buffer`, `coalesce` and `receiver`: memory for received bytes, pauses during a backlog, and
//!   both together with the session.
//! - `connect::reach` and `connect::cancel`: opening a byte stream to a server, and sending a
//!   CancelRequest over one.
//! - `connection` and `replication_io`: a connection, and its two halves while it streams changes.
//! - `connect::login` and `connect::hosts`: the login, and the choice of host, address and TLS.

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
