//! The plan by which the rows of a relation are decided about and written.

use protocol::TupleData;

use super::columns::streamed_columns;
use super::relation_shape::RelationShape;
use crate::capture::plan_inputs::PlanInputs;
use crate::capture::table::Table;
use crate::catalog::{Generated, TableInfo, UniqueIndex};
use crate::record::{Change, Plan};
use crate::value::KeyCodec;

/// First server version that can publish generated columns.
const PUBLISHED_GENERATED: u32 = 180_000;

/// Plan for the rows of a relation. Columns are given as indices into the tuple.
#[derive(Debug)]
pub(super) struct RelationPlan {
    /// Writer of documents.
    pub(super) plan: Plan,
    /// Columns that documents have.
    pub(super) captured: Vec<usize>,
    /// Columns that the table is scanned by; `None` where one of them is not part of the relation.
    pub(super) scan_key: Option<Vec<(usize, KeyCodec)>>,
    /// Columns of the collection's key; `None` where documents are keyed by their `loc`.
    pub(super) collection_key: Option<Vec<usize>>,
    /// Whether the replica identity has the columns of the collection's key, so that the key of a
    /// row before a change is known.
    pub(super) identity_has_key: bool,
    /// Whether the uniqueness of keys is deferrable: the server checks it at the end of a statement
    /// or transaction, which can take a key from one row and assign it to another in any order.
    pub(super) is_key_deferrable: bool,
}

impl RelationPlan {
    /// Makes the plan for the rows of a relation. `version` is that of the server, such as 150004.
    pub(super) fn new(
        relation: &RelationShape,
        table: &Table,
        inputs: &PlanInputs<'_>,
        version: u32,
    ) -> Self {
        let info = table.info.as_deref();
        let is_generated = |name: &str| {
            version >= PUBLISHED_GENERATED
                && info
                    .and_then(|info| info.column(name))
                    .is_some_and(|column| column.generated != Generated::No)
        };
        let described = relation.columns.iter().enumerate();
        let described =
            described.map(|(index, column)| (index, column.name.as_str(), column.type_oid));
        let columns = streamed_columns(info, described.filter(|(_, name, _)| !is_generated(name)));
        let collection_key: Option<Vec<usize>> = table.collection_key.as_ref().map(|names| {
            let names = names.iter();
            names.filter_map(|name| relation.index_of(name)).collect()
        });
        Self {
            plan: inputs.plan(&relation.id, &columns, table.transaction_ids),
            captured: columns.iter().map(|column| column.index).collect(),
            scan_key: relation.scan_key(table, inputs.types),
            identity_has_key: relation.identity_has(table, collection_key.as_deref()),
            is_key_deferrable: is_key_deferrable(table),
            collection_key,
        }
    }

    /// Returns whether an update changes the key of its document.
    #[inline]
    pub(super) fn changes_key(&self, change: &Change<'_>) -> bool {
        let (Some(old), Some(new), Some(key)) = (change.old, change.new, &self.collection_key)
        else {
            return false;
        };
        key.iter()
            .any(|index| !is_same(old.get(*index), new.get(*index)))
    }

    /// Returns the columns of the collection's key, if the server checks late that it is unique.
    #[inline]
    pub(super) fn deferrable_key(&self) -> Option<&[usize]> {
        self.collection_key
            .as_deref()
            .filter(|_| self.is_key_deferrable)
    }

    /// Returns whether the stream has not sent all values that the document of a row has.
    pub(super) fn lacks_values(&self, change: &Change<'_>) -> bool {
        change.new.is_some_and(|image| {
            self.captured
                .iter()
                .any(|index| matches!(image.get(*index), TupleData::UnchangedToast))
        })
    }
}

/// Returns whether the collection's key is a deferrable primary key, and no unique index on a
/// subset of its columns is checked at once. The index of a primary key that is not deferrable is
/// itself one of `unique_indexes`.
fn is_key_deferrable(table: &Table) -> bool {
    let facts = table.info.as_deref().zip(table.collection_key.as_ref());
    facts.is_some_and(|(info, key): (&TableInfo, _)| {
        let immediate = |index: &UniqueIndex| index.columns.iter().all(|name| key.contains(name));
        info.primary_key.as_ref() == Some(key) && !info.unique_indexes.iter().any(immediate)
    })
}

fn is_same(old: TupleData<'_>, new: TupleData<'_>) -> bool {
    match (old, new) {
        (TupleData::Text(old), TupleData::Text(new)) => old == new,
        (TupleData::Null, TupleData::Null) | (_, TupleData::UnchangedToast) => true,
        _ => false,
    }
}
