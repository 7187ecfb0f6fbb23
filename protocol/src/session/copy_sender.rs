//! The client's half of a COPY stream.

use bytes::BytesMut;

use crate::{error::ProtocolError, message};

/// Client's half of a COPY stream: encodes CopyData and CopyDone, and refuses both after CopyDone.
///
/// A [`Session`](crate::Session) holds one while the client may send. In CopyBoth mode
/// [`take_copy_sender`](crate::Session::take_copy_sender) hands it out, so that one task can send
/// messages such as [`StandbyStatusUpdate`](crate::StandbyStatusUpdate) while another task reads
/// the stream with the session.
///
/// See <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY>.
#[derive(Debug, PartialEq, Eq)]
pub struct CopySender {
    is_open: bool,
}

impl CopySender {
    /// Creates the open half, after the server has entered CopyIn or CopyBoth mode.
    pub(super) const fn new() -> Self {
        Self { is_open: true }
    }

    /// Returns whether data can still be sent.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Appends a CopyData message to `out`.
    ///
    /// # Errors
    ///
    /// Fails after CopyDone, or if the data is longer than a message can be. Nothing is appended
    /// then.
    pub fn copy_data(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), ProtocolError> {
        self.check_open("copy_data")?;
        Ok(message::copy_data(out, data)?)
    }

    /// Appends a CopyDone message to `out`, which ends the client's half of the stream.
    ///
    /// # Errors
    ///
    /// Fails after CopyDone. Nothing is appended then.
    pub fn copy_done(&mut self, out: &mut BytesMut) -> Result<(), ProtocolError> {
        self.check_open("copy_done")?;
        message::copy_done(out)?;
        self.is_open = false;
        Ok(())
    }

    fn check_open(&self, call: &'static str) -> Result<(), ProtocolError> {
        if self.is_open {
            Ok(())
        } else {
            Err(ProtocolError::Call {
                call,
                state: "the client's half of the stream is closed",
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_and_done_are_encoded() {
        let mut sender = CopySender::new();
        let mut out = BytesMut::new();
        sender.copy_data(b"ab", &mut out).unwrap();
        sender.copy_data(b"", &mut out).unwrap();
        assert!(sender.is_open());
        sender.copy_done(&mut out).unwrap();
        assert!(!sender.is_open());
        assert_eq!(&out[..], b"d\0\0\0\x06abd\0\0\0\x04c\0\0\0\x04");
    }

    #[test]
    fn after_done_data_and_done_are_refused() {
        let mut sender = CopySender::new();
        let mut out = BytesMut::new();
        sender.copy_done(&mut out).unwrap();
        out.clear();
        let error = sender.copy_data(b"ab", &mut out).unwrap_err();
        assert_eq!(
            error.to_string(),
            "copy_data is not possible while the client's half of the stream is closed"
        );
        let error = sender.copy_done(&mut out).unwrap_err();
        assert_eq!(
            error.to_string(),
            "copy_done is not possible while the client's half of the stream is closed"
        );
        assert!(out.is_empty());
    }
}
