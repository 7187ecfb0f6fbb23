//! Start of the stream, and its restart without transactions in progress.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Lsn, TupleArena};
use tracing::warn;

use super::change_stream::ChangeStream;
use super::dispatcher::Dispatcher;
use super::slot_creation::create_new_slot;
use super::start_position::{Prepared, Start, StartFacts, find_start, position_after_start};
use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::client::{Client, Connecting};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::net::ConnectConfig;
use crate::replication::{
    self, DurablePosition, InProgress, ReplicationStream, SlotInUseRetry, SpoolOptions,
    StreamOptions,
};

/// Time within which a slot has to be created for the stream to count as without history. A
/// creation that has to wait takes seconds.
const QUICK_CREATION: Duration = Duration::from_secs(1);

/// Returns whether transactions are taken while they are in progress, if the server can send them.
fn in_progress(config: &Config) -> InProgress {
    if config.flags.stream_in_progress {
        InProgress::Streamed(SpoolOptions::default())
    } else {
        InProgress::NotStreamed("a feature flag says so")
    }
}

/// Parameters of a stream that is to be started.
#[derive(Debug)]
struct StreamRequest {
    options: StreamOptions,
    connect: ConnectConfig,
    decoding_memory: Option<u32>,
}

impl StreamRequest {
    async fn connect(&self) -> Result<Client> {
        replication::connect(&self.connect, self.decoding_memory).await
    }

    /// Starts the stream. After a crash the server may take a moment to notice that the last
    /// session is gone, and to release its slot; further attempts are made over another connection.
    async fn start(
        &self,
        mut client: Client,
        durable: Arc<DurablePosition>,
    ) -> Result<ReplicationStream> {
        let options = &self.options;
        let retry = SlotInUseRetry::new(&options.slot);
        loop {
            let durable = Arc::clone(&durable);
            match ReplicationStream::start(client, options, durable).await {
                Err(error) if retry.pause_after(&error).await => {
                    client = self.connect().await?;
                }
                other => return other,
            }
        }
    }
}

impl<S: Sink> Session<S> {
    /// Starts the stream: at the cursor, or with a new slot.
    pub(in crate::capture) async fn start_stream(
        &mut self,
        prepared: Prepared,
    ) -> Result<ChangeStream> {
        let config = &self.settings.config;
        let facts = StartFacts {
            slot: prepared.slot.as_ref(),
            cursor: self.checkpoints.cursor(),
            has_bindings: !self.tables.is_empty(),
            is_standby: self.server.is_standby(),
        };
        let start = find_start(self.server.client(), config, facts).await?;
        let mut replication = self.replication_client(prepared.replication).await?;
        let (start, is_slot_new) = match start {
            Start::At(start) => (start, false),
            Start::NewSlot { exists } => self.create_slot(&mut replication, exists).await?,
        };
        // Tables whose scan is continued decide about changes from the first change on.
        let version = self.server.version();
        for table in self
            .tables
            .iter_mut()
            .filter(|table| table.state.mode.is_backfill())
        {
            table.activate(&self.settings, self.server.types(), version)?;
        }
        // The waits begin with a new slot as well: a commit between the position from which the
        // server collects changes and that from which it streams them may not be in snapshots yet.
        // Commits after either position are streamed and remembered.
        let request = self.stream_request(start, in_progress(&self.settings.config));
        let (stream, ()) = tokio::try_join!(
            request.start(replication, DurablePosition::new(start).into()),
            self.begin_initial_waits(),
        )?;
        self.checkpoints
            .stream_started(start, stream.durable_position());
        Ok(ChangeStream {
            replication: stream,
            dispatcher: Dispatcher::new(start),
            arena: TupleArena::default(),
            is_slot_new,
        })
    }

    /// Returns the connection for the stream: `ahead`, which was started earlier, or a new one.
    async fn replication_client(&mut self, ahead: Connecting) -> Result<Client> {
        if let Some(client) = ahead.client().await? {
            return Ok(client);
        }
        // Connections for rows are closed first: the stream has precedence where the number of
        // connections is limited.
        self.spans.disconnect().await;
        let memory = self.settings.config.logical_decoding_work_mem;
        replication::connect(self.server.connect_config(), memory).await
    }

