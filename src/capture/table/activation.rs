//! Activation of a table: its mode, and the scan that reads its rows.

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::{info, warn};

use super::bound_table::Table;
use super::scan::Scan;
use crate::backfill::{Position, TableScan};
use crate::capture::state::{Mode, Scanned};
use crate::capture::task::Settings;
use crate::catalog::{ColumnInfo, TableInfo, TableKind};
use crate::config::BackfillMode;
use crate::error::{Error, ErrorKind, Result};
use crate::record::RowKey;
use crate::value::{KeyCodec, TypeRegistry};

/// OIDs of int8, int2 and int4.
const INTEGERS: [u32; 3] = [20, 21, 23];

impl Table {
    /// Chooses the mode of a pending table and opens its scan, or ends a scan that the
    /// configuration says to skip. `version` is that of the server, such as 150004.
    ///
    /// # Errors
    ///
    /// Fails where the table does not exist, or does not have the columns of its key.
    pub(in crate::capture) fn activate(
        &mut self,
        settings: &Settings,
        types: &TypeRegistry,
        version: u32,
    ) -> Result<()> {
        let skipped = &settings.config.skip_backfills;
        if self.awaits_chunks() && skipped.skips(&self.id.schema, &self.id.name) {
            info!(stream = %self.id, "backfill skipped");
            if self.state.mode == Mode::Pending {
                let key = self.backfill_key();
                self.state.update(|state| state.key_columns = key);
            }
            self.complete();
            return Ok(());
        }
        if self.state.mode == Mode::Pending {
            self.choose_mode(&settings.name, types)?;
        }
        if self.state.mode.is_backfill() && self.scan.is_none() {
            self.scan = Some(self.open_scan(settings, types, version)?);
        }
        if !self.awaits_chunks() {
            self.unseen.clear();
        }
        Ok(())
    }

