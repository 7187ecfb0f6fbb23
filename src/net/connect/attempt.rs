//! Description of one attempt to connect, and of the reason for its failure.

use std::net::SocketAddr;

use super::config::Purpose;
use crate::config::HostPort;
use crate::error::Error;

/// One attempt at one address of a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) host: &'a HostPort,
    pub(super) target: Target,
    pub(super) purpose: Purpose,
    pub(super) tls: TlsUse,
}

/// Destination of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// An address of the host.
    Address(SocketAddr),
    /// The host, through the SSH server, which resolves its name.
    Tunnel,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Tunnel => f.write_str("through the SSH tunnel"),
        }
    }
}

/// Use of TLS in one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsUse {
    /// No TLS.
    Never,
    /// Requests TLS, and continues in clear text if the server does not support it.
    IfOffered,
    /// Requests TLS, and fails if the server does not support it.
    Required,
    /// Starts the TLS handshake without requesting it first.
    Direct,
}

/// Reason for the failure of an attempt, as far as it decides about an attempt with other use of
/// TLS.
pub(super) enum Failure {
    /// The TLS handshake failed.
    Handshake(Error),
    /// The server refused the login, or asked for a password that is not sent over this connection.
    Refused {
        error: Error,
        encrypted: bool,
        refusal: Refusal,
    },
    /// Any other reason.
    Other(Error),
}

/// Reason for the failure of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No entry of pg_hba.conf allows such a connection, or the first that matches rejects it.
    HostBasedAccess,
    /// The server asked for the password in clear text.
    ClearTextPassword,
    /// The server did not accept the credentials, the user or the database.
    Login,
}

impl Failure {
    /// Returns whether the server may accept the connection with TLS after it refused it without,
    /// or the other way round. `tls` is the use of TLS in the attempt that failed.
    pub(super) fn may_depend_on_tls(&self, tls: TlsUse) -> bool {
        match self {
            Self::Handshake(_) => true,
            // If the server has no TLS, `IfOffered` was an attempt without TLS, which need not be
            // repeated.
            Self::Refused { encrypted, .. } => *encrypted == (tls != TlsUse::Never),
            Self::Other(_) => false,
        }
    }

    /// Returns the reason for the failure of the login, if the attempt reached the login.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Handshake(error) | Failure::Refused { error, .. } | Failure::Other(error) => {
                error
            }
        }
    }
}
