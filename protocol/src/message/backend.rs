//! What a server sends, as borrowed bodies.

use std::fmt;

use crate::{
    codec::{
        Malformed, Parsed, c_bytes, c_str, int32, oid, rest, salt, uint8, uint16, uint32, whole,
    },
    error::{DecodeError, DecodeErrorKind},
    ids::{Oid, ProcessId},
    message::{DataRow, Report, RowDescription, tag},
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
        let bare =
            |message: &'static str, value: Self| whole(message, body, |input| Ok((input, value)));
        match tag {
            tag::AUTHENTICATION => {
                whole("Authentication", body, Authentication::parse).map(Self::Authentication)
            }
            tag::BACKEND_KEY_DATA => {
                whole("BackendKeyData", body, BackendKeyData::parse).map(Self::BackendKeyData)
            }
            tag::BIND_COMPLETE => bare("BindComplete", Self::BindComplete),
            tag::CLOSE_COMPLETE => bare("CloseComplete", Self::CloseComplete),
            tag::COMMAND_COMPLETE => {
                whole("CommandComplete", body, c_str).map(Self::CommandComplete)
            }
            tag::COPY_BOTH_RESPONSE => {
                whole("CopyBothResponse", body, CopyResponse::parse).map(Self::CopyBothResponse)
            }
            tag::COPY_DATA => Ok(Self::CopyData(body)),
            tag::COPY_DONE => bare("CopyDone", Self::CopyDone),
            tag::COPY_IN_RESPONSE => {
                whole("CopyInResponse", body, CopyResponse::parse).map(Self::CopyInResponse)
            }
            tag::COPY_OUT_RESPONSE => {
                whole("CopyOutResponse", body, CopyResponse::parse).map(Self::CopyOutResponse)
            }
            tag::DATA_ROW => DataRow::parse(body).map(Self::DataRow),
            tag::EMPTY_QUERY_RESPONSE => bare("EmptyQueryResponse", Self::EmptyQueryResponse),
            tag::ERROR_RESPONSE => Report::parse("ErrorResponse", body).map(Self::ErrorResponse),
            tag::FUNCTION_CALL_RESPONSE => {
                whole("FunctionCallResponse", body, nullable).map(Self::FunctionCallResponse)
            }
            tag::NEGOTIATE_PROTOCOL_VERSION => whole(
                "NegotiateProtocolVersion",
                body,
                NegotiateProtocolVersion::parse,
            )
            .map(Self::NegotiateProtocolVersion),
            tag::NO_DATA => bare("NoData", Self::NoData),
            tag::NOTICE_RESPONSE => Report::parse("NoticeResponse", body).map(Self::NoticeResponse),
            tag::NOTIFICATION_RESPONSE => whole("NotificationResponse", body, Notification::parse)
                .map(Self::NotificationResponse),
            tag::PARAMETER_DESCRIPTION => {
                whole("ParameterDescription", body, ParameterDescription::parse)
                    .map(Self::ParameterDescription)
            }
            tag::PARAMETER_STATUS => whole("ParameterStatus", body, |input| {
                let (input, name) = c_str(input)?;
                let (input, value) = c_str(input)?;
                Ok((input, Self::ParameterStatus { name, value }))
            }),
            tag::PARSE_COMPLETE => bare("ParseComplete", Self::ParseComplete),
            tag::PORTAL_SUSPENDED => bare("PortalSuspended", Self::PortalSuspended),
            tag::READY_FOR_QUERY => {
                whole("ReadyForQuery", body, TransactionStatus::parse).map(Self::ReadyForQuery)
            }
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

/// A step of the authentication: what the server asks for.
///
/// See <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authentication<'a> {
    /// The authentication is complete.
    Ok,
    /// Kerberos V5.
    KerberosV5,
    /// The password in clear text.
    CleartextPassword,
    /// The password, hashed by crypt(3).
    CryptPassword,
    /// The password, hashed by MD5.
    Md5Password {
        /// What to mix into the hash.
        salt: [u8; 4],
    },
    /// The credentials of the Unix socket.
    ScmCredential,
    /// GSSAPI.
    Gss,
    /// More data for GSSAPI or SSPI.
    GssContinue(&'a [u8]),
    /// SSPI.
    Sspi,
    /// SASL, by one of these mechanisms.
    Sasl(SaslMechanisms<'a>),
    /// The server's next message of the SASL exchange.
    SaslContinue(&'a [u8]),
    /// The server's last message of the SASL exchange.
    SaslFinal(&'a [u8]),
}

impl<'a> Authentication<'a> {
    fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (body, code) = uint32(input)?;
        match code {
            0 => Ok((body, Self::Ok)),
            2 => Ok((body, Self::KerberosV5)),
            3 => Ok((body, Self::CleartextPassword)),
            4 => salt_of_two(body).map(|(rest, ())| (rest, Self::CryptPassword)),
            5 => salt(body).map(|(rest, salt)| (rest, Self::Md5Password { salt })),
            6 => Ok((body, Self::ScmCredential)),
            7 => Ok((body, Self::Gss)),
            8 => rest(body).map(|(rest, data)| (rest, Self::GssContinue(data))),
            9 => Ok((body, Self::Sspi)),
            10 => SaslMechanisms::parse(body).map(|(rest, names)| (rest, Self::Sasl(names))),
            11 => rest(body).map(|(rest, data)| (rest, Self::SaslContinue(data))),
            12 => rest(body).map(|(rest, data)| (rest, Self::SaslFinal(data))),
            _ => Err(Malformed::at(input, DecodeErrorKind::InvalidValue)),
        }
    }

    /// Returns the method's name as an administrator knows it.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Ok => "trust",
            Self::KerberosV5 => "Kerberos V5",
            Self::CleartextPassword => "password",
            Self::CryptPassword => "crypt",
            Self::Md5Password { .. } => "md5",
            Self::ScmCredential => "SCM credential",
            Self::Gss | Self::GssContinue(_) => "GSSAPI",
            Self::Sspi => "SSPI",
            Self::Sasl(_) | Self::SaslContinue(_) | Self::SaslFinal(_) => "SASL",
        }
    }
}

impl fmt::Debug for Authentication<'_> {
    /// Names the step and shows none of its data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "Ok",
            Self::SaslContinue(_) => "SASLContinue",
            Self::SaslFinal(_) => "SASLFinal",
            other => other.method(),
        })
    }
}

