//! All bound tables of a session.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use protocol::{Oid, Xid};
use tracing::{info, warn};

use super::bound_table::{ScannedTable, Table};
use crate::backfill::Snapshot;
use crate::capture::state::{Mode, TableState};
use crate::catalog::TableLookup;

/// Number of unseen commits of a table from which on the server is asked which are visible by now.
const MANY_UNSEEN: usize = 10_000;

/// Index of a bound table. [`Tables`] makes them, and loses no table while a session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::capture) struct TableIndex(usize);

/// The bound tables of a session, in the order of the bindings.
#[derive(Debug)]
pub(in crate::capture) struct Tables {
    tables: Vec<Table>,
}

impl Index<TableIndex> for Tables {
    type Output = Table;

    #[inline]
    fn index(&self, index: TableIndex) -> &Table {
        &self.tables[index.0]
    }
}

impl IndexMut<TableIndex> for Tables {
    #[inline]
    fn index_mut(&mut self, index: TableIndex) -> &mut Table {
        &mut self.tables[index.0]
    }
}

impl Tables {
    /// Takes the tables, one for each binding.
    pub(in crate::capture) fn new(tables: Vec<Table>) -> Self {
        Self { tables }
    }

    /// Returns whether nothing is bound.
    pub(in crate::capture) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Returns the number of tables.
    pub(in crate::capture) fn len(&self) -> usize {
        self.tables.len()
    }

    /// Returns the tables.
    pub(in crate::capture) fn iter(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter()
    }

    /// Returns the tables, to change them.
    pub(in crate::capture) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        self.tables.iter_mut()
    }

    /// Returns the indices of all tables.
    pub(in crate::capture) fn indices(&self) -> impl Iterator<Item = TableIndex> + use<> {
        (0..self.tables.len()).map(TableIndex)
    }

    /// Returns the first table for which a condition holds.
    pub(in crate::capture) fn find(
        &self,
        condition: impl Fn(&Table) -> bool,
    ) -> Option<TableIndex> {
        self.tables.iter().position(condition).map(TableIndex)
    }

    /// Returns the handle to a table while its rows are being read.
    pub(in crate::capture) fn scanned(&mut self, index: TableIndex) -> Option<ScannedTable<'_>> {
        self[index].scanned()
    }

    /// Returns whether a table that is being scanned was found locked recently.
    pub(in crate::capture) fn is_locked(&self, index: TableIndex) -> bool {
        let locked = self[index].scan.as_ref().and_then(|scan| scan.locked);
        locked.is_some_and(|locked| locked.is_recent())
    }

    /// Chooses the table whose rows are read next, except those `besides`: in the order of the
    /// bindings, higher priorities first. A table that was found locked recently comes last.
    pub(in crate::capture) fn next_backfill(&self, besides: &[TableIndex]) -> Option<TableIndex> {
        let candidates = self
            .indices()
            .filter(|index| self[*index].scan.is_some() && !besides.contains(index));
        let order = |index: &TableIndex| {
            let table = &self[*index];
            let locked = table.scan.as_ref().and_then(|scan| scan.locked);
            let found = locked
                .filter(|locked| locked.is_recent())
                .map(|locked| locked.found);
            (found, Reverse(table.resource.priority), *index)
        };
        candidates.min_by_key(order)
    }

    /// Returns the number of tables that are being backfilled.
    pub(in crate::capture) fn backfilling(&self) -> usize {
        self.iter()
            .filter(|table| table.state.mode.is_backfill())
            .count()
    }

    /// Returns whether a checkpoint would pass commits that a later chunk has to contain and might
    /// not, or deferred changes that have to be emitted first.
    pub(in crate::capture) fn hold_back_checkpoint(&self) -> bool {
        self.have_required_changes() || self.iter().any(|table| !table.unseen.is_empty())
    }

    /// Returns whether there are deferred changes that have to be emitted before a checkpoint
    /// passes them.
    pub(in crate::capture) fn have_required_changes(&self) -> bool {
        self.iter().any(Table::has_required_changes)
    }

    /// Returns the memory that deferred changes take, in bytes.
    pub(in crate::capture) fn deferred_bytes(&self) -> usize {
        self.iter().map(Table::deferred_bytes).sum()
    }

    /// Returns the ids of the streamed transactions that no snapshot has contained yet.
    pub(in crate::capture) fn unseen_xids(&self) -> BTreeSet<u32> {
        self.iter().flat_map(|table| table.unseen.xids()).collect()
    }

    /// Returns whether the unseen commits of a table are many, so that a snapshot is worth its
    /// cost.
    pub(in crate::capture) fn have_many_unseen(&self) -> bool {
        self.iter().any(|table| table.unseen.len() >= MANY_UNSEEN)
    }

    /// Forgets the commits that a snapshot contains.
    pub(in crate::capture) fn resolve(&mut self, snapshot: &Snapshot) {
        for table in &mut self.tables {
            table.unseen.resolve(snapshot);
            table.initial_wait.resolve(snapshot);
        }
    }

    /// Notes that a transaction was streamed to its end.
    pub(in crate::capture) fn streamed(&mut self, xid: Xid) {
        for table in &mut self.tables {
            table.initial_wait.streamed(xid);
        }
    }

    /// Notes that a transaction has a lock for writing on a table.
    pub(in crate::capture) fn has_written(&mut self, oid: Oid, xid: u32) {
        for table in &mut self.tables {
            if table.info.as_ref().is_some_and(|info| info.oid == oid) {
                table.initial_wait.has_written(xid);
            }
        }
    }

    /// Sets the descriptions that were read from the catalogs, in the order of the tables.
    pub(in crate::capture) fn set_infos(&mut self, infos: Vec<TableLookup>) {
        for (table, info) in self.tables.iter_mut().zip(infos) {
            table.info = match info {
                TableLookup::Found(info) => Some(Arc::new(*info)),
                TableLookup::Missing | TableLookup::Ambiguous(_) => None,
            };
        }
    }

    /// Marks the tables that do not exist any more, and makes those pending that exist again.
    pub(in crate::capture) fn update_existence(&mut self) {
        for table in &mut self.tables {
            let exists = table.info.is_some();
            match table.state.mode {
                Mode::Pending | Mode::Ignore => {}
                Mode::Missing if exists => {
                    info!(stream = %table.id, "table exists again: it is backfilled from the start");
                    table.state.update(|state| *state = TableState::default());
                }
                _ if !exists => {
                    warn!(stream = %table.id,
                        "table does not exist any more; its documents are kept");
                    table.mark_missing();
                }
                _ => {}
            }
        }
    }

    /// Returns whether the state of a table differs from that in the last checkpoint.
    pub(in crate::capture) fn have_changed_states(&self) -> bool {
        self.iter().any(|table| table.state.is_changed())
    }

    /// Returns the entries of the state that differ from those in the last checkpoint.
    pub(in crate::capture) fn changed_states(&self) -> impl Iterator<Item = (&str, &TableState)> {
        self.iter()
            .filter(|table| table.state.is_changed())
            .map(|table| (table.state_key.as_str(), &*table.state))
    }

    /// Notes that a checkpoint has the states of all tables.
    pub(in crate::capture) fn mark_saved(&mut self) {
        for table in &mut self.tables {
            table.state.mark_saved();
        }
    }
}
