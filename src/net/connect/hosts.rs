//! The hosts of a configuration in turn, and the addresses of each.

use std::time::Duration;

use tracing::{debug, warn};

use super::attempt::{Attempt, Refusal, Target, Tls};
use super::config::{ConnectConfig, Purpose};
use super::refusal::{is_pooler, not_postgres, pooler_at};
use super::server_role::check_role;
use super::socket;
use crate::config::{HostPort, SslMode};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::net::connection::Connection;

impl ConnectConfig {
    /// Connects to the first address that answers.
    ///
    /// # Errors
    ///
    /// Fails when no address can be reached, TLS cannot be had as asked, or the server refuses.
    pub async fn connect(&self, purpose: Purpose) -> Result<Connection> {
        let mut last = None;
        let tries = self.session_attrs.passes().iter();
        let tries: Vec<_> = tries
            .flat_map(|wanted| self.hosts.iter().map(move |host| (wanted, host)))
            .collect();
        for (wanted, host) in tries {
            if let Some(pooler) = pooler_at(host) {
                return Err(is_pooler(host, pooler));
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
                // A server that answered and refused is the right server: others of the list are
                // there for when it cannot be reached, or is not up yet.
                Err(error) if !is_unreachable(&error) => return Err(error),
                Err(error) => {
                    if self.hosts.len() > 1 {
                        warn!(%host, error = %error, "going on with the next host");
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
        let patience = self.connect_timeout.unwrap_or(match purpose {
            Purpose::Query => Duration::from_secs(20),
            Purpose::Replication => Duration::from_secs(30),
        });
        let late = |what: &str| {
            Error::new(
                ErrorKind::Connection,
                format!(
                    "{what} took longer than {} s: check the address, and that a firewall lets \
                     the connector through",
                    patience.as_secs()
                ),
            )
        };
        let addresses = match tokio::time::timeout(patience, self.targets(host)).await {
            Ok(addresses) => addresses?,
            Err(_) => return Err(late(&format!("resolving {:?}", host.host))),
        };
        let mut last = None;
        for address in addresses {
            let attempt = self.connect_address(host, address, purpose);
            match tokio::time::timeout(patience, attempt).await {
                Ok(Err(error)) if is_unreachable(&error) => last = Some(error),
                Ok(Err(error)) if error.kind() == ErrorKind::Protocol => {
                    return Err(not_postgres(host, error));
                }
                Ok(result) => return result,
                Err(_) => last = Some(late(&format!("connecting to {host} ({address})"))),
            }
            debug!(%host, %address, error = ?last, "an address did not answer");
        }
        Err(last.unwrap_or_else(|| socket::unresolved(host)))
    }

    /// Returns what a host has to be tried at: its addresses, in the order of the resolver, or the
    /// host itself where the SSH server resolves it.
    async fn targets(&self, host: &HostPort) -> Result<Vec<Target>> {
        if self.tunnel.is_some() {
            return Ok(vec![Target::Tunnel]);
        }
        let addresses = socket::resolve(host).await?;
        Ok(addresses.into_iter().map(Target::Address).collect())
    }

    /// Makes the attempts that sslmode allows, as libpq does.
    async fn connect_address(
        &self,
        host: &HostPort,
        target: Target,
        purpose: Purpose,
    ) -> Result<Connection> {
        let (first, second) = match self.sslmode {
            SslMode::Disable => (Tls::Never, None),
            SslMode::Allow => (Tls::Never, Some(Tls::May)),
            SslMode::Prefer => (Tls::May, Some(Tls::Never)),
            _ if self.direct => (Tls::Direct, None),
            _ => (Tls::Must, None),
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
        let Some(second) = second.filter(|_| failure.is_about(first)) else {
            return Err(failure.into());
        };
        debug!(%host, ?first, ?second, "trying again with another use of TLS");
        let first_refusal = failure.refusal();
        let first_error = Error::from(failure);
        match self.log_in(&attempt(second)).await {
            Ok(connection) => {
                if second == Tls::Never {
                    warn!(
                        %host,
                        error = %first_error,
                        "connected without encryption, since the server does not take the \
                         connection with it: set advanced.sslmode to \"require\" to refuse this"
                    );
                }
                Ok(connection)
            }
            Err(failure) => {
                // What a login has failed for says more than that the other kind of connection is
                // not let in, or does not carry the password.
                let tells_less = match failure.refusal() {
                    Some(Refusal::Line) => true,
                    Some(Refusal::ClearText) => first_refusal == Some(Refusal::Login),
                    _ => false,
                };
                let (told, other) = if tells_less {
                    (first_error, failure.into())
                } else {
                    (failure.into(), first_error)
                };
                debug!(%host, error = ?other, "the other use of TLS failed as well");
                Err(told)
            }
        }
    }
}

/// Whether another address may do better.
fn is_unreachable(error: &Error) -> bool {
    error.kind() == ErrorKind::Connection || error.sqlstate() == Some(sqlstate::CANNOT_CONNECT_NOW)
}
