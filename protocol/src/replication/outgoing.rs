//! Frames for a connection whose sending half is apart from its session.

use bytes::BytesMut;

use crate::error::EncodeError;
use crate::message;

/// Appends a CopyData message: what a [`StandbyStatusUpdate`](crate::StandbyStatusUpdate) travels in.
///
/// While a connection streams, one task may read it with its session and another report positions.
/// The session need not know of those.
///
/// # Errors
///
/// If the data is longer than a message can be.
pub fn encode_copy_data(data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
    message::copy_data(out, data)
}

/// Appends a CopyDone message, which ends the client's half of a stream.
///
/// # Errors
///
/// Never in practice: the message has no content.
pub fn encode_copy_done(out: &mut BytesMut) -> Result<(), EncodeError> {
    message::copy_done(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_and_its_end_are_framed() {
        let mut out = BytesMut::new();
        encode_copy_data(b"ab", &mut out).unwrap();
        encode_copy_done(&mut out).unwrap();
        assert_eq!(&out[..], b"d\0\0\0\x06abc\0\0\0\x04");
    }
}
