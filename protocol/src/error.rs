//! Errors, classified by whose fault they are.

use std::fmt;

/// Reason why bytes from the peer cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The message ends within a field.
    UnexpectedEnd,
    /// Bytes remain after the last field.
    TrailingBytes,
    /// A string is not terminated by a zero byte.
    UnterminatedString,
    /// A name or other text is not valid UTF-8.
    InvalidUtf8,
    /// A length is negative or exceeds the message.
    InvalidLength,
    /// A count of elements is negative or exceeds the message.
    InvalidCount,
    /// A tag byte is not defined in this context. Contains the byte.
    UnknownTag(u8),
    /// A field has a value that the protocol does not define.
    InvalidValue,
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedEnd => f.write_str("the message ends within a field"),
            Self::TrailingBytes => f.write_str("bytes remain after the last field"),
            Self::UnterminatedString => f.write_str("a string has no terminating zero byte"),
            Self::InvalidUtf8 => f.write_str("a string is not valid UTF-8"),
            Self::InvalidLength => f.write_str("a length is negative or exceeds the message"),
            Self::InvalidCount => f.write_str("a count is negative or exceeds the message"),
            Self::UnknownTag(tag) => {
                write!(f, "unknown tag 0x{tag:02x} ('{}')", tag.escape_ascii())
            }
            Self::InvalidValue => f.write_str("a field has an undefined value"),
        }
    }
}

/// Error in decoding a message of the peer: the kind, the message and the position in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    offset: usize,
    message: &'static str,
}

impl DecodeError {
    pub(crate) const fn new(kind: DecodeErrorKind, offset: usize, message: &'static str) -> Self {
        Self {
            kind,
            offset,
            message,
        }
    }

    /// Returns the kind of the error.
    pub const fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// Returns the offset of the faulty field in the body of the message, in bytes.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the name of the message as in the PostgreSQL manual.
    pub const fn message(&self) -> &'static str {
        self.message
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "malformed {} message at byte {}: {}",
            self.message, self.offset, self.kind
        )
    }
}

impl std::error::Error for DecodeError {}

/// Error in encoding a message: a value that it cannot represent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string contains a zero byte, which would terminate it. Names the string.
    ZeroByte(&'static str),
    /// A length or count exceeds its field. Names the value that is too long.
    TooLong(&'static str),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroByte(what) => write!(f, "the {what} contains a zero byte"),
            Self::TooLong(what) => write!(f, "the {what} is too long for the protocol"),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Reason why the client or the server could not be authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// The server requests a password, and none is configured.
    PasswordMissing,
    /// The server requests the password in clear text over a connection without TLS.
    ClearTextRefused,
    /// The server requests a method that is not implemented. Contains its name.
    UnsupportedMethod(&'static str),
    /// The server offers no SASL mechanism that is implemented. Contains the offered ones.
    UnsupportedMechanisms(String),
    /// The server requests a method that the configuration does not allow. Contains its name.
    MethodNotAllowed(&'static str),
    /// Channel binding is required, but not available: the server does not offer it, the
    /// connection has no TLS, or the certificate has no hash that is defined for it.
    ChannelBindingMissing,
    /// The server offers channel binding over a connection without TLS: a sign of a man in the
    /// middle that has removed the TLS.
    ChannelBindingWithoutTls,
    /// A SCRAM message of the server is malformed. Contains the reason.
    ScramMalformed(&'static str),
    /// The server's nonce does not extend the client's.
    ScramNonceMismatch,
    /// The iteration count is 0 or exceeds the limit.
    ScramIterations {
        /// Count that the server requests.
        found: u64,
        /// Largest count that is accepted.
        limit: u32,
    },
    /// The server reports that the exchange failed. Contains its error value (RFC 5802).
    ScramRefused(String),
    /// The server's signature is wrong: it does not know the password.
    ServerSignatureMismatch,
    /// The server reports success before its signature has been verified.
    ServerNotVerified,
}

impl fmt::Display for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PasswordMissing => {
                f.write_str("the server requests a password, and none is configured")
            }
            Self::ClearTextRefused => f.write_str(
                "the server requests the password in clear text over a connection without TLS",
            ),
            Self::UnsupportedMethod(name) => write!(
                f,
                "the server requests {name} authentication, which is not supported \
                 (supported: trust, password, md5, scram-sha-256)"
            ),
            Self::UnsupportedMechanisms(names) => write!(
                f,
                "the server offers the SASL mechanisms {names}, none of which is supported \
                 (supported: SCRAM-SHA-256, SCRAM-SHA-256-PLUS)"
            ),
            Self::MethodNotAllowed("none") => f.write_str(
                "the server requests no authentication, which the configuration does not allow",
            ),
            Self::MethodNotAllowed(name) => write!(
                f,
                "the server requests {name} authentication, which the configuration does not allow"
            ),
            Self::ChannelBindingMissing => {
                f.write_str("channel binding is required, and not available for this connection")
            }
            Self::ChannelBindingWithoutTls => {
                f.write_str("the server offers channel binding over a connection without TLS")
            }
            Self::ScramMalformed(what) => write!(f, "malformed SCRAM message: {what}"),
            Self::ScramNonceMismatch => {
                f.write_str("the server's SCRAM nonce does not extend the client's")
            }
            Self::ScramIterations { found, limit } => write!(
                f,
                "the server requests {found} SCRAM iterations, accepted are 1 to {limit}"
            ),
            Self::ScramRefused(word) => write!(f, "the server rejected the SCRAM exchange: {word}"),
            Self::ServerSignatureMismatch => {
                f.write_str("the server's SCRAM signature is wrong: it does not know the password")
            }
            Self::ServerNotVerified => f.write_str(
                "the server reports success before its SCRAM signature could be verified",
            ),
        }
    }
}

impl std::error::Error for AuthenticationError {}

/// Side at fault for a [`ProtocolError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The peer broke the protocol.
    Peer,
    /// The server and the configuration do not agree.
    Configuration,
    /// A function was called in the wrong state or with an invalid argument.
    Caller,
}

