//! Messages from the client.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    codec::{put_c_str, put_count16, put_frame, put_sized},
    error::EncodeError,
    ids::{Oid, ProcessId},
    message::{BackendKeyData, Format, tag::client},
};

/// Code of SSLRequest, in the place of a protocol version.
const SSL_REQUEST: u32 = 80_877_103;
/// Code of CancelRequest, in the place of a protocol version.
const CANCEL_REQUEST: u32 = 80_877_102;

/// Protocol version that a session requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum ProtocolVersion {
    /// Version 3.0, which every server and proxy supports.
    #[default]
    V3_0,
    /// Version 3.2, for servers since 18: the secret keys of CancelRequests are longer. Older
    /// servers negotiate version 3.0; some proxies fail.
    V3_2,
}

impl ProtocolVersion {
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::V3_0 => 3 << 16,
            Self::V3_2 => 3 << 16 | 2,
        }
    }
}

type Encoded = Result<(), EncodeError>;

/// Appends SSLRequest. See <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>.
pub(crate) fn ssl_request(out: &mut BytesMut) -> Encoded {
    put_frame(out, None, "SSLRequest", |out| {
        out.put_u32(SSL_REQUEST);
        Ok(())
    })
}

/// Appends StartupMessage.
pub(crate) fn startup_message<'a>(
    out: &mut BytesMut,
    version: ProtocolVersion,
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Encoded {
    put_frame(out, None, "StartupMessage", |out| {
        out.put_u32(version.code());
        for (name, value) in parameters {
            put_c_str(out, name, "name of a start-up parameter")?;
            put_c_str(out, value, "value of a start-up parameter")?;
        }
        out.put_u8(0);
        Ok(())
    })
}

/// Appends PasswordMessage.
pub(crate) fn password(out: &mut BytesMut, password: &str) -> Encoded {
    put_frame(out, Some(client::PASSWORD), "password", |out| {
        put_c_str(out, password, "password")
    })
}

/// Appends SASLInitialResponse.
pub(crate) fn sasl_initial_response(out: &mut BytesMut, mechanism: &str, data: &[u8]) -> Encoded {
    put_frame(out, Some(client::PASSWORD), "SASLInitialResponse", |out| {
        put_c_str(out, mechanism, "SASL mechanism")?;
        put_sized(out, Some(data), "SASLInitialResponse")
    })
}

/// Appends SASLResponse.
pub(crate) fn sasl_response(out: &mut BytesMut, data: &[u8]) -> Encoded {
    put_frame(out, Some(client::PASSWORD), "SASLResponse", |out| {
        out.put_slice(data);
        Ok(())
    })
}

/// Appends Query.
pub(crate) fn query(out: &mut BytesMut, sql: &str) -> Encoded {
    put_frame(out, Some(client::QUERY), "query", |out| {
        put_c_str(out, sql, "query")
    })
}

/// Appends Parse.
pub(crate) fn parse(
    out: &mut BytesMut,
    statement: &str,
    sql: &str,
    parameter_types: &[Oid],
) -> Encoded {
    put_frame(out, Some(client::PARSE), "query", |out| {
        put_c_str(out, statement, "name of a statement")?;
        put_c_str(out, sql, "query")?;
        put_count16(out, parameter_types.len(), "list of parameters")?;
        for parameter_type in parameter_types {
            out.put_u32(parameter_type.as_u32());
        }
        Ok(())
    })
}

/// Appends Bind, with all parameters as text and all columns of the result in one format.
pub(crate) fn bind(
    out: &mut BytesMut,
    portal: &str,
    statement: &str,
    parameters: &[Option<&[u8]>],
    result_format: Format,
) -> Encoded {
    put_frame(out, Some(client::BIND), "list of parameters", |out| {
        put_c_str(out, portal, "name of a portal")?;
        put_c_str(out, statement, "name of a statement")?;
        // No format codes: all parameters are text.
        put_count16(out, 0, "list of parameters")?;
        put_count16(out, parameters.len(), "list of parameters")?;
        for parameter in parameters {
            put_sized(out, *parameter, "parameter")?;
        }
        // One format code, which applies to all columns.
        put_count16(out, 1, "list of formats")?;
        out.put_u16(result_format.code());
        Ok(())
    })
}

