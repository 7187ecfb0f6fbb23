//! What the stream says of relations, and the plans that their rows are written by.

use std::collections::HashMap;

use protocol::{Oid, RelationMessage, ReplicaIdentity};
use tracing::warn;

use super::columns::streamed_columns;
use super::state::Mode;
use super::table::Table;
use crate::catalog::{Generated, TableId, TableInfo, TableKind, UniqueIndex};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{MetaTemplate, Plan, PlanOptions};
use crate::value::{KeyCodec, TypeRegistry};

/// A relation as the stream has described it last.
#[derive(Debug)]
pub(super) struct Relation {
    /// Its name.
    pub(super) id: TableId,
    /// Its identifier.
    pub(super) oid: Oid,
    /// What identifies its changed rows.
    pub(super) identity: ReplicaIdentity,
    /// Its columns, in the order of tuples.
    pub(super) columns: Vec<RelationColumn>,
    /// The bound table that it is, as an index.
    pub(super) table: Option<usize>,
    /// How its rows are written, once something is to be written.
    pub(super) plan: Option<RelationPlan>,
    /// What has become of it, if it is a bound table that has another name now.
    displaced: Option<Displaced>,
}

/// A bound table under another name.
#[derive(Debug, Clone, Copy, Default)]
struct Displaced {
    /// Whether there were changes under it, which were not captured.
    has_changes: bool,
}

/// A column of a relation of the stream.
#[derive(Debug)]
pub(super) struct RelationColumn {
    /// Its name.
    pub(super) name: String,
    /// Its type.
    pub(super) type_oid: Oid,
    /// Whether it belongs to the replica identity.
    pub(super) is_identity: bool,
}

/// How the rows of a relation are written and judged.
#[derive(Debug)]
pub(super) struct RelationPlan {
    /// How documents are written.
    pub(super) plan: Plan,
    /// The columns that documents have, as places in the tuple.
    pub(super) captured: Vec<usize>,
    /// The columns that the table is scanned by, as places in the tuple; `None` where one of them
    /// is not part of the relation.
    pub(super) scan_key: Option<Vec<(usize, KeyCodec)>>,
    /// The columns of the collection's key, as places in the tuple; `None` where documents are
    /// keyed by their `loc`.
    pub(super) collection_key: Option<Vec<usize>>,
    /// Whether the replica identity holds the collection's key, so that the key of a row before a
    /// change is known.
    pub(super) identity_has_key: bool,
    /// Whether the server checks late that keys are unique, so that one transaction can take a key
    /// from one row and give it to another in any order.
    pub(super) keys_checked_late: bool,
}

/// The first version that can publish generated columns.
const PUBLISHED_GENERATED: u32 = 180_000;

/// All relations of the stream, by identifier.
#[derive(Debug, Default)]
pub(super) struct Relations {
    by_oid: HashMap<u32, Relation>,
}

impl Relations {
    /// Notes a description.
    ///
    /// # Errors
    ///
    /// Fails where a bound table gets its name back after changes under another one.
    pub(super) fn describe(
        &mut self,
        message: &RelationMessage<'_>,
        tables: &[Table],
    ) -> Result<Oid> {
        let schema = if message.namespace.is_empty() {
            "pg_catalog"
        } else {
            message.namespace
        };
        let id = TableId::new(schema, message.name);
        let table = bound_to(&id, tables);
        let mut displaced = self.get(message.relation).and_then(|last| last.displaced);
        if let Some(table) = table.and_then(|index| tables.get(index)) {
            let has_changes = displaced.take().is_some_and(|last| last.has_changes);
            if has_changes && table.is_followed() && table.state.mode != Mode::Pending {
                return Err(Error::new(
                    ErrorKind::Prerequisite,
                    format!(
                        "table \"{id}\" had another name for a while: what was changed under that \
                         name is missing, so the binding has to be backfilled anew"
                    ),
                ));
            }
        } else if let Some(renamed) = tables.iter().find(|table| {
            table.is_followed()
                && table
                    .info
                    .as_ref()
                    .is_some_and(|info| info.oid == message.relation)
        }) {
            warn!(stream = %renamed.id, name = %id,
                "a bound table has another name now; its changes are not captured under that name, and \
                 are missing if it gets its own back: its binding has to be backfilled anew then");
            displaced = Some(displaced.unwrap_or_default());
        }
        let columns = message
            .columns()
            .map(|column| RelationColumn {
                name: column.name.to_owned(),
                type_oid: column.type_oid,
                is_identity: column.is_key,
            })
            .collect();
        let relation = Relation {
            id,
            oid: message.relation,
            identity: message.replica_identity,
            columns,
            table,
            plan: None,
            displaced,
        };
        self.by_oid.insert(message.relation.as_u32(), relation);
        Ok(message.relation)
    }

