//! Errors of a connection, whichever part of it finds them.

use protocol::ProtocolError;

use crate::error::{Error, ErrorKind};

/// Returns the error for the end of the server's byte stream.
pub(super) fn connection_closed() -> Error {
    Error::new(
        ErrorKind::Connection,
        "the server closed the connection unexpectedly",
    )
}

/// Returns the error for a socket, TLS or tunnel that fails.
pub(super) fn connection_lost(error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Connection,
        "the connection to the server was lost",
    )
    .with_source(error)
}

/// Returns the error for bytes that the session cannot accept.
pub(super) fn protocol_violation(error: ProtocolError) -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the server sent a message that the protocol does not allow",
    )
    .with_source(error)
}

/// Returns the error for a session that needs no more bytes and yet reports no event.
pub(super) fn unrecognized_message() -> Error {
    Error::new(
        ErrorKind::Internal,
        "a complete message from the server was not recognized",
    )
}
