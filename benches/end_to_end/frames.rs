//! What a connector has written, counted without taking it apart.

use crate::support::messages::{Codec, Response};

/// Of so many documents one is parsed.
const PARSED: u64 = 997;

/// Counts the documents in a connector's output.
#[derive(Debug)]
pub(crate) struct Frames {
    codec: Codec,
    /// The beginning of a message whose end is still to come.
    rest: Vec<u8>,
    pub(crate) documents: u64,
    pub(crate) checkpoints: u64,
}

impl Frames {
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            codec,
            rest: Vec::new(),
            documents: 0,
            checkpoints: 0,
        }
    }

    /// Takes in the next piece of output.
    pub(crate) fn take(&mut self, piece: &[u8]) {
        let mut rest = std::mem::take(&mut self.rest);
        let bytes = if rest.is_empty() {
            piece
        } else {
            rest.extend_from_slice(piece);
            &rest
        };
        let mut start = 0;
        while let Some(length) = self.message(&bytes[start..]) {
            start += length;
        }
        self.rest = bytes[start..].to_vec();
    }

    /// Panics if the output has ended within a message.
    pub(crate) fn assert_whole(&self) {
        assert!(self.rest.is_empty(), "the output ends within a message");
    }

    /// Counts the first message, and returns its length if it is whole.
    fn message(&mut self, bytes: &[u8]) -> Option<usize> {
        let (length, kind) = match self.codec {
            Codec::Proto => {
                let (length, message) = bytes.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_le_bytes(*length)).expect("64 bits");
                let field = message.get(..length)?.first()? >> 3;
                let kind = match field {
                    6 => Kind::Document,
                    7 => Kind::Checkpoint,
                    _ => Kind::Other,
                };
                (4 + length, kind)
            }
            Codec::Json => {
                let end = bytes.iter().position(|byte| *byte == b'\n')?;
                let line = &bytes[..end];
                let kind = if line.starts_with(br#"{"captured":"#) {
                    Kind::Document
                } else if line.starts_with(br#"{"checkpoint":"#) {
                    Kind::Checkpoint
                } else {
                    Kind::Other
                };
                (end + 1, kind)
            }
        };
        match kind {
            Kind::Document => {
                if self.documents.is_multiple_of(PARSED) {
                    self.parse(&bytes[..length]);
                }
                self.documents += 1;
            }
            Kind::Checkpoint => self.checkpoints += 1,
            Kind::Other => {}
        }
        Some(length)
    }

    /// Panics if the message is not a document with what every table here has.
    fn parse(&self, message: &[u8]) {
        match Response::take(message, self.codec) {
            Some((_, Response::Captured { document, .. })) => {
                let is_row = document["id"].is_i64() && document["_meta"]["op"].is_string();
                assert!(is_row, "no row of a table: {document}");
            }
            other => panic!("not a document: {other:?}"),
        }
    }
}

enum Kind {
    Document,
    Checkpoint,
    Other,
}
