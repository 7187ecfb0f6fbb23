//! Changes that are emitted after the row that they change.
//!
//! The rows of a span are read from one snapshot. A change of one of its rows that the snapshot
//! does not contain has to follow the row, which may not have been emitted yet. The document of
//! such a change is made when the change is streamed, and waits here.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::RangeBounds;

use protocol::{Lsn, Xid};

use crate::backfill::Snapshot;
use crate::record::RowKey;

/// Documents of the deferred changes of one span.
#[derive(Debug, Default)]
pub(in crate::capture) struct DeferredChanges {
    changes: BTreeMap<Slot, DeferredChange>,
    /// Number of the next change.
    next_number: u64,
    bytes: usize,
    /// Number of the changes that must be emitted.
    required: usize,
}

/// Facts about a deferred change that decide whether it may be discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::capture) struct Deferral {
    /// Transaction of the change.
    pub(in crate::capture) xid: Xid,
    /// Position of the transaction's commit record.
    pub(in crate::capture) commit_lsn: Lsn,
    /// Whether the change is emitted even if its span is given up, because no row of a later chunk
    /// stands for it.
    pub(in crate::capture) must_emit: bool,
}

#[derive(Debug)]
struct DeferredChange {
    deferral: Deferral,
    document: Box<[u8]>,
}

/// Order of the changes: by key, those of one key as they were streamed, those without a key last.
#[derive(Debug)]
struct Slot {
    key: Option<RowKey>,
    number: u64,
}

