//! How far the scan of a table is, and what that means for a change.

use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};

use protocol::{Lsn, Xid};

use super::Table;
use crate::backfill::{Position, Snapshot, TableScan};
use crate::capture::deferred::{Deferral, DeferredChanges};
use crate::capture::locks::Locked;
use crate::capture::state::Mode;
use crate::record::{Operation, RowKey};
use crate::value::KeyCodec;

/// A scan under way.
#[derive(Debug)]
pub(in crate::capture) struct Scan {
    /// What is scanned.
    pub(in crate::capture) table: TableScan,
    /// The codecs of the key columns, none for a scan by physical position.
    pub(in crate::capture) codecs: Vec<KeyCodec>,
    /// Whether the order of keys here equals the server's, so that "not scanned yet" is known.
    pub(in crate::capture) comparable: bool,
    /// The key up to which rows were emitted.
    pub(in crate::capture) position: Option<RowKey>,
    /// The physical position up to which rows were emitted.
    pub(in crate::capture) physical: Position,
    /// The last chunk that was read by itself, until the stream has passed all that it contains.
    pub(in crate::capture) chunk: Option<UnfencedChunk>,
    /// What spans that are being read cover, in their order; rows behind the position are theirs.
    pub(in crate::capture) ranges: VecDeque<SpanRange>,
    /// Whether the user may lock the table, as far as is known.
    pub(in crate::capture) may_lock: bool,
    /// When the table was found locked by somebody else, if no snapshot has come since.
    pub(in crate::capture) locked: Option<Locked>,
    /// The size of the documents of a chunk: by the last one, before that by what the server has counted,
    /// if it has.
    pub(in crate::capture) chunk_bytes: u64,
    /// The most pages of a window, where the statement timeout has shown that fewer are due.
    pub(in crate::capture) pages: Option<u32>,
}

/// A chunk that was emitted before the stream had passed what it contains.
#[derive(Debug)]
pub(in crate::capture) struct UnfencedChunk {
    /// Its rows are behind this key; `None` for the first chunk.
    pub(in crate::capture) after: Option<RowKey>,
    /// Which transactions it contains.
    pub(in crate::capture) snapshot: Snapshot,
    /// Its keys, where only their equality can be told, and has to be.
    pub(in crate::capture) keys: Option<HashSet<RowKey>>,
    /// Whether it was the last of the table: no key is behind it.
    pub(in crate::capture) complete: bool,
}

/// The part of a table that a span covers: rows that were asked for and are not all emitted.
#[derive(Debug)]
pub(in crate::capture) struct SpanRange {
    /// The span's number.
    pub(in crate::capture) span: u64,
    /// The last key that it can hold; `None` where it goes on to the end of the table.
    pub(in crate::capture) until: Option<RowKey>,
    /// Which transactions its rows contain; `None` until the server has told.
    pub(in crate::capture) snapshot: Option<Snapshot>,
    /// Changes that come behind its rows.
    pub(in crate::capture) deferred: DeferredChanges,
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::capture) enum Decision {
    /// It is emitted.
    Emit,
    /// It is dropped: a chunk holds it, or will.
    Drop,
    /// It is kept until the row that it changes has been emitted.
    Defer {
        /// The range that has the row, by its place among them.
        range: usize,
        /// Whether it goes behind the row of its key, not behind all of the range.
        placed: bool,
        deferral: Deferral,
    },
}

impl Decision {
    /// Returns whether the change is kept.
    pub(in crate::capture) fn is_deferred(self) -> bool {
        matches!(self, Self::Defer { .. })
    }
}

/// Where a key is, seen from the scan.
enum Place<'a> {
    /// Scanned, and the stream has passed what the chunk contains.
    Behind,
    /// In the last chunk, which has this snapshot.
    InUnfencedChunk(&'a Snapshot),
    /// Among the rows that a span covers.
    InRange(usize),
    /// Not scanned yet.
    Ahead,
    /// It cannot be told.
    Unknown,
}

