//! Cancels the statement that the server is executing for a connection that is given up.

use std::fmt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::attempt::{Attempt, Target, TlsUse};
use super::config::{ConnectConfig, Purpose};
use crate::config::HostPort;
use crate::error::{Error, Result};
use crate::net::error::connection_lost;

/// Sends the CancelRequest for a connection over another one, to the same address, through the same
/// tunnel, and with TLS if the connection uses it.
///
/// See
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>.
pub(in crate::net) struct Canceller {
    config: ConnectConfig,
    host: HostPort,
    target: Target,
    tls: TlsUse,
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller")
            .field("host", &self.host)
            .field("target", &self.target)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Canceller {
    pub(super) fn new(config: &ConnectConfig, attempt: &Attempt<'_>, encrypted: bool) -> Self {
        Self {
            config: config.clone(),
            host: attempt.host.clone(),
            target: attempt.target,
            tls: match attempt.tls {
                // A request in clear text would disclose the cancellation key.
                TlsUse::IfOffered if encrypted => TlsUse::Required,
                TlsUse::IfOffered => TlsUse::Never,
                other => other,
            },
        }
    }

    /// Sends a CancelRequest, and waits until the server has processed it. The server does not
    /// report whether it cancelled a statement.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be reached.
    pub(in crate::net) async fn cancel(&self, request: &[u8]) -> Result<()> {
        let attempt = Attempt {
            host: &self.host,
            target: self.target,
            purpose: Purpose::Query,
            tls: self.tls,
        };
        let reached = self.config.reach(&attempt).await;
        // The request takes the place of the startup message, so the session is not used.
        let (mut stream, _) = reached.map_err(Error::from)?;
        stream.write_all(request).await.map_err(connection_lost)?;
        stream.flush().await.map_err(connection_lost)?;
        // The server answers by closing the connection; how it does so does not matter.
        let _ = stream.read(&mut [0]).await;
        Ok(())
    }
}
