//! Response output: buffers documents, flushes the buffer with every other response.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use super::codec::Codec;
use super::response::{Checkpoint, ConnectorState, Response, SourcedSchema};
use crate::buffer::Buffer;
use crate::error::{Error, ErrorKind, Result};

/// Buffered bytes at which the buffer is written out.
const FLUSH_THRESHOLD: usize = 1024 * 1024;

/// Largest capacity of an empty buffer; memory beyond it is freed after a large document.
const MAX_IDLE_BUFFER: usize = 8 * FLUSH_THRESHOLD;

// Protobuf tags of the fields that enclose a document: field number and wire type.
const TAG_CAPTURED: u8 = 6 << 3 | 2;
const TAG_BINDING: u8 = 1 << 3;
const TAG_DOC: u8 = 2 << 3 | 2;

/// Width of the length fields before a document. The length is known only once the document is
/// written, so the fields have a fixed width: five bytes encode any `u32`, since a varint may be
/// padded.
const PADDED_VARINT: usize = 5;

/// Offset of the `Captured` message in a frame: after the frame length, the tag and the length of
/// the message.
const CAPTURED_START: usize = 4 + 1 + PADDED_VARINT;

/// End of a JSON message, after the document.
const JSON_SUFFIX: &[u8] = b"}}\n";

/// Offsets of an unfinished document in the buffer. See [`Output::begin_captured`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a document that was begun must be ended"]
pub struct Mark {
    /// Offset of the frame in the buffer.
    frame: usize,
    /// Offset of the document in the buffer.
    document: usize,
}

/// Writer of responses to one stream, usually [`stdout`].
///
/// A document is written in place: between [`begin_captured`](Self::begin_captured) and
/// [`end_captured`](Self::end_captured) the caller appends it to [`buffer`](Self::buffer), whose
/// memory is reused. Documents may stay buffered, since they take effect only with the next
/// checkpoint; every other response flushes the buffered documents and itself.
#[derive(Debug)]
pub struct Output<W> {
    writer: W,
    codec: Codec,
    buffer: Buffer,
    /// Prefix of documents of the binding that was used last.
    prefix: DocumentPrefix,
    /// Whether a write has failed. The stream may then end within a message, so nothing more may be
    /// written to it.
    is_broken: bool,
}

impl Mark {
    /// Returns the length of the document in bytes, given the length of the buffer.
    pub fn document_bytes(&self, buffer_len: usize) -> u64 {
        buffer_len.saturating_sub(self.document) as u64
    }
}

impl<W: Write> Output<W> {
    /// Creates an output to `writer`, which needs no buffer of its own.
    pub fn new(writer: W, codec: Codec) -> Self {
        Self {
            writer,
            codec,
            buffer: Buffer::new(),
            prefix: DocumentPrefix::new(codec, 0),
            is_broken: false,
        }
    }

    /// Begins a document of a binding. Until the document is ended, only
    /// [`buffer`](Self::buffer) may be called, and only to append to the buffer.
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

    /// Returns the buffer to append a document to: one JSON value without line feeds.
    #[inline]
    pub fn buffer(&mut self) -> &mut Buffer {
        &mut self.buffer
    }

    /// Ends a document, and writes the buffer out if it is full.
    ///
    /// # Errors
    ///
    /// Fails if the document is empty or does not fit into a message, which removes it from the
    /// buffer, or if writing fails.
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

    /// Removes an unfinished document from the buffer.
    fn abandon(&mut self, mark: Mark) {
        self.buffer.truncate(mark.frame);
    }

    /// Writes the buffered documents, then a response, and flushes the stream.
    ///
    /// # Errors
    ///
    /// Fails if the response cannot be encoded, or if writing fails.
    pub fn respond(&mut self, response: &Response) -> Result<()> {
        let codec = self.codec;
        self.buffer
            .append(|buffer| response.encode_frame(codec, buffer))?;
        self.flush()
    }

