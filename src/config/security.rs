//! Settings of TLS and authentication that have libpq's names and meaning.

use super::members::{Members, configuration};
use super::secret::Secret;
use crate::error::Result;

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
}

impl Security {
    pub(super) fn read(members: &mut Members) -> Result<Self> {
        let mut set =
            |name| Ok::<_, crate::error::Error>(members.string(name)?.filter(|s| !s.is_empty()));
        Ok(Self {
            root_certificates: set("sslrootcert")?,
            certificate: set("sslcert")?,
            key: set("sslkey")?.map(Secret::from),
            negotiation: set("sslnegotiation")?
                .map(|text| {
                    SslNegotiation::parse(&text).ok_or_else(|| {
                        configuration(format!(
                            "invalid 'advanced.sslnegotiation': unknown setting {text:?}; known \
                             are postgres and direct"
                        ))
                    })
                })
                .transpose()?,
        })
    }
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
