//! Changes that wait for the row that they change.
//!
//! A span of rows is read from one snapshot. A change of one of its rows that the snapshot does not
//! contain comes behind the row, which may not have been emitted yet. Its document is made when it is
//! streamed, and kept here until then.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::RangeBounds;

use protocol::{Lsn, Xid};

use crate::backfill::Snapshot;
use crate::record::RowKey;

/// The documents that are kept for one span.
#[derive(Debug, Default)]
pub(super) struct DeferredChanges {
    changes: BTreeMap<Place, DeferredChange>,
    /// Changes so far: each is given its number.
    count: u64,
    bytes: usize,
    must_emit: usize,
}

/// What a change is told by when it is asked whether it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deferral {
    /// Its transaction.
    pub(super) xid: Xid,
    /// The position of the transaction's commit record.
    pub(super) commit_lsn: Lsn,
    /// No row of the table stands for it: it is emitted whatever becomes of the span.
    pub(super) must_emit: bool,
}

#[derive(Debug)]
struct DeferredChange {
    deferral: Deferral,
    document: Box<[u8]>,
}

/// Changes in the order of their keys, those of one key as they came. What has no key comes last.
#[derive(Debug)]
struct Place {
    key: Option<RowKey>,
    number: u64,
}

impl Ord for Place {
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

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What a kept change costs beside its document.
const OVERHEAD: usize = 128;

impl DeferredChanges {
    /// Keeps a document of the row with this key; `None` is one that cannot be placed.
    pub(super) fn keep(&mut self, key: Option<RowKey>, deferral: Deferral, document: &[u8]) {
        self.bytes += document.len() + OVERHEAD;
        self.must_emit += usize::from(deferral.must_emit);
        let number = self.count;
        self.count += 1;
        let document = document.into();
        self.changes
            .insert(Place { key, number }, DeferredChange { deferral, document });
    }

    /// Returns the memory that is taken.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether there is a change that has to be emitted.
    pub(super) fn has_required(&self) -> bool {
        self.must_emit > 0
    }

    /// Takes the documents of keys up to this one, in the order in which they came.
    pub(super) fn take_through(&mut self, key: &RowKey) -> Vec<Box<[u8]>> {
        if self.changes.is_empty() {
            return Vec::new();
        }
        let last = Place {
            key: Some(key.clone()),
            number: u64::MAX,
        };
        self.take(..=last, |_, _| true, |_| true)
    }

    /// Takes the documents of keys behind this one that have to be emitted, and forgets the others of
    /// such keys.
    pub(super) fn take_required_after(&mut self, key: &RowKey) -> Vec<Box<[u8]>> {
        let last = Place {
            key: Some(key.clone()),
            number: u64::MAX,
        };
        let is_placed = |place: &Place, _| place.key.is_some();
        self.take(last.., is_placed, |deferral| deferral.must_emit)
    }

    /// Takes all documents, in the order in which they came.
    pub(super) fn take_all(&mut self) -> Vec<Box<[u8]>> {
        self.take(.., |_, _| true, |_| true)
    }

    /// Takes the documents that have to be emitted, and forgets the others.
    pub(super) fn take_required(&mut self) -> Vec<Box<[u8]>> {
        self.take(.., |_, _| true, |deferral| deferral.must_emit)
    }

    /// Takes out the placed changes that a snapshot contains, which were kept before it was known: the
    /// rows of the span hold them. Returns the documents that have to be emitted all the same.
    pub(super) fn take_contained(&mut self, snapshot: &Snapshot) -> Vec<Box<[u8]>> {
        let is_contained = |place: &Place, deferral: Deferral| {
            place.key.is_some() && snapshot.contains(deferral.xid, deferral.commit_lsn)
        };
        self.take(.., is_contained, |deferral| deferral.must_emit)
    }

    /// Takes changes out, and returns the documents of those that are wanted.
    fn take(
        &mut self,
        range: impl RangeBounds<Place>,
        is_taken: impl Fn(&Place, Deferral) -> bool,
        is_wanted: impl Fn(Deferral) -> bool,
    ) -> Vec<Box<[u8]>> {
        let mut wanted = Vec::new();
        let taken = self
            .changes
            .extract_if(range, |place, change| is_taken(place, change.deferral));
        for (place, change) in taken {
            self.bytes -= change.document.len() + OVERHEAD;
            self.must_emit -= usize::from(change.deferral.must_emit);
            if is_wanted(change.deferral) {
                wanted.push((place.number, change.document));
            }
        }
        wanted.sort_unstable_by_key(|(number, _)| *number);
        wanted.into_iter().map(|(_, document)| document).collect()
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

    /// Keys 5, 3, 5, none and 9, by 101 to 105, those of even numbers must_emit.
    fn kept() -> DeferredChanges {
        let mut kept = DeferredChanges::default();
        for (number, xid) in [Some(5), Some(3), Some(5), None, Some(9)]
            .into_iter()
            .zip(101..)
        {
            let document = format!("{xid}");
            kept.keep(
                number.map(key),
                deferral(xid, xid % 2 == 0),
                document.as_bytes(),
            );
        }
        kept
    }

    fn texts(documents: Vec<Box<[u8]>>) -> Vec<String> {
        let text = |document: Box<[u8]>| String::from_utf8(document.into_vec()).unwrap();
        documents.into_iter().map(text).collect()
    }

    #[test]
    fn changes_come_out_behind_their_rows_as_they_came() {
        let mut kept = kept();
        assert!(kept.take_through(&key(2)).is_empty());
        assert_eq!(texts(kept.take_through(&key(5))), ["101", "102", "103"]);
        assert!(kept.has_required());
        assert_eq!(texts(kept.take_all()), ["104", "105"]);
        assert_eq!((kept.bytes(), kept.has_required()), (0, false));
    }

    #[test]
    fn what_is_behind_the_end_of_a_span_is_not_its_own() {
        let mut kept = kept();
        assert_eq!(
            texts(kept.take_required_after(&key(3))),
            Vec::<String>::new()
        );
        assert_eq!(texts(kept.take_all()), ["102", "104"]);
        assert_eq!((kept.bytes(), kept.has_required()), (0, false));
    }

    #[test]
    fn what_is_owed_is_not_forgotten() {
        let mut kept = kept();
        assert_eq!(texts(kept.take_required()), ["102", "104"]);
        assert_eq!((kept.bytes(), kept.has_required()), (0, false));
    }

    #[test]
    fn a_view_takes_out_what_its_rows_hold() {
        let mut kept = kept();
        let snapshot = Snapshot::Primary("101:110:103".parse().unwrap());
        assert_eq!(texts(kept.take_contained(&snapshot)), ["102"]);
        assert_eq!(texts(kept.take_all()), ["103", "104"]);
        assert_eq!(kept.bytes(), 0);
    }
}
