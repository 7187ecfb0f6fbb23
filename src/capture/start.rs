//! Before the stream: what is to be captured, whether it can be, and from where.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::Lsn;
use tracing::{info, warn};

use super::state::{Mode, State, TableState};
use super::table::Table;
use super::visibility::{Barrier, Unseen};
use crate::catalog::{
    BoundTable, Checked, Requirements, SlotInfo, SlotUse, TableId, TableLookup,
    check_prerequisites, explain_waiting, parse_slot, position_statement, slot_statement,
};
use crate::client::{Client, Connecting, Rows, Statement};
use crate::config::{Config, Resource};
use crate::error::{Error, ErrorKind, Result};
use crate::logging;
use crate::net::ConnectConfig;
use crate::replication::{self, CreatedSlot, SLOT_PATIENCE, create_slot, drop_slot, is_in_use};
use crate::schema::{is_fallback_key, key_columns};

/// A capture task.
#[derive(Debug)]
pub struct Task {
    /// Its name, for the log.
    pub name: String,
    /// The endpoint's configuration.
    pub config: Config,
    /// What is bound.
    pub bindings: Vec<Binding>,
    /// Where to go on.
    pub state: State,
    /// Whether to end once everything is caught up and backfilled.
    pub stop_when_caught_up: bool,
}

/// A table and the collection that it is bound to.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The binding's configuration.
    pub resource: Resource,
    /// The key of its state.
    pub state_key: String,
    /// The collection's key, as JSON pointers.
    pub key: Vec<String>,
    /// Whether the collection projects the transaction's id.
    pub transaction_ids: bool,
}

impl Binding {
    /// Returns the table's name as configured.
    pub fn table_id(&self) -> TableId {
        TableId::new(&self.resource.namespace, &self.resource.stream)
    }

    /// Returns the columns of the collection's key; `None` where it is the fallback key.
    pub fn key_columns(&self) -> Option<Vec<String>> {
        (!is_fallback_key(&self.key)).then(|| key_columns(&self.key))
    }

    /// Returns what the prerequisites have to know of it.
    pub fn bound_table(&self, is_established: bool) -> BoundTable {
        BoundTable {
            is_established,
            id: self.table_id(),
            key_columns: self.key_columns().unwrap_or_default(),
        }
    }
}

/// Checks the prerequisites of tables, and creates what is missing where the user may. What else is to
/// be asked is asked in the same round trip, and its answers are returned.
///
/// # Errors
///
/// Fails with everything that is missing.
pub async fn check<const N: usize>(
    client: &mut Client,
    config: &Config,
    bindings: &[Binding],
    is_established: impl Fn(&Binding) -> bool,
    slot_use: SlotUse,
    besides: [Statement; N],
) -> Result<(Checked, [Result<Rows>; N])> {
    let (schema, name) = &config.watermarks_table;
    let watermarks = TableId::new(schema, name);
    let requirements = Requirements {
        slot: &config.slot_name,
        create_slot: config.flags.create_replication_slot,
        slot_use,
        publication: &config.publication_name,
        watermarks: (!config.read_only_capture).then_some(&watermarks),
        capture_as_partitions: config.capture_as_partitions,
        skip: config.flags.skip_prerequisites,
        skip_tables: config.flags.skip_table_prerequisites,
    };
    let bound: Vec<_> = bindings
        .iter()
        .map(|binding| binding.bound_table(is_established(binding)))
        .collect();
    let (checked, besides) = check_prerequisites(client, &requirements, &bound, besides).await?;
    refuse_twins(&bound, &checked.tables)?;
    for warning in &checked.warnings {
        warn!("{warning}");
    }
    Ok((checked, besides))
}

/// Refuses two bindings of one table, also where their names differ in case only.
fn refuse_twins(bound: &[BoundTable], found: &[TableLookup]) -> Result<()> {
    let mut names = HashMap::new();
    for (bound, found) in bound.iter().zip(found) {
        let Some(table) = found.table() else { continue };
        if let Some(twin) = names.insert(table.oid.as_u32(), &bound.id) {
            return Err(Error::new(
                ErrorKind::Prerequisite,
                format!(
                    "the capture cannot run due to the following error(s):\n - table \"{}\" is bound \
                     twice, as \"{twin}\" and as \"{}\": remove one of the bindings",
                    table.id, bound.id
                ),
            ));
        }
    }
    Ok(())
}

