//! What can go wrong, by whose fault it is.

use std::fmt;

/// Why bytes from the peer are not the message that they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The message ends before the field does.
    UnexpectedEnd,
    /// Bytes are left behind the last field.
    TrailingBytes,
    /// A string is not terminated by a zero byte.
    UnterminatedString,
    /// A name or other text that has to be UTF-8 is not.
    InvalidUtf8,
    /// A length is negative, or goes beyond the message.
    InvalidLength,
    /// A count of elements is negative, or goes beyond the message.
    InvalidCount,
    /// A tag byte has no meaning here; the byte that was found.
    UnknownTag(u8),
    /// A field has a value that the protocol does not define.
    InvalidValue,
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedEnd => f.write_str("the message ends before the field does"),
            Self::TrailingBytes => f.write_str("bytes are left behind the last field"),
            Self::UnterminatedString => f.write_str("a string has no terminating zero byte"),
            Self::InvalidUtf8 => f.write_str("a text is not valid UTF-8"),
            Self::InvalidLength => f.write_str("a length does not fit the message"),
            Self::InvalidCount => f.write_str("a count does not fit the message"),
            Self::UnknownTag(tag) => {
                write!(
                    f,
                    "the tag 0x{tag:02x} ('{}') is unknown here",
                    tag.escape_ascii()
                )
            }
            Self::InvalidValue => f.write_str("a field has a value that is not defined"),
        }
    }
}

/// Bytes from the peer that do not parse: what is wrong, where, and in which message.
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

    /// Returns what is wrong.
    pub const fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// Returns the offset into the message's body at which the faulty field starts.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the name of the message, as in the PostgreSQL manual.
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

/// A value that cannot be put into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string holds a zero byte, which would end it early; what the string is.
    ZeroByte(&'static str),
    /// A length or count outgrows its prefix; what is too long.
    TooLong(&'static str),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroByte(what) => write!(f, "the {what} holds a zero byte"),
            Self::TooLong(what) => write!(f, "the {what} is too long for the protocol"),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Why the server could not be given, or did not give, a proof of identity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// The server asks for a password and none was configured.
    PasswordMissing,
    /// The server asks for the password in clear text over a connection without TLS.
    ClearTextRefused,
    /// The server asks for a method that is not implemented; its name.
    UnsupportedMethod(&'static str),
    /// The server offers no SASL mechanism that is implemented; what it offers.
    UnsupportedMechanisms(String),
    /// The server asks for a method that the caller does not allow; its name.
    MethodNotAllowed(&'static str),
    /// Channel binding is required, and the server, its certificate or the connection has none.
    ChannelBindingMissing,
    /// The server offers channel binding without TLS: somebody sits in between.
    ChannelBindingWithoutTls,
    /// A SCRAM message of the server is malformed; what is wrong with it.
    ScramMalformed(&'static str),
    /// The server's nonce does not extend ours.
    ScramNonceMismatch,
    /// The iteration count is beyond the cap.
    ScramIterations {
        /// What the server asks for.
        found: u64,
        /// The most that is accepted.
        limit: u32,
    },
    /// The server reports that the exchange failed; its error word of RFC 5802.
    ScramRefused(String),
    /// The server's signature is wrong: it does not know the password either.
    ServerSignatureMismatch,
    /// The server declares success before it has proved that it knows the password.
    ServerNotVerified,
}

impl fmt::Display for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PasswordMissing => {
                f.write_str("the server asks for a password and none was given")
            }
            Self::ClearTextRefused => f.write_str(
                "the server asks for the password in clear text over a connection without TLS",
            ),
            Self::UnsupportedMethod(name) => write!(
                f,
                "the server asks for {name} authentication, which is not supported \
                 (supported: trust, password, md5, scram-sha-256)"
            ),
            Self::UnsupportedMechanisms(names) => write!(
                f,
                "the server offers the SASL mechanisms {names}, none of which is supported \
                 (supported: SCRAM-SHA-256, SCRAM-SHA-256-PLUS)"
            ),
            Self::MethodNotAllowed("none") => f.write_str(
                "the server asks for no authentication, which the configuration does not allow",
            ),
            Self::MethodNotAllowed(name) => write!(
                f,
                "the server asks for {name} authentication, which the configuration does not allow"
            ),
            Self::ChannelBindingMissing => f.write_str(
                "channel binding is required, and the server offers none for this connection",
            ),
            Self::ChannelBindingWithoutTls => {
                f.write_str("the server offers channel binding over a connection without TLS")
            }
            Self::ScramMalformed(what) => write!(f, "malformed SCRAM message: {what}"),
            Self::ScramNonceMismatch => {
                f.write_str("the server's SCRAM nonce does not extend the client's")
            }
            Self::ScramIterations { found, limit } => write!(
                f,
                "the server asks for {found} SCRAM iterations, accepted are 1 to {limit}"
            ),
            Self::ScramRefused(word) => write!(f, "the server ended the SCRAM exchange: {word}"),
            Self::ServerSignatureMismatch => {
                f.write_str("the server's SCRAM signature is wrong, it does not know the password")
            }
            Self::ServerNotVerified => f.write_str(
                "the server declares the authentication complete without proving its own part",
            ),
        }
    }
}

impl std::error::Error for AuthenticationError {}

/// Whose fault a [`ProtocolError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The peer broke the protocol.
    Peer,
    /// What the server asks for and what was configured do not meet.
    Configuration,
    /// The session was called in a state, or with an argument, that does not allow it.
    Caller,
}

