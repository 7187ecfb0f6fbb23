//! Reads requests from a stream of bytes.

use bytes::BytesMut;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::codec::Codec;
use super::request::{Request, RequestMessage};
use crate::error::{Error, ErrorKind, Result};

/// The largest message that is read. A task with the most bindings that Flow allows stays far below.
const MAX_MESSAGE: usize = 512 * 1024 * 1024;

/// How much memory is set aside ahead of the data, whatever length a message claims to have.
const READ_SIZE: usize = 64 * 1024;

/// The memory of a message beyond this is not kept for the requests that follow.
const MAX_IDLE_BUFFER: usize = 2 * 1024 * 1024;

/// The sequence of requests on one stream, usually stdin.
///
/// The runtime may ask several things in turn. Open is the last: from then on only Acknowledge may
/// come, until the end of the stream.
#[derive(Debug)]
pub struct RequestReader<R> {
    input: R,
    codec: Codec,
    buffer: BytesMut,
    scan: JsonScan,
    is_open: bool,
}

impl<R: AsyncRead + Unpin> RequestReader<R> {
    /// Makes a reader of the requests in `input`.
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
    /// A call that is dropped before it returns loses nothing: the next one goes on from there.
    ///
    /// # Errors
    ///
    /// If reading fails, the stream ends within a message, or a request is malformed or out of
    /// place. The stream is of no use after that.
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
                        "the requests end in the middle of a message, after {length} bytes of it"
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
                "a request claims a length of {length} bytes, more than {MAX_MESSAGE}: are the \
                 requests really in protobuf? FLOW_RUNTIME_CODEC=json chooses JSON"
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
        // White space between messages belongs to none, so the stream may end after it.
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
        // The error's own text names a position and what was due there, no values of ours; serde's
        // complaints about types quote the value, but configurations are read as raw JSON.
        let message = serde_json::from_slice(&text)
            .map_err(|error| malformed("a request is not valid JSON").with_source(error))?;
        Ok(Some(message))
    }

    /// Takes a message out of the buffer. The memory of a large one goes with it.
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

/// Looks for the end of a JSON object, piece by piece as it arrives. Only braces and strings count;
/// whether the rest is JSON is for the parser to say.
#[derive(Debug, Default)]
struct JsonScan {
    /// How much of the buffer has been looked at.
    position: usize,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl JsonScan {
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
                    // Nothing but an object is a message, and waiting for its end would be in vain.
                    _ if self.depth == 0 => {
                        return Err(malformed(
                            "a request must be a JSON object, found something else: are the \
                             requests really in JSON? FLOW_RUNTIME_CODEC=proto chooses protobuf",
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