    /// Creates the slot. Returns its first position, and whether the stream has no history to catch
    /// up with.
    async fn create_slot(&mut self, replication: &mut Client, exists: bool) -> Result<(Lsn, bool)> {
        let slot = &self.settings.config.slot_name;
        let is_standby = self.server.is_standby();
        let began = Instant::now();
        let client = self.server.client();
        let start = create_new_slot(client, replication, slot, exists, is_standby).await?;
        // After a creation that had to wait, the server reads its log once more before it streams,
        // and no span is to hold its locks meanwhile. Before version 13 the first status update
        // would move a slot back to its start that another session has advanced.
        let is_new = began.elapsed() < QUICK_CREATION && self.server.version() >= 130_000;
        Ok((start, is_new))
    }

    /// Reads the stream up to the end of the log, then activates the tables that wait for that.
    pub(in crate::capture) async fn catch_up(&mut self, changes: &mut ChangeStream) -> Result<()> {
        self.report_status("Catching up on CDC history");
        if changes.is_slot_new {
            return self.begin_without_history(changes).await;
        }
        let fence = self.position_after_start().await?;
        let policy = self.checkpoint_policy();
        self.read_to(changes, fence, policy).await?;
        self.try_checkpoint().await?;
        self.activate_tables(changes).await?;
        if self.checkpoints.is_due() && !self.tables.hold_back_checkpoint() {
            // The checkpoint was held back for tables that turned out to need no scan.
            self.emit_checkpoint()?;
        }
        Ok(())
    }

    async fn position_after_start(&mut self) -> Result<Lsn> {
        let start = self
            .checkpoints
            .cursor()
            .filter(|_| !self.tables.is_empty());
        position_after_start(self.server.client(), &self.settings.config, start).await
    }

    /// Activates the tables at once, where the slot is new: everything that is streamed has
    /// committed since. With rows to be read the start is confirmed while the first of them are
    /// awaited.
    async fn begin_without_history(&mut self, changes: &mut ChangeStream) -> Result<()> {
        self.activate_tables(changes).await?;
        if self.tables.backfilling() == 0 {
            self.confirm_start(changes).await?;
        }
        Ok(())
    }

    /// Makes sure that no other session has advanced the new slot, and emits a checkpoint with its
    /// position. Nothing is emitted before that, so that a capture that stops here starts over. The
    /// states of the tables are emitted with their first rows.
    pub(in crate::capture) async fn confirm_start(
        &mut self,
        changes: &mut ChangeStream,
    ) -> Result<()> {
        self.position_after_start().await?;
        changes.is_slot_new = false;
        self.emit_cursor()
    }

    /// Activates tables that are pending, and ends scans that are to be skipped.
    pub(in crate::capture) async fn activate_tables(
        &mut self,
        changes: &mut ChangeStream,
    ) -> Result<()> {
        let version = self.server.version();
        let mut changed = false;
        for table in self.tables.iter_mut() {
            let before = table.state.mode;
            table.activate(&self.settings, self.server.types(), version)?;
            changed |= table.state.mode != before;
        }
        if changed {
            self.renew_plans(changes).await?;
        }
        Ok(())
    }

    fn stream_request(&self, start: Lsn, in_progress: InProgress) -> StreamRequest {
        let config = &self.settings.config;
        StreamRequest {
            options: StreamOptions {
                slot: config.slot_name.clone(),
                publication: config.publication_name.clone(),
                start,
                status_interval: status_interval(self.server.wal_sender_timeout()),
                in_progress,
            },
            connect: self.server.connect_config().clone(),
            decoding_memory: config.logical_decoding_work_mem,
        }
    }

    /// Starts the stream again without transactions in progress, because they cannot be stored.
    ///
    /// The new stream begins after the last commit that was handled, between two transactions, so
    /// all later transactions are streamed whole. The acknowledged position does not change.
    pub(super) async fn restart_without_spool(
        &mut self,
        changes: &mut ChangeStream,
        error: Error,
    ) -> Result<()> {
        let position = changes.received();
        warn!(
            error = %error,
            causes = error.causes(),
            position = %position,
            "transactions in progress cannot be stored; the stream is started again without them, and \
             the server keeps them until they commit"
        );
        changes.replication.abandon();
        let durable = Arc::clone(changes.replication.durable_position());
        let reason = "transactions in progress could not be stored";
        let request = self.stream_request(position, InProgress::NotStreamed(reason));
        let client = request.connect().await?;
        changes.replication = request.start(client, durable).await?;
        Ok(())
    }
}

/// Returns the interval between status updates, which keeps them within the timeout of the server.
fn status_interval(wal_sender_timeout: Duration) -> Duration {
    const LONGEST: Duration = Duration::from_secs(10);
    match wal_sender_timeout / 3 {
        Duration::ZERO => LONGEST,
        third => third.min(LONGEST),
    }
}
