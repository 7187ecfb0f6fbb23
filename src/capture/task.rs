//! The task of a session: the tables to capture, and the checks that they can be captured.

use std::collections::HashMap;

use tracing::warn;

use super::plan_inputs::PlanInputs;
use super::state::State;
use crate::catalog::{
    BoundTable, Checked, Requirements, SlotUse, TableId, TableLookup, check_prerequisites,
    prerequisite_error,
};
use crate::client::{Client, Rows, Statement};
use crate::config::{Config, Resource};
use crate::error::Result;
use crate::record::PlanOptions;
use crate::schema::{SchemaOptions, is_fallback_key, key_columns};
use crate::value::{TypeRegistry, ValueOptions};

/// A capture task.
#[derive(Debug)]
pub struct Task {
    /// Name, for the log.
    pub name: String,
    /// Configuration of the endpoint.
    pub config: Config,
    /// Tables to capture.
    pub bindings: Vec<Binding>,
    /// State of the last checkpoint.
    pub state: State,
    /// Whether the capture ends once everything is backfilled and the log is caught up with.
    pub stop_when_caught_up: bool,
}

/// Settings of a session, which do not change while it lasts.
#[derive(Debug)]
pub(super) struct Settings {
    /// Name of the task, for the log.
    pub(super) name: String,
    /// Configuration of the endpoint.
    pub(super) config: Config,
    /// Tables to capture, in the order of the session's tables.
    pub(super) bindings: Vec<Binding>,
    /// Whether the capture ends once everything is backfilled and the log is caught up with.
    pub(super) stop_when_caught_up: bool,
    /// Options of the plans by which documents are written.
    pub(super) plan_options: PlanOptions,
}

impl Settings {
    /// Splits a task into its settings and the state to go on from.
    pub(super) fn of(task: Task) -> (Self, State) {
        let plan_options = PlanOptions {
            values: schema_options(&task.config).values,
        };
        let settings = Self {
            name: task.name,
            config: task.config,
            bindings: task.bindings,
            stop_when_caught_up: task.stop_when_caught_up,
            plan_options,
        };
        (settings, task.state)
    }

    /// Returns the inputs of the plans by which documents are written.
    pub(super) fn plan_inputs<'a>(&'a self, types: &'a TypeRegistry) -> PlanInputs<'a> {
        PlanInputs {
            types,
            options: &self.plan_options,
            tag: self.config.source_tag.as_deref(),
        }
    }
}

/// A table and the collection that it is bound to.
#[derive(Debug, Clone)]
pub struct Binding {
    /// Configuration of the binding.
    pub resource: Resource,
    /// Key of the binding's entry in the state.
    pub state_key: String,
    /// Key of the collection, as JSON pointers.
    pub key: Vec<String>,
    /// Whether the collection projects the transaction's id.
    pub transaction_ids: bool,
}

impl Binding {
    /// Returns a binding of the table `s.STATE_KEY` to a collection with the key `/id`.
    #[cfg(test)]
    pub(super) fn sample(state_key: &str) -> Self {
        Self {
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

    /// Returns the table's name as configured.
    pub fn table_id(&self) -> TableId {
        TableId::new(&self.resource.namespace, &self.resource.stream)
    }

    /// Returns the columns of the collection's key; `None` where it is the fallback key.
    pub fn key_columns(&self) -> Option<Vec<String>> {
        (!is_fallback_key(&self.key)).then(|| key_columns(&self.key))
    }

    /// Returns the facts that the prerequisites need about the binding. `is_established` says
    /// that its changes are captured already, so that none may be missing.
    pub fn bound_table(&self, is_established: bool) -> BoundTable {
        BoundTable {
            is_established,
            id: self.table_id(),
            key_columns: self.key_columns().unwrap_or_default(),
        }
    }
}

/// Returns the options of schemas and values by the configuration.
pub fn schema_options(config: &Config) -> SchemaOptions {
    SchemaOptions {
        values: ValueOptions {
            date_as_date: config.flags.date_as_date,
            time_as_time: config.flags.time_as_time,
            flatten_arrays: config.flags.flatten_arrays,
            multidimensional_arrays: config.flags.multidimensional_arrays,
        },
        infer_schema: config.flags.use_schema_inference,
        history_mode: config.history_mode,
        source_tag: config.source_tag.is_some(),
    }
}

/// Checks the prerequisites of tables, and creates what is missing where the role may. The
/// statements `besides` are sent in the same round trip, and their answers are returned.
///
/// # Errors
///
/// Fails with everything that is missing.
pub async fn check<const N: usize>(
    client: &mut Client,
    config: &Config,
    bound: &[BoundTable],
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
    let (checked, besides) = check_prerequisites(client, &requirements, bound, besides).await?;
    refuse_duplicates(bound, &checked.tables)?;
    for warning in &checked.warnings {
        warn!("{warning}");
    }
    Ok((checked, besides))
}

/// Refuses two bindings of one table, also where the configured names differ in case only.
fn refuse_duplicates(bound: &[BoundTable], found: &[TableLookup]) -> Result<()> {
    let mut names = HashMap::new();
    for (bound, found) in bound.iter().zip(found) {
        let Some(table) = found.table() else { continue };
        if let Some(other) = names.insert(table.oid.as_u32(), &bound.id) {
            return Err(prerequisite_error([format!(
                "table \"{}\" is bound twice, as \"{other}\" and as \"{}\": remove one of the \
                 bindings",
                table.id, bound.id
            )]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_keyed_by_loc_has_no_key_columns() {
        let mut bound = Binding::sample("a");
        bound.key = crate::schema::FALLBACK_KEY.map(str::to_owned).to_vec();
        assert_eq!(bound.key_columns(), None);
    }
}
