//! Progress of a span's rows.

use std::collections::HashSet;

use crate::backfill::Position;
use crate::catalog::{TableInfo, TableKind};
use crate::record::RowKey;

/// Progress of a span while its rows arrive.
#[derive(Debug, Default)]
pub(super) struct ScanProgress {
    /// Rows of the current chunk that were emitted.
    pub(super) emitted: u64,
    /// Rows of the table that the span has passed.
    pub(super) scanned: u64,
    /// Key of the last row, if `has_last`.
    pub(super) last: RowKey,
    pub(super) has_last: bool,
    /// Physical position of the last row of the current window.
    pub(super) position: Option<Position>,
    /// Whether rows have not arrived in the order of their positions.
    is_unordered: bool,
    /// Whether the scan has moved on with a chunk or a part of one.
    pub(super) has_emitted: bool,
    /// Chunks that have ended, by their last row or by an error that cuts them short.
    pub(super) chunks: u32,
    /// Key of the row that is being read; it keeps its memory.
    pub(super) key: RowKey,
    /// Keys of all rows, where changes are matched to the chunk by equality of keys.
    pub(super) keys: Option<HashSet<RowKey>>,
}

impl ScanProgress {
    /// Notes the physical position of a row.
    #[inline]
    pub(super) fn note_position(&mut self, position: Position) {
        self.is_unordered |= self.position.is_some_and(|last| last >= position);
        self.position = Some(position);
    }

    /// Returns whether a scan by position can go on after the last row: all rows of the table
    /// before it have arrived. Each partition has positions of its own.
    pub(super) fn can_end_within_window(&self, table: &TableInfo) -> bool {
        table.kind == TableKind::Ordinary && self.position.is_some() && !self.is_unordered
    }
}
