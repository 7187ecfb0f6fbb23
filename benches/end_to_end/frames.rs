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
        self.walk(piece, |frames, kind, message| {
            if kind == Kind::Document && frames.documents.is_multiple_of(PARSED) {
                frames.parse(message);
            }
        });
    }

    /// Takes in the next piece of output, and hands on the messages with documents.
    pub(crate) fn take_documents(&mut self, piece: &[u8], mut take: impl FnMut(&[u8])) {
        self.walk(piece, |_, kind, message| {
            if kind == Kind::Document {
                take(message);
            }
        });
    }

    fn walk(&mut self, piece: &[u8], mut take: impl FnMut(&Self, Kind, &[u8])) {
        let mut rest = std::mem::take(&mut self.rest);
        let mut bytes = if rest.is_empty() {
            piece
        } else {
            rest.extend_from_slice(piece);
            &rest
        };
        while let Some((length, kind)) = self.message(bytes) {
            let (message, behind) = bytes.split_at(length);
            take(self, kind, message);
            match kind {
                Kind::Document => self.documents += 1,
                Kind::Checkpoint => self.checkpoints += 1,
                Kind::Other => {}
            }
            bytes = behind;
        }
        self.rest = bytes.to_vec();
    }

    /// Panics if the output has ended within a message.
    pub(crate) fn assert_whole(&self) {
        assert!(self.rest.is_empty(), "the output ends within a message");
    }

    /// Returns the length and kind of the first message if it is whole.
    fn message(&self, bytes: &[u8]) -> Option<(usize, Kind)> {
        Some(match self.codec {
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
        })
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Document,
    Checkpoint,
    Other,
}