impl Table {
    /// Judges a change of the row with this key; `None` is a key that the server has not sent.
    /// Remembers the transaction where a later chunk has to contain it.
    pub(in crate::capture) fn judge(
        &mut self,
        operation: Operation,
        key: Option<&RowKey>,
        xid: Xid,
        commit_lsn: Lsn,
    ) -> Decision {
        match self.state.mode {
            Mode::Active => return Decision::Emit,
            Mode::Ignore | Mode::Missing => return Decision::Drop,
            // What happens before the first chunk is in the first chunk.
            Mode::Pending => {
                self.unseen.note(xid, commit_lsn);
                return Decision::Drop;
            }
            Mode::Backfill | Mode::UnfilteredBackfill | Mode::KeylessBackfill => {}
        }
        let Some(scan) = &self.scan else {
            return Decision::Emit;
        };
        let wanders = self.scan_may_miss_rows();
        let mut place = scan.place(key);
        if wanders && !scan.is_contained_in_all(xid, commit_lsn) {
            // Wherever the row is now, it may be elsewhere for a chunk that does not contain the
            // change, and be emitted there as it was.
            place = Place::Unknown;
        } else if wanders && scan.ranges.is_empty() {
            self.unseen.note(xid, commit_lsn);
        }
        // A chunk that leaves old rows out says nothing about rows that it does not have. Where
        // earlier changes of keys ahead were emitted, all of them have to be: a deletion that the
        // chunk contains still has a document to delete.
        let must_emit = self.state.mode != Mode::Backfill
            || operation == Operation::Delete && scan.table.min_xid.is_some()
            || matches!(place, Place::Unknown);
        let contained = match place {
            Place::Behind => return Decision::Emit,
            Place::InUnfencedChunk(snapshot) => {
                return if snapshot.contains(xid, commit_lsn) && !must_emit {
                    Decision::Drop
                } else {
                    Decision::Emit
                };
            }
            Place::InRange(range) => scan.is_contained_in(range, xid, commit_lsn),
            Place::Unknown if !scan.ranges.is_empty() => scan.is_contained_in_all(xid, commit_lsn),
            Place::Ahead | Place::Unknown => {
                self.unseen.note(xid, commit_lsn);
                // The chunk that covers the key will contain it.
                true
            }
        };
        if contained {
            return if must_emit {
                Decision::Emit
            } else {
                Decision::Drop
            };
        }
        let (range, placed) = match place {
            Place::InRange(range) => (range, true),
            _ => (scan.ranges.len().saturating_sub(1), false),
        };
        // What is kept dies with the process, so a snapshot that is taken later has to contain it.
        self.unseen.note(xid, commit_lsn);
        Decision::Defer {
            range,
            placed,
            deferral: Deferral {
                xid,
                commit_lsn,
                must_emit,
            },
        }
    }

    /// Keeps a document until the row that it is of has been emitted.
    pub(in crate::capture) fn keep(
        &mut self,
        range: usize,
        key: Option<RowKey>,
        deferral: Deferral,
        document: &[u8],
    ) {
        let ranges = self.scan.as_mut().map(|scan| &mut scan.ranges);
        if let Some(range) = ranges.and_then(|ranges| ranges.get_mut(range)) {
            range.deferred.keep(key, deferral, document);
        }
    }

    /// Returns whether changes are kept that have to be emitted before a checkpoint passes them.
    pub(in crate::capture) fn must_emit_deferred(&self) -> bool {
        self.ranges().any(|range| range.deferred.has_required())
    }

    /// Returns the memory that kept changes take.
    pub(in crate::capture) fn deferred_bytes(&self) -> usize {
        self.ranges().map(|range| range.deferred.bytes()).sum()
    }

    fn ranges(&self) -> impl Iterator<Item = &SpanRange> {
        self.scan.iter().flat_map(|scan| &scan.ranges)
    }
}

impl Scan {
    /// Returns whether the keys of changes matter.
    pub(in crate::capture) fn compares_keys(&self) -> bool {
        self.comparable
            || self
                .chunk
                .as_ref()
                .is_some_and(|chunk| chunk.keys.is_some())
    }

    /// Returns the range of a span.
    pub(in crate::capture) fn range(&mut self, span: u64) -> Option<&mut SpanRange> {
        self.ranges.iter_mut().find(|range| range.span == span)
    }

    fn place(&self, key: Option<&RowKey>) -> Place<'_> {
        match key {
            Some(key) if self.comparable => self.place_by_order(key),
            Some(key) => self.place_in_unfenced_chunk(key),
            None => Place::Unknown,
        }
    }

    /// Finds a key whose order is not known among those of the last chunk.
    fn place_in_unfenced_chunk(&self, key: &RowKey) -> Place<'_> {
        match &self.chunk {
            Some(UnfencedChunk {
                keys: Some(keys),
                snapshot,
                ..
            }) if keys.contains(key) => Place::InUnfencedChunk(snapshot),
            _ => Place::Unknown,
        }
    }

    fn place_by_order(&self, key: &RowKey) -> Place<'_> {
        let reaches = |position: &RowKey| key.compare(position) != Ordering::Greater;
        let scanned = self.position.as_ref().is_some_and(reaches);
        if let Some(chunk) = &self.chunk {
            return if chunk.after.as_ref().is_some_and(reaches) {
                Place::Behind
            } else if chunk.complete || scanned {
                Place::InUnfencedChunk(&chunk.snapshot)
            } else {
                Place::Ahead
            };
        }
        if scanned {
            return Place::Behind;
        }
        let covers = |range: &SpanRange| range.until.as_ref().is_none_or(reaches);
        self.ranges
            .iter()
            .position(covers)
            .map_or(Place::Ahead, Place::InRange)
    }

    /// Returns whether a transaction is known to be contained in the rows of all ranges.
    fn is_contained_in_all(&self, xid: Xid, commit_lsn: Lsn) -> bool {
        (0..self.ranges.len()).all(|index| self.is_contained_in(index, xid, commit_lsn))
    }

    /// Returns whether a transaction is known to be contained in the rows of a range.
    fn is_contained_in(&self, range: usize, xid: Xid, commit_lsn: Lsn) -> bool {
        self.ranges
            .get(range)
            .and_then(|range| range.snapshot.as_ref())
            .is_some_and(|snapshot| snapshot.contains(xid, commit_lsn))
    }
}
