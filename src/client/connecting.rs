//! A connection that is made while other things are done.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing::debug;

use super::query::Client;
use crate::error::{Error, ErrorKind, Result};

/// How long a connection may have been idle before its use: one that was for longer may have been cut
/// on its way, or ended by the server.
const FRESH: Duration = Duration::from_secs(30);

/// A connection that is made ahead. Dropped before it is asked for, it is closed.
///
/// What keeps it from being made, or ends it, may be over when it is needed. So that is not an error:
/// there is no such connection then, and one is made anew.
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
    /// Starts an attempt to connect, with what makes the connection ready for its use.
    pub fn start(attempt: impl Future<Output = Result<Client>> + Send + 'static) -> Self {
        // The socket belongs to the runtime of the caller.
        let attempt = tokio::spawn(async move { Ok((attempt.await?, Instant::now())) });
        Self {
            started: Instant::now(),
            attempt,
        }
    }

    /// Returns whether it was started too long ago to be of use.
    pub fn is_stale(&self) -> bool {
        self.started.elapsed() >= FRESH
    }

    /// Waits for the connection. There is none if it could not be made for a reason that may be over,
    /// or if it has been idle for long.
    ///
    /// # Errors
    ///
    /// Fails as the attempt does, where trying again does not help.
    pub async fn client(mut self) -> Result<Option<Client>> {
        if self.attempt.is_finished() && self.is_stale() {
            return Ok(None);
        }
        let made = (&mut self.attempt).await.map_err(|error| {
            Error::new(ErrorKind::Internal, "an attempt to connect was given up").with_source(error)
        })?;
        match made {
            Ok((client, made)) => Ok((made.elapsed() < FRESH).then_some(client)),
            Err(error) if error.is_retryable() => {
                debug!(%error, "a connection could not be made ahead");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
