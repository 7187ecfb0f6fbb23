//! One session of a capture, from its start to its end.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use protocol::{Lsn, TupleArena};
use tokio::sync::watch;
use tracing::{debug, info};

use super::acknowledge::Acknowledgements;
use super::fence::Checkpoints;
use super::follow::Dispatcher;
use super::housekeeping::Housekeeping;
use super::locks::{Locked, watched};
use super::schemas::{SentSchemas, schema_options};
use super::sink::Sink;
use super::span::Spans;
use super::start::{Binding, Task, check, reconcile};
use super::start_position::Prepared;
use super::state::{self, Mode, TableState};
use super::streaming::in_progress;
use super::table::Table;
use crate::catalog::{SlotUse, TableId, parse_types, types_statement};
use crate::client::{Client, Connecting, Statement};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::logging;
use crate::net::{ConnectConfig, Purpose};
use crate::record::PlanOptions;
use crate::replication::{self, InProgress, ReplicationStream};
use crate::value::TypeRegistry;

/// How long a graceful end waits for the acknowledgement of the last checkpoints, so that the server
/// can be told of them.
const FAREWELL: Duration = Duration::from_secs(2);

/// The timeout in milliseconds.
const SELECT_SERVER: &str = "\
SELECT pg_is_in_recovery(), current_setting('wal_block_size'), current_setting('statement_timeout'),
       (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'wal_sender_timeout')";

/// A session of a capture.
pub(super) struct Engine<S> {
    pub(super) config: Config,
    pub(super) task_name: String,
    pub(super) stop_when_caught_up: bool,
    pub(super) connect: ConnectConfig,
    pub(super) client: Client,
    pub(super) types: TypeRegistry,
    /// The server is a standby: nothing can be written, and snapshots list nothing as running.
    pub(super) standby: bool,
    /// Size of the pages of the log, which have headers that no record ends in.
    pub(super) wal_block_size: u64,
    /// How long the server waits for a sign of life in a stream; zero for ever.
    pub(super) wal_sender_timeout: Duration,
    /// The real name of the watermarks table; `None` where nothing is to be written.
    pub(super) watermarks: Option<TableId>,
    pub(super) tables: Vec<Table>,
    pub(super) bindings: Vec<Binding>,
    /// Entries of the state whose bindings are gone, until a checkpoint has said so.
    pub(super) removed: Vec<(String, TableState)>,
    /// The position that the next checkpoint has.
    pub(super) cursor: Option<Lsn>,
    pub(super) sink: S,
    pub(super) acknowledgements: Acknowledgements,
    pub(super) sent_schemas: SentSchemas,
    pub(super) plan_options: PlanOptions,
    /// A checkpoint is due, and held back for a commit that no snapshot contains yet.
    pub(super) checkpoint_due: bool,
    /// The position of the last checkpoint, and when it was.
    pub(super) checkpointed: Option<Lsn>,
    pub(super) last_checkpoint: Instant,
    /// Whether the stream has started.
    pub(super) is_streaming: bool,
    /// Whether transactions are taken while they are in progress.
    pub(super) in_progress: InProgress,
    /// When a snapshot was taken last.
    pub(super) snapshot_taken: Instant,
    /// How long after a snapshot the next is taken for a checkpoint that is held back.
    pub(super) snapshot_interval: Duration,
    pub(super) housekeeping: Housekeeping,
    pub(super) spans: Spans,
}

/// The stream of a session.
pub(super) struct ChangeStream {
    pub(super) replication: ReplicationStream,
    pub(super) dispatcher: Dispatcher,
    pub(super) arena: TupleArena,
    /// The slot was created for it, just now, and was not looked at since: there is no history.
    pub(super) is_new: bool,
}