impl Ord for Slot {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.key, &other.key) {
            (Some(key), Some(other)) => key.compare(other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
        .then(self.number.cmp(&other.number))
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Slot {}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Memory of a deferred change besides its document, in bytes.
const OVERHEAD: usize = 128;

impl DeferredChanges {
    /// Adds the document of a change of the row with this key; `None` is a key that is not known.
    pub(in crate::capture) fn add(
        &mut self,
        key: Option<RowKey>,
        deferral: Deferral,
        document: &[u8],
    ) {
        self.bytes += document.len() + OVERHEAD;
        self.required += usize::from(deferral.must_emit);
        let number = self.next_number;
        self.next_number += 1;
        let document = document.into();
        self.changes
            .insert(Slot { key, number }, DeferredChange { deferral, document });
    }

    /// Returns the memory that the changes take, in bytes.
    pub(in crate::capture) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether there is a change that must be emitted.
    pub(in crate::capture) fn has_required(&self) -> bool {
        self.required > 0
    }

    /// Takes the documents of keys up to and including this one, in the order of the stream.
    pub(in crate::capture) fn take_through(&mut self, key: &RowKey) -> Vec<Box<[u8]>> {
        if self.changes.is_empty() {
            return Vec::new();
        }
        self.take(..=last_slot(key), |_, _| true, |_| true)
    }

    /// Takes the documents of keys after this one that must be emitted, and discards the other
    /// changes of such keys.
    pub(in crate::capture) fn take_required_after(&mut self, key: &RowKey) -> Vec<Box<[u8]>> {
        let has_key = |slot: &Slot, _| slot.key.is_some();
        self.take(last_slot(key).., has_key, |deferral| deferral.must_emit)
    }

    /// Takes all documents, in the order of the stream.
    pub(in crate::capture) fn take_all(&mut self) -> Vec<Box<[u8]>> {
        self.take(.., |_, _| true, |_| true)
    }

    /// Takes the documents that must be emitted, and discards all other changes.
    pub(in crate::capture) fn take_required(&mut self) -> Vec<Box<[u8]>> {
        self.take(.., |_, _| true, |deferral| deferral.must_emit)
    }

    /// Takes the changes with a key that a snapshot contains: they were deferred before the
    /// snapshot of the span was known, and the rows of the span hold their outcome. Returns the
    /// documents that must be emitted all the same, and discards the others.
    pub(in crate::capture) fn take_contained(&mut self, snapshot: &Snapshot) -> Vec<Box<[u8]>> {
        let is_contained = |slot: &Slot, deferral: Deferral| {
            slot.key.is_some() && snapshot.contains(deferral.xid, deferral.commit_lsn)
        };
        self.take(.., is_contained, |deferral| deferral.must_emit)
    }

    /// Removes changes, and returns the documents of those that are wanted.
    fn take(
        &mut self,
        range: impl RangeBounds<Slot>,
        is_taken: impl Fn(&Slot, Deferral) -> bool,
        is_wanted: impl Fn(Deferral) -> bool,
    ) -> Vec<Box<[u8]>> {
        let mut wanted = Vec::new();
        let taken = self
            .changes
            .extract_if(range, |slot, change| is_taken(slot, change.deferral));
        for (slot, change) in taken {
            self.bytes -= change.document.len() + OVERHEAD;
            self.required -= usize::from(change.deferral.must_emit);
            if is_wanted(change.deferral) {
                wanted.push((slot.number, change.document));
            }
        }
        wanted.sort_unstable_by_key(|(number, _)| *number);
        wanted.into_iter().map(|(_, document)| document).collect()
    }
}

/// Returns the slot after every change of a key.
fn last_slot(key: &RowKey) -> Slot {
    Slot {
        key: Some(key.clone()),
        number: u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Oid, TupleData};

    use super::*;
    use crate::record::Image;
    use crate::value::{KeyCodec, TypeRegistry};

    fn key(number: i64) -> RowKey {
        let codec = KeyCodec::new(Oid::from(20), &TypeRegistry::default(), true);
        let text = number.to_string();
        let values = [TupleData::Text(text.as_bytes())];
        let image = Image {
            values: &values,
            key_only: false,
        };
        RowKey::of(&image, &[(0, codec)]).unwrap().unwrap()
    }

    fn deferral(xid: u32, must_emit: bool) -> Deferral {
        Deferral {
            xid: Xid::from(xid),
            commit_lsn: Lsn::from(1),
            must_emit,
        }
    }

    /// Changes of the keys 5, 3, 5, none and 9 by transactions 101 to 105; even ones must be
    /// emitted.
    fn deferred() -> DeferredChanges {
        let mut deferred = DeferredChanges::default();
        for (number, xid) in [Some(5), Some(3), Some(5), None, Some(9)]
            .into_iter()
            .zip(101..)
        {
            let document = format!("{xid}");
            deferred.add(
                number.map(key),
                deferral(xid, xid % 2 == 0),
                document.as_bytes(),
            );
        }
        deferred
    }

    fn texts(documents: Vec<Box<[u8]>>) -> Vec<String> {
        let text = |document: Box<[u8]>| String::from_utf8(document.into_vec()).unwrap();
        documents.into_iter().map(text).collect()
    }

    #[test]
    fn changes_follow_their_rows_in_the_order_of_the_stream() {
        let mut deferred = deferred();
        assert!(deferred.take_through(&key(2)).is_empty());
        assert_eq!(texts(deferred.take_through(&key(5))), ["101", "102", "103"]);
        assert!(deferred.has_required());
        assert_eq!(texts(deferred.take_all()), ["104", "105"]);
        assert_eq!((deferred.bytes(), deferred.has_required()), (0, false));
    }

    #[test]
    fn changes_after_the_end_of_a_span_are_discarded_unless_required() {
        let mut deferred = deferred();
        assert_eq!(
            texts(deferred.take_required_after(&key(3))),
            Vec::<String>::new()
        );
        assert_eq!(texts(deferred.take_all()), ["102", "104"]);
        assert_eq!((deferred.bytes(), deferred.has_required()), (0, false));
    }

    #[test]
    fn required_changes_are_not_discarded() {
        let mut deferred = deferred();
        assert_eq!(texts(deferred.take_required()), ["102", "104"]);
        assert_eq!((deferred.bytes(), deferred.has_required()), (0, false));
    }

    #[test]
    fn changes_that_the_snapshot_contains_are_discarded() {
        let mut deferred = deferred();
        let snapshot = Snapshot::Primary("101:110:103".parse().unwrap());
        assert_eq!(texts(deferred.take_contained(&snapshot)), ["102"]);
        assert_eq!(texts(deferred.take_all()), ["103", "104"]);
        assert_eq!(deferred.bytes(), 0);
    }
}
