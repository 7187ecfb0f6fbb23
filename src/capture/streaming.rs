//! Starting the stream and catching up with it, and starting it anew without transactions in progress.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Lsn, TupleArena};
use tracing::{info, warn};

use super::engine::{ChangeStream, Engine};
use super::follow::Dispatcher;
use super::sink::Sink;
use super::start_position::{Prepared, Start, create_anew, find_start, position_behind};
use super::state;
use crate::client::Client;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::net::ConnectConfig;
use crate::replication::{
    self, DurablePosition, InProgress, ReplicationStream, SLOT_PATIENCE, SpoolOptions,
    StreamOptions, is_in_use,
};

/// A slot is new if its creation took less. Where it has to wait it takes seconds.
const QUICK_CREATION: Duration = Duration::from_secs(1);

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
pub(super) struct StreamRequest {
    options: StreamOptions,
    connect: ConnectConfig,
    decoding_memory: Option<u32>,
}

impl StreamRequest {
    /// Connects to stream.
    async fn connect(&self) -> Result<Client> {
        replication::connect(&self.connect, self.decoding_memory).await
    }

    /// Starts to stream. After a crash the server may take a moment to notice that the session before
    /// is gone, and to give its slot free; what is tried again is so over another connection.
    pub(super) async fn start_stream(
        &self,
        mut client: Client,
        durable: Arc<DurablePosition>,
    ) -> Result<ReplicationStream> {
        let options = &self.options;
        let started = Instant::now();
        loop {
            let durable = Arc::clone(&durable);
            match ReplicationStream::start_with(client, options, durable).await {
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
    /// Starts the stream.
    pub(super) async fn follow(&mut self, prepared: Prepared) -> Result<ChangeStream> {
        let start = find_start(
            &mut self.client,
            &self.config,
            prepared.slot.as_ref(),
            self.cursor,
            !self.tables.is_empty(),
            self.standby,
        )
        .await?;
        let mut replication = match prepared.replication.client().await? {
            Some(client) => client,
            None => {
                // What was made ahead for rows gives way: the stream's comes first where there are few.
                self.spans.disconnect().await;
                let memory = self.config.logical_decoding_work_mem;
                replication::connect(&self.connect, memory).await?
            }
        };
        let version = self.client.server_version_num();
        let (start, is_new) = match start {
            Start::At(start) => (start, false),
            Start::NewSlot { is_there } => {
                let began = Instant::now();
                let start = create_anew(
                    &mut self.client,
                    &mut replication,
                    &self.config,
                    is_there,
                    self.standby,
                )
                .await?;
                // Where the creation had to wait, the server reads its log once more before it streams,
                // and no span is to hold its locks meanwhile. Before 13 the first status update would
                // move a slot that somebody has moved on back to the start.
                let is_new = began.elapsed() < QUICK_CREATION && version >= 130_000;
                (start, is_new)
            }
        };
        // Tables whose scan goes on judge changes from the first on.
        for table in self
            .tables
            .iter_mut()
            .filter(|table| table.state.mode.is_backfill())
        {
            table.activate(&self.task_name, &self.config, &self.types, version)?;
        }
        // With a new slot as well: a commit between the points at which the server has started to
        // collect changes and at which it streams them may be held back from snapshots still. What
        // commits from here on is streamed, and remembered, whichever of both comes first.
        let request = self.request(start);
        let (stream, ()) = tokio::try_join!(
            request.start_stream(replication, DurablePosition::new(start).into()),
            self.begin_initial_waits(),
        )?;
        self.acknowledgements.report_to(stream.durable_position());
        self.cursor = Some(start);
        self.is_streaming = true;
        Ok(ChangeStream {
            replication: stream,
            dispatcher: Dispatcher::new(start),
            arena: TupleArena::default(),
            is_new,
        })
    }

    /// Reads the stream up to where the log ends now, then activates the tables that wait for that.
    pub(super) async fn catch_up(&mut self, changes: &mut ChangeStream) -> Result<()> {
        self.report_status("Catching up on CDC history");
        if changes.is_new {
            return self.begin(changes).await;
        }
        let fence = self.position_behind_start().await?;
        let checkpoints = self.stream_checkpoints();
        self.stream_to(changes, fence, checkpoints).await?;
        self.checkpoint_due = true;
        self.try_settle().await?;
        self.activate(changes).await?;
        if self.checkpoint_due && !self.awaits_commits() {
            // What it was held back for is of tables that are not scanned after all.
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Returns the position up to which the log can be streamed now, if nobody has moved the slot on.
    async fn position_behind_start(&mut self) -> Result<Lsn> {
        let start = self.cursor.filter(|_| !self.tables.is_empty());
        position_behind(&mut self.client, &self.config, start).await
    }

    /// Activates the tables at once, where the slot is new: whatever is streamed has committed since.
    /// With rows to be read the start is confirmed while the first of them are awaited.
    async fn begin(&mut self, changes: &mut ChangeStream) -> Result<()> {
        self.activate(changes).await?;
        if self.backfilling() == 0 {
            self.confirm_start(changes).await?;
        }
        Ok(())
    }

    /// Makes sure that nobody has moved a new slot on, and says where its stream begins. Nothing is
    /// emitted before that, so that a capture which stops here starts anew. The states of the tables come
    /// with their first rows.
    pub(super) async fn confirm_start(&mut self, changes: &mut ChangeStream) -> Result<()> {
        self.position_behind_start().await?;
        changes.is_new = false;
        self.emit_checkpoint(&state::patch(self.cursor, std::iter::empty())?)
    }

    /// What a stream from a position is started with.
    pub(super) fn request(&self, start: Lsn) -> StreamRequest {
        StreamRequest {
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

    /// Starts the stream anew without transactions in progress, since they cannot be kept.
    ///
    /// It goes on behind the last commit that was handled, between two transactions: what comes
    /// from the server then is what has not been handled yet, whole. What is acknowledged stays what
    /// it was.
    pub(super) async fn stream_without_spool(
        &mut self,
        changes: &mut ChangeStream,
        error: Error,
    ) -> Result<()> {
        let position = changes.dispatcher.position.received();
        warn!(
            error = %error,
            causes = error.causes(),
            position = %position,
            "transactions in progress cannot be kept; the stream is started anew without them, and \
             the server keeps them until they commit"
        );
        self.in_progress = InProgress::Refused("transactions in progress could not be kept");
        changes.replication.abandon();
        let durable = Arc::clone(changes.replication.durable_position());
        let request = self.request(position);
        let client = request.connect().await?;
        changes.replication = request.start_stream(client, durable).await?;
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
