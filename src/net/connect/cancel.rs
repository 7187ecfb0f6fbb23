//! Cancelling what the server is doing for a connection that nobody will read from.

use std::fmt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::attempt::{Attempt, Target, Tls};
use super::config::{ConnectConfig, Purpose};
use crate::config::HostPort;
use crate::error::{Error, Result};
use crate::net::error::connection_lost;

/// The way that a connection has taken, for a request to cancel what it has asked for. The request takes
/// the same: to the same address, through the same tunnel, and by TLS where the connection has it.
///
/// See <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>.
pub(in crate::net) struct Canceller {
    config: ConnectConfig,
    host: HostPort,
    target: Target,
    tls: Tls,
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
                // A request in clear text would give the key away.
                Tls::May if encrypted => Tls::Must,
                Tls::May => Tls::Never,
                other => other,
            },
        }
    }

    /// Sends a CancelRequest, and waits until the server has handled it. It does not say what came of
    /// that.
    ///
    /// # Errors
    ///
    /// Fails where the server cannot be reached as before.
    pub(in crate::net) async fn cancel(&self, request: &[u8]) -> Result<()> {
        let attempt = Attempt {
            host: &self.host,
            target: self.target,
            purpose: Purpose::Query,
            tls: self.tls,
        };
        let reached = self.config.reach(&attempt).await;
        // The request stands in place of the startup message that the session has ready.
        let (mut stream, _) = reached.map_err(Error::from)?;
        stream.write_all(request).await.map_err(connection_lost)?;
        stream.flush().await.map_err(connection_lost)?;
        // That it ends the connection without a word is its answer, however it does it.
        let _ = stream.read(&mut [0]).await;
        Ok(())
    }
}
