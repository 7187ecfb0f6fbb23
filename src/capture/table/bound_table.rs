//! A bound table, and the handle to one that is being scanned.

use std::ops::Deref;
use std::sync::Arc;

use super::scan::Scan;
use super::visibility::{InitialWait, UnseenCommits};
use crate::capture::state::{Mode, Scanned, TableState};
use crate::capture::task::Binding;
use crate::catalog::{TableId, TableInfo};
use crate::config::Resource;

/// A bound table.
#[derive(Debug)]
pub(in crate::capture) struct Table {
    /// Index of the binding in the task.
    pub(in crate::capture) binding: u32,
    /// Key of the table's entry in the state.
    pub(in crate::capture) state_key: String,
    /// Name as configured.
    pub(in crate::capture) id: TableId,
    /// Configuration of the binding.
    pub(in crate::capture) resource: Resource,
    /// Columns of the collection's key; `None` where documents are keyed by their `loc`.
    pub(in crate::capture) collection_key: Option<Vec<String>>,
    /// Whether documents show the transaction's id.
    pub(in crate::capture) transaction_ids: bool,
    /// Description by the catalogs; `None` while the table does not exist.
    pub(in crate::capture) info: Option<Arc<TableInfo>>,
    /// Entry of the state.
    pub(in crate::capture) state: TrackedState,
    /// Progress of the scan, while the rows of the table are being read.
    pub(in crate::capture) scan: Option<Scan>,
    /// Streamed transactions that the next chunk must contain.
    pub(in crate::capture) unseen: UnseenCommits,
    /// Transactions that may have been streamed earlier and that the first chunk must contain.
    pub(in crate::capture) initial_wait: InitialWait,
}

impl Table {
    /// Makes the table of a binding, with its entry of the state if there is one.
    pub(in crate::capture) fn new(
        index: u32,
        binding: &Binding,
        entry: Option<TableState>,
    ) -> Self {
        let changed = entry.is_none();
        Self {
            binding: index,
            state_key: binding.state_key.clone(),
            id: binding.table_id(),
            resource: binding.resource.clone(),
            collection_key: binding.key_columns(),
            transaction_ids: binding.transaction_ids,
            info: None,
            state: TrackedState::new(entry.unwrap_or_default(), changed),
            scan: None,
            unseen: UnseenCommits::default(),
            initial_wait: InitialWait::default(),
        }
    }

    /// Returns whether changes of the table are captured.
    pub(in crate::capture) fn is_followed(&self) -> bool {
        !matches!(self.state.mode, Mode::Ignore | Mode::Missing)
    }

    /// Returns whether later chunks have to contain the changes that are dropped now.
    pub(in crate::capture) fn awaits_chunks(&self) -> bool {
        self.state.mode == Mode::Pending || self.state.mode.is_backfill()
    }

    /// Returns whether documents have a key other than the one that the table is scanned by.
    pub(super) fn is_scanned_by_another_key(&self) -> bool {
        self.collection_key.is_some() && self.state.key_columns != self.collection_key
    }

    /// Returns the handle to the table while its rows are being read.
    pub(in crate::capture) fn scanned(&mut self) -> Option<ScannedTable<'_>> {
        let rows_may_move = self.is_scanned_by_another_key();
        Some(ScannedTable {
            binding: self.binding,
            id: &self.id,
            transaction_ids: self.transaction_ids,
            rows_may_move,
            state: &mut self.state,
            scan: self.scan.as_mut()?,
        })
    }

    /// Ends the scan: every row was emitted, or is not to be read.
    pub(in crate::capture) fn complete(&mut self) {
        self.scan = None;
        self.unseen.clear();
        self.state.update(|state| {
            state.mode = Mode::Active;
            state.scanned = Scanned(None);
        });
    }

    /// Marks a table that does not exist any more.
    pub(in crate::capture) fn mark_missing(&mut self) {
        self.scan = None;
        self.unseen.clear();
        self.state.update(|state| {
            *state = TableState {
                mode: Mode::Missing,
                ..TableState::default()
            };
        });
    }
}

/// A table whose rows are being read.
#[derive(Debug)]
pub(in crate::capture) struct ScannedTable<'a> {
    /// Index of the binding in the task.
    pub(in crate::capture) binding: u32,
    /// Name as configured.
    pub(in crate::capture) id: &'a TableId,
    /// Whether documents show the transaction's id.
    pub(in crate::capture) transaction_ids: bool,
    /// Whether an update can move a row from the part of the table that is still to be scanned into
    /// the part that was scanned already.
    pub(in crate::capture) rows_may_move: bool,
    /// Entry of the state.
    pub(in crate::capture) state: &'a mut TrackedState,
    /// Progress of the scan.
    pub(in crate::capture) scan: &'a mut Scan,
}

impl ScannedTable<'_> {
    /// Returns whether the table is scanned by physical position.
    pub(in crate::capture) fn is_by_position(&self) -> bool {
        self.state.mode == Mode::KeylessBackfill
    }

    /// Returns whether changes are matched by equality to the keys that a chunk was found to hold.
    /// The rows of that chunk are emitted before the stream is read past its fence then.
    pub(in crate::capture) fn is_matched_by_equality(&self) -> bool {
        self.state.mode == Mode::Backfill && !self.scan.comparable
    }
}

/// State of a table, and whether it differs from that in the last checkpoint.
#[derive(Debug, Default)]
pub(in crate::capture) struct TrackedState {
    state: TableState,
    changed: bool,
}

impl TrackedState {
    /// Tracks a state. `changed` tells that no checkpoint has it.
    pub(super) fn new(state: TableState, changed: bool) -> Self {
        Self { state, changed }
    }

    /// Changes the state. A state that differs afterwards is part of the next checkpoint.
    pub(in crate::capture) fn update(&mut self, change: impl FnOnce(&mut TableState)) {
        let before = self.state.clone();
        change(&mut self.state);
        self.changed |= self.state != before;
    }

    /// Returns whether the state differs from that in the last checkpoint.
    pub(in crate::capture) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Notes that a checkpoint has the state.
    pub(super) fn mark_saved(&mut self) {
        self.changed = false;
    }
}

impl Deref for TrackedState {
    type Target = TableState;

    fn deref(&self) -> &TableState {
        &self.state
    }
}
