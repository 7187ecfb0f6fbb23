//! Keys that a transaction takes from one row and assigns to another.
//!
//! Where the server checks a primary key at the end of a statement or transaction (DEFERRABLE), two
//! rows may share a key for a moment, and the deletion of the row that had it can follow the row
//! that has it now. The stream does not tell the two apart. So the keys that were released and
//! assigned in one transaction are noted, and before its end the row that has such a key is fetched
//! and emitted once more (`refetch`).

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use protocol::{Oid, TupleData};

use crate::record::Image;

/// Limit of the assigned keys that are noted, as hashes: 36 MiB, as the set doubles its memory.
const MAX_ASSIGNED: usize = (1 << 22) / 8 * 7;
/// Number of hashes for which memory is kept from one transaction to the next.
const KEPT_CAPACITY: usize = 1 << 10;
/// Number of ambiguous keys from which on their rows are fetched within the transaction.
const MAX_AMBIGUOUS: usize = 1_000;

/// Keys that the current transaction has assigned to rows of tables with deferrable keys, and those
/// of them that were released afterwards.
///
/// A transaction has committed when it is read, so the rows that it has left can be fetched at any
/// time; ambiguous keys are not collected beyond a number. Whether a key was assigned is known by
/// its hash, which may be that of another key; beyond the limit every key counts as assigned. A key
/// too many costs a query, and perhaps a document that was emitted before.
#[derive(Debug)]
pub(super) struct DeferrableKeys {
    assigned: HashSet<u64>,
    ambiguous: HashSet<(u32, Vec<Option<String>>)>,
    hashing: RandomState,
    /// Limit of the assigned keys.
    max_assigned: usize,
}

impl Default for DeferrableKeys {
    fn default() -> Self {
        Self {
            assigned: HashSet::new(),
            ambiguous: HashSet::new(),
            hashing: RandomState::new(),
            max_assigned: MAX_ASSIGNED,
        }
    }
}

impl DeferrableKeys {
    /// Notes that a row has a key now.
    pub(super) fn assigned(&mut self, relation: Oid, row: Option<Image<'_>>, columns: &[usize]) {
        let Some(row) = row else { return };
        if self.assigned.len() < self.max_assigned {
            let hash = self.hash(relation, &row, columns);
            self.assigned.insert(hash);
        }
        if !self.ambiguous.is_empty() {
            self.ambiguous
                .remove(&(relation.as_u32(), key_texts(&row, columns)));
        }
    }

    /// Notes that the row with a key was deleted, or has another key now.
    pub(super) fn released(&mut self, relation: Oid, row: Option<Image<'_>>, columns: &[usize]) {
        let Some(row) = row else { return };
        let is_full = self.assigned.len() >= self.max_assigned;
        if is_full || self.assigned.contains(&self.hash(relation, &row, columns)) {
            self.ambiguous
                .insert((relation.as_u32(), key_texts(&row, columns)));
        }
    }

    /// Returns whether there are ambiguous keys.
    #[inline]
    pub(super) fn has_ambiguous(&self) -> bool {
        !self.ambiguous.is_empty()
    }

    /// Returns whether the rows of the ambiguous keys are to be fetched before the transaction
    /// ends.
    pub(super) fn has_many_ambiguous(&self) -> bool {
        self.ambiguous.len() >= MAX_AMBIGUOUS
    }

    /// Takes the ambiguous keys, each with its relation.
    pub(super) fn take_ambiguous(&mut self) -> Vec<(Oid, Vec<Option<String>>)> {
        self.ambiguous
            .drain()
            .map(|(relation, key)| (Oid::from(relation), key))
            .collect()
    }

    /// Forgets all keys: the transaction has ended.
    pub(super) fn clear(&mut self) {
        self.assigned.clear();
        self.assigned.shrink_to(KEPT_CAPACITY);
        self.ambiguous.clear();
    }

    fn hash(&self, relation: Oid, row: &Image<'_>, columns: &[usize]) -> u64 {
        let mut hasher = self.hashing.build_hasher();
        relation.as_u32().hash(&mut hasher);
        columns
            .iter()
            .for_each(|index| key_text(row, *index).hash(&mut hasher));
        hasher.finish()
    }
}

/// Returns the texts of a row's key. A column that was not sent counts as NULL.
pub(super) fn key_texts(row: &Image<'_>, columns: &[usize]) -> Vec<Option<String>> {
    let text = |index: &usize| Some(String::from_utf8_lossy(key_text(row, *index)?).into_owned());
    columns.iter().map(text).collect()
}

fn key_text<'a>(row: &Image<'a>, index: usize) -> Option<&'a [u8]> {
    match row.get(index) {
        TupleData::Text(text) => Some(text),
        _ => None,
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
    fn keys_that_were_assigned_and_then_released_are_ambiguous() {
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

        // A key that was never assigned is not ambiguous.
        keys.clear();
        keys.released(table, image(&two), &[1]);
        assert!(keys.take_ambiguous().is_empty());

        // A key that was assigned last belongs to that row.
        keys.assigned(table, image(&two), &[1]);
        keys.released(table, image(&two), &[1]);
        keys.assigned(table, image(&two), &[1]);
        assert!(keys.take_ambiguous().is_empty());
    }

    #[test]
    fn beyond_the_limit_every_key_counts_as_assigned() {
        let table = Oid::from(1);
        let mut keys = DeferrableKeys {
            max_assigned: 2,
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
