//! Keys that a transaction takes from one row and gives to another.
//!
//! Where the server checks a primary key at the end of a statement or transaction (DEFERRABLE), two
//! rows may share a key for a moment, and the deletion of the row that had it can come behind the
//! row that has it now. The stream does not tell the two apart. So the keys that were given away and
//! taken in one transaction are noted, and before its end the row that has such a key is looked up
//! and emitted once more.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use protocol::{LogicalReplicationMessage, Lsn, Oid, TupleData};

use super::columns::find_again;
use super::engine::Engine;
use super::follow::Dispatcher;
use super::relations::Relation;
use super::sink::Sink;
use crate::backfill::{ChunkQuery, KeyColumn, row_by_key};
use crate::catalog::TableInfo;
use crate::client::Rows;
use crate::error::Result;
use crate::record::{Change, Image, Operation, RowKey};
use crate::replication::StreamItem;
use crate::value::KeyCodec;

/// The texts of a key's columns.
type Key = Vec<Option<String>>;

/// So many keys are noted as given by their hashes: 36 MiB at most, as the set doubles its room.
const MAX_ASSIGNED: usize = (1 << 22) / 8 * 7;
/// Room for so many is kept for the next transaction.
const KEPT_ROOM: usize = 1 << 10;
/// So many keys in doubt are looked up at once.
const MAX_AMBIGUOUS: usize = 1_000;

/// The keys that the transaction under way has given to rows of tables whose keys are checked late, and
/// those of them that a deletion has come behind.
///
/// A transaction has committed when it is read, so what it has left can be looked up at any time: keys
/// in doubt are not collected beyond a number. Whether a key was given is known by its hash, which is
/// right or says too much; from a number of them on all keys count as given. A key too many costs a query
/// and perhaps a document that was there before.
#[derive(Debug)]
pub(super) struct DeferrableKeys {
    assigned: HashSet<u64>,
    ambiguous: HashSet<(u32, Key)>,
    hashing: RandomState,
    /// The most hashes.
    most: usize,
}

impl Default for DeferrableKeys {
    fn default() -> Self {
        Self {
            assigned: HashSet::new(),
            ambiguous: HashSet::new(),
            hashing: RandomState::new(),
            most: MAX_ASSIGNED,
        }
    }
}

impl DeferrableKeys {
    /// Notes that a row has a key now.
    pub(super) fn assigned(&mut self, relation: Oid, row: Option<Image<'_>>, columns: &[usize]) {
        let Some(row) = row else { return };
        if self.assigned.len() < self.most {
            let hash = self.hash(relation, &row, columns);
            self.assigned.insert(hash);
        }
        if !self.ambiguous.is_empty() {
            self.ambiguous
                .remove(&(relation.as_u32(), key_of(&row, columns)));
        }
    }

    /// Notes that a row with a key was deleted, or has another key now.
    pub(super) fn released(&mut self, relation: Oid, row: Option<Image<'_>>, columns: &[usize]) {
        let Some(row) = row else { return };
        let is_full = self.assigned.len() >= self.most;
        if is_full || self.assigned.contains(&self.hash(relation, &row, columns)) {
            self.ambiguous
                .insert((relation.as_u32(), key_of(&row, columns)));
        }
    }

    /// Forgets all: a transaction is at its end.
    pub(super) fn clear(&mut self) {
        self.assigned.clear();
        self.assigned.shrink_to(KEPT_ROOM);
        self.ambiguous.clear();
    }

    fn hash(&self, relation: Oid, row: &Image<'_>, columns: &[usize]) -> u64 {
        let text = |index: &usize| match row.get(*index) {
            TupleData::Text(text) => Some(text),
            _ => None,
        };
        let mut hasher = self.hashing.build_hasher();
        relation.as_u32().hash(&mut hasher);
        columns
            .iter()
            .for_each(|index| text(index).hash(&mut hasher));
        hasher.finish()
    }

