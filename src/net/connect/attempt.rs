//! One attempt to connect: where to, how, and why it failed.

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
    pub(super) tls: Tls,
}

/// What an attempt connects to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    Address(SocketAddr),
    /// The host itself, from the SSH server.
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

/// How an attempt treats TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// Goes without.
    Never,
    /// Asks for it, and goes on without where the server has none.
    May,
    /// Asks for it, and ends where the server has none.
    Must,
    /// Starts with it.
    Direct,
}

/// Why an attempt has failed, as far as another kind of attempt is worth it.
pub(super) enum Failure {
    /// The TLS handshake failed.
    Handshake(Error),
    /// The server refused the login, or asked for what it does not get over such a connection.
    Refused {
        error: Error,
        encrypted: bool,
        refusal: Refusal,
    },
    /// Anything else.
    Other(Error),
}

/// What a login has failed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The server's pg_hba.conf lets nobody in by such a connection.
    Line,
    /// The server asked for the password in clear text.
    ClearText,
    /// The server did not accept who we are, or where to.
    Login,
}

impl Failure {
    /// Returns whether the server may take the connection with TLS if it did not without, or the
    /// other way round.
    pub(super) fn is_about(&self, tls: Tls) -> bool {
        match self {
            Self::Handshake(_) => true,
            // A second attempt without TLS after one that had none would be the same.
            Self::Refused { encrypted, .. } => *encrypted == (tls != Tls::Never),
            Self::Other(_) => false,
        }
    }

    /// Returns what the login has failed for, if it came to one.
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
