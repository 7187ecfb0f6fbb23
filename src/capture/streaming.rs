//! Starting the stream, and starting it anew without transactions in progress.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Lsn;
use tracing::{info, warn};

use super::engine::{Engine, Following};
use super::sink::Sink;
use crate::client::Client;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::net::ConnectConfig;
use crate::replication::{
    self, InProgress, Progress, ReplicationStream, SLOT_PATIENCE, SpoolOptions, StreamOptions,
    is_in_use,
};

/// Returns whether transactions are taken while they are in progress, if the server can send them.
pub(super) fn in_progress(config: &Config) -> InProgress {
    if config.flags.stream_in_progress {
        InProgress::Kept(SpoolOptions::default())
    } else {
        InProgress::Refused("a feature flag says so")
    }
}

/// A stream that is to be started.
#[derive(Debug)]
pub(super) struct Opening {
    options: StreamOptions,
    connect: ConnectConfig,
    decoding_memory: Option<u32>,
}

impl Opening {
    /// Connects to stream.
    async fn connect(&self) -> Result<Client> {
        replication::connect(&self.connect, self.decoding_memory).await
    }

    /// Starts to stream. After a crash the server may take a moment to notice that the session before
    /// is gone, and to give its slot free; what is tried again is so over another connection.
    pub(super) async fn start_stream(
        &self,
        mut client: Client,
        progress: Arc<Progress>,
    ) -> Result<ReplicationStream> {
        let options = &self.options;
        let started = Instant::now();
        loop {
            let progress = Arc::clone(&progress);
            match ReplicationStream::start_with(client, options, progress).await {
                Err(error) if is_in_use(&error) && started.elapsed() < SLOT_PATIENCE => {
                    info!(slot = %options.slot, "waiting for the replication slot: it is in use");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    client = self.connect().await?;
                }
                other => return other,
            }
        }
    }
}

impl<S: Sink> Engine<S> {
    /// What a stream from a position is started with.
    pub(super) fn opening(&self, start: Lsn) -> Opening {
        Opening {
            options: StreamOptions {
                slot: self.config.slot_name.clone(),
                publication: self.config.publication_name.clone(),
                start,
                status_interval: status_interval(self.wal_sender_timeout),
                in_progress: self.in_progress.clone(),
            },
            connect: self.connect.clone(),
            decoding_memory: self.config.logical_decoding_work_mem,
        }
    }

    /// Starts the stream anew without transactions in progress, since there is no room for them.
    ///
    /// It goes on behind the last commit that was handled, between two transactions: what comes
    /// from the server then is what has not been handled yet, whole. What is acknowledged stays what
    /// it was.
    pub(super) async fn stream_without_spool(
        &mut self,
        following: &mut Following,
        error: Error,
    ) -> Result<()> {
        let position = following.follower.position.received();
        warn!(
            error = %error,
            causes = error.causes(),
            position = %position,
            "transactions in progress cannot be kept; the stream is started anew without them, and \
             the server keeps them until they commit"
        );
        self.in_progress = InProgress::Refused("there was no room for them");
        following.stream.abandon();
        let progress = Arc::clone(following.stream.progress());
        let opening = self.opening(position);
        let client = opening.connect().await?;
        following.stream = opening.start_stream(client, progress).await?;
        Ok(())
    }
}

/// Status updates are sent often enough for the server's patience, and at least every 10 s.
fn status_interval(wal_sender_timeout: Duration) -> Duration {
    const LONGEST: Duration = Duration::from_secs(10);
    match wal_sender_timeout / 3 {
        Duration::ZERO => LONGEST,
        third => third.min(LONGEST),
    }
}
