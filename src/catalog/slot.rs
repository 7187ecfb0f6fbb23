//! State of the replication slot, and the number of slots that are free.

use std::fmt;

use protocol::Lsn;

use crate::client::{Client, Row, Rows, Statement};
use crate::error::Result;

/// A replication slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// Name of the slot.
    pub name: String,
    /// Output plugin; `None` for a physical slot.
    pub plugin: Option<String>,
    /// Database whose changes it decodes; `None` for a physical slot.
    pub database: Option<String>,
    /// Whether it is dropped at the end of its session.
    pub temporary: bool,
    /// Process that streams from it.
    pub active_pid: Option<u32>,
    /// Start of the WAL that the server keeps for it.
    pub restart_lsn: Option<Lsn>,
    /// Position up to which changes are confirmed.
    pub confirmed_flush_lsn: Option<Lsn>,
    /// Availability of the WAL it needs: `reserved`, `extended`, `unreserved` or `lost`. Since
    /// version 13.
    pub wal_status: Option<String>,
    /// Bytes of WAL that can be written before it may be lost; `None` without
    /// `max_slot_wal_keep_size`. Since version 13.
    pub safe_wal_size: Option<i64>,
    /// Whether it decodes transactions at PREPARE TRANSACTION. Since version 14.
    pub two_phase: bool,
    /// Reason why it can no longer be used. Since version 17; version 16 tells only that there is one.
    pub invalidation_reason: Option<String>,
    /// Whether it is a standby's synchronized copy of a slot of the primary. Since version 17.
    pub synced: bool,
}

impl SlotInfo {
    /// Returns whether the server has invalidated it: the WAL or rows it needs were removed.
    pub fn is_invalidated(&self) -> bool {
        self.invalidation_reason.is_some() || self.wal_status.as_deref() == Some("lost")
    }
}

impl fmt::Display for SlotInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = |lsn: Option<Lsn>| lsn.map_or("none".to_owned(), |lsn| lsn.to_string());
        write!(
            f,
            "slot {}: restart_lsn {}, confirmed_flush_lsn {}",
            self.name,
            position(self.restart_lsn),
            position(self.confirmed_flush_lsn),
        )?;
        match self.active_pid {
            Some(pid) => write!(f, ", in use by process {pid}")?,
            None => f.write_str(", not in use")?,
        }
        if let Some(status) = &self.wal_status {
            write!(f, ", wal_status {status}")?;
        }
        if let Some(bytes) = self.safe_wal_size {
            write!(f, ", {bytes} bytes until it may be lost")?;
        }
        if let Some(reason) = &self.invalidation_reason {
            write!(f, ", invalidated: {reason}")?;
        }
        Ok(())
    }
}

const SELECT_SLOT: &str = "\
SELECT s.slot_name, s.plugin, s.database, s.temporary, s.active_pid, s.restart_lsn,
       s.confirmed_flush_lsn, {wal_status}, {safe_wal_size}, {two_phase}, {reason}, {synced}
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name::text = $1";

/// Reads the state of a slot; `None` if there is no slot of that name.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn read_slot(client: &mut Client, name: &str) -> Result<Option<SlotInfo>> {
    let statement = slot_statement(name, client.server_version_num());
    parse_slot(&client.run(&statement).await?)
}

/// Returns the statement whose result [`parse_slot`] reads.
pub fn slot_statement(name: &str, version: u32) -> Statement {
    let since = |first: u32, then: &'static str, before: &'static str| {
        if version >= first * 10_000 {
            then
        } else {
            before
        }
    };
    let conflict = since(
        16,
        "CASE WHEN s.conflicting THEN 'WAL removed, or conflict with recovery' END",
        "NULL",
    );
    let sql = SELECT_SLOT
        .replace("{wal_status}", since(13, "s.wal_status", "NULL"))
        .replace("{safe_wal_size}", since(13, "s.safe_wal_size", "NULL"))
        .replace("{two_phase}", since(14, "s.two_phase", "false"))
        .replace("{reason}", since(17, "s.invalidation_reason", conflict))
        .replace("{synced}", since(17, "s.synced", "false"));
    Statement::new(sql, &[Some(name)])
}

/// Reads the result of [`slot_statement`]; `None` if there is no such slot.
///
/// # Errors
///
/// Fails if a value of the row is not as expected.
pub fn parse_slot(rows: &Rows) -> Result<Option<SlotInfo>> {
    let Some(row) = rows.rows.first() else {
        return Ok(None);
    };
    let text = |column| row.get(column).map(str::to_owned);
    Ok(Some(SlotInfo {
        name: row.text(0)?.to_owned(),
        plugin: text(1),
        database: text(2),
        temporary: row.bool(3)?,
        active_pid: optional(row, 4)?,
        restart_lsn: optional(row, 5)?,
        confirmed_flush_lsn: optional(row, 6)?,
        wal_status: text(7),
        safe_wal_size: optional(row, 8)?,
        two_phase: row.bool(9)?,
        invalidation_reason: text(10),
        synced: row.bool(11)?,
    }))
}

fn optional<T>(row: &Row, column: usize) -> Result<Option<T>>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get(column).map(|_| row.parse(column)).transpose()
}

/// Numbers of slots and WAL senders in use, and their limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SlotCapacity {
    pub(super) slots: u32,
    pub(super) max_slots: u32,
    /// Names of inactive slots, at most ten.
    pub(super) unused: Vec<String>,
    pub(super) senders: u32,
    pub(super) max_senders: u32,
}

const SELECT_CAPACITY: &str = "\
SELECT (SELECT count(*) FROM pg_catalog.pg_replication_slots),
       current_setting('max_replication_slots'),
       (SELECT count(*) FROM pg_catalog.pg_stat_replication),
       current_setting('max_wal_senders'),
       (SELECT string_agg(s.slot_name::text, ', ')
        FROM (SELECT slot_name FROM pg_catalog.pg_replication_slots
              WHERE NOT active ORDER BY slot_name LIMIT 10) AS s)";

/// Returns the statement whose result [`parse_capacity`] reads.
pub(super) fn capacity_statement() -> Statement {
    Statement::new(SELECT_CAPACITY, &[])
}

/// Reads the result of [`capacity_statement`].
pub(super) fn parse_capacity(rows: &Rows) -> Result<SlotCapacity> {
    let row = rows.one()?;
    Ok(SlotCapacity {
        slots: row.parse(0)?,
        max_slots: row.parse(1)?,
        senders: row.parse(2)?,
        max_senders: row.parse(3)?,
        unused: row
            .get(4)
            .into_iter()
            .flat_map(|names| names.split(", "))
            .map(str::to_owned)
            .collect(),
    })
}

/// Returns whether the server accepts this as the name of a new slot.
pub(super) fn is_valid_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}
