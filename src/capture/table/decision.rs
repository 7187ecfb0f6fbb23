//! The decision about a change of the stream: emit it, drop it, or defer it.
//!
//! The documents of a key are the row of the chunk that covers it, then every change whose
//! transaction the snapshot of that chunk does not contain. So a change is dropped where the chunk
//! holds its outcome, emitted where the row was emitted from an older snapshot, and deferred where
//! the row has been requested from an older snapshot and is not emitted yet.

use protocol::{Lsn, Xid};

use super::bound_table::Table;
use super::deferred::Deferral;
use super::scan::{KeyLocation, SpanRange};
use crate::capture::state::Mode;
use crate::error::Result;
use crate::record::{Image, Operation, RowKey};
use crate::value::KeyCodec;

/// Outcome of a decision about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::capture) enum Decision {
    /// The change is emitted now.
    Emit,
    /// The change is not emitted: a chunk contains it, or will.
    Drop,
    /// The change is emitted after the row that it belongs to.
    Defer {
        /// Index of the range that has the row.
        range: usize,
        /// Whether the change follows the row of its key; otherwise it follows the whole range.
        follows_row: bool,
        /// Facts that decide whether the change may be discarded.
        deferral: Deferral,
    },
}

impl Table {
    /// Reads the key of a row into `key`, if the scan compares keys. Returns whether it was read.
    /// `columns` are the columns of the key, by their indices in the row.
    ///
    /// # Errors
    ///
    /// Fails where a value is not one of its type.
    #[inline]
    pub(in crate::capture) fn read_key(
        &self,
        image: Option<Image<'_>>,
        columns: Option<&[(usize, KeyCodec)]>,
        key: &mut RowKey,
    ) -> Result<bool> {
        match (&self.scan, columns, image) {
            (Some(scan), Some(columns), Some(image)) if scan.compares_keys() => {
                key.read(&image, columns).map_err(|error| {
                    error.context(format!("reading the key of a row of table \"{}\"", self.id))
                })
            }
            _ => Ok(false),
        }
    }

    /// Decides about a change of the row with this key; `None` is a key that the server has not
    /// sent. Remembers the transaction where a later chunk has to contain it.
    #[inline]
    pub(in crate::capture) fn decide(
        &mut self,
        operation: Operation,
        key: Option<&RowKey>,
        xid: Xid,
        commit_lsn: Lsn,
    ) -> Decision {
        match self.state.mode {
            Mode::Active => return Decision::Emit,
            Mode::Ignore | Mode::Missing => return Decision::Drop,
            // The first chunk will contain the change.
            Mode::Pending => {
                self.unseen.note(xid, commit_lsn);
                return Decision::Drop;
            }
            Mode::Backfill | Mode::UnfilteredBackfill | Mode::KeylessBackfill => {}
        }
        self.decide_by_scan(operation, key, xid, commit_lsn)
    }

    /// Decides about a change of a table whose rows are being read.
    fn decide_by_scan(
        &mut self,
        operation: Operation,
        key: Option<&RowKey>,
        xid: Xid,
        commit_lsn: Lsn,
    ) -> Decision {
        let Some(scan) = &self.scan else {
            return Decision::Emit;
        };
        let rows_move = self.scan_may_miss_rows();
        let mut location = scan.locate(key);
        if rows_move && !scan.is_contained_in_all(xid, commit_lsn) {
            // The row may be in another range for a chunk that does not contain the change, which
            // then emits the row as it was.
            location = KeyLocation::Unknown;
        } else if rows_move && scan.ranges.is_empty() {
            self.unseen.note(xid, commit_lsn);
        }
        // A chunk with a lower limit of xmin leaves out old rows, so it says nothing about rows
        // that it does not have. Where earlier changes of keys ahead were emitted, all of them have
        // to be: a deletion that the chunk contains still has a document to delete.
        let must_emit = self.state.mode != Mode::Backfill
            || operation == Operation::Delete && scan.table.min_xid.is_some()
            || matches!(location, KeyLocation::Unknown);
        let contained = match location {
            KeyLocation::Scanned => return Decision::Emit,
            KeyLocation::InUnfencedChunk(snapshot) => {
                return emit_if(must_emit || !snapshot.contains(xid, commit_lsn));
            }
            KeyLocation::InRange(range) => scan.is_contained_in(range, xid, commit_lsn),
            KeyLocation::Unknown if !scan.ranges.is_empty() => {
                scan.is_contained_in_all(xid, commit_lsn)
            }
            KeyLocation::Ahead | KeyLocation::Unknown => {
                self.unseen.note(xid, commit_lsn);
                // The chunk that covers the key will contain it.
                true
            }
        };
        if contained {
            return emit_if(must_emit);
        }
        let (range, follows_row) = match location {
            KeyLocation::InRange(range) => (range, true),
            _ => (scan.ranges.len().saturating_sub(1), false),
        };
        // A deferred change is lost with the process, so a snapshot that is taken later has to
        // contain it.
        self.unseen.note(xid, commit_lsn);
        Decision::Defer {
            range,
            follows_row,
            deferral: Deferral {
                xid,
                commit_lsn,
                must_emit,
            },
        }
    }

    /// Stores the document of a deferred change until the row that it belongs to was emitted.
    pub(in crate::capture) fn defer(
        &mut self,
        range: usize,
        key: Option<RowKey>,
        deferral: Deferral,
        document: &[u8],
    ) {
        let ranges = self.scan.as_mut().map(|scan| &mut scan.ranges);
        if let Some(range) = ranges.and_then(|ranges| ranges.get_mut(range)) {
            range.deferred.add(key, deferral, document);
        }
    }

    /// Returns whether a deferred change has to be emitted before a checkpoint passes it.
    pub(in crate::capture) fn has_required_changes(&self) -> bool {
        self.ranges().any(|range| range.deferred.has_required())
    }

    /// Returns the memory that deferred changes take, in bytes.
    pub(in crate::capture) fn deferred_bytes(&self) -> usize {
        self.ranges().map(|range| range.deferred.bytes()).sum()
    }

    fn ranges(&self) -> impl Iterator<Item = &SpanRange> {
        self.scan.iter().flat_map(|scan| &scan.ranges)
    }

    /// Returns whether an update that keeps the key of its document can move its row from the part
    /// of the table that is still to be scanned into the part that was scanned already.
    pub(in crate::capture) fn scan_may_miss_rows(&self) -> bool {
        self.scan.is_some() && self.is_scanned_by_another_key()
    }
}

fn emit_if(condition: bool) -> Decision {
    if condition {
        Decision::Emit
    } else {
        Decision::Drop
    }
}
