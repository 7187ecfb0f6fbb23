//! What a client sends.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    codec::{put_c_str, put_count16, put_frame, put_sized},
    error::EncodeError,
    ids::{Oid, ProcessId},
    message::{BackendKeyData, Format, tag::client},
};

/// Takes the place of a protocol version in a request for TLS.
const SSL_REQUEST: u32 = 80_877_103;
/// Takes the place of a protocol version in a request to cancel.
const CANCEL_REQUEST: u32 = 80_877_102;

/// The protocol version that a session asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum ProtocolVersion {
    /// What every server and proxy understands.
    #[default]
    V3_0,
    /// Servers since 18: keys of CancelRequests are longer. Older servers negotiate it down, some
    /// proxies fail.
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

/// SSLRequest. See <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>.
pub(crate) fn ssl_request(out: &mut BytesMut) -> Encoded {
    put_frame(out, None, "SSLRequest", |out| {
        out.put_u32(SSL_REQUEST);
        Ok(())
    })
}

/// StartupMessage.
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

/// PasswordMessage.
pub(crate) fn password(out: &mut BytesMut, password: &str) -> Encoded {
    put_frame(out, Some(client::PASSWORD), "password", |out| {
        put_c_str(out, password, "password")
    })
}

/// SASLInitialResponse.
pub(crate) fn sasl_initial_response(out: &mut BytesMut, mechanism: &str, data: &[u8]) -> Encoded {
    put_frame(out, Some(client::PASSWORD), "SASLInitialResponse", |out| {
        put_c_str(out, mechanism, "SASL mechanism")?;
        put_sized(out, Some(data), "SASLInitialResponse")
    })
}

/// SASLResponse.
pub(crate) fn sasl_response(out: &mut BytesMut, data: &[u8]) -> Encoded {
    put_frame(out, Some(client::PASSWORD), "SASLResponse", |out| {
        out.put_slice(data);
        Ok(())
    })
}

/// Query.
pub(crate) fn query(out: &mut BytesMut, sql: &str) -> Encoded {
    put_frame(out, Some(client::QUERY), "query", |out| {
        put_c_str(out, sql, "query")
    })
}

/// Parse.
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

/// Bind, with all parameters as text and all columns of the result in one format.
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
        // No format codes: all are text.
        put_count16(out, 0, "list of parameters")?;
        put_count16(out, parameters.len(), "list of parameters")?;
        for parameter in parameters {
            put_sized(out, *parameter, "parameter")?;
        }
        // One format code: it holds for all columns.
        put_count16(out, 1, "list of formats")?;
        out.put_u16(result_format.code());
        Ok(())
    })
}

/// What Describe and Close are about.
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

/// Describe.
pub(crate) fn describe(out: &mut BytesMut, target: Target, name: &str) -> Encoded {
    put_targeted(out, client::DESCRIBE, target, name)
}

/// Close.
pub(crate) fn close(out: &mut BytesMut, target: Target, name: &str) -> Encoded {
    put_targeted(out, client::CLOSE, target, name)
}

fn put_targeted(out: &mut BytesMut, tag: u8, target: Target, name: &str) -> Encoded {
    put_frame(out, Some(tag), "name", |out| {
        out.put_u8(target.code());
        put_c_str(out, name, "name of a statement or portal")
    })
}

/// Execute; 0 rows are all rows.
pub(crate) fn execute(out: &mut BytesMut, portal: &str, max_rows: u32) -> Encoded {
    put_frame(out, Some(client::EXECUTE), "name", |out| {
        put_c_str(out, portal, "name of a portal")?;
        out.put_i32(i32::try_from(max_rows).map_err(|_| EncodeError::TooLong("number of rows"))?);
        Ok(())
    })
}

/// Flush.
pub(crate) fn flush(out: &mut BytesMut) -> Encoded {
    put_empty(out, client::FLUSH)
}

/// Sync.
pub(crate) fn sync(out: &mut BytesMut) -> Encoded {
    put_empty(out, client::SYNC)
}

/// Terminate.
pub(crate) fn terminate(out: &mut BytesMut) -> Encoded {
    put_empty(out, client::TERMINATE)
}

/// CopyData.
pub(crate) fn copy_data(out: &mut BytesMut, data: &[u8]) -> Encoded {
    put_frame(out, Some(client::COPY_DATA), "CopyData", |out| {
        out.put_slice(data);
        Ok(())
    })
}

/// CopyDone.
pub(crate) fn copy_done(out: &mut BytesMut) -> Encoded {
    put_empty(out, client::COPY_DONE)
}

/// CopyFail.
pub(crate) fn copy_fail(out: &mut BytesMut, reason: &str) -> Encoded {
    put_frame(out, Some(client::COPY_FAIL), "reason", |out| {
        put_c_str(out, reason, "reason")
    })
}

fn put_empty(out: &mut BytesMut, tag: u8) -> Encoded {
    put_frame(out, Some(tag), "message", |_| Ok(()))
}

/// What it takes to cancel the query that a session is running.
///
/// The request goes over a connection of its own, which the server then closes without an answer.
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

    /// Returns the process that serves the session.
    pub fn process_id(&self) -> ProcessId {
        self.process_id
    }

    /// Returns the CancelRequest: all that is to be sent, in place of a StartupMessage.
    pub fn cancel_request(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(12 + self.secret.len());
        // The secret has at most 256 bytes, so the length fits its prefix.
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