/// Why a session cannot go on.
///
/// After one from [`handle_input`](crate::Session::handle_input) the session is closed. One from
/// another call leaves the session as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A message does not parse.
    Decode(DecodeError),
    /// A message's length is below the four bytes that it takes itself.
    FrameTooShort {
        /// The message's tag.
        tag: u8,
        /// The length that was announced.
        found: u32,
    },
    /// A message is longer than the cap of its kind.
    FrameTooLong {
        /// The message's tag.
        tag: u8,
        /// The length that was announced.
        found: u32,
        /// The cap.
        limit: u32,
    },
    /// A message came that the state of the session does not allow.
    UnexpectedMessage {
        /// The message's tag.
        tag: u8,
        /// What the session was waiting for.
        state: &'static str,
    },
    /// The answer to SSLRequest is neither 'S' nor 'N'; the byte that was found.
    TlsAnswer(u8),
    /// Bytes came behind the answer to SSLRequest, before the TLS handshake.
    BytesBeforeTls,
    /// The server speaks another protocol version than any that was asked for.
    Version {
        /// The version that the server names: major in the upper half, minor in the lower.
        found: u32,
    },
    /// The server reported more run-time parameters than are kept.
    TooManyParameters,
    /// The authentication failed on our side of it.
    Authentication(AuthenticationError),
    /// The call is not allowed in the state of the session.
    Call {
        /// The call.
        call: &'static str,
        /// What the session is doing.
        state: &'static str,
    },
    /// An argument does not fit into a message.
    Encode(EncodeError),
}

impl ProtocolError {
    /// Returns whose fault it is.
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
                "a message '{}' announces {found} bytes, at least 4 are due",
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
                "the server answers the request for TLS with an error, as servers do that do \
                 not know it",
            ),
            Self::TlsAnswer(found) => write!(
                f,
                "the server answers the request for TLS with '{}', due is 'S' or 'N'",
                found.escape_ascii()
            ),
            Self::BytesBeforeTls => {
                f.write_str("bytes came behind the answer to the request for TLS")
            }
            Self::Version { found } => write!(
                f,
                "the server speaks protocol version {}.{}, which was not asked for",
                found >> 16,
                found & 0xffff
            ),
            Self::TooManyParameters => {
                f.write_str("the server reports more run-time parameters than are kept")
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
