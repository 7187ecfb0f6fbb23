//! Messages from the server before a session is established.

use std::fmt;

use crate::{
    codec::{Malformed, Parsed, c_str, c_strs, rest, salt, uint16, uint32},
    error::DecodeErrorKind,
    ids::ProcessId,
};

/// Authentication message: a request of the server, or its success.
///
/// See <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authentication<'a> {
    /// The authentication is complete.
    Ok,
    /// Request for Kerberos V5 authentication.
    KerberosV5,
    /// Request for the password in clear text.
    CleartextPassword,
    /// Request for the password hashed by crypt(3).
    CryptPassword,
    /// Request for the password hashed by MD5.
    Md5Password {
        /// Salt of the hash.
        salt: [u8; 4],
    },
    /// Request for the credentials of the Unix socket.
    ScmCredential,
    /// Request for GSSAPI authentication.
    Gss,
    /// Continuation of a GSSAPI or SSPI exchange.
    GssContinue(&'a [u8]),
    /// Request for SSPI authentication.
    Sspi,
    /// Request for SASL authentication with one of the offered mechanisms.
    Sasl(SaslMechanisms<'a>),
    /// Continuation of a SASL exchange.
    SaslContinue(&'a [u8]),
    /// Last message of the server in a SASL exchange.
    SaslFinal(&'a [u8]),
}

impl<'a> Authentication<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (body, code) = uint32(input)?;
        match code {
            0 => Ok((body, Self::Ok)),
            2 => Ok((body, Self::KerberosV5)),
            3 => Ok((body, Self::CleartextPassword)),
            4 => crypt_salt(body).map(|(rest, ())| (rest, Self::CryptPassword)),
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

    /// Returns the common name of the method, for errors.
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
    /// Shows the kind of the message, without its data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "Ok",
            Self::SaslContinue(_) => "SASLContinue",
            Self::SaslFinal(_) => "SASLFinal",
            other => other.method(),
        })
    }
}

fn crypt_salt(input: &[u8]) -> Parsed<'_, ()> {
    uint16(input).map(|(rest, _)| (rest, ()))
}

/// Names of the SASL mechanisms that a server offers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaslMechanisms<'a> {
    names: &'a [u8],
}

impl<'a> SaslMechanisms<'a> {
    pub(super) fn parse(names: &'a [u8]) -> Parsed<'a, Self> {
        let mut rest = names;
        loop {
            let (next, name) = c_str(rest)?;
            rest = next;
            if name.is_empty() {
                return Ok((rest, Self { names }));
            }
        }
    }

    /// Returns an iterator over the names, in the server's order of preference.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        c_strs(self.names).take_while(|name| !name.is_empty())
    }
}

impl fmt::Debug for SaslMechanisms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Data for a CancelRequest: the process of the backend and a secret key.
///
/// See <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// Process of the session's backend.
    pub process_id: ProcessId,
    /// Secret key: 4 bytes in protocol 3.0, up to 256 since 3.2.
    pub secret: &'a [u8],
}

impl<'a> BackendKeyData<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
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

/// Parts of the StartupMessage that the server does not support. It continues without them.
///
/// See [NegotiateProtocolVersion](https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-NEGOTIATEPROTOCOLVERSION).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NegotiateProtocolVersion<'a> {
    /// Newest version that the server supports of the requested major version: the major version
    /// in the upper 16 bits, the minor in the lower. Servers before 18 may leave out the major one.
    pub version: u32,
    options: &'a [u8],
}

impl<'a> NegotiateProtocolVersion<'a> {
    pub(super) fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, version) = uint32(input)?;
        let (options, count) = uint32(input)?;
        // The loop ends with the input at the latest, even for a hostile count.
        let mut rest = options;
        for _ in 0..count {
            (rest, _) = c_str(rest)?;
        }
        Ok((rest, Self { version, options }))
    }

    /// Returns an iterator over the names of the protocol options that the server does not support.
    pub fn options(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        c_strs(self.options)
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
