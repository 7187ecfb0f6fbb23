//! Messages in a connector's output, counted without parsing them.

use crate::support::messages::{Codec, Response};

/// One in this number of documents is parsed.
const PARSED_SHARE: u64 = 997;

/// Counter of the documents and checkpoints in a connector's output.
#[derive(Debug)]
pub(crate) struct Frames {
    codec: Codec,
    /// Beginning of a message whose end has not arrived yet.
    incomplete: Vec<u8>,
    pub(crate) documents: u64,
    pub(crate) checkpoints: u64,
}

impl Frames {
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            codec,
            incomplete: Vec::new(),
            documents: 0,
            checkpoints: 0,
        }
    }

    /// Counts the messages of the next piece of output, and parses some of the documents.
    pub(crate) fn take(&mut self, piece: &[u8]) {
        self.walk(piece, |frames, kind, message| {
            if kind == Kind::Document && frames.documents.is_multiple_of(PARSED_SHARE) {
                frames.parse(message);
            }
        });
    }

    /// Counts the messages of the next piece of output, and passes those with documents to `take`.
    pub(crate) fn take_documents(&mut self, piece: &[u8], mut take: impl FnMut(&[u8])) {
        self.walk(piece, |_, kind, message| {
            if kind == Kind::Document {
                take(message);
            }
        });
    }

    fn walk(&mut self, piece: &[u8], mut take: impl FnMut(&Self, Kind, &[u8])) {
        let mut incomplete = std::mem::take(&mut self.incomplete);
        let mut bytes = if incomplete.is_empty() {
            piece
        } else {
            incomplete.extend_from_slice(piece);
            &incomplete
        };
        while let Some((length, kind)) = self.message(bytes) {
            let (message, following) = bytes.split_at(length);
            take(self, kind, message);
            match kind {
                Kind::Document => self.documents += 1,
                Kind::Checkpoint => self.checkpoints += 1,
                Kind::Other => {}
            }
            bytes = following;
        }
        self.incomplete = bytes.to_vec();
    }

    /// Panics if the output ends within a message.
    pub(crate) fn assert_whole(&self) {
        assert!(
            self.incomplete.is_empty(),
            "the output ends within a message"
        );
    }

    /// Returns the length and kind of the first message, if it is complete.
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

    /// Panics if the message is not a document with the members that all tables of the benchmarks
    /// have.
    fn parse(&self, message: &[u8]) {
        match Response::take(message, self.codec) {
            Some((_, Response::Captured { document, .. })) => {
                let is_row = document["id"].is_i64() && document["_meta"]["op"].is_string();
                assert!(is_row, "not a row of a table: {document}");
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