/// Runs a session to its end: that of the capture if it is to stop when it has caught up, else only
/// an error.
///
/// # Errors
///
/// Fails with what keeps the capture from going on; what was emitted since the last checkpoint is
/// void then.
pub async fn run<S: Sink>(task: Task, sink: S, acknowledgements: Acknowledgements) -> Result<()> {
    let (mut engine, prepared) = Engine::start(task, sink, acknowledgements).await?;
    engine.announce().await?;
    let mut changes = engine.follow(prepared).await?;
    engine.catch_up(&mut changes).await?;
    loop {
        if engine.housekeeping.until_due().is_zero() {
            engine.run_due(&mut changes).await?;
        }
        if let Some(table) = engine.next_backfill(&[]) {
            engine.backfill(&mut changes, table).await?;
        } else if engine.stop_when_caught_up {
            engine.check_once().await?;
            engine.checkpoint_due = true;
            engine.settle().await?;
            break;
        } else {
            engine.spans.disconnect().await;
            engine.report_status("Streaming CDC Events");
            let end = Instant::now() + engine.housekeeping.until_due();
            engine
                .stream_for(&mut changes, end, Checkpoints::AtCommits)
                .await?;
        }
    }
    let farewell = engine.acknowledgements.all_acknowledged();
    if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
        debug!("the last checkpoints are not acknowledged; the server is not told of them");
    }
    if tokio::time::timeout(FAREWELL, changes.replication.finish())
        .await
        .is_err()
    {
        debug!("the server does not take the last status update");
    }
    Ok(())
}

impl<S: Sink> Engine<S> {
    async fn start(
        task: Task,
        sink: S,
        acknowledgements: Acknowledgements,
    ) -> Result<(Self, Prepared)> {
        let Task {
            name,
            config,
            bindings,
            mut state,
            stop_when_caught_up,
        } = task;
        let values = schema_options(&config).values;
        let (tables, removed) = reconcile(&bindings, &mut state);
        let connect = ConnectConfig::new(&config)?;
        logging::status("Connecting to database");
        info!(
            address = %connect.addresses(),
            user = %config.user,
            database = connect.database(),
            slot = %config.slot_name,
            "connecting"
        );
        let mut client = Client::connect(&connect, Purpose::Query).await?;
        let (first, behind) = watch::channel(());
        let replication = Connecting::start({
            let (connect, memory) = (connect.clone(), config.logical_decoding_work_mem);
            async move {
                let mut client = Client::connect(&connect, Purpose::Replication).await?;
                first.send_replace(());
                replication::grant_memory(&mut client, memory).await?;
                Ok(client)
            }
        });
        let mut spans = Spans::default();
        if tables.iter().any(Table::awaits_chunks) {
            spans.prepare(&connect, config.backfill_connections, &behind);
        }
        info!(
            version = client.parameter("server_version").unwrap_or_default(),
            "server version"
        );
        logging::status("Verifying capture requirements");
        let starts_anew = state.cursor.is_none()
            && config.flags.force_reset_cursor.is_none()
            && config.flags.initial_backfill_cursor.is_none();
        let slot_use = if starts_anew {
            SlotUse::Create
        } else {
            SlotUse::Resume
        };
        let established: HashSet<&str> = tables
            .iter()
            .filter(|table| table.state.mode == Mode::Active || table.state.mode.is_backfill())
            .map(|table| table.state_key.as_str())
            .collect();
        let is_established =
            |binding: &Binding| !starts_anew && established.contains(binding.state_key.as_str());
        let (checked, [server, types]) = {
            let process = client.process_id();
            let types = types_statement(client.server_version_num());
            let besides = [Statement::new(SELECT_SERVER, &[]), types];
            let checks = check(
                &mut client,
                &config,
                &bindings,
                is_established,
                slot_use,
                besides,
            );
            Box::pin(watched(&connect, process, checks)).await?
        };
        let server = server?;
        let row = server.one()?;
        let (standby, wal_block_size) = (row.bool(0)?, row.parse(1)?);
        info!(timeout = row.text(2)?, "effective statement timeout");
        let wal_sender_timeout = Duration::from_millis(row.get(3).map_or(Ok(0), |_| row.parse(3))?);
        let types = parse_types(&types?)?;
        let mut engine = Self {
            housekeeping: Housekeeping::new(config.rediscovery_interval),
            in_progress: in_progress(&config),
            config,
            task_name: name,
            stop_when_caught_up,
            connect,
            client,
            types,
            standby,
            wal_block_size,
            wal_sender_timeout,
            watermarks: checked.watermarks,
            tables,
            bindings,
            removed,
            cursor: state.cursor,
            sink,
            acknowledgements,
            sent_schemas: SentSchemas::default(),
            plan_options: PlanOptions { values },
            checkpoint_due: false,
            checkpointed: None,
            is_streaming: false,
            snapshot_taken: Instant::now(),
            snapshot_interval: Duration::ZERO,
            spans,
            last_checkpoint: Instant::now(),
        };
        engine.learn(checked.tables);
        engine.mark_missing();
        let slot = checked.slot;
        Ok((engine, Prepared { slot, replication }))
    }