    /// Adapts the scan to what the catalogs say of the table now, in place of `before`. Returns
    /// whether the scan starts over: the server orders the keys differently then, so that rows
    /// after the position need not be those that are still to be read.
    ///
    /// # Errors
    ///
    /// Fails where a scan cannot be opened.
    pub(in crate::capture) fn renew_scan(
        &mut self,
        before: Option<&TableInfo>,
        settings: &Settings,
        types: &TypeRegistry,
        version: u32,
    ) -> Result<bool> {
        let (Some(scan), Some(before), Some(info)) = (&mut self.scan, before, &self.info) else {
            return Ok(false);
        };
        scan.info = Arc::clone(info);
        let mut names = scan.table.key_columns.iter().map(|(name, _)| name);
        let keeps_order = names.all(|name| match (before.column(name), info.column(name)) {
            (Some(before), Some(now)) => has_order_of(before, now),
            // The next chunk fails for the missing column.
            _ => true,
        });
        if keeps_order {
            let Ok(renewed) = self.open_scan(settings, types, version) else {
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
        self.state.update(|state| state.scanned = Scanned(None));
        self.scan = Some(Scan {
            may_lock,
            ..self.open_scan(settings, types, version)?
        });
        Ok(true)
    }

    fn existing_info(&self) -> Result<&Arc<TableInfo>> {
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

    /// Returns the columns that the table is to be scanned by, if it is to be scanned by columns.
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
        let table = Arc::clone(self.existing_info()?);
        if !matches!(table.kind, TableKind::Ordinary | TableKind::Partitioned) {
            warn!(stream = %self.id, "binding ignored: it is not a table that stores rows");
            self.state.update(|state| state.mode = Mode::Ignore);
            return Ok(());
        }
        let key = self.backfill_key();
        let (mode, reason) = self.mode_by_configuration(&table, key.as_deref(), types);
        info!(stream = %self.id, mode = ?mode, priority = self.resource.priority, "activating table: {reason}");
        if mode.is_backfill() {
            self.log_backfill(task, &table, key.as_deref());
        }
        self.state.update(|state| {
            state.mode = mode;
            state.key_columns = key;
            state.scanned = Scanned(None);
        });
        Ok(())
    }

    /// Returns the mode of a pending table, and the reason to be logged.
    fn mode_by_configuration(
        &self,
        table: &TableInfo,
        key: Option<&[String]>,
        types: &TypeRegistry,
    ) -> (Mode, &'static str) {
        match self.resource.mode {
            BackfillMode::OnlyChanges => (Mode::Active, "only changes are wanted"),
            BackfillMode::WithoutPrimaryKey => {
                (Mode::KeylessBackfill, "backfilled by physical position")
            }
            BackfillMode::Normal => (Mode::UnfilteredBackfill, "configured"),
            BackfillMode::Precise => (Mode::Backfill, "configured"),
            BackfillMode::Automatic => {
                if !is_predictable(table, key, types) {
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
        }
    }

    fn log_backfill(&self, task: &str, table: &TableInfo, key: Option<&[String]>) {
        info!(
            observable = true,
            catalog_task_name = task,
            stream = %self.id,
            mode = self.resource.mode.as_str(),
            "backfill triggered"
        );
        if let (Some(key), Some(database_key)) = (key, table.own_key())
            && key != database_key
        {
            info!(stream = %self.id, backfillKey = ?key, databaseKey = ?database_key,
                "backfill key differs from the table's own");
        }
        if let Some(filter) = &self.resource.additional_backfill_filter {
            info!(stream = %self.id, %filter, "backfill filter set");
        }
    }

    fn open_scan(&self, settings: &Settings, types: &TypeRegistry, version: u32) -> Result<Scan> {
        let info = self.existing_info()?;
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
        let (columns, codecs) = self.scan_key(info, key_columns, types)?;
        let comparable = !codecs.is_empty() && codecs.iter().all(KeyCodec::is_comparable);
        let (mut position, mut physical) = (None, Position::default());
        if let Some(bytes) = self.state.scanned.0.as_deref() {
            if keyless {
                physical = String::from_utf8_lossy(bytes).parse()?;
            } else {
                position = Some(RowKey::decode(bytes, &codecs)?);
            }
        }
        let chunk_size = settings.config.backfill_chunk_size;
        Ok(Scan {
            info: Arc::clone(info),
            table: TableScan {
                target: info.scan_target(),
                key_columns: columns,
                comparisons: codecs
                    .iter()
                    .map(|codec| codec.comparison().clone())
                    .collect(),
                filter: info.scan_filter(self.resource.additional_backfill_filter.as_deref()),
                min_xid: settings.config.min_backfill_xid,
                chunk_size,
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
            chunk_bytes: info.row_bytes.map_or(0, |bytes| {
                document_bytes(bytes).saturating_mul(u64::from(chunk_size))
            }),
            pages: None,
        })
    }

    /// Returns the columns that the table is scanned by, with whether each may be NULL, and their
    /// codecs.
    #[expect(clippy::type_complexity, reason = "used once")]
    fn scan_key(
        &self,
        info: &TableInfo,
        names: &[String],
        types: &TypeRegistry,
    ) -> Result<(Vec<(String, bool)>, Vec<KeyCodec>)> {
        let mut columns = Vec::new();
        let mut codecs = Vec::new();
        for name in names {
            let column = info.column(name).ok_or_else(|| {
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
        Ok((columns, codecs))
    }
}

/// Returns an estimate of a document's size, in bytes, from that of its row on disk: the document
/// has names beside the values, and values on disk may be compressed.
fn document_bytes(row_bytes: u64) -> u64 {
    row_bytes.saturating_mul(2).saturating_add(128)
}

/// Returns whether the values of a column are ordered as before, and compare with the earlier ones.
fn has_order_of(before: &ColumnInfo, now: &ColumnInfo) -> bool {
    let is_integer = |column: &ColumnInfo| INTEGERS.contains(&column.type_oid.as_u32());
    let same_type = before.type_oid == now.type_oid || is_integer(before) && is_integer(now);
    same_type && before.collation == now.collation
}

/// Returns whether the reference takes the order of a table's keys for predictable. It looks at the
/// table's own key, where it has one, not at the key that is used.
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
