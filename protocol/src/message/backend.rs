//! Messages from the server.

use std::fmt;

use nom::Parser;

use crate::{
    codec::{
        Malformed, Parsed, all_consuming, c_bytes, c_str, int32, oid, rest, uint8, uint16, uint32,
    },
    error::{DecodeError, DecodeErrorKind},
    ids::{Oid, ProcessId},
    message::{
        Authentication, BackendKeyData, DataRow, NegotiateProtocolVersion, Report, RowDescription,
        tag,
    },
};

/// Message from the server, borrowed from the receive buffer.
///
/// See <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendMessage<'a> {
    /// Request or result of the authentication.
    Authentication(Authentication<'a>),
    /// Data for a CancelRequest.
    BackendKeyData(BackendKeyData<'a>),
    /// Response to Bind.
    BindComplete,
    /// Response to Close.
    CloseComplete,
    /// A command has completed. Contains its command tag, such as `SELECT 5`.
    CommandComplete(&'a str),
    /// The connection enters CopyBoth mode: both sides send CopyData.
    CopyBothResponse(CopyResponse<'a>),
    /// Data of a COPY stream.
    CopyData(&'a [u8]),
    /// End of the server's half of a COPY stream.
    CopyDone,
    /// The connection enters CopyIn mode: the client sends CopyData.
    CopyInResponse(CopyResponse<'a>),
    /// The connection enters CopyOut mode: the server sends CopyData.
    CopyOutResponse(CopyResponse<'a>),
    /// Row of a result.
    DataRow(DataRow<'a>),
    /// Response to an empty query string.
    EmptyQueryResponse,
    /// Error.
    ErrorResponse(Report<'a>),
    /// Result of a FunctionCall, a legacy part of the protocol. `None` is NULL.
    FunctionCallResponse(Option<&'a [u8]>),
    /// The server does not support the minor version or some options of the StartupMessage.
    NegotiateProtocolVersion(NegotiateProtocolVersion<'a>),
    /// The described statement or portal returns no rows.
    NoData,
    /// Notice.
    NoticeResponse(Report<'a>),
    /// Notification of a NOTIFY command.
    NotificationResponse(Notification<'a>),
    /// Types of the parameters of a statement.
    ParameterDescription(ParameterDescription<'a>),
    /// Value of a run-time parameter.
    ParameterStatus {
        /// Name of the parameter.
        name: &'a str,
        /// Value of the parameter.
        value: &'a str,
    },
    /// Response to Parse.
    ParseComplete,
    /// Execute has reached its maximum number of rows.
    PortalSuspended,
    /// The server is ready for the next query.
    ReadyForQuery(TransactionStatus),
    /// Columns of a result.
    RowDescription(RowDescription<'a>),
}

impl<'a> BackendMessage<'a> {
    /// Parses the body of a message with the given tag.
    ///
    /// # Errors
    ///
    /// Fails if the tag is unknown, or the body is not exactly one message of that kind.
    pub fn parse(tag: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let empty = |message: &'static str, value: Self| {
            all_consuming(message, body, |input| Ok((input, value)))
        };
        match tag {
            tag::AUTHENTICATION => all_consuming("Authentication", body, Authentication::parse)
                .map(Self::Authentication),
            tag::BACKEND_KEY_DATA => all_consuming("BackendKeyData", body, BackendKeyData::parse)
                .map(Self::BackendKeyData),
            tag::BIND_COMPLETE => empty("BindComplete", Self::BindComplete),
            tag::CLOSE_COMPLETE => empty("CloseComplete", Self::CloseComplete),
            tag::COMMAND_COMPLETE => {
                all_consuming("CommandComplete", body, c_str).map(Self::CommandComplete)
            }
            tag::COPY_BOTH_RESPONSE => all_consuming("CopyBothResponse", body, CopyResponse::parse)
                .map(Self::CopyBothResponse),
            tag::COPY_DATA => Ok(Self::CopyData(body)),
            tag::COPY_DONE => empty("CopyDone", Self::CopyDone),
            tag::COPY_IN_RESPONSE => {
                all_consuming("CopyInResponse", body, CopyResponse::parse).map(Self::CopyInResponse)
            }
            tag::COPY_OUT_RESPONSE => all_consuming("CopyOutResponse", body, CopyResponse::parse)
                .map(Self::CopyOutResponse),
            tag::DATA_ROW => DataRow::parse(body).map(Self::DataRow),
            tag::EMPTY_QUERY_RESPONSE => empty("EmptyQueryResponse", Self::EmptyQueryResponse),
            tag::ERROR_RESPONSE => Report::parse("ErrorResponse", body).map(Self::ErrorResponse),
            tag::FUNCTION_CALL_RESPONSE => all_consuming("FunctionCallResponse", body, nullable)
                .map(Self::FunctionCallResponse),
            tag::NEGOTIATE_PROTOCOL_VERSION => all_consuming(
                "NegotiateProtocolVersion",
                body,
                NegotiateProtocolVersion::parse,
            )
            .map(Self::NegotiateProtocolVersion),
            tag::NO_DATA => empty("NoData", Self::NoData),
            tag::NOTICE_RESPONSE => Report::parse("NoticeResponse", body).map(Self::NoticeResponse),
            tag::NOTIFICATION_RESPONSE => {
                all_consuming("NotificationResponse", body, Notification::parse)
                    .map(Self::NotificationResponse)
            }
            tag::PARAMETER_DESCRIPTION => {
                all_consuming("ParameterDescription", body, ParameterDescription::parse)
                    .map(Self::ParameterDescription)
            }
            tag::PARAMETER_STATUS => all_consuming("ParameterStatus", body, |input| {
                let (input, (name, value)) = (c_str, c_str).parse(input)?;
                Ok((input, Self::ParameterStatus { name, value }))
            }),
            tag::PARSE_COMPLETE => empty("ParseComplete", Self::ParseComplete),
            tag::PORTAL_SUSPENDED => empty("PortalSuspended", Self::PortalSuspended),
            tag::READY_FOR_QUERY => all_consuming("ReadyForQuery", body, TransactionStatus::parse)
                .map(Self::ReadyForQuery),
            tag::ROW_DESCRIPTION => RowDescription::parse(body).map(Self::RowDescription),
            _ => Err(DecodeError::new(
                DecodeErrorKind::UnknownTag(tag),
                0,
                "backend",
            )),
        }
    }
}

fn nullable(input: &[u8]) -> Parsed<'_, Option<&[u8]>> {
    match int32(input)? {
        (rest, -1) => Ok((rest, None)),
        _ => crate::codec::sized(input).map(|(rest, value)| (rest, Some(value))),
    }
}

/// Start of a COPY: the formats of the stream and its columns.
///
/// See [CopyOutResponse](https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-COPYOUTRESPONSE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyResponse<'a> {
    /// Overall format of the stream.
    pub format: Format,
    columns: &'a [u8],
}

impl<'a> CopyResponse<'a> {
    fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (rest, format) = match uint8(input)? {
            (rest, 0) => (rest, Format::Text),
            (rest, 1) => (rest, Format::Binary),
            _ => return Err(Malformed::at(input, DecodeErrorKind::InvalidValue)),
        };
        let (columns, count) = uint16(rest)?;
        if columns.len() != usize::from(count) * 2 {
            return Err(Malformed::at(rest, DecodeErrorKind::InvalidCount));
        }
        let mut rest = columns;
        for _ in 0..count {
            (rest, _) = Format::parse(rest)?;
        }
        Ok((rest, Self { format, columns }))
    }

    /// Returns an iterator over the formats of the columns.
    pub fn columns(&self) -> impl Iterator<Item = Format> + use<'a> {
        let mut rest = self.columns;
        std::iter::from_fn(move || {
            let (next, format) = Format::parse(rest).ok()?;
            rest = next;
            Some(format)
        })
    }
}

/// Format of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Text format: the result of the type's output function.
    #[default]
    Text,
    /// Binary format: the result of the type's send function.
    Binary,
}

impl Format {
    pub(crate) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        match uint16(input)? {
            (rest, 0) => Ok((rest, Self::Text)),
            (rest, 1) => Ok((rest, Self::Binary)),
            _ => Err(Malformed::at(input, DecodeErrorKind::InvalidValue)),
        }
    }

    /// Returns the format code on the wire.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

/// Notification of a NOTIFY command.
///
/// See <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification<'a> {
    /// Process of the backend that executed NOTIFY.
    pub process_id: ProcessId,
    /// Name of the channel.
    pub channel: &'a [u8],
    /// Payload of the notification.
    pub payload: &'a [u8],
}

impl<'a> Notification<'a> {
    fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, (process_id, channel, payload)) = (uint32, c_bytes, c_bytes).parse(input)?;
        Ok((
            input,
            Self {
                process_id: ProcessId(process_id),
                channel,
                payload,
            },
        ))
    }
}

/// Types of the parameters of a statement.
///
/// See [ParameterDescription](https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-PARAMETERDESCRIPTION).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ParameterDescription<'a> {
    types: &'a [u8],
}

impl<'a> ParameterDescription<'a> {
    fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (types, count) = uint16(input)?;
        if types.len() != usize::from(count) * 4 {
            return Err(Malformed::at(input, DecodeErrorKind::InvalidCount));
        }
        let (rest, types) = rest(types)?;
        Ok((rest, Self { types }))
    }

    /// Returns an iterator over the types of the parameters.
    pub fn iter(&self) -> impl Iterator<Item = Oid> + use<'a> {
        let mut input = self.types;
        std::iter::from_fn(move || {
            let (rest, found) = oid(input).ok()?;
            input = rest;
            Some(found)
        })
    }
}

impl fmt::Debug for ParameterDescription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Transaction status of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TransactionStatus {
    /// Not in a transaction block.
    #[default]
    Idle,
    /// In a transaction block.
    InTransaction,
    /// In a failed transaction block: the server rejects commands until it ends.
    Failed,
}

impl TransactionStatus {
    fn parse(input: &[u8]) -> Parsed<'_, Self> {
        match uint8(input)? {
            (rest, b'I') => Ok((rest, Self::Idle)),
            (rest, b'T') => Ok((rest, Self::InTransaction)),
            (rest, b'E') => Ok((rest, Self::Failed)),
            _ => Err(Malformed::at(input, DecodeErrorKind::InvalidValue)),
        }
    }
}