    /// Opens the capture: schemas, then the state as it is matched with the bindings.
    async fn announce(&mut self) -> Result<()> {
        if self.tables.is_empty() {
            logging::status("Capture started, no bindings are enabled");
        } else {
            logging::status_with_bindings("Capture started", self.tables.len());
        }
        self.sink.opened()?;
        self.complete_types().await?;
        self.emit_schemas()?;
        // The schemas come with a checkpoint of their own, before that of the bindings.
        self.emit_checkpoint(&state::patch(self.cursor, std::iter::empty())?)?;
        self.checkpoint()
    }

    /// Activates tables that are pending, and ends scans that are to be skipped.
    pub(super) async fn activate(&mut self, changes: &mut ChangeStream) -> Result<()> {
        let version = self.client.server_version_num();
        let mut changed = false;
        for table in &mut self.tables {
            let before = table.state.mode;
            table.activate(&self.task_name, &self.config, &self.types, version)?;
            changed |= table.state.mode != before;
        }
        if changed {
            changes.dispatcher.relations.invalidate(&self.tables);
            self.prepare_all(changes).await?;
        }
        Ok(())
    }

    /// Chooses the table that the next chunk is read of, besides some: in the order of the bindings,
    /// those of a higher priority first. One that was found locked lately comes behind the others.
    pub(super) fn next_backfill(&self, besides: &[usize]) -> Option<usize> {
        let tables = self.tables.iter().enumerate();
        let candidates = tables
            .filter(|(index, table)| table.state.mode.is_backfill() && !besides.contains(index));
        let order = |(index, table): &(usize, &Table)| {
            let locked = table.scan.as_ref().and_then(|scan| scan.locked);
            let found = locked.filter(Locked::is_recent).map(|locked| locked.found);
            (found, Reverse(table.resource.priority), *index)
        };
        candidates.min_by_key(order).map(|(index, _)| index)
    }

    /// Returns whether a checkpoint would pass commits that later chunks have to contain and might
    /// not, or changes that are kept and have to be emitted before it.
    pub(super) fn awaits_commits(&self) -> bool {
        self.must_emit_deferred() || self.tables.iter().any(|table| !table.unseen.is_empty())
    }

    /// Returns whether changes are kept that have to be emitted before a checkpoint passes them.
    pub(super) fn must_emit_deferred(&self) -> bool {
        self.tables.iter().any(Table::must_emit_deferred)
    }

    /// Returns how many tables are being backfilled.
    pub(super) fn backfilling(&self) -> usize {
        self.tables
            .iter()
            .filter(|table| table.state.mode.is_backfill())
            .count()
    }
}

/// An error of the connector's own making.
pub(super) fn internal(message: &str) -> Error {
    Error::new(ErrorKind::Internal, message)
}
