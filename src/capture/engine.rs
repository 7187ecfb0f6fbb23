//! One session of a capture, from its start to its end.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{debug, info};

use super::acknowledgements::Acknowledgements;
use super::checkpoint::Checkpoints;
use super::lock_watch::log_locks_of;
use super::reconcile::reconcile;
use super::scan::Spans;
use super::server::Server;
use super::session::Session;
use super::sink::Sink;
use super::snapshot_pacing::SnapshotPacing;
use super::stream::Prepared;
use super::table::{Table, Tables};
use super::task::{Settings, Task, check};
use super::upkeep::{SentSchemas, Upkeep};
use crate::catalog::{
    BoundTable, Checked, ServerFacts, SlotUse, parse_server, parse_types, server_statement,
    types_statement,
};
use crate::client::{Client, Connecting};
use crate::error::Result;
use crate::logging;
use crate::net::{ConnectConfig, Purpose};
use crate::replication;
use crate::value::TypeRegistry;

/// Time for which an orderly end waits for the acknowledgement of the last checkpoints, and then
/// for the server to take the last status update.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a session to its end: that of the capture if it is to stop once it has caught up, else only
/// an error.
///
/// # Errors
///
/// Fails with the error that stops the capture. Documents emitted since the last checkpoint
/// are void then.
pub async fn run<S: Sink>(task: Task, sink: S, acknowledgements: Acknowledgements) -> Result<()> {
    let (mut session, prepared) = start(task, sink, acknowledgements).await?;
    session.open().await?;
    let mut changes = session.start_stream(prepared).await?;
    session.catch_up(&mut changes).await?;
    loop {
        if session.upkeep.until_due().is_zero() {
            session.run_due(&mut changes).await?;
        }
        if let Some(table) = session.tables.next_backfill(&[]) {
            session.backfill(&mut changes, table).await?;
        } else if session.settings.stop_when_caught_up {
            session.check_server_once().await?;
            session.checkpoint_when_visible().await?;
            break;
        } else {
            session.spans.disconnect().await;
            session.report_status("Streaming CDC Events");
            let end = Instant::now() + session.upkeep.until_due();
            session.read_until(&mut changes, end).await?;
        }
    }
    let acknowledged = session.checkpoints.all_acknowledged();
    if tokio::time::timeout(END_TIMEOUT, acknowledged)
        .await
        .is_err()
    {
        debug!("last checkpoints not acknowledged; their position is not reported to the server");
    }
    if tokio::time::timeout(END_TIMEOUT, changes.finish())
        .await
        .is_err()
    {
        debug!("last status update not accepted by the server in time");
    }
    Ok(())
}

/// Connects, checks the prerequisites, and matches the bindings with the state. The connections for
/// the stream and for rows are made meanwhile.
async fn start<S: Sink>(
    task: Task,
    sink: S,
    acknowledgements: Acknowledgements,
) -> Result<(Session<S>, Prepared)> {
    let (settings, mut state) = Settings::of(task);
    let config = &settings.config;
    let (mut tables, removed) = reconcile(&settings.bindings, &mut state);
    let connect = ConnectConfig::new(config)?;
    logging::status("Connecting to database");
    info!(
        address = %connect.addresses(),
        user = %config.user,
        database = connect.database(),
        slot = %config.slot_name,
        "connecting"
    );
    let mut client = Client::connect(&connect, Purpose::Query).await?;
    let (stream_connected, wait_for_stream) = watch::channel(());
    let replication = connect_for_stream(&connect, &settings, stream_connected);
    let mut spans = Spans::default();
    if tables.iter().any(Table::awaits_chunks) {
        spans.connect_ahead(&connect, config.backfill_connections, &wait_for_stream);
    }
    info!(
        version = client.parameter("server_version").unwrap_or_default(),
        "server version"
    );
    logging::status("Verifying capture requirements");
    let starts_over = state.cursor.is_none()
        && config.flags.force_reset_cursor.is_none()
        && config.flags.initial_backfill_cursor.is_none();
    let bound = bound_tables(&settings, &tables, starts_over);
    let slot_use = if starts_over {
        SlotUse::Create
    } else {
        SlotUse::Resume
    };
    let (checked, facts, types) =
        check_server(&connect, &mut client, &settings, &bound, slot_use).await?;
    tables.set_infos(checked.tables);
    tables.update_existence();
    let session = Session {
        server: Server::new(connect, client, types, facts, checked.watermarks),
        tables,
        sink,
        checkpoints: Checkpoints::new(state.cursor, removed, acknowledgements),
        snapshots: SnapshotPacing::new(),
        spans,
        upkeep: Upkeep::new(config.rediscovery_interval),
        schemas: SentSchemas::default(),
        settings,
    };
    let prepared = Prepared {
        slot: checked.slot,
        replication,
    };
    Ok((session, prepared))
}

/// Starts to connect for the stream. `connected` is notified once the connection is made.
fn connect_for_stream(
    connect: &ConnectConfig,
    settings: &Settings,
    connected: watch::Sender<()>,
) -> Connecting {
    let connect = connect.clone();
    let memory = settings.config.logical_decoding_work_mem;
    Connecting::start(async move {
        let mut client = Client::connect(&connect, Purpose::Replication).await?;
        connected.send_replace(());
        replication::set_decoding_memory(&mut client, memory).await?;
        Ok(client)
    })
}

/// Returns the facts that the prerequisites need about the bindings. A table is established if the
/// state says that it is captured, unless the capture starts over.
fn bound_tables(settings: &Settings, tables: &Tables, starts_over: bool) -> Vec<BoundTable> {
    let bindings = settings.bindings.iter().zip(tables.iter());
    bindings
        .map(|(binding, table)| binding.bound_table(!starts_over && table.state.mode.is_captured()))
        .collect()
}

/// Checks the prerequisites, and reads the facts and types of the server in the same round trip.
async fn check_server(
    connect: &ConnectConfig,
    client: &mut Client,
    settings: &Settings,
    bound: &[BoundTable],
    slot_use: SlotUse,
) -> Result<(Checked, ServerFacts, TypeRegistry)> {
    let process = client.process_id();
    let types = types_statement(client.server_version_num());
    let besides = [server_statement(), types];
    let checks = check(client, &settings.config, bound, slot_use, besides);
    let (checked, [server, types]) = Box::pin(log_locks_of(connect, process, checks)).await?;
    let facts = parse_server(&server?)?;
    info!(
        timeout = facts.statement_timeout,
        "effective statement timeout"
    );
    Ok((checked, facts, parse_types(&types?)?))
}

impl<S: Sink> Session<S> {
    /// Opens the capture: emits the schemas, then the state as it is matched with the bindings.
    async fn open(&mut self) -> Result<()> {
        if self.tables.is_empty() {
            logging::status("Capture started, no bindings are enabled");
        } else {
            logging::status_with_bindings("Capture started", self.tables.len());
        }
        self.sink.opened()?;
        self.complete_types().await?;
        self.emit_schemas()?;
        // The schemas have a checkpoint of their own, before that of the bindings.
        self.emit_cursor()?;
        self.emit_checkpoint()
    }
}
