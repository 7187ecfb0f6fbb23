//! Making a connection: addresses in turn, TLS as sslmode asks, authentication, errors by cause.

mod attempt;
mod parameters;
mod refusal;
mod socket;

use std::time::Duration;

use tracing::debug;

use self::attempt::Tls;
use super::Connection;
use super::tls::Verify;
use crate::config::{Config, HostPort, PasswordSource, Secret, SslMode};
use crate::error::{Error, ErrorKind, Result};

/// What a connection is for: it decides about the session's parameters and its patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// SQL queries.
    Query,
    /// The replication stream and the commands about slots.
    Replication,
}

/// Where to connect to, as whom, and how.
#[derive(Debug, Clone)]
pub struct ConnectConfig {
    /// Addresses, tried in this order.
    pub hosts: Vec<HostPort>,
    /// The role to authenticate as.
    pub user: String,
    /// The database; the server's default for the role where it is empty.
    pub database: String,
    /// The password, or a token in its place.
    pub password: Option<Secret>,
    /// Whether and how TLS is used.
    pub sslmode: SslMode,
    /// How long a query may run on the server; `None` is without limit.
    pub statement_timeout: Option<Duration>,
}

impl ConnectConfig {
    /// Takes what it needs from the configuration.
    ///
    /// # Errors
    ///
    /// Fails where the credentials lack something, or ask for a way in that is not there.
    pub fn new(config: &Config) -> Result<Self> {
        let password = match config.credentials.password_source()? {
            PasswordSource::Fixed(secret) => Some(secret.clone()),
            PasswordSource::None => None,
            PasswordSource::AwsToken { .. } => {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    "credentials of type AWSIAM are not supported yet: use a password",
                ));
            }
        };
        if config.network_tunnel.is_some() {
            return Err(Error::new(
                ErrorKind::Configuration,
                "connections through networkTunnel are not supported yet: give a direct address",
            ));
        }
        Ok(Self {
            hosts: config.hosts.clone(),
            user: config.user.clone(),
            database: config.database.clone(),
            password,
            sslmode: config.effective_sslmode(),
            statement_timeout: config.statement_timeout,
        })
    }

    /// Returns the addresses as text, for the log.
    pub fn addresses(&self) -> String {
        let addresses: Vec<_> = self.hosts.iter().map(ToString::to_string).collect();
        addresses.join(",")
    }

    /// Connects to the first address that answers.
    ///
    /// # Errors
    ///
    /// Fails when no address can be reached, TLS cannot be had as asked, or the server refuses.
    pub async fn connect(&self, purpose: Purpose) -> Result<Connection> {
        let patience = match purpose {
            Purpose::Query => Duration::from_secs(20),
            Purpose::Replication => Duration::from_secs(30),
        };
        let mut last = None;
        for host in &self.hosts {
            match tokio::time::timeout(patience, self.connect_host(host, purpose)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) if error.kind() == ErrorKind::Protocol => {
                    return Err(error.context(format!(
                        "no PostgreSQL server was found at {host}: is the port right?"
                    )));
                }
                // A server that answered and refused is the right server: others of the list are
                // there for when it cannot be reached.
                Ok(Err(error)) if error.kind() != ErrorKind::Connection => return Err(error),
                Ok(Err(error)) => {
                    last = Some(error.context(format!("connecting to {host} failed")));
                }
                Err(_) => {
                    last = Some(Error::new(
                        ErrorKind::Connection,
                        format!(
                            "connecting to {host} took longer than {} s: check the address, and \
                             that a firewall lets the connector through",
                            patience.as_secs()
                        ),
                    ));
                }
            }
        }
        Err(last
            .unwrap_or_else(|| Error::new(ErrorKind::Configuration, "no address to connect to")))
    }

    async fn connect_host(&self, host: &HostPort, purpose: Purpose) -> Result<Connection> {
        use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
        let (first, second) = match self.sslmode {
            Disable => (Tls::Never, None),
            Allow => (Tls::Never, Some(Tls::Must(Verify::Nothing))),
            Prefer => (Tls::May, Some(Tls::Never)),
            Require => (Tls::Must(Verify::Nothing), None),
            VerifyCa => (Tls::Must(Verify::Authority), None),
            VerifyFull => (Tls::Must(Verify::AuthorityAndName), None),
        };
        match (self.attempt(host, purpose, first).await, second) {
            (Err(failure), Some(second)) if failure.is_about_tls() => {
                debug!(%host, ?first, ?second, "trying again with another use of TLS");
                Ok(self.attempt(host, purpose, second).await?)
            }
            (result, _) => Ok(result?),
        }
    }
}
