//! Starting the stream, and starting it anew without transactions in progress.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Lsn;
use tracing::{debug, info, warn};

use super::engine::{Engine, Following};
use super::sink::Sink;
use crate::client::Client;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::net::Purpose;
use crate::replication::{
    InProgress, Progress, ReplicationStream, SLOT_PATIENCE, SpoolOptions, StreamOptions, is_in_use,
};

/// Memory of the server's that one stream may take for transactions under way, in kB, unless it is
/// configured. It is the user's server: enough that most transactions are not written to disk, and
/// not more.
const DECODING_MEMORY: u32 = 256 * 1024;

/// Returns whether transactions are taken while they are in progress, if the server can send them.
pub(super) fn in_progress(config: &Config) -> InProgress {
    if config.flags.stream_in_progress {
        InProgress::Kept(SpoolOptions::default())
    } else {
        InProgress::Refused("a feature flag says so")
    }
}

impl<S: Sink> Engine<S> {
    /// Starts to stream. After a crash the server may take a moment to notice that the session before
    /// is gone, and to give its slot free.
    pub(super) async fn start_stream(
        &mut self,
        start: Lsn,
        progress: Arc<Progress>,
    ) -> Result<ReplicationStream> {
        let options = StreamOptions {
            slot: self.config.slot_name.clone(),
            publication: self.config.publication_name.clone(),
            start,
            status_interval: self.status_interval().await?,
            in_progress: self.in_progress.clone(),
        };
        let started = Instant::now();
        loop {
            let mut client = Client::connect(&self.connect, Purpose::Replication).await?;
            if client.server_version_num() >= 130_000 {
                self.grant_memory(&mut client).await?;
            }
            let progress = Arc::clone(&progress);
            match ReplicationStream::start_with(client, &options, progress).await {
                Err(error) if is_in_use(&error) && started.elapsed() < SLOT_PATIENCE => {
                    info!(slot = %options.slot, "waiting for the replication slot: it is in use");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                other => return other,
            }
        }
    }

    /// Lets the server hold more of a large transaction in memory for this session before it writes it
    /// to disk and reads it again, or sends it while it is in progress.
    async fn grant_memory(&self, client: &mut Client) -> Result<()> {
        let kilobytes = self
            .config
            .logical_decoding_work_mem
            .unwrap_or(DECODING_MEMORY);
        let setting = format!("{kilobytes}kB");
        let sql = format!("SET logical_decoding_work_mem = '{setting}'");
        match client.execute_script(&sql).await {
            Ok(_) => info!(
                logical_decoding_work_mem = setting,
                "memory for decoding is set for this session"
            ),
            Err(error) if error.sqlstate().is_some() => {
                debug!(error = %error, "logical_decoding_work_mem stays as it is");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Status updates are sent often enough for the server's patience, and at least every 10 s.
    async fn status_interval(&mut self) -> Result<Duration> {
        const LONGEST: Duration = Duration::from_secs(10);
        let sql = "SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'";
        let rows = self.client.query(sql, &[]).await?;
        let millis: u64 = rows.rows.first().map_or(Ok(0), |row| row.parse(0))?;
        let third = Duration::from_millis(millis / 3);
        Ok(if third.is_zero() {
            LONGEST
        } else {
            third.min(LONGEST)
        })
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
        following.stream = self.start_stream(position, progress).await?;
        Ok(())
    }
}
