//! What a server sends, as borrowed bodies.

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

/// A message of the server, borrowed from the receive buffer.
///
/// See <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendMessage<'a> {
    /// A step of the authentication.
    Authentication(Authentication<'a>),
    /// What a CancelRequest needs.
    BackendKeyData(BackendKeyData<'a>),
    /// Answer to Bind.
    BindComplete,
    /// Answer to Close.
    CloseComplete,
    /// A command is complete; its tag, such as `SELECT 5`.
    CommandComplete(&'a str),
    /// The connection now carries CopyData both ways.
    CopyBothResponse(CopyResponse<'a>),
    /// A piece of a COPY stream.
    CopyData(&'a [u8]),
    /// The server's end of a COPY stream.
    CopyDone,
    /// The server now takes CopyData.
    CopyInResponse(CopyResponse<'a>),
    /// The server now sends CopyData.
    CopyOutResponse(CopyResponse<'a>),
    /// A row.
    DataRow(DataRow<'a>),
    /// A query string held no command.
    EmptyQueryResponse,
    /// An error.
    ErrorResponse(Report<'a>),
    /// The result of a function call, an old part of the protocol; `None` is NULL.
    FunctionCallResponse(Option<&'a [u8]>),
    /// The server does not know the minor version, or some options, of the StartupMessage.
    NegotiateProtocolVersion(NegotiateProtocolVersion<'a>),
    /// What was described returns no rows.
    NoData,
    /// A notice.
    NoticeResponse(Report<'a>),
    /// A NOTIFY of some session.
    NotificationResponse(Notification<'a>),
    /// The parameters of a statement.
    ParameterDescription(ParameterDescription<'a>),
    /// The value of a run-time parameter.
    ParameterStatus {
        /// The parameter.
        name: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// Answer to Parse.
    ParseComplete,
    /// Execute's limit of rows was reached.
    PortalSuspended,
    /// The server is ready for the next query.
    ReadyForQuery(TransactionStatus),
    /// The columns of a result.
    RowDescription(RowDescription<'a>),
}

impl<'a> BackendMessage<'a> {
    /// Parses the body of the message with this tag.
    ///
    /// # Errors
    ///
    /// If the tag is unknown, or the body is not exactly such a message.
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

/// The start of a COPY: the forms of the stream and its columns.
///
/// See [CopyOutResponse](https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-COPYOUTRESPONSE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyResponse<'a> {
    /// The form of the stream as a whole.
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

    /// Returns the form of each column.
    pub fn columns(&self) -> impl Iterator<Item = Format> + use<'a> {
        let mut rest = self.columns;
        std::iter::from_fn(move || {
            let (next, format) = Format::parse(rest).ok()?;
            rest = next;
            Some(format)
        })
    }
}

/// The form of a value: as text, or in the type's binary form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// What the type's output function writes.
    #[default]
    Text,
    /// What the type's send function writes.
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

    /// Returns the number that goes over the wire.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

/// A NOTIFY of some session.
///
/// See <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification<'a> {
    /// The process that serves the notifying session.
    pub process_id: ProcessId,
    /// The channel's name.
    pub channel: &'a [u8],
    /// What the notifying session passed.
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

/// The types of a statement's parameters.
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

    /// Returns the type of each parameter.
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

/// Whether the session is in a transaction block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TransactionStatus {
    /// Not in one.
    #[default]
    Idle,
    /// In one.
    InTransaction,
    /// In one that failed: only its end is accepted.
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