    /// Writes the schema that the source declares for a binding's documents.
    ///
    /// # Errors
    ///
    /// Fails if writing fails, or if `schema_json` is not JSON, which only the JSON codec checks.
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
    /// Fails if writing fails, or if `state_json` is not JSON, which only the JSON codec checks.
    pub fn checkpoint(&mut self, state_json: &str) -> Result<()> {
        let state = ConnectorState {
            updated_json: state_json.to_owned(),
            merge_patch: true,
        };
        self.respond(&Checkpoint { state: Some(state) }.into())
    }

    /// Writes out the buffer and flushes the stream.
    ///
    /// # Errors
    ///
    /// Fails if writing fails, or has failed before.
    pub fn flush(&mut self) -> Result<()> {
        self.write_out()?;
        self.writer.flush().map_err(|error| self.fail(error))
    }

    /// Writes the length fields before a finished document. Returns whether the lengths fit.
    #[inline]
    fn patch_lengths(&mut self, mark: Mark) -> bool {
        if self.codec == Codec::Json {
            return true;
        }
        let end = self.buffer.len();
        // The frame encloses the message and the document: if its length fits, theirs do.
        let Ok(frame) = u32::try_from(end - mark.frame - 4) else {
            return false;
        };
        let captured = padded_varint((end - mark.frame - CAPTURED_START) as u64);
        let document = padded_varint((end - mark.document) as u64);
        // All length fields lie within the `MAX_PREFIX` bytes that `push_part` has written.
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
            "found an empty document, expected a JSON value".to_owned()
        } else {
            format!("a document of {length} bytes exceeds the message size limit of 4 GiB")
        };
        Error::new(ErrorKind::Internal, message)
    }

    fn write_out(&mut self) -> Result<()> {
        if self.is_broken {
            return Err(Error::new(
                ErrorKind::Io,
                "writing responses failed earlier, and the stream cannot be used any more",
            ));
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
            io::ErrorKind::BrokenPipe => {
                "writing responses failed: the reader has closed the stream"
            }
            _ => "writing responses failed",
        };
        Error::new(ErrorKind::Io, message).with_source(error)
    }
}

/// Bytes before each document of one binding: the frame up to the document, length fields zero.
#[derive(Debug)]
struct DocumentPrefix {
    binding: u32,
    bytes: [u8; MAX_PREFIX],
    /// Number of bytes used.
    length: usize,
    /// Memory to build the prefix in, reused because rows of several tables may alternate.
    scratch: Vec<u8>,
}

/// Length of the longest prefix, which is the one in JSON.
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

    /// Rebuilds the prefix for a binding.
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
                    // Writing to a vector cannot fail.
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

/// Returns stdout as a [`File`]. The standard library's own handle searches every buffer for line
/// feeds and holds back the bytes after the last one.
///
/// # Errors
///
/// Fails if stdout is closed, or no further file can be opened.
pub fn stdout() -> Result<File> {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(|error| {
        Error::new(ErrorKind::Io, "stdout cannot be written to").with_source(error)
    })?;
    // A pipe that holds a whole buffer saves waking up the reader for each piece of it. Fails if
    // stdout is not a pipe, or if the user may not enlarge pipes; the size then stays unchanged.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, FLUSH_THRESHOLD);
    Ok(File::from(stdout))
}

/// Encodes a number of up to 32 bits as a varint of exactly five bytes.
#[inline]
fn padded_varint(number: u64) -> [u8; PADDED_VARINT] {
    // Each byte takes seven bits; the top bit of all but the last says that another byte follows.
    let byte = |index: u64| (number >> (7 * index) & 0x7F) << (8 * index);
    let bytes = byte(0) | byte(1) | byte(2) | byte(3) | byte(4) | 0x8080_8080;
    let [bytes @ .., _, _, _] = bytes.to_le_bytes();
    bytes
}

#[cfg(test)]
mod tests;