/// Matches the bindings with the state: the tables, and the entries whose bindings are gone.
pub(super) fn reconcile(
    bindings: &[Binding],
    state: &mut State,
) -> (Vec<Table>, Vec<(String, TableState)>) {
    let mut tables = Vec::new();
    let mut all_new = true;
    for (index, binding) in bindings.iter().enumerate() {
        let entry = state
            .bindings
            .remove(&binding.state_key)
            .filter(|entry| entry.mode != Mode::Ignore);
        let is_new = entry.is_none();
        if is_new {
            info!(stateKey = %binding.state_key, "binding added");
        }
        all_new &= is_new;
        let mut table = Table {
            binding: u32::try_from(index).unwrap_or(u32::MAX),
            state_key: binding.state_key.clone(),
            id: binding.table_id(),
            resource: binding.resource.clone(),
            collection_key: binding.key_columns(),
            transaction_ids: binding.transaction_ids,
            info: None,
            state: entry.unwrap_or_default(),
            changed: is_new,
            scan: None,
            unseen: Unseen::default(),
            barrier: Barrier::default(),
        };
        if table.state.mode == Mode::Active && table.state.key_columns.is_none() {
            // States of early versions lack it.
            if table.resource.mode == crate::config::BackfillMode::OnlyChanges {
                let key = table.collection_key.clone();
                table.update_state(|state| state.key_columns = key);
            }
        }
        tables.push(table);
    }
    let mut removed = Vec::new();
    for (state_key, entry) in std::mem::take(&mut state.bindings) {
        if entry.mode != Mode::Ignore {
            info!(stateKey = %state_key, "binding removed");
            removed.push((
                state_key,
                TableState {
                    mode: Mode::Ignore,
                    ..TableState::default()
                },
            ));
        }
    }
    if all_new && !bindings.is_empty() && state.cursor.is_some() {
        info!("all bindings are new: the stream starts anew");
    }
    if all_new {
        state.cursor = None;
    }
    (tables, removed)
}

/// What was found and begun before the stream can start.
#[derive(Debug)]
pub(super) struct Groundwork {
    /// The slot, where there was one.
    pub(super) slot: Option<SlotInfo>,
    /// The connection for the stream, made ahead.
    pub(super) replication: Connecting,
}

impl Groundwork {
    /// Returns the connection for the stream.
    pub(super) async fn replication(
        self,
        connect: &ConnectConfig,
        config: &Config,
    ) -> Result<Client> {
        match self.replication.client().await? {
            Some(client) => Ok(client),
            None => replication::connect(connect, config.logical_decoding_work_mem).await,
        }
    }
}

/// Where a stream starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At a position.
    At(Lsn),
    /// Where a slot does that is yet to be created.
    NewSlot {
        /// Whether there is one of that name, to be dropped first.
        is_there: bool,
    },
}

/// Finds where to start.
///
/// # Errors
///
/// Fails where changes between the cursor and what the slot can give are missing, and with what the
/// server says.
pub(super) async fn find_start(
    client: &mut Client,
    config: &Config,
    slot: Option<&SlotInfo>,
    cursor: Option<Lsn>,
    has_bindings: bool,
    standby: bool,
) -> Result<Start> {
    if let Some(position) = config.flags.force_reset_cursor {
        warn!(%position, "the start position is forced by the flag force_reset_cursor");
        return Ok(Start::At(position));
    }
    let cursor = cursor.or(config.flags.initial_backfill_cursor);
    if let Some(cursor) = cursor {
        check_cursor(client, config, cursor, slot, standby).await?;
        return Ok(Start::At(cursor));
    }
    let confirmed = slot.and_then(|slot| slot.confirmed_flush_lsn);
    if let (false, Some(confirmed)) = (has_bindings, confirmed) {
        // With nothing to capture there is nothing to start anew.
        return Ok(Start::At(confirmed));
    }
    if !config.flags.create_replication_slot {
        let current = current_position(client).await?;
        let start = confirmed.map_or(current, |confirmed| confirmed.max(current));
        return Ok(Start::At(start));
    }
    let is_there = slot.is_some();
    Ok(Start::NewSlot { is_there })
}

