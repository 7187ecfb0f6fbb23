//! Request reader: splits a byte stream into requests and checks them.

use bytes::BytesMut;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::codec::Codec;
use super::request::{Request, RequestMessage};
use crate::error::{Error, ErrorKind, Result};

/// Largest message that is accepted. A task with the maximum number of bindings that Flow allows is
/// far smaller.
const MAX_MESSAGE: usize = 512 * 1024 * 1024;

/// Free buffer space before each read, independent of the length that a message claims.
const READ_SIZE: usize = 64 * 1024;

/// Largest message whose memory is kept for the next requests.
const MAX_IDLE_BUFFER: usize = 2 * 1024 * 1024;

/// Reader of the requests on one stream, usually stdin.
///
/// The runtime may send several requests in sequence. Open is the last of them: after it, only
/// Acknowledge requests may follow until the end of the stream.
#[derive(Debug)]
pub struct RequestReader<R> {
    input: R,
    codec: Codec,
    buffer: BytesMut,
    scan: JsonScan,
    is_open: bool,
}

impl<R: AsyncRead + Unpin> RequestReader<R> {
    /// Creates a reader of the requests in `input`.
    pub fn new(input: R, codec: Codec) -> Self {
        Self {
            input,
            codec,
            buffer: BytesMut::new(),
            scan: JsonScan::default(),
            is_open: false,
        }
    }

    /// Returns the next request, or `None` at the end of the stream.
    ///
    /// Cancel safe: if the future is dropped, the next call continues with the bytes read so far.
    ///
    /// # Errors
    ///
    /// Fails if reading fails, the stream ends within a message, or a request is malformed or out
    /// of sequence. The reader cannot be used after an error.
    pub async fn next(&mut self) -> Result<Option<Request>> {
        loop {
            let message = match self.codec {
                Codec::Proto => self.parse_proto()?,
                Codec::Json => self.parse_json()?,
            };
            if let Some(message) = message {
                let request = message.check()?;
                self.check_sequence(&request)?;
                return Ok(Some(request));
            }
            self.buffer.reserve(READ_SIZE);
            let read = self
                .input
                .read_buf(&mut self.buffer)
                .await
                .map_err(|error| {
                    Error::new(ErrorKind::Io, "reading requests failed").with_source(error)
                })?;
            if read == 0 {
                return match self.buffer.len() {
                    0 => Ok(None),
                    length => Err(malformed(format!(
                        "the request stream ended within a message, after {length} bytes of it"
                    ))),
                };
            }
        }
    }

    fn parse_proto(&mut self) -> Result<Option<RequestMessage>> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE {
            return Err(malformed(format!(
                "a request claims a length of {length} bytes, more than the limit of \
                 {MAX_MESSAGE}: the requests may not be protobuf; set FLOW_RUNTIME_CODEC=json if \
                 they are JSON"
            )));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let frame = self.take(4 + length);
        let message = RequestMessage::decode(&frame[4..])
            .map_err(|error| malformed("a request is not valid protobuf").with_source(error))?;
        Ok(Some(message))
    }

    fn parse_json(&mut self) -> Result<Option<RequestMessage>> {
        // White space between messages is not part of a message, so the stream may end after it.
        if self.scan.position == 0 {
            let blank = self
                .buffer
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
            let _ = self.buffer.split_to(blank);
        }
        let Some(length) = self.scan.find_end(&self.buffer)? else {
            return Ok(None);
        };
        let text = self.take(length);
        self.scan = JsonScan::default();
        // The source error names a position and the expected syntax. Its type errors also quote a
        // value, but never one of a configuration, since those are read as raw JSON.
        let message = serde_json::from_slice(&text)
            .map_err(|error| malformed("a request is not valid JSON").with_source(error))?;
        Ok(Some(message))
    }

    /// Removes a message from the buffer. The memory of a large message is freed with the message.
    fn take(&mut self, length: usize) -> BytesMut {
        let message = self.buffer.split_to(length);
        if length > MAX_IDLE_BUFFER {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        message
    }

    fn check_sequence(&mut self, request: &Request) -> Result<()> {
        let is_acknowledge = matches!(request, Request::Acknowledge(_));
        if self.is_open != is_acknowledge {
            let when = if self.is_open { "after" } else { "before" };
            return Err(malformed(format!(
                "unexpected {} request {when} Open",
                request.name()
            )));
        }
        self.is_open |= matches!(request, Request::Open(_));
        Ok(())
    }
}

fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

/// Incremental search for the end of a JSON object. Tracks only brackets, braces and strings; the
/// parser checks the syntax afterwards.
#[derive(Debug, Default)]
struct JsonScan {
    /// Number of bytes of the buffer that were searched.
    position: usize,
    /// Number of open brackets and braces.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl JsonScan {
    /// Returns the length of the object at the start of `buffer`, or `None` if its end has not
    /// arrived yet.
    fn find_end(&mut self, buffer: &[u8]) -> Result<Option<usize>> {
        for &byte in &buffer[self.position..] {
            self.position += 1;
            if self.is_escaped {
                self.is_escaped = false;
            } else if self.in_string {
                match byte {
                    b'\\' => self.is_escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'{' | b'[' if self.depth > 0 || byte == b'{' => self.depth += 1,
                    // A message is a JSON object; the end of another value would never be found.
                    _ if self.depth == 0 => {
                        return Err(malformed(
                            "a request must be a JSON object, found another value: the requests \
                             may not be JSON; set FLOW_RUNTIME_CODEC=proto if they are protobuf",
                        ));
                    }
                    b'}' | b']' => {
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Ok(Some(self.position));
                        }
                    }
                    b'"' => self.in_string = true,
                    _ => {}
                }
            }
        }
        if self.position > MAX_MESSAGE {
            return Err(malformed(format!(
                "a request is longer than {MAX_MESSAGE} bytes"
            )));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
