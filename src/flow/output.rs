//! Writes responses: documents into a buffer, everything else straight through it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use super::codec::Codec;
use super::response::{Checkpoint, ConnectorState, Response, SourcedSchema};
use crate::buffer::Buffer;
use crate::error::{Error, ErrorKind, Result};

/// The buffer is written out when it holds this much.
const FLUSH_THRESHOLD: usize = 1024 * 1024;

/// A buffer that a large document made grow beyond this is given back.
const MAX_IDLE_BUFFER: usize = 8 * FLUSH_THRESHOLD;

/// The tags of the fields in the way to a document: field number and wire type.
const TAG_CAPTURED: u8 = 6 << 3 | 2;
const TAG_BINDING: u8 = 1 << 3;
const TAG_DOC: u8 = 2 << 3 | 2;

/// A length is only known when the document is there, so room for it is kept: five bytes hold any
/// `u32`, and a varint may be longer than it need be.
const PADDED_VARINT: usize = 5;

/// Where the `Captured` message begins in a frame: behind the length of the frame, a tag and the
/// message's own length.
const CAPTURED_START: usize = 4 + 1 + PADDED_VARINT;

const JSON_SUFFIX: &[u8] = b"}}\n";

/// Where a document under construction begins. See [`Output::begin_captured`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a document that was begun must be ended or abandoned"]
pub struct Mark {
    /// Where the frame begins.
    frame: usize,
    /// Where the document begins.
    document: usize,
}

/// The responses on one stream, usually [`stdout`].
///
/// A document is written in place: between [`begin_captured`](Self::begin_captured) and
/// [`end_captured`](Self::end_captured) the caller appends it to [`buffer`](Self::buffer), which
/// stays allocated. Documents may wait in the buffer, for without the next checkpoint they mean
/// nothing; every other response takes along what waits before it.
#[derive(Debug)]
pub struct Output<W> {
    writer: W,
    codec: Codec,
    buffer: Buffer,
    /// What stands before a document of the binding that was written last.
    prefix: DocumentPrefix,
    /// A write that failed may have left half a message behind, so none may follow.
    is_broken: bool,
}

impl Mark {
    /// Returns how long the document is when the buffer has this length.
    pub fn document_bytes(&self, buffer: usize) -> u64 {
        buffer.saturating_sub(self.document) as u64
    }
}

impl<W: Write> Output<W> {
    /// Makes an output to `writer`, which need not buffer anything itself.
    pub fn new(writer: W, codec: Codec) -> Self {
        Self {
            writer,
            codec,
            buffer: Buffer::new(),
            prefix: DocumentPrefix::new(codec, 0),
            is_broken: false,
        }
    }

    /// Begins a document of a binding. Until it is ended or abandoned, only
    /// [`buffer`](Self::buffer) may be used, and only to append to.
    #[inline]
    pub fn begin_captured(&mut self, binding: u32) -> Mark {
        if self.prefix.binding != binding {
            self.prefix.set_binding(self.codec, binding);
        }
        let DocumentPrefix { bytes, length, .. } = &self.prefix;
        let frame = self.buffer.len();
        self.buffer.push_part(bytes, *length);
        Mark {
            frame,
            document: frame + length,
        }
    }

    /// Returns the buffer, to append a document to: one JSON value without line feeds.
    #[inline]
    pub fn buffer(&mut self) -> &mut Buffer {
        &mut self.buffer
    }

    /// Ends a document, and writes the buffer out if it is full.
    ///
    /// # Errors
    ///
    /// If the document is empty or does not fit into a message, which abandons it, or if writing
    /// fails.
    #[inline]
    pub fn end_captured(&mut self, mark: Mark) -> Result<()> {
        let length = self.buffer.len().saturating_sub(mark.document);
        if length == 0 || !self.patch_lengths(mark) {
            return Err(self.reject(mark, length));
        }
        if self.codec == Codec::Json {
            debug_assert!(
                !self.buffer[mark.document..].contains(&b'\n'),
                "a line feed within a document ends its message"
            );
            self.buffer.extend_from_slice(JSON_SUFFIX);
        }
        if self.buffer.len() >= FLUSH_THRESHOLD {
            self.write_out()
        } else {
            Ok(())
        }
    }

    /// Takes back a document that was begun.
    fn abandon(&mut self, mark: Mark) {
        self.buffer.truncate(mark.frame);
    }

    /// Writes a response, and everything that waits before it.
    ///
    /// # Errors
    ///
    /// If the response cannot be encoded, or if writing fails.
    pub fn respond(&mut self, response: &Response) -> Result<()> {
        let codec = self.codec;
        self.buffer
            .append(|buffer| response.encode_frame(codec, buffer))?;
        self.flush()
    }

    /// Writes the schema that the source gives a binding's documents.
    ///
    /// # Errors
    ///
    /// If writing fails, or if it is not JSON, which only the JSON codec finds out.
    pub fn sourced_schema(&mut self, binding: u32, schema_json: &str) -> Result<()> {
        let schema_json = schema_json.to_owned();
        self.respond(
            &SourcedSchema {
                binding,
                schema_json,
            }
            .into(),
        )
    }

    /// Writes a checkpoint whose state is a merge patch.
    ///
    /// # Errors
    ///
    /// If writing fails, or if it is not JSON, which only the JSON codec finds out.
    pub fn checkpoint(&mut self, state_json: &str) -> Result<()> {
        let state = ConnectorState {
            updated_json: state_json.to_owned(),
            merge_patch: true,
        };
        self.respond(&Checkpoint { state: Some(state) }.into())
    }

    /// Writes out everything that waits.
    ///
    /// # Errors
    ///
    /// If writing fails, now or before.
    pub fn flush(&mut self) -> Result<()> {
        self.write_out()?;
        self.writer.flush().map_err(|error| self.fail(error))
    }

