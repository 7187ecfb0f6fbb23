//! Settings of TLS and authentication, with libpq's names and meanings.

use super::members::{Members, configuration};
use super::secret::Secret;
use crate::error::Result;
use protocol::{AllowedMethods, BindingPolicy};

/// Way in which TLS starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslNegotiation {
    /// With an SSLRequest message before the handshake.
    Postgres,
    /// With the handshake at once; PostgreSQL 17 and later.
    Direct,
}

/// Settings that secure a connection. Where one is absent, the environment decides.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// Certificates of trusted authorities: PEM text, the path of a PEM file, or `system`.
    pub root_certificates: Option<String>,
    /// The client's certificate: PEM text, or the path of a PEM file.
    pub certificate: Option<String>,
    /// The private key of the client's certificate: PEM text, or the path of a PEM file.
    pub key: Option<Secret>,
    /// Way in which TLS starts.
    pub negotiation: Option<SslNegotiation>,
    /// Policy for binding SCRAM logins to the TLS connection.
    pub channel_binding: Option<BindingPolicy>,
    /// Authentication methods that the server may ask for.
    pub require_auth: Option<AllowedMethods>,
}

impl Security {
    pub(super) fn read(members: &mut Members<'_>) -> Result<Self> {
        let mut set = |name| members.non_empty_string(name);
        Ok(Self {
            root_certificates: set("sslrootcert")?,
            certificate: set("sslcert")?,
            key: set("sslkey")?.map(Secret::from),
            negotiation: parsed(
                "sslnegotiation",
                set("sslnegotiation")?,
                SslNegotiation::parse,
                "it must be postgres or direct",
            )?,
            channel_binding: parsed(
                "channel_binding",
                set("channel_binding")?,
                BindingPolicy::parse,
                "it must be disable, prefer or require",
            )?,
            require_auth: parsed(
                "require_auth",
                set("require_auth")?,
                AllowedMethods::parse,
                "it must be a list of none, password, md5 and scram-sha-256, either all or none \
                 of them preceded by !",
            )?,
        })
    }
}

fn parsed<T>(
    name: &str,
    text: Option<String>,
    parse: impl Fn(&str) -> Option<T>,
    expected: &str,
) -> Result<Option<T>> {
    let read = |text: String| {
        parse(&text).ok_or_else(|| {
            configuration(format!(
                "invalid 'advanced.{name}' configuration: unknown setting {text:?}: {expected}"
            ))
        })
    };
    text.map(read).transpose()
}

impl SslNegotiation {
    /// Parses the value of `sslnegotiation`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "postgres" => Some(Self::Postgres),
            "direct" => Some(Self::Direct),
            _ => None,
        }
    }
}
