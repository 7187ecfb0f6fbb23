//! Connections that are made ahead, in a task of their own.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing::debug;

use super::query::Client;
use crate::error::{Error, ErrorKind, Result};

/// Maximum age of a connection at its first use. An older one may have been dropped by a firewall
/// or closed by the server.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// A connection that is made before it is needed. Dropping the value closes the connection.
///
/// A temporary reason for which the attempt failed may have passed when the connection is needed.
/// So a retryable failure is not an error: the caller connects again.
#[derive(Debug)]
pub struct Connecting {
    started: Instant,
    attempt: JoinHandle<Result<(Client, Instant)>>,
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.attempt.abort();
    }
}

impl Connecting {
    /// Spawns `attempt`, which connects and prepares the connection for its use.
    pub fn start(attempt: impl Future<Output = Result<Client>> + Send + 'static) -> Self {
        // On the caller's runtime, which then polls the socket.
        let attempt = tokio::spawn(async move { Ok((attempt.await?, Instant::now())) });
        Self {
            started: Instant::now(),
            attempt,
        }
    }

    /// Returns whether the attempt was started too long ago to be used.
    pub fn is_stale(&self) -> bool {
        self.started.elapsed() >= MAX_IDLE
    }

    /// Waits for the connection. Returns `None` if the attempt failed with a retryable error, or if
    /// the connection has been idle for too long.
    ///
    /// # Errors
    ///
    /// Fails with the error of the attempt if it is not retryable.
    pub async fn client(mut self) -> Result<Option<Client>> {
        if self.attempt.is_finished() && self.is_stale() {
            return Ok(None);
        }
        let made = (&mut self.attempt).await.map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                "the task of a connection attempt panicked or was aborted",
            )
            .with_source(error)
        })?;
        match made {
            Ok((client, made)) => Ok((made.elapsed() < MAX_IDLE).then_some(client)),
            Err(error) if error.is_retryable() => {
                debug!(%error, "connection could not be opened in advance");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
