//! A connection that is made while other things are done.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{ConnectConfig, Purpose};

/// A connection that is being made. Dropped before it is asked for, it is closed.
#[derive(Debug)]
pub struct Connecting {
    started: Instant,
    attempt: Attempt,
}

#[derive(Debug)]
enum Attempt {
    Running(Guard),
    Done(Box<Client>),
}

/// The task of an attempt, which ends with whom it is for.
#[derive(Debug)]
struct Guard(JoinHandle<Result<Client>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connecting {
    /// Starts to connect.
    pub fn start(config: &ConnectConfig, purpose: Purpose) -> Self {
        let config = config.clone();
        Self::run(async move { Client::connect(&config, purpose).await })
    }

    /// Starts to connect, and runs a statement that makes the connection ready for its use.
    pub fn start_with(config: &ConnectConfig, purpose: Purpose, statement: &'static str) -> Self {
        let config = config.clone();
        Self::run(async move {
            let mut client = Client::connect(&config, purpose).await?;
            client.query(statement, &[]).await?;
            Ok(client)
        })
    }

    fn run(attempt: impl Future<Output = Result<Client>> + Send + 'static) -> Self {
        Self {
            started: Instant::now(),
            // The socket belongs to the runtime of the caller.
            attempt: Attempt::Running(Guard(tokio::spawn(attempt))),
        }
    }

    /// Wraps a connection that is there.
    pub fn done(client: Client) -> Self {
        Self {
            started: Instant::now(),
            attempt: Attempt::Done(Box::new(client)),
        }
    }

    /// Returns how long ago it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for the connection.
    ///
    /// # Errors
    ///
    /// Fails as [`Client::connect`] does.
    pub async fn client(self) -> Result<Client> {
        match self.attempt {
            Attempt::Done(client) => Ok(*client),
            Attempt::Running(mut guard) => (&mut guard.0).await.map_err(|error| {
                Error::new(ErrorKind::Internal, "an attempt to connect was given up")
                    .with_source(error)
            })?,
        }
    }
}
