//! Relations as the stream describes them.

use std::collections::HashMap;

use protocol::{Oid, RelationMessage};
use tracing::warn;

use super::relation_plan::RelationPlan;
use super::relation_shape::RelationShape;
use crate::capture::table::{TableIndex, Tables};
use crate::catalog::{TableId, TableInfo};
use crate::error::{Error, ErrorKind, Result};

/// A relation as the stream has described it last.
#[derive(Debug)]
pub(super) struct Relation {
    /// Name, columns and replica identity.
    pub(super) shape: RelationShape,
    /// Bound table of that name.
    pub(super) table: Option<TableIndex>,
    /// Plan for its rows; prepared before the first change.
    pub(super) plan: Option<RelationPlan>,
    /// Set while the relation is a bound table that has another name now.
    renamed: Option<Renamed>,
}

/// A bound table that has another name now.
#[derive(Debug, Clone, Copy, Default)]
struct Renamed {
    /// Whether changes were streamed under that name, which are not captured.
    has_changes: bool,
}

/// All relations that the stream has described, by identifier.
#[derive(Debug, Default)]
pub(super) struct Relations {
    by_oid: HashMap<u32, Relation>,
}

impl Relations {
    /// Takes over a description.
    ///
    /// # Errors
    ///
    /// Fails where a bound table gets its name back after changes under another one.
    pub(super) fn describe(
        &mut self,
        message: &RelationMessage<'_>,
        tables: &Tables,
    ) -> Result<()> {
        let schema = if message.namespace.is_empty() {
            "pg_catalog"
        } else {
            message.namespace
        };
        let id = TableId::new(schema, message.name);
        let table = bound_to(&id, tables);
        let last = self.get(message.relation).and_then(|last| last.renamed);
        let renamed = check_renaming(&id, message.relation, table, last, tables)?;
        let relation = Relation {
            shape: RelationShape::new(id, message),
            table,
            plan: None,
            renamed,
        };
        self.by_oid.insert(message.relation.as_u32(), relation);
        Ok(())
    }

    /// Notes a change that is not captured.
    pub(super) fn note_uncaptured(&mut self, oid: Oid) {
        let relation = self.by_oid.get_mut(&oid.as_u32());
        if let Some(renamed) = relation.and_then(|relation| relation.renamed.as_mut()) {
            renamed.has_changes = true;
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
        self.by_oid.keys().copied().map(Oid::from).collect()
    }

    /// Discards all plans and matches the relations with the tables again, which have changed.
    pub(super) fn invalidate(&mut self, tables: &Tables) {
        for relation in self.by_oid.values_mut() {
            relation.plan = None;
            relation.table = bound_to(&relation.shape.id, tables);
        }
    }
}

/// Finds out whether a relation is a bound table under another name. `table` is the bound table of
/// its name, `last` what was known of the relation before.
fn check_renaming(
    id: &TableId,
    oid: Oid,
    table: Option<TableIndex>,
    last: Option<Renamed>,
    tables: &Tables,
) -> Result<Option<Renamed>> {
    if let Some(index) = table {
        let table = &tables[index];
        let has_changes = last.is_some_and(|last| last.has_changes);
        if has_changes && table.state.mode.is_captured() {
            return Err(Error::new(
                ErrorKind::Prerequisite,
                format!(
                    "table \"{id}\" had another name for a while: its changes under that name were not \
                     captured, so the binding has to be backfilled again"
                ),
            ));
        }
        return Ok(None);
    }
    let has_oid = |info: &TableInfo| info.oid == oid;
    let bound = tables
        .iter()
        .find(|table| table.is_followed() && table.info.as_deref().is_some_and(has_oid));
    let Some(bound) = bound else { return Ok(last) };
    warn!(stream = %bound.id, name = %id,
        "bound table renamed: its changes are not captured under the new name; if it gets its old name \
         back, they are missing and its binding has to be backfilled again");
    Ok(Some(last.unwrap_or_default()))
}

/// Finds the bound table of a name: by its spelling in the catalogs, else by the configured one.
fn bound_to(id: &TableId, tables: &Tables) -> Option<TableIndex> {
    tables
        .find(|table| table.info.as_ref().is_some_and(|info| info.id == *id))
        .or_else(|| tables.find(|table| table.id == *id))
}
