//! Errors that several files of the room report.

use protocol::DecodeError;

use crate::error::{Error, ErrorKind};

/// Makes the error for a message of the stream that cannot be parsed.
pub(super) fn malformed_message(error: DecodeError) -> Error {
    Error::new(
        ErrorKind::Protocol,
        "a message of the replication stream cannot be parsed",
    )
    .with_source(error)
}
