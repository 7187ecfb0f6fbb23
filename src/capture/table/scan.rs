//! Progress of the scan of a table.

use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Lsn, Xid};

use super::deferred::DeferredChanges;
use crate::backfill::{Position, Snapshot, TableScan};
use crate::catalog::TableInfo;
use crate::record::RowKey;
use crate::value::KeyCodec;

/// Time for which other tables are read first after a table was found locked.
const LOCK_PAUSE: Duration = Duration::from_secs(5);

/// The scan of a table whose rows are being read.
#[derive(Debug)]
pub(in crate::capture) struct Scan {
    /// Description of the table, on which the queries of the scan are based.
    pub(in crate::capture) info: Arc<TableInfo>,
    /// Queries for the rows.
    pub(in crate::capture) table: TableScan,
    /// Codecs of the key columns; empty for a scan by physical position.
    pub(in crate::capture) codecs: Vec<KeyCodec>,
    /// Whether keys are ordered here as on the server, so that "not scanned yet" can be decided.
    pub(in crate::capture) comparable: bool,
    /// Key up to which the rows were read and, unless a filter leaves them out, emitted.
    pub(in crate::capture) position: Option<RowKey>,
    /// Physical position up to which the rows were emitted.
    pub(in crate::capture) physical: Position,
    /// Chunk whose fence the stream has not passed yet; `None` for chunks of a span.
    pub(in crate::capture) chunk: Option<UnfencedChunk>,
    /// Ranges of keys that open spans cover, in scan order, after `position`.
    pub(in crate::capture) ranges: VecDeque<SpanRange>,
    /// Whether the role may lock the table, as far as is known.
    pub(in crate::capture) may_lock: bool,
    /// Last time the table was found locked; `None` once a snapshot was taken under its lock.
    pub(in crate::capture) locked: Option<Locked>,
    /// Bytes of the documents of a chunk: those of the last chunk, before that an estimate from
    /// the server's statistics, zero without these.
    pub(in crate::capture) chunk_bytes: u64,
    /// Limit of the pages of a window, once the statement timeout has cut off a larger one.
    pub(in crate::capture) pages: Option<u32>,
}

/// A chunk that was emitted before the stream has passed its fence.
#[derive(Debug)]
pub(in crate::capture) struct UnfencedChunk {
    /// Key after which the rows of the chunk begin; `None` for the first chunk.
    pub(in crate::capture) after: Option<RowKey>,
    /// Snapshot that the rows were read from.
    pub(in crate::capture) snapshot: Snapshot,
    /// Keys of the rows, where changes are matched to the chunk by equality of keys.
    pub(in crate::capture) keys: Option<HashSet<RowKey>>,
    /// Whether the chunk is the last of the table, so that no key is after it.
    pub(in crate::capture) complete: bool,
}

/// The range of keys that a span covers: rows that were requested and are not all emitted.
#[derive(Debug)]
pub(in crate::capture) struct SpanRange {
    /// Number of the span.
    pub(in crate::capture) span: u64,
    /// Last key of the range; `None` where it reaches to the end of the table.
    pub(in crate::capture) until: Option<RowKey>,
    /// Snapshot that the rows are read from; `None` until the server has sent it.
    pub(in crate::capture) snapshot: Option<Snapshot>,
    /// Changes that are emitted after the rows they belong to.
    pub(in crate::capture) deferred: DeferredChanges,
}

/// Record of a table that was found locked by another session.
#[derive(Debug, Clone, Copy)]
pub(in crate::capture) struct Locked {
    /// Time at which the table was found locked last.
    pub(in crate::capture) found: Instant,
    /// Time at which the lock was logged last.
    pub(in crate::capture) logged: Instant,
}

impl Locked {
    /// Returns whether the table was found locked so recently that other tables are read first.
    pub(in crate::capture) fn is_recent(&self) -> bool {
        self.found.elapsed() < LOCK_PAUSE
    }
}

/// Location of a key relative to the scan.
#[derive(Debug)]
pub(super) enum KeyLocation<'a> {
    /// Scanned: the row was emitted, and the stream has passed the fence of the chunk.
    Scanned,
    /// In the unfenced chunk, which was read from this snapshot.
    InUnfencedChunk(&'a Snapshot),
    /// In the range of an open span, by the range's index.
    InRange(usize),
    /// Not scanned yet.
    Ahead,
    /// Not known: keys cannot be compared, or the stream does not send them.
    Unknown,
}

impl Scan {
    /// Returns whether the keys of changes are needed to decide about them.
    pub(in crate::capture) fn compares_keys(&self) -> bool {
        self.comparable
            || self
                .chunk
                .as_ref()
                .is_some_and(|chunk| chunk.keys.is_some())
    }

    /// Returns the range of an open span.
    pub(in crate::capture) fn range_of(&mut self, span: u64) -> Option<&mut SpanRange> {
        self.ranges.iter_mut().find(|range| range.span == span)
    }

    /// Locates a key; `None` is a key that the server has not sent.
    pub(super) fn locate(&self, key: Option<&RowKey>) -> KeyLocation<'_> {
        match key {
            Some(key) if self.comparable => self.locate_by_order(key),
            Some(key) => self.locate_by_equality(key),
            None => KeyLocation::Unknown,
        }
    }

    fn locate_by_equality(&self, key: &RowKey) -> KeyLocation<'_> {
        match &self.chunk {
            Some(UnfencedChunk {
                keys: Some(keys),
                snapshot,
                ..
            }) if keys.contains(key) => KeyLocation::InUnfencedChunk(snapshot),
            _ => KeyLocation::Unknown,
        }
    }

    fn locate_by_order(&self, key: &RowKey) -> KeyLocation<'_> {
        let reaches = |position: &RowKey| key.compare(position) != Ordering::Greater;
        let scanned = self.position.as_ref().is_some_and(reaches);
        if let Some(chunk) = &self.chunk {
            return if chunk.after.as_ref().is_some_and(reaches) {
                KeyLocation::Scanned
            } else if chunk.complete || scanned {
                KeyLocation::InUnfencedChunk(&chunk.snapshot)
            } else {
                KeyLocation::Ahead
            };
        }
        if scanned {
            return KeyLocation::Scanned;
        }
        let covers = |range: &SpanRange| range.until.as_ref().is_none_or(reaches);
        self.ranges
            .iter()
            .position(covers)
            .map_or(KeyLocation::Ahead, KeyLocation::InRange)
    }

    /// Returns whether the snapshots of all ranges are known to contain a transaction.
    pub(super) fn is_contained_in_all(&self, xid: Xid, commit_lsn: Lsn) -> bool {
        (0..self.ranges.len()).all(|range| self.is_contained_in(range, xid, commit_lsn))
    }

    /// Returns whether the snapshot of a range is known to contain a transaction.
    pub(super) fn is_contained_in(&self, range: usize, xid: Xid, commit_lsn: Lsn) -> bool {
        self.ranges
            .get(range)
            .and_then(|range| range.snapshot.as_ref())
            .is_some_and(|snapshot| snapshot.contains(xid, commit_lsn))
    }
}
