//! Keys that a transaction takes from one row and gives to another.
//!
//! Where the server checks a primary key at the end of a statement or transaction (DEFERRABLE), two
//! rows may share a key for a moment, and the deletion of the row that had it can come behind the
//! row that has it now. The stream does not tell the two apart. So the keys that were given away and
//! taken in one transaction are noted, and before its end the row that has such a key is looked up
//! and emitted once more.

use std::collections::HashMap;

use protocol::{LogicalReplicationMessage, Lsn, Oid, TupleData};

use super::engine::Engine;
use super::follow::Follower;
use super::relations::Relation;
use super::sink::Sink;
use crate::backfill::{ChunkQuery, KeyColumn, row_by_key};
use crate::client::Rows;
use crate::error::Result;
use crate::record::{Change, Image, Operation, RowKey};
use crate::replication::StreamItem;
use crate::value::KeyCodec;

/// The texts of a key's columns.
type Key = Vec<Option<String>>;

/// The keys that the transaction under way has given to rows of tables whose keys are checked late,
/// each with whether a deletion has come behind that.
#[derive(Debug, Default)]
pub(super) struct ReusedKeys {
    keys: HashMap<(u32, Key), bool>,
}

impl ReusedKeys {
    /// Notes that a row has a key now.
    pub(super) fn given(&mut self, relation: Oid, row: Option<Image<'_>>, columns: &[usize]) {
        if let Some(row) = row {
            self.keys
                .insert((relation.as_u32(), key_of(&row, columns)), false);
        }
    }

    /// Notes that a row with a key was deleted, or has another key now.
    pub(super) fn taken(&mut self, relation: Oid, row: Option<Image<'_>>, columns: &[usize]) {
        if let Some(row) = row
            && let Some(taken) = self
                .keys
                .get_mut(&(relation.as_u32(), key_of(&row, columns)))
        {
            *taken = true;
        }
    }

    /// Forgets all: a transaction is at its end.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
    }

    fn take_doubtful(&mut self) -> Vec<(Oid, Key)> {
        self.keys
            .drain()
            .filter(|(_, taken)| *taken)
            .map(|((relation, key), _)| (Oid::from(relation), key))
            .collect()
    }
}

/// Returns the texts of a row's key. A column that was not sent counts as NULL.
pub(super) fn key_of(row: &Image<'_>, columns: &[usize]) -> Key {
    let text = |index: &usize| match row.get(*index) {
        TupleData::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    };
    columns.iter().map(text).collect()
}

impl Follower {
    /// Returns whether a message ends a transaction that has left rows in doubt.
    pub(super) fn ends_in_doubt(&self, item: &StreamItem<'_>) -> bool {
        !self.reused_keys.keys.is_empty()
            && matches!(
                item,
                StreamItem::Message {
                    message: LogicalReplicationMessage::Commit(_),
                    ..
                }
            )
    }
}

impl<S: Sink> Engine<S> {
    /// Emits the rows that have keys which the transaction under way has both given and taken.
    pub(super) async fn emit_reused(&mut self, follower: &mut Follower) -> Result<()> {
        for (oid, key) in follower.reused_keys.take_doubtful() {
            let transaction = *follower.position.transaction()?;
            let Some(relation) = follower.relations.get(oid) else {
                continue;
            };
            let query = self.query_by_key(relation, &key)?;
            let stream = relation.id.to_string();
            let rows = self.fetch_visible(&query, &stream, &transaction).await?;
            let Some(values) = self.values_of(relation, &rows) else {
                continue;
            };
            let change = Change {
                relation: oid,
                operation: Operation::Update,
                old: None,
                new: Some(Image {
                    values: &values,
                    key_only: false,
                }),
            };
            follower.complete(&change, Lsn::INVALID, &mut self.tables, &mut self.sink)?;
        }
        Ok(())
    }

    /// Returns the statement for the row that has a key of the collection's, by the texts of its
    /// columns.
    pub(super) fn query_by_key(
        &self,
        relation: &Relation,
        key: &[Option<String>],
    ) -> Result<ChunkQuery> {
        let plan = relation.plan.as_ref();
        let places = plan.and_then(|plan| plan.collection_key.as_deref());
        let (names, codecs): (Vec<_>, Vec<_>) = places
            .unwrap_or_default()
            .iter()
            .filter_map(|index| relation.columns.get(*index))
            .map(|column| {
                // Only equality is asked for, whatever the collation.
                let codec = KeyCodec::new(column.type_oid, &self.types, true);
                (column.name.as_str(), codec)
            })
            .unzip();
        let values = RowKey::of_texts(key, &codecs)
            .map_err(|error| error.context(format!("a key of table \"{}\"", relation.id)))?
            .parameters(&codecs);
        let columns: Vec<_> = names
            .into_iter()
            .zip(&codecs)
            .zip(values)
            .map(|((name, codec), value)| KeyColumn {
                name,
                comparison: codec.comparison(),
                value,
            })
            .collect();
        Ok(row_by_key(&self.scan_target(relation), &columns))
    }

    /// Returns what a row of a table is read from.
    fn scan_target(&self, relation: &Relation) -> String {
        let table = relation.table.and_then(|index| self.tables.get(index));
        table
            .and_then(|table| table.info.as_ref())
            .map_or_else(|| relation.id.quoted(), |info| info.scan_target())
    }

    /// Returns the values of the fetched row in the order of a relation's columns, if there is one.
    /// A column that is gone by now, or of another type, has no value that fits.
    pub(super) fn values_of<'r>(
        &self,
        relation: &Relation,
        rows: &'r Rows,
    ) -> Option<Vec<TupleData<'r>>> {
        let row = rows.rows.first()?;
        let value = |(name, type_oid): (&str, Oid)| {
            let place = rows.columns.iter().position(|found| {
                found.name == name && found.type_oid == self.types.ultimate(type_oid)
            });
            match place.map(|place| row.get(place)) {
                Some(Some(text)) => TupleData::Text(text.as_bytes()),
                Some(None) => TupleData::Null,
                None => TupleData::UnchangedToast,
            }
        };
        let columns = relation.columns.iter();
        Some(
            columns
                .map(|column| value((&column.name, column.type_oid)))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &[u8]) -> [TupleData<'_>; 2] {
        [TupleData::Null, TupleData::Text(key)]
    }

    fn image<'a>(values: &'a [TupleData<'a>]) -> Option<Image<'a>> {
        Some(Image {
            values,
            key_only: false,
        })
    }

    #[test]
    fn keys_are_in_doubt_that_were_given_and_then_taken() {
        let (table, other) = (Oid::from(1), Oid::from(2));
        let mut keys = ReusedKeys::default();
        let (one, two) = (row(b"1"), row(b"2"));
        keys.taken(table, image(&one), &[1]);
        keys.given(table, image(&two), &[1]);
        keys.taken(other, image(&two), &[1]);
        keys.taken(table, image(&two), &[1]);
        keys.given(table, image(&one), &[1]);
        assert_eq!(keys.take_doubtful(), [(table, vec![Some("2".to_owned())])]);
        assert!(keys.take_doubtful().is_empty());

        // Given last, it is that row's.
        keys.given(table, image(&two), &[1]);
        keys.taken(table, image(&two), &[1]);
        keys.given(table, image(&two), &[1]);
        assert!(keys.take_doubtful().is_empty());
    }
}