/// Kind of object that Describe or Close refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Statement,
    Portal,
}

impl Target {
    const fn code(self) -> u8 {
        match self {
            Self::Statement => b'S',
            Self::Portal => b'P',
        }
    }
}

/// Appends Describe.
pub(crate) fn describe(out: &mut BytesMut, target: Target, name: &str) -> Encoded {
    put_targeted(out, client::DESCRIBE, target, name)
}

/// Appends Close.
pub(crate) fn close(out: &mut BytesMut, target: Target, name: &str) -> Encoded {
    put_targeted(out, client::CLOSE, target, name)
}

fn put_targeted(out: &mut BytesMut, tag: u8, target: Target, name: &str) -> Encoded {
    put_frame(out, Some(tag), "name", |out| {
        out.put_u8(target.code());
        put_c_str(out, name, "name of a statement or portal")
    })
}

/// Appends Execute. A `max_rows` of 0 means all rows.
pub(crate) fn execute(out: &mut BytesMut, portal: &str, max_rows: u32) -> Encoded {
    put_frame(out, Some(client::EXECUTE), "name", |out| {
        put_c_str(out, portal, "name of a portal")?;
        out.put_i32(i32::try_from(max_rows).map_err(|_| EncodeError::TooLong("number of rows"))?);
        Ok(())
    })
}

/// Appends Flush.
pub(crate) fn flush(out: &mut BytesMut) -> Encoded {
    put_empty(out, client::FLUSH)
}

/// Appends Sync.
pub(crate) fn sync(out: &mut BytesMut) -> Encoded {
    put_empty(out, client::SYNC)
}

/// Appends Terminate.
pub(crate) fn terminate(out: &mut BytesMut) -> Encoded {
    put_empty(out, client::TERMINATE)
}

/// Appends CopyData.
pub(crate) fn copy_data(out: &mut BytesMut, data: &[u8]) -> Encoded {
    put_frame(out, Some(client::COPY_DATA), "CopyData", |out| {
        out.put_slice(data);
        Ok(())
    })
}

/// Appends CopyDone.
pub(crate) fn copy_done(out: &mut BytesMut) -> Encoded {
    put_empty(out, client::COPY_DONE)
}

/// Appends CopyFail.
pub(crate) fn copy_fail(out: &mut BytesMut, reason: &str) -> Encoded {
    put_frame(out, Some(client::COPY_FAIL), "reason", |out| {
        put_c_str(out, reason, "reason")
    })
}

fn put_empty(out: &mut BytesMut, tag: u8) -> Encoded {
    put_frame(out, Some(tag), "message", |_| Ok(()))
}

/// Key to cancel the query that a session is running.
///
/// A CancelRequest needs a separate connection, which the server closes without a response.
/// See <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey {
    process_id: ProcessId,
    secret: Box<[u8]>,
}

impl CancelKey {
    pub(crate) fn new(data: BackendKeyData<'_>) -> Self {
        Self {
            process_id: data.process_id,
            secret: data.secret.into(),
        }
    }

    /// Returns the process of the session's backend.
    pub fn process_id(&self) -> ProcessId {
        self.process_id
    }

    /// Returns the CancelRequest, the only message to send over its connection.
    pub fn cancel_request(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(12 + self.secret.len());
        // The secret has at most 256 bytes, so the length fits its field.
        let length = u32::try_from(12 + self.secret.len()).unwrap_or_default();
        out.put_u32(length);
        out.put_u32(CANCEL_REQUEST);
        out.put_u32(self.process_id.as_u32());
        out.put_slice(&self.secret);
        out.freeze()
    }
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelKey")
            .field("process_id", &self.process_id)
            .finish_non_exhaustive()
    }
}