    /// Writes the lengths that were left open. Returns whether they fit.
    #[inline]
    fn patch_lengths(&mut self, mark: Mark) -> bool {
        if self.codec == Codec::Json {
            return true;
        }
        let end = self.buffer.len();
        // The frame is the longest: if its length fits, so do the others.
        let Ok(frame) = u32::try_from(end - mark.frame - 4) else {
            return false;
        };
        let captured = padded_varint((end - mark.frame - CAPTURED_START) as u64);
        let document = padded_varint((end - mark.document) as u64);
        // The places of the lengths are all within an opening, which was written as a whole.
        let prefix: Option<&mut [u8; MAX_PREFIX]> = self
            .buffer
            .memory()
            .get_mut(mark.frame..)
            .and_then(<[u8]>::first_chunk_mut);
        let Some(prefix) = prefix else { return false };
        if let Some(length_field) = prefix.first_chunk_mut() {
            *length_field = frame.to_le_bytes();
        }
        if let Some(length_field) = prefix.get_mut(CAPTURED_START - PADDED_VARINT..CAPTURED_START) {
            length_field.copy_from_slice(&captured);
        }
        let length = mark.document.saturating_sub(mark.frame);
        if let Some(length_field) = prefix.get_mut(length.saturating_sub(PADDED_VARINT)..length) {
            length_field.copy_from_slice(&document);
        }
        true
    }

    #[cold]
    fn reject(&mut self, mark: Mark, length: usize) -> Error {
        self.abandon(mark);
        let message = if length == 0 {
            "a document is empty".to_owned()
        } else {
            format!("a document of {length} bytes outgrows the framing of 4 GiB")
        };
        Error::new(ErrorKind::Internal, message)
    }

    fn write_out(&mut self) -> Result<()> {
        if self.is_broken {
            return Err(Error::new(ErrorKind::Io, "writing responses failed before"));
        }
        let result = self.writer.write_all(&self.buffer);
        self.buffer.clear();
        if self.buffer.capacity() > MAX_IDLE_BUFFER {
            self.buffer.shrink_to(FLUSH_THRESHOLD);
        }
        result.map_err(|error| self.fail(error))
    }

    #[cold]
    fn fail(&mut self, error: io::Error) -> Error {
        self.is_broken = true;
        let message = match error.kind() {
            io::ErrorKind::BrokenPipe => "writing responses failed: their reader is gone",
            _ => "writing responses failed",
        };
        Error::new(ErrorKind::Io, message).with_source(error)
    }
}

/// What stands before every document of a binding.
#[derive(Debug)]
struct DocumentPrefix {
    binding: u32,
    bytes: [u8; MAX_PREFIX],
    /// How many of the bytes are used.
    length: usize,
    /// Memory to write them in: rows of two tables may come in turns.
    scratch: Vec<u8>,
}

/// The longest of them is the one in JSON.
const MAX_PREFIX: usize = r#"{"captured":{"binding":4294967295,"doc":"#.len();

impl DocumentPrefix {
    fn new(codec: Codec, binding: u32) -> Self {
        let mut prefix = Self {
            binding,
            bytes: [0; MAX_PREFIX],
            length: 0,
            scratch: Vec::with_capacity(MAX_PREFIX),
        };
        prefix.set_binding(codec, binding);
        prefix
    }

    /// Becomes that of another binding.
    #[inline(never)]
    fn set_binding(&mut self, codec: Codec, binding: u32) {
        let prefix = &mut self.scratch;
        prefix.clear();
        match codec {
            Codec::Proto => {
                prefix.extend_from_slice(&[0; 4]);
                prefix.push(TAG_CAPTURED);
                prefix.extend_from_slice(&[0; PADDED_VARINT]);
                if binding != 0 {
                    prefix.push(TAG_BINDING);
                    prost::encoding::encode_varint(u64::from(binding), prefix);
                }
                prefix.push(TAG_DOC);
                prefix.extend_from_slice(&[0; PADDED_VARINT]);
            }
            Codec::Json => {
                prefix.extend_from_slice(b"{\"captured\":{");
                if binding != 0 {
                    // A vector takes all that is written to it.
                    let _ = write!(prefix, "\"binding\":{binding},");
                }
                prefix.extend_from_slice(b"\"doc\":");
            }
        }
        self.binding = binding;
        self.length = prefix.len();
        prefix.resize(MAX_PREFIX, 0);
        self.bytes = prefix.first_chunk().copied().unwrap_or([0; MAX_PREFIX]);
    }
}

/// Returns stdout as a file of its own. The standard library's handle would look for line feeds in
/// every buffer and keep back what follows the last one.
///
/// # Errors
///
/// If stdout is closed, or no further file can be opened.
pub fn stdout() -> Result<File> {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(|error| {
        Error::new(ErrorKind::Io, "stdout cannot be written to").with_source(error)
    })?;
    // A pipe that takes a whole buffer spares a wake-up for each of its pieces. Not every stdout is a
    // pipe, and not everybody may have a large one; then it stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, FLUSH_THRESHOLD);
    Ok(File::from(stdout))
}

/// The varint of a number of 32 bits in exactly five bytes.
#[inline]
fn padded_varint(number: u64) -> [u8; PADDED_VARINT] {
    // Seven bits go into each byte; all but the last say that another follows.
    let byte = |index: u64| (number >> (7 * index) & 0x7F) << (8 * index);
    let bytes = byte(0) | byte(1) | byte(2) | byte(3) | byte(4) | 0x8080_8080;
    let [bytes @ .., _, _, _] = bytes.to_le_bytes();
    bytes
}

#[cfg(test)]
mod tests;