fn salt_of_two(input: &[u8]) -> Parsed<'_, ()> {
    uint16(input).map(|(rest, _)| (rest, ()))
}

/// The names of the SASL mechanisms that a server offers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaslMechanisms<'a> {
    names: &'a [u8],
}

impl<'a> SaslMechanisms<'a> {
    fn parse(names: &'a [u8]) -> Parsed<'a, Self> {
        let mut rest = names;
        loop {
            let (next, name) = c_str(rest)?;
            rest = next;
            if name.is_empty() {
                return Ok((rest, Self { names }));
            }
        }
    }

    /// Returns the names in the server's order of preference.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        strings(self.names).take_while(|name| !name.is_empty())
    }
}

impl fmt::Debug for SaslMechanisms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Zero-terminated strings, one after the other, to the end of the input.
fn strings<'a>(mut input: &'a [u8]) -> impl Iterator<Item = &'a str> + use<'a> {
    std::iter::from_fn(move || {
        let (rest, text) = c_str(input).ok()?;
        input = rest;
        Some(text)
    })
}

/// What a CancelRequest needs: the serving process and a secret.
///
/// See <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// The process that serves the session.
    pub process_id: ProcessId,
    /// The secret: 4 bytes in protocol 3.0, up to 256 since 3.2.
    pub secret: &'a [u8],
}

impl<'a> BackendKeyData<'a> {
    fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, process_id) = uint32(input)?;
        if !(4..=256).contains(&input.len()) {
            return Err(Malformed::at(input, DecodeErrorKind::InvalidLength));
        }
        let (input, secret) = rest(input)?;
        Ok((
            input,
            Self {
                process_id: ProcessId(process_id),
                secret,
            },
        ))
    }
}

impl fmt::Debug for BackendKeyData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendKeyData")
            .field("process_id", &self.process_id)
            .finish_non_exhaustive()
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

/// What the server does not know of the StartupMessage. It goes on with what it knows.
///
/// See [NegotiateProtocolVersion](https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-NEGOTIATEPROTOCOLVERSION).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NegotiateProtocolVersion<'a> {
    /// The newest version that the server knows of the major version that was asked for: major in
    /// the upper half, minor in the lower. Servers before 18 may leave the major version out.
    pub version: u32,
    options: &'a [u8],
}

impl<'a> NegotiateProtocolVersion<'a> {
    fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, version) = uint32(input)?;
        let (options, count) = uint32(input)?;
        // The loop ends with the input at the latest, whatever the count.
        let mut rest = options;
        for _ in 0..count {
            (rest, _) = c_str(rest)?;
        }
        Ok((rest, Self { version, options }))
    }

    /// Returns the names of the protocol options that the server does not know.
    pub fn options(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        strings(self.options)
    }
}

impl fmt::Debug for NegotiateProtocolVersion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NegotiateProtocolVersion")
            .field("version", &self.version)
            .field("options", &self.options().collect::<Vec<_>>())
            .finish()
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
        let (input, process_id) = uint32(input)?;
        let (input, channel) = c_bytes(input)?;
        let (input, payload) = c_bytes(input)?;
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
