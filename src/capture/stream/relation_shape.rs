//! Name, columns and replica identity of a relation, as the stream describes them.

use protocol::{Oid, RelationMessage, ReplicaIdentity};

use crate::capture::table::Table;
use crate::catalog::{Generated, TableId, TableInfo, TableKind};
use crate::value::{KeyCodec, TypeRegistry};

/// Name, columns and replica identity of a relation.
#[derive(Debug)]
pub(super) struct RelationShape {
    /// Name.
    pub(super) id: TableId,
    /// Replica identity, by which changed rows are identified.
    pub(super) identity: ReplicaIdentity,
    /// Columns, in the order of tuples.
    pub(super) columns: Vec<RelationColumn>,
}

/// A column of a relation.
#[derive(Debug)]
pub(super) struct RelationColumn {
    /// Name.
    pub(super) name: String,
    /// Type.
    pub(super) type_oid: Oid,
    /// Whether the column is part of the replica identity.
    pub(super) is_identity: bool,
}

impl RelationShape {
    /// Takes over a description.
    pub(super) fn new(id: TableId, message: &RelationMessage<'_>) -> Self {
        let columns = message
            .columns()
            .map(|column| RelationColumn {
                name: column.name.to_owned(),
                type_oid: column.type_oid,
                is_identity: column.is_key,
            })
            .collect();
        Self {
            id,
            identity: message.replica_identity,
            columns,
        }
    }

    /// Returns whether the catalogs' description of the table differs from the stream's: in a
    /// column, its type, whether it is generated or published, or in the replica identity. Each
    /// leaf of a partitioned table has an identity of its own.
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

    /// Returns the index of a column.
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Returns the columns that the table is scanned by, with their codecs.
    pub(super) fn scan_key(
        &self,
        table: &Table,
        types: &TypeRegistry,
    ) -> Option<Vec<(usize, KeyCodec)>> {
        let info = table.info.as_deref();
        let codec = |name: &String| {
            let index = self.index_of(name)?;
            let bytewise = info
                .and_then(|info| info.column(name))
                .is_some_and(|column| column.bytewise_collation);
            let column = self.columns.get(index)?;
            Some((index, KeyCodec::new(column.type_oid, types, bytewise)))
        };
        table
            .state
            .key_columns
            .as_ref()?
            .iter()
            .map(codec)
            .collect()
    }

    /// Returns whether the replica identity has the columns of the collection's key, which are at
    /// `indices`.
    pub(super) fn identity_has(&self, table: &Table, indices: Option<&[usize]>) -> bool {
        let (Some(indices), Some(names)) = (indices, &table.collection_key) else {
            return true;
        };
        let is_identity = |column: &RelationColumn| column.is_identity;
        indices.len() == names.len()
            && indices.iter().all(|index| {
                self.identity == ReplicaIdentity::Full
                    || self.columns.get(*index).is_some_and(is_identity)
            })
    }
}
