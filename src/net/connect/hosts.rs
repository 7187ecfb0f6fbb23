//! Tries the hosts of a configuration in turn, the addresses of each, and TLS as sslmode allows.

use std::time::Duration;

use tracing::{debug, warn};

use super::attempt::{Attempt, Failure, Refusal, Target, TlsUse};
use super::config::{ConnectConfig, Purpose};
use super::refusal::{not_postgres, pooler_by_address, pooler_error};
use super::server_role::check_role;
use super::socket;
use crate::config::{HostPort, SslMode};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::net::connection::Connection;

impl ConnectConfig {
    /// Connects to the first host that can be reached.
    ///
    /// # Errors
    ///
    /// Fails if no host can be reached, if a server does not support TLS as sslmode requires, or if
    /// it refuses the login.
    pub async fn connect(&self, purpose: Purpose) -> Result<Connection> {
        let mut last = None;
        let tries = self.session_attrs.passes().iter();
        let tries: Vec<_> = tries
            .flat_map(|wanted| self.hosts.iter().map(move |host| (wanted, host)))
            .collect();
        for (wanted, host) in tries {
            if let Some(pooler) = pooler_by_address(host) {
                return Err(pooler_error(host, pooler));
            }
            let connected = match self.connect_host(host, purpose).await {
                Ok(mut connection) => match check_role(*wanted, &mut connection, host).await {
                    Ok(()) => Ok(connection),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            match connected {
                Ok(connection) => return Ok(connection),
                // A server that refuses the login is the right server: other hosts of the list are
                // for the case that it cannot be reached or has not started up yet.
                Err(error) if !is_unreachable(&error) => return Err(error),
                Err(error) => {
                    if self.hosts.len() > 1 {
                        warn!(%host, error = %error, "host not available: trying the next one");
                    }
                    last = Some(error);
                }
            }
        }
        Err(last
            .unwrap_or_else(|| Error::new(ErrorKind::Configuration, "no address to connect to")))
    }

    /// Tries the addresses of a host in turn.
    async fn connect_host(&self, host: &HostPort, purpose: Purpose) -> Result<Connection> {
        let timeout = self.connect_timeout.unwrap_or(match purpose {
            Purpose::Query => Duration::from_secs(20),
            Purpose::Replication => Duration::from_secs(30),
        });
        let timed_out = |what: &str| {
            Error::new(
                ErrorKind::Connection,
                format!(
                    "{what} took longer than {} s: check the address, and that a firewall lets \
                     the connector through",
                    timeout.as_secs()
                ),
            )
        };
        let addresses = match tokio::time::timeout(timeout, self.targets(host)).await {
            Ok(addresses) => addresses?,
            Err(_) => return Err(timed_out(&format!("resolving {:?}", host.host))),
        };
        let mut last = None;
        for address in addresses {
            let attempt = self.connect_address(host, address, purpose);
            match tokio::time::timeout(timeout, attempt).await {
                Ok(Err(error)) if is_unreachable(&error) => last = Some(error),
                Ok(Err(error)) if error.kind() == ErrorKind::Protocol => {
                    return Err(not_postgres(host, error));
                }
                Ok(result) => return result,
                Err(_) => last = Some(timed_out(&format!("connecting to {host} ({address})"))),
            }
            debug!(%host, %address, error = ?last, "address not available");
        }
        Err(last.unwrap_or_else(|| socket::unresolved(host)))
    }

    /// Returns the destinations to try for a host: its addresses, in the order of the resolver, or
    /// the tunnel, whose SSH server resolves the name.
    async fn targets(&self, host: &HostPort) -> Result<Vec<Target>> {
        if self.tunnel.is_some() {
            return Ok(vec![Target::Tunnel]);
        }
        let addresses = socket::resolve(host).await?;
        Ok(addresses.into_iter().map(Target::Address).collect())
    }

    /// Connects to one address: makes the one or two attempts that sslmode allows, like libpq.
    async fn connect_address(
        &self,
        host: &HostPort,
        target: Target,
        purpose: Purpose,
    ) -> Result<Connection> {
        let (first, second) = match self.sslmode {
            SslMode::Disable => (TlsUse::Never, None),
            SslMode::Allow => (TlsUse::Never, Some(TlsUse::IfOffered)),
            SslMode::Prefer => (TlsUse::IfOffered, Some(TlsUse::Never)),
            _ if self.direct => (TlsUse::Direct, None),
            _ => (TlsUse::Required, None),
        };
        let attempt = |tls| Attempt {
            host,
            target,
            purpose,
            tls,
        };
        let failure = match self.log_in(&attempt(first)).await {
            Ok(connection) => return Ok(connection),
            Err(failure) => failure,
        };
        let Some(second) = second.filter(|_| failure.may_depend_on_tls(first)) else {
            return Err(failure.into());
        };
        debug!(%host, ?first, ?second, "attempt failed: trying other use of TLS");
        match self.log_in(&attempt(second)).await {
            Ok(connection) => {
                if second == TlsUse::Never {
                    warn!(
                        %host,
                        error = %Error::from(failure),
                        "connected without encryption, because the server does not accept the \
                         connection with TLS: set advanced.sslmode to \"require\" to prevent this"
                    );
                }
                Ok(connection)
            }
            Err(second_failure) => {
                let (reported, other) = order_errors(failure, second_failure);
                debug!(%host, error = ?other, "attempt with other use of TLS failed as well");
                Err(reported)
            }
        }
    }
}

/// Returns the errors of two failed attempts: the one to report, then the other.
fn order_errors(first: Failure, second: Failure) -> (Error, Error) {
    // The reason why the first login failed is more useful to the user than that the second
    // connection is not allowed by pg_hba.conf, or may not carry the password.
    let second_says_less = match second.refusal() {
        Some(Refusal::HostBasedAccess) => true,
        Some(Refusal::ClearTextPassword) => first.refusal() == Some(Refusal::Login),
        _ => false,
    };
    if second_says_less {
        (first.into(), second.into())
    } else {
        (second.into(), first.into())
    }
}

/// Returns whether to try the next address or host. SQLSTATE 57P03 is a server that is starting up.
fn is_unreachable(error: &Error) -> bool {
    error.kind() == ErrorKind::Connection || error.sqlstate() == Some(sqlstate::CANNOT_CONNECT_NOW)
}
