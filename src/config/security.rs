//! Settings of TLS and authentication that have libpq's names and meaning.

use super::members::{Members, configuration};
use super::secret::Secret;
use crate::error::Result;
use protocol::{AllowedMethods, BindingPolicy};

/// How TLS starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslNegotiation {
    /// The server is asked first, in its own protocol.
    Postgres,
    /// With the first byte, as servers from version 17 can.
    Direct,
}

/// What is used to secure a connection. What is absent is left to the environment.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// Certificates of trusted authorities: PEM, the path of a file of it, or `system`.
    pub root_certificates: Option<String>,
    /// The client's certificate: PEM, or the path of a file of it.
    pub certificate: Option<String>,
    /// The key of the client's certificate: PEM, or the path of a file of it.
    pub key: Option<Secret>,
    /// How TLS starts.
    pub negotiation: Option<SslNegotiation>,
    /// Whether logins are bound to the TLS connection.
    pub channel_binding: Option<BindingPolicy>,
    /// The methods by which logins may go.
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
                "it must list methods, or all of them with ! before: none, password, md5, \
                 scram-sha-256",
            )?,
        })
    }
}

fn parsed<T>(
    name: &str,
    text: Option<String>,
    parse: impl Fn(&str) -> Option<T>,
    due: &str,
) -> Result<Option<T>> {
    let read = |text: String| {
        parse(&text).ok_or_else(|| {
            configuration(format!(
                "invalid 'advanced.{name}' configuration: unknown setting {text:?}: {due}"
            ))
        })
    };
    text.map(read).transpose()
}

impl SslNegotiation {
    /// Reads libpq's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "postgres" => Some(Self::Postgres),
            "direct" => Some(Self::Direct),
            _ => None,
        }
    }
}