/// Creates the slot, in place of one that is there. Returns the first position that it has.
///
/// # Errors
///
/// Fails with what the server says.
pub(super) async fn create_anew(
    client: &mut Client,
    commands: &mut Client,
    config: &Config,
    is_there: bool,
    standby: bool,
) -> Result<Lsn> {
    if is_there {
        info!(slot = %config.slot_name, "dropping the replication slot, to start anew");
        let started = Instant::now();
        while let Err(error) = drop_slot(commands, &config.slot_name).await {
            if !is_in_use(&error) || started.elapsed() >= SLOT_PATIENCE {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    info!(slot = %config.slot_name,
        "creating the replication slot: the server first waits for every transaction that is running");
    let created = create_watched(client, commands, &config.slot_name, standby).await?;
    Ok(created.consistent_point)
}

/// How long the creation of a slot may take. Flow starts the capture again after that.
const CREATION_LIMIT: Duration = Duration::from_secs(15 * 60);
/// After how long it is said first what the creation waits for.
const CREATION_FIRST_NEWS: Duration = Duration::from_secs(2);
/// How often it is said from then on.
const CREATION_NEWS: Duration = Duration::from_secs(15);

/// The transactions whose end a session waits for.
const WAITED_FOR: &str = "\
SELECT l.transactionid::text FROM pg_catalog.pg_locks AS l
WHERE l.pid = $1::int AND NOT l.granted AND l.locktype = 'transactionid'";

/// Creates the slot, and says what the server waits for meanwhile.
async fn create_watched(
    client: &mut Client,
    commands: &mut Client,
    slot: &str,
    standby: bool,
) -> Result<CreatedSlot> {
    let session = commands.process_id().map(|process| process.to_string());
    let started = Instant::now();
    let mut news = CREATION_FIRST_NEWS;
    let creation = create_slot(commands, slot);
    tokio::pin!(creation);
    loop {
        if let Ok(created) = tokio::time::timeout(news, &mut creation).await {
            return created;
        }
        news = CREATION_NEWS;
        let waited_for: Vec<u64> = client
            .query(WAITED_FOR, &[session.as_deref()])
            .await?
            .rows
            .iter()
            .map(|row| row.parse(0))
            .collect::<Result<_>>()?;
        let why = if !waited_for.is_empty() {
            explain_waiting(client, &waited_for).await?
        } else if standby {
            "the primary has to log which transactions are running: SELECT pg_log_standby_snapshot() \
             there does that at once"
                .to_owned()
        } else {
            "the server is busy with it".to_owned()
        };
        if started.elapsed() >= CREATION_LIMIT {
            // The server would go on creating it for nobody, and hold its name.
            let end = "SELECT pg_terminate_backend($1::int)";
            client.query(end, &[session.as_deref()]).await?;
            return Err(Error::new(
                ErrorKind::Connection,
                format!("replication slot \"{slot}\" could not be created for too long: {why}"),
            ));
        }
        logging::status(&format!(
            "Waiting for the server to create the replication slot: {why}"
        ));
    }
}

/// Returns the position up to which the log can be streamed now.
async fn current_position(client: &mut Client) -> Result<Lsn> {
    let rows = client.run(&position_statement()).await?;
    rows.one()?.parse(0)
}

/// Returns the position up to which the log can be streamed now. The stream has begun, so nobody else
/// moves the slot on any more; if somebody has since it was looked at first, changes are missing, since
/// the server begins behind what was confirmed without saying so. Without a start nothing can be missing.
///
/// # Errors
///
/// Fails where changes are missing, and with what the server says.
pub(super) async fn position_behind(
    client: &mut Client,
    config: &Config,
    start: Option<Lsn>,
) -> Result<Lsn> {
    let slot = slot_statement(&config.slot_name, client.server_version_num());
    let [current, slot] = client.query_each([position_statement(), slot]).await?;
    if let (Some(start), Some(slot)) = (start, parse_slot(&slot?)?)
        && config.flags.force_reset_cursor.is_none()
    {
        check_confirmed(&slot, start)?;
    }
    current?.one()?.parse(0)
}

/// What helps where changes are missing.
const ANEW: &str = "backfill all bindings anew, which also starts the stream anew";

/// Refuses to go on from a position that the slot is past.
fn check_confirmed(slot: &SlotInfo, cursor: Lsn) -> Result<()> {
    match slot.confirmed_flush_lsn {
        Some(confirmed) if confirmed > cursor => Err(Error::new(
            ErrorKind::State,
            format!(
                "replication slot \"{}\" has moved on to {confirmed}, past the last checkpoint at \
                 {cursor}: the changes between are lost, because the slot was created anew or \
                 something else has read it; {ANEW}",
                slot.name
            ),
        )),
        _ => Ok(()),
    }
}

/// Refuses to go on where changes would be missing without anybody noticing.
async fn check_cursor(
    client: &mut Client,
    config: &Config,
    cursor: Lsn,
    slot: Option<&SlotInfo>,
    standby: bool,
) -> Result<()> {
    let name = &config.slot_name;
    let anew = ANEW;
    let refuse = |text: String| Err(Error::new(ErrorKind::State, text));
    let Some(slot) = slot else {
        return refuse(format!(
            "replication slot \"{name}\" does not exist, so the changes since the last checkpoint at \
             {cursor} are lost: {anew}"
        ));
    };
    if slot.is_invalidated() {
        return refuse(format!(
            "the server has removed the log that replication slot \"{name}\" needs (see \
             max_slot_wal_keep_size), so the changes since the last checkpoint at {cursor} are lost: \
             drop the slot with SELECT pg_drop_replication_slot({}), and {anew}",
            protocol::quote_literal(name)
        ));
    }
    check_confirmed(slot, cursor)?;
    let current = current_position(client).await?;
    if cursor > current && !standby {
        return refuse(format!(
            "the last checkpoint at {cursor} is ahead of the server, whose log ends at {current}: this \
             is another server, or one that was restored from a backup or took over without the latest \
             changes; {anew}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(state_key: &str) -> Binding {
        Binding {
            resource: Resource {
                namespace: "s".into(),
                stream: state_key.into(),
                ..Resource::default()
            },
            state_key: state_key.into(),
            key: vec!["/id".into()],
            transaction_ids: false,
        }
    }

    fn state(json: &str) -> State {
        State::parse(json).unwrap()
    }

    #[test]
    fn a_new_binding_is_pending_and_a_removed_one_ignored() {
        let mut state = state(
            r#"{"cursor":"0/10","bindingStateV1":{
                "kept":{"mode":"Active","key_columns":["id"],"backfilled":3},
                "gone":{"mode":"Backfill","key_columns":["id"],"scanned":"FQM=","backfilled":3},
                "long":{"mode":"Ignore"},"back":{"mode":"Ignore"}}}"#,
        );
        let bindings = [binding("kept"), binding("new"), binding("back")];
        let (tables, removed) = reconcile(&bindings, &mut state);
        let modes: Vec<_> = tables
            .iter()
            .map(|table| (table.state.mode, table.changed))
            .collect();
        assert_eq!(
            modes,
            [
                (Mode::Active, false),
                (Mode::Pending, true),
                (Mode::Pending, true)
            ]
        );
        let [(key, entry)] = removed.as_slice() else {
            panic!("{removed:?}")
        };
        assert_eq!((key.as_str(), entry.mode), ("gone", Mode::Ignore));
        assert_eq!(entry.scanned.0, None);
        assert_eq!(state.cursor, Some(Lsn::from(16)));
    }

    #[test]
    fn the_stream_starts_anew_when_every_binding_is_new() {
        for bindings in [&[][..], &[binding("a.v1")]] {
            let mut state = state(r#"{"cursor":"0/10","bindingStateV1":{"a":{"mode":"Active"}}}"#);
            reconcile(bindings, &mut state);
            assert_eq!(state.cursor, None);
        }
    }

    #[test]
    fn an_early_state_of_only_changes_gets_its_key() {
        let mut bound = binding("a");
        bound.resource.mode = crate::config::BackfillMode::OnlyChanges;
        let mut state = state(r#"{"cursor":"0/10","bindingStateV1":{"a":{"mode":"Active"}}}"#);
        let (tables, _) = reconcile(&[bound], &mut state);
        assert_eq!(tables[0].state.key_columns, Some(vec!["id".to_owned()]));
        assert!(tables[0].changed);
    }

    #[test]
    fn a_collection_keyed_by_loc_has_no_key_columns() {
        let mut bound = binding("a");
        bound.key = crate::schema::FALLBACK_KEY.map(str::to_owned).to_vec();
        assert_eq!(bound.key_columns(), None);
    }
}
