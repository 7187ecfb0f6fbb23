//! A bound table: what is known of it, and what is done with it.

mod scan;

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::info;

pub(super) use self::scan::{Decision, Scan, SpanRange, UnfencedChunk};

use super::state::{Mode, Scanned, TableState};
use super::visibility::{InitialWait, UnseenCommits};
use crate::backfill::{Position, TableScan};
use crate::catalog::{ColumnInfo, TableId, TableInfo, TableKind};
use crate::config::{BackfillMode, Config, Resource};
use crate::error::{Error, ErrorKind, Result};
use crate::record::RowKey;
use crate::value::{KeyCodec, TypeRegistry};

/// A bound table.
#[derive(Debug)]
pub(super) struct Table {
    /// Its place among the bindings of the task.
    pub(super) binding: u32,
    /// The key of its state.
    pub(super) state_key: String,
    /// Its name as configured.
    pub(super) id: TableId,
    /// The binding's configuration.
    pub(super) resource: Resource,
    /// The columns of the collection's key; `None` where documents are keyed by their `loc`.
    pub(super) collection_key: Option<Vec<String>>,
    /// Whether documents show the transaction's id.
    pub(super) transaction_ids: bool,
    /// What the database says of it; `None` while it does not exist.
    pub(super) info: Option<Arc<TableInfo>>,
    /// Its state as of now, and whether that was not part of a checkpoint yet.
    pub(super) state: TableState,
    pub(super) changed: bool,
    /// How far its scan is, while it is scanned.
    pub(super) scan: Option<Scan>,
    /// Streamed transactions that its next chunk must contain.
    pub(super) unseen: UnseenCommits,
    /// Transactions that may have been streamed earlier and that its first chunk must contain.
    pub(super) initial_wait: InitialWait,
}

impl Table {
    /// Changes the state; it will be part of the next checkpoint.
    pub(super) fn update_state(&mut self, change: impl FnOnce(&mut TableState)) {
        let before = self.state.clone();
        change(&mut self.state);
        self.changed |= self.state != before;
    }

    /// Returns whether changes are of interest at all.
    pub(super) fn is_followed(&self) -> bool {
        !matches!(self.state.mode, Mode::Ignore | Mode::Missing)
    }

    /// Returns whether later chunks have to contain what is dropped now.
    pub(super) fn awaits_chunks(&self) -> bool {
        self.state.mode == Mode::Pending || self.state.mode.is_backfill()
    }

    /// Returns whether an update that keeps the key of the document can move its row from what is
    /// still to be scanned to what was scanned already.
    pub(super) fn scan_may_miss_rows(&self) -> bool {
        self.scan.is_some()
            && self.collection_key.is_some()
            && self.state.key_columns != self.collection_key
    }

    /// Decides what is done with a table that was pending, or ends a scan that is to be skipped.
    ///
    /// # Errors
    ///
    /// Fails where the table does not exist, or its key is not of its columns.
    pub(super) fn activate(
        &mut self,
        task: &str,
        config: &Config,
        types: &TypeRegistry,
        version: u32,
    ) -> Result<()> {
        if self.awaits_chunks() && config.skip_backfills.skips(&self.id.schema, &self.id.name) {
            info!(stream = %self.id, "backfill skipped");
            if self.state.mode == Mode::Pending {
                let key = self.backfill_key();
                self.update_state(|state| state.key_columns = key);
            }
            self.complete();
            return Ok(());
        }
        if self.state.mode == Mode::Pending {
            self.choose_mode(task, types)?;
        }
        if self.state.mode.is_backfill() && self.scan.is_none() {
            self.scan = Some(self.open_scan(config, types, version)?);
        }
        if !self.awaits_chunks() {
            self.unseen.clear();
        }
        Ok(())
    }

    /// Notes that the scan is at its end.
    pub(super) fn complete(&mut self) {
        self.scan = None;
        self.unseen.clear();
        self.update_state(|state| {
            state.mode = Mode::Active;
            state.scanned = Scanned(None);
        });
    }