    fn take_ambiguous(&mut self) -> Vec<(Oid, Key)> {
        self.ambiguous
            .drain()
            .map(|(relation, key)| (Oid::from(relation), key))
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

impl Dispatcher {
    /// Returns whether rows in doubt are to be looked up before a message: the transaction ends with it,
    /// or they are many.
    pub(super) fn has_ambiguous_keys(&self, item: &StreamItem<'_>) -> bool {
        let doubtful = self.deferrable_keys.ambiguous.len();
        let ends = || {
            matches!(
                item,
                StreamItem::Message {
                    message: LogicalReplicationMessage::Commit(_),
                    ..
                }
            )
        };
        doubtful > 0 && (doubtful >= MAX_AMBIGUOUS || ends())
    }
}

impl<S: Sink> Engine<S> {
    /// Emits the rows that have keys which the transaction under way has both given and taken.
    pub(super) async fn emit_ambiguous(&mut self, dispatcher: &mut Dispatcher) -> Result<()> {
        for (oid, key) in dispatcher.deferrable_keys.take_ambiguous() {
            let transaction = *dispatcher.position.transaction()?;
            let Some(relation) = dispatcher.relations.get(oid) else {
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
            dispatcher.complete(&change, Lsn::INVALID, &mut self.tables, &mut self.sink)?;
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
        self.info_of(relation)
            .map_or_else(|| relation.id.quoted(), TableInfo::scan_target)
    }

    /// Returns what is known of the table that a relation is.
    fn info_of(&self, relation: &Relation) -> Option<&TableInfo> {
        let table = relation.table.and_then(|index| self.tables.get(index));
        table.and_then(|table| table.info.as_deref())
    }

    /// Returns the values of the fetched row in the order of a relation's columns, if there is one.
    /// A column that is gone by now, or of another type, has no value that fits, nor has one whose name
    /// may be that of another column by now.
    pub(super) fn values_of<'r>(
        &self,
        relation: &Relation,
        rows: &'r Rows,
    ) -> Option<Vec<TupleData<'r>>> {
        let row = rows.rows.first()?;
        let columns: Vec<_> = relation
            .columns
            .iter()
            .map(|column| (column.name.as_str(), self.types.ultimate(column.type_oid)))
            .collect();
        let found: Vec<_> = rows
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.type_oid))
            .collect();
        let places = find_again(&columns, &found, self.info_of(relation));
        let value = |place: Option<usize>| match place.map(|place| row.get(place)) {
            Some(Some(text)) => TupleData::Text(text.as_bytes()),
            Some(None) => TupleData::Null,
            None => TupleData::UnchangedToast,
        };
        Some(places.into_iter().map(value).collect())
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
        let mut keys = DeferrableKeys::default();
        let (one, two) = (row(b"1"), row(b"2"));
        keys.released(table, image(&one), &[1]);
        keys.assigned(table, image(&two), &[1]);
        keys.released(other, image(&two), &[1]);
        keys.released(table, image(&two), &[1]);
        keys.assigned(table, image(&one), &[1]);
        assert_eq!(keys.take_ambiguous(), [(table, vec![Some("2".to_owned())])]);
        assert!(keys.take_ambiguous().is_empty());

        // Of a table that gave none it is not one of these.
        keys.clear();
        keys.released(table, image(&two), &[1]);
        assert!(keys.take_ambiguous().is_empty());

        // Given last, it is that row's.
        keys.assigned(table, image(&two), &[1]);
        keys.released(table, image(&two), &[1]);
        keys.assigned(table, image(&two), &[1]);
        assert!(keys.take_ambiguous().is_empty());
    }

    #[test]
    fn beyond_a_number_every_key_counts_as_given() {
        let table = Oid::from(1);
        let mut keys = DeferrableKeys {
            most: 2,
            ..DeferrableKeys::default()
        };
        let rows: Vec<_> = (0..9).map(|number: u32| number.to_string()).collect();
        for text in &rows[..5] {
            keys.released(table, image(&row(text.as_bytes())), &[1]);
            keys.assigned(table, image(&row(text.as_bytes())), &[1]);
        }
        assert_eq!(keys.assigned.len(), 2);
        keys.released(table, image(&row(b"4")), &[1]);
        keys.released(table, image(&row(b"8")), &[1]);
        keys.assigned(table, image(&row(b"8")), &[1]);
        assert_eq!(keys.take_ambiguous(), [(table, vec![Some("4".to_owned())])]);
    }
}
