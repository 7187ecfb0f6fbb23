//! Before the stream: what is to be captured, and whether it can be.

use std::collections::HashMap;

use tracing::{info, warn};

use super::state::{Mode, State, TableState};
use super::table::Table;
use super::visibility::{InitialWait, UnseenCommits};
use crate::catalog::{
    BoundTable, Checked, Requirements, SlotUse, TableId, TableLookup, check_prerequisites,
};
use crate::client::{Client, Rows, Statement};
use crate::config::{Config, Resource};
use crate::error::{Error, ErrorKind, Result};
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
                    "the capture cannot run due to the changes error(s):\n - table \"{}\" is bound \
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
            unseen: UnseenCommits::default(),
            initial_wait: InitialWait::default(),
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

#[cfg(test)]
mod tests {
    use protocol::Lsn;

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