/// Error of a [`Session`](crate::Session).
///
/// An error from [`handle_input`](crate::Session::handle_input) closes the session. An error from
/// any other function leaves the session unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A message cannot be decoded.
    Decode(DecodeError),
    /// The length of a message is below 4, the size of the length field itself.
    FrameTooShort {
        /// Tag of the message.
        tag: u8,
        /// Length in the header of the message.
        found: u32,
    },
    /// The length of a message exceeds the limit for its tag.
    FrameTooLong {
        /// Tag of the message.
        tag: u8,
        /// Length in the header of the message.
        found: u32,
        /// Largest length that is accepted.
        limit: u32,
    },
    /// A message arrived that the state of the session does not allow.
    UnexpectedMessage {
        /// Tag of the message.
        tag: u8,
        /// State of the session.
        state: &'static str,
    },
    /// The response to SSLRequest is neither 'S' nor 'N'. Contains the byte.
    TlsAnswer(u8),
    /// Bytes arrived between the response to SSLRequest and the TLS handshake.
    BytesBeforeTls,
    /// The server negotiates a protocol version that the client has not requested.
    Version {
        /// The server's version: the major version in the upper 16 bits, the minor in the lower.
        found: u32,
    },
    /// The server reported more run-time parameters than a session stores.
    TooManyParameters,
    /// The client refuses to continue the authentication.
    Authentication(AuthenticationError),
    /// A function was called that the state does not allow.
    Call {
        /// Name of the function.
        call: &'static str,
        /// State of the session or the stream.
        state: &'static str,
    },
    /// An argument cannot be encoded in a message.
    Encode(EncodeError),
}

impl ProtocolError {
    /// Returns the side at fault.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Call { .. } | Self::Encode(_) => Fault::Caller,
            Self::Authentication(
                AuthenticationError::PasswordMissing
                | AuthenticationError::ClearTextRefused
                | AuthenticationError::UnsupportedMethod(_)
                | AuthenticationError::UnsupportedMechanisms(_)
                | AuthenticationError::MethodNotAllowed(_)
                | AuthenticationError::ChannelBindingMissing
                | AuthenticationError::ScramIterations { .. },
            ) => Fault::Configuration,
            _ => Fault::Peer,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::FrameTooShort { tag, found } => write!(
                f,
                "a message '{}' announces {found} bytes, expected at least 4",
                tag.escape_ascii()
            ),
            Self::FrameTooLong { tag, found, limit } => write!(
                f,
                "a message '{}' announces {found} bytes, at most {limit} are accepted",
                tag.escape_ascii()
            ),
            Self::UnexpectedMessage { tag, state } => {
                write!(
                    f,
                    "unexpected message '{}' while {state}",
                    tag.escape_ascii()
                )
            }
            Self::TlsAnswer(b'E') => f.write_str(
                "the server answered SSLRequest with an error, as servers without support for \
                 it do",
            ),
            Self::TlsAnswer(found) => write!(
                f,
                "the server answered SSLRequest with '{}', expected 'S' or 'N'",
                found.escape_ascii()
            ),
            Self::BytesBeforeTls => f.write_str(
                "bytes arrived after the answer to SSLRequest and before the TLS handshake",
            ),
            Self::Version { found } => write!(
                f,
                "the server negotiates protocol version {}.{}, which was not requested",
                found >> 16,
                found & 0xffff
            ),
            Self::TooManyParameters => {
                f.write_str("the server reports more run-time parameters than are accepted")
            }
            Self::Authentication(error) => error.fmt(f),
            Self::Call { call, state } => write!(f, "{call} is not possible while {state}"),
            Self::Encode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ProtocolError {}

impl From<DecodeError> for ProtocolError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<EncodeError> for ProtocolError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<AuthenticationError> for ProtocolError {
    fn from(error: AuthenticationError) -> Self {
        Self::Authentication(error)
    }
}