    /// Notes a change that is not captured.
    pub(super) fn pass(&mut self, oid: Oid) {
        let relation = self.by_oid.get_mut(&oid.as_u32());
        if let Some(displaced) = relation.and_then(|relation| relation.displaced.as_mut()) {
            displaced.has_changes = true;
        }
    }

    /// Returns a relation.
    #[inline]
    pub(super) fn get(&self, oid: Oid) -> Option<&Relation> {
        self.by_oid.get(&oid.as_u32())
    }

    /// Returns a relation, to prepare its plan.
    pub(super) fn get_mut(&mut self, oid: Oid) -> Option<&mut Relation> {
        self.by_oid.get_mut(&oid.as_u32())
    }

    /// Returns the identifiers of all relations.
    pub(super) fn oids(&self) -> Vec<Oid> {
        self.by_oid.values().map(|relation| relation.oid).collect()
    }

    /// Forgets plans and bindings: tables have changed.
    pub(super) fn invalidate(&mut self, tables: &[Table]) {
        for relation in self.by_oid.values_mut() {
            relation.plan = None;
            relation.table = bound_to(&relation.id, tables);
        }
    }
}

/// Finds the bound table of a name: that of just this spelling, or one that the catalogs have found
/// under it.
fn bound_to(id: &TableId, tables: &[Table]) -> Option<usize> {
    tables
        .iter()
        .position(|table| table.info.as_ref().is_some_and(|info| info.id == *id))
        .or_else(|| tables.iter().position(|table| table.id == *id))
}

impl Relation {
    /// Returns whether the catalogs' description of the table is not what the stream has described: a
    /// column, its type, whether it is generated or published, or what identifies a row. Of a
    /// partitioned table each leaf has its own identity.
    pub(super) fn differs_from(&self, info: Option<&TableInfo>) -> bool {
        let Some(info) = info else { return true };
        let other_identity =
            info.kind == TableKind::Ordinary && info.replica_identity != self.identity;
        other_identity
            || self.columns.iter().any(|column| {
                info.column(&column.name).is_none_or(|known| {
                    known.type_oid != column.type_oid
                        || known.generated != Generated::No
                        || !known.published
                })
            })
            || info.columns.iter().any(|known| {
                known.is_captured() && self.columns.iter().all(|column| column.name != known.name)
            })
    }

    /// Returns whether a column's type is unknown.
    pub(super) fn has_unknown_types(&self, types: &TypeRegistry) -> bool {
        self.columns
            .iter()
            .any(|column| types.get(column.type_oid).is_none())
    }

    /// Makes the plan for rows of this relation.
    pub(super) fn make_plan(
        &self,
        table: &Table,
        types: &TypeRegistry,
        options: &PlanOptions,
        tag: Option<&str>,
        server_version: u32,
    ) -> RelationPlan {
        let info = table.info.as_deref();
        let is_generated = |name: &str| {
            server_version >= PUBLISHED_GENERATED
                && info
                    .and_then(|info| info.column(name))
                    .is_some_and(|column| column.generated != Generated::No)
        };
        let described = self.columns.iter().enumerate();
        let described =
            described.map(|(index, column)| (index, column.name.as_str(), column.type_oid));
        let columns = streamed_columns(info, described.filter(|(_, name, _)| !is_generated(name)));
        let place = |name: &String| self.columns.iter().position(|column| column.name == *name);
        let scan_key = table.state.key_columns.as_ref().and_then(|names| {
            names
                .iter()
                .map(|name| {
                    let index = place(name)?;
                    let bytewise = info
                        .and_then(|info| info.column(name))
                        .is_some_and(|column| column.bytewise_collation);
                    let column = self.columns.get(index)?;
                    Some((index, KeyCodec::new(column.type_oid, types, bytewise)))
                })
                .collect()
        });
        let collection_key: Option<Vec<usize>> = table
            .collection_key
            .as_ref()
            .map(|names| names.iter().filter_map(place).collect());
        let identity_has_key = match (&collection_key, &table.collection_key) {
            (Some(places), Some(names)) => {
                places.len() == names.len()
                    && places.iter().all(|index| {
                        self.identity == ReplicaIdentity::Full
                            || self
                                .columns
                                .get(*index)
                                .is_some_and(|column| column.is_identity)
                    })
            }
            _ => true,
        };
        let keys_checked_late =
            info.zip(table.collection_key.as_ref())
                .is_some_and(|(info, key)| {
                    let immediate =
                        |index: &UniqueIndex| index.columns.iter().all(|name| key.contains(name));
                    info.primary_key.as_ref() == Some(key)
                        && !info.unique_indexes.iter().any(immediate)
                });
        let meta = MetaTemplate::new(&self.id.schema, &self.id.name, tag, table.transaction_ids);
        RelationPlan {
            plan: Plan::new(&columns, meta, types, options),
            captured: columns.iter().map(|column| column.index).collect(),
            scan_key,
            collection_key,
            identity_has_key,
            keys_checked_late,
        }
    }
}