    fn info(&self) -> Result<&Arc<TableInfo>> {
        self.info.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Prerequisite,
                format!(
                    "table \"{}\" does not exist, or the user cannot see it: create it, grant the \
                     rights, or disable its binding",
                    self.id
                ),
            )
        })
    }

    /// The columns that the table is scanned by, where it is scanned by columns at all.
    fn backfill_key(&self) -> Option<Vec<String>> {
        if self.resource.mode == BackfillMode::WithoutPrimaryKey {
            None
        } else if self.resource.primary_key.is_empty() {
            self.collection_key.clone()
        } else {
            Some(self.resource.primary_key.clone())
        }
    }

    fn choose_mode(&mut self, task: &str, types: &TypeRegistry) -> Result<()> {
        let table = Arc::clone(self.info()?);
        if !matches!(table.kind, TableKind::Ordinary | TableKind::Partitioned) {
            tracing::warn!(stream = %self.id, "not a table that holds rows: it is left out");
            self.update_state(|state| state.mode = Mode::Ignore);
            return Ok(());
        }
        let key = self.backfill_key();
        let (mode, why) = match self.resource.mode {
            BackfillMode::OnlyChanges => (Mode::Active, "only changes are wanted"),
            BackfillMode::WithoutPrimaryKey => {
                (Mode::KeylessBackfill, "backfilled by physical position")
            }
            BackfillMode::Normal => (Mode::UnfilteredBackfill, "configured"),
            BackfillMode::Precise => (Mode::Backfill, "configured"),
            BackfillMode::Automatic => {
                if !is_predictable(&table, key.as_deref(), types) {
                    (
                        Mode::UnfilteredBackfill,
                        "the order of keys is not predictable",
                    )
                } else if self.resource.additional_backfill_filter.is_some() {
                    (Mode::UnfilteredBackfill, "a filter is set")
                } else {
                    (Mode::Backfill, "the order of keys is predictable")
                }
            }
        };
        info!(stream = %self.id, mode = ?mode, priority = self.resource.priority, "activating table: {why}");
        if mode.is_backfill() {
            info!(
                observable = true,
                catalog_task_name = task,
                stream = %self.id,
                mode = self.resource.mode.as_str(),
                "backfill triggered"
            );
            if let (Some(key), Some(database_key)) = (&key, table.own_key())
                && key != database_key
            {
                info!(stream = %self.id, backfillKey = ?key, databaseKey = ?database_key,
                    "backfill key differs from the table's own");
            }
            if let Some(filter) = &self.resource.additional_backfill_filter {
                info!(stream = %self.id, %filter, "backfill filter set");
            }
        }
        self.update_state(|state| {
            state.mode = mode;
            state.key_columns = key;
            state.scanned = Scanned(None);
        });
        Ok(())
    }

    /// Takes over into a scan under way what is known of the table now, in place of what was known
    /// before. Returns whether the scan has to begin anew: the server has another order for the keys then,
    /// and rows behind the position need not have been read.
    ///
    /// # Errors
    ///
    /// Fails where a scan cannot begin.
    pub(super) fn renew_scan(
        &mut self,
        before: Option<&TableInfo>,
        config: &Config,
        types: &TypeRegistry,
        version: u32,
    ) -> Result<bool> {
        let (Some(scan), Some(before), Some(info)) = (&self.scan, before, &self.info) else {
            return Ok(false);
        };
        let mut names = scan.table.key_columns.iter().map(|(name, _)| name);
        let keeps_order = names.all(|name| match (before.column(name), info.column(name)) {
            (Some(before), Some(now)) => has_order_of(before, now),
            // It is missed when the next chunk is read.
            _ => true,
        });
        if keeps_order {
            let Ok(renewed) = self.open_scan(config, types, version) else {
                return Ok(false);
            };
            if let Some(scan) = &mut self.scan {
                scan.table = renewed.table;
                scan.codecs = renewed.codecs;
                scan.comparable = renewed.comparable;
            }
            return Ok(false);
        }
        let may_lock = scan.may_lock;
        self.update_state(|state| state.scanned = Scanned(None));
        self.scan = Some(Scan {
            may_lock,
            ..self.open_scan(config, types, version)?
        });
        Ok(true)
    }

    fn open_scan(&self, config: &Config, types: &TypeRegistry, version: u32) -> Result<Scan> {
        let table = self.info()?;
        let keyless = self.state.mode == Mode::KeylessBackfill;
        let key_columns = if keyless {
            &[]
        } else {
            self.state.key_columns.as_deref().unwrap_or_default()
        };
        if !keyless && key_columns.is_empty() {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "table \"{}\" cannot be backfilled by key, since its collection is keyed by \
                     /_meta/source/loc: use the backfill mode \"Without Primary Key\" or \"Only \
                     Changes\", or give the collection the table's key",
                    self.id
                ),
            ));
        }
        let mut columns = Vec::new();
        let mut codecs = Vec::new();
        for name in key_columns {
            let column = table.column(name).ok_or_else(|| {
                Error::new(
                    ErrorKind::Configuration,
                    format!(
                        "table \"{}\" has no column \"{name}\" to be backfilled by",
                        self.id
                    ),
                )
            })?;
            columns.push((name.clone(), !column.not_null));
            codecs.push(KeyCodec::new(
                column.type_oid,
                types,
                column.bytewise_collation,
            ));
        }
        let comparable = !codecs.is_empty() && codecs.iter().all(KeyCodec::is_comparable);
        let scanned = self.state.scanned.0.as_deref();
        let (mut position, mut physical) = (None, Position::default());
        if let Some(bytes) = scanned {
            if keyless {
                physical = String::from_utf8_lossy(bytes).parse()?;
            } else {
                position = Some(RowKey::decode(bytes, &codecs)?);
            }
        }
        Ok(Scan {
            table: TableScan {
                target: table.scan_target(),
                key_columns: columns,
                comparisons: codecs
                    .iter()
                    .map(|codec| codec.comparison().clone())
                    .collect(),
                filter: table.scan_filter(self.resource.additional_backfill_filter.as_deref()),
                min_xid: config.min_backfill_xid,
                chunk_size: config.backfill_chunk_size,
                server_version: version,
            },
            codecs,
            comparable,
            position,
            physical,
            chunk: None,
            ranges: VecDeque::new(),
            may_lock: true,
            locked: None,
            chunk_bytes: table.row_bytes.map_or(0, |bytes| {
                document_bytes(bytes).saturating_mul(u64::from(config.backfill_chunk_size))
            }),
            pages: None,
        })
    }
}

/// What a document takes of a row that takes so much of the disk, roughly: there are names beside the
/// values, and these may be compressed.
fn document_bytes(row_bytes: u64) -> u64 {
    row_bytes.saturating_mul(2).saturating_add(128)
}

/// Whether the values of a column are ordered as they were, and can be told by what they were.
fn has_order_of(before: &ColumnInfo, now: &ColumnInfo) -> bool {
    let is_integer = |column: &ColumnInfo| INTEGERS.contains(&column.type_oid.as_u32());
    let same_type = before.type_oid == now.type_oid || is_integer(before) && is_integer(now);
    same_type && before.collation == now.collation
}

/// int8, int2 and int4.
const INTEGERS: [u32; 3] = [20, 21, 23];

/// Whether the reference takes the order of a table's keys for predictable: it judges the key of the
/// table, where it has one, not the one that is used.
fn is_predictable(table: &TableInfo, key: Option<&[String]>, types: &TypeRegistry) -> bool {
    let Some(columns) = table.own_key().or(key) else {
        return false;
    };
    columns.iter().all(|name| {
        table.column(name).is_some_and(|column| {
            KeyCodec::new(column.type_oid, types, column.bytewise_collation).is_predictable()
        })
    })
}

#[cfg(test)]
mod tests;
