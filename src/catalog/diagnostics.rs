//! State of slot, snapshot and long transactions, for log lines about a slow capture.
//!
//! The text of other sessions' statements is never read: it can contain values of rows.

use std::fmt;

use protocol::Lsn;
use serde_json::json;

use crate::catalog::slot::{SlotInfo, parse_slot, slot_statement};
use crate::client::{Client, Row, Rows, Statement};
use crate::error::Result;

/// Bytes of WAL retained from before the confirmed position that give a warning.
const RETAINED_WAL_WARNING: u64 = 4 << 30;

/// Number of transactions that an explanation names at most.
const MAX_TRANSACTIONS_NAMED: usize = 10;

/// State of a slot, and the current WAL position of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotStatus {
    /// Name of the slot.
    pub name: String,
    /// State of the slot; `None` if it does not exist.
    pub slot: Option<SlotInfo>,
    /// End of the flushed WAL; on a standby, of the replayed WAL.
    pub current_lsn: Lsn,
}

const SELECT_POSITION: &str = "\
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_flush_lsn() END";

/// Returns the statement for the position up to which WAL can be streamed now.
pub fn position_statement() -> Statement {
    Statement::new(SELECT_POSITION, &[])
}

/// State of the server that a capture reads from time to time. A part that cannot be read is the
/// server's error.
#[derive(Debug)]
pub struct Health {
    /// `xmax` of a snapshot, with epoch: every assigned transaction ID below it was in progress or had
    /// ended.
    pub next_transaction_id: Result<u64>,
    /// State of the slot.
    pub slot: Result<SlotStatus>,
    /// Warning if the server treats this capture as a synchronous standby, so that commits wait until
    /// they are durable in Flow: a backfill can then wait for a commit that waits for the backfill.
    ///
    /// See <https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONOUS-STANDBY-NAMES>.
    pub standby_warning: Result<Option<String>>,
    /// Long-running transactions. Those of other users are missing if this user may not see them.
    pub long_transactions: Result<Vec<LongTransaction>>,
}

/// Uses the function names of version 10, which later versions still have.
const SELECT_NEXT_TRANSACTION_ID: &str = "SELECT txid_snapshot_xmax(txid_current_snapshot())";

/// Reads the state of the server, with the transactions that have been open for at least `seconds`.
///
/// # Errors
///
/// Fails when the connection is lost.
pub async fn read_health(client: &mut Client, slot: &str, seconds: u64) -> Result<Health> {
    let [next, info, position, standby, long] = client
        .query_each([
            Statement::new(SELECT_NEXT_TRANSACTION_ID, &[]),
            slot_statement(slot, client.server_version_num()),
            position_statement(),
            Statement::new(SELECT_STANDBY_NAME, &[Some(slot)]),
            Statement::new(SELECT_LONG_TRANSACTIONS, &[Some(&format!("{seconds} s"))]),
        ])
        .await?;
    let status = |info: &Rows, position: &Rows| {
        Ok(SlotStatus {
            name: slot.to_owned(),
            slot: parse_slot(info)?,
            current_lsn: position.one()?.parse(0)?,
        })
    };
    Ok(Health {
        next_transaction_id: next.and_then(|rows| rows.one()?.parse(0)),
        slot: info.and_then(|info| status(&info, &position?)),
        standby_warning: standby.map(|rows| synchronous_standby_warning(&rows)),
        long_transactions: long.and_then(|rows| long_transactions(&rows)),
    })
}

impl SlotStatus {
    /// Returns a warning if the slot is missing, lost or without a position, or retains more than
    /// 4 GiB of WAL from before the confirmed position.
    pub fn warning(&self) -> Option<String> {
        let Some(slot) = &self.slot else {
            return Some(format!("replication slot {:?} does not exist", self.name));
        };
        if slot.is_invalidated() {
            return Some(format!("replication slot {:?} is lost", self.name));
        }
        let (Some(confirmed), Some(restart)) = (slot.confirmed_flush_lsn, slot.restart_lsn) else {
            return Some(format!("replication slot {:?} has no position", self.name));
        };
        let gap = confirmed.distance(restart);
        (gap > RETAINED_WAL_WARNING).then(|| {
            format!(
                "replication slot {:?} retains {gap} bytes of WAL from before the confirmed \
                 position: a transaction has been open for that long",
                self.name,
            )
        })
    }
}

impl fmt::Display for SlotStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(slot) = &self.slot else {
            return write!(f, "slot {}: does not exist", self.name);
        };
        slot.fmt(f)?;
        for (label, lsn) in [
            ("retained", slot.restart_lsn),
            ("unconfirmed", slot.confirmed_flush_lsn),
        ] {
            if let Some(lsn) = lsn {
                write!(f, ", {} bytes {label}", self.current_lsn.distance(lsn))?;
            }
        }
        write!(f, ", server at {}", self.current_lsn)
    }
}

const SELECT_STANDBY_NAME: &str = "\
SELECT r.application_name
FROM pg_catalog.pg_replication_slots AS s
JOIN pg_catalog.pg_stat_replication AS r ON r.pid = s.active_pid
WHERE s.slot_name = $1 AND r.sync_priority > 0";

fn synchronous_standby_warning(rows: &Rows) -> Option<String> {
    rows.rows.first().map(|row| {
        format!(
            "the server takes this capture for a synchronous standby: commits wait until Flow has \
             confirmed them, and a backfill can wait for a commit that waits for it. Name the real \
             standbys in synchronous_standby_names, which matches the application name {:?} now",
            row.get(0).unwrap_or_default()
        )
    })
}

/// A long-running transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongTransaction {
    /// Process of its session; `None` for a prepared transaction, which has no session.
    pub pid: Option<u32>,
    /// Global identifier of a prepared transaction.
    pub gid: Option<String>,
    /// Seconds since it began or was prepared.
    pub seconds: u64,
    /// Name of the user.
    pub user: Option<String>,
    /// `application_name` of the session.
    pub application: Option<String>,
    /// State of the session, such as `idle in transaction`.
    pub state: Option<String>,
}

/// Prepared transactions hold back the slot like open ones, and `pg_stat_activity` does not show them.
const SELECT_LONG_TRANSACTIONS: &str = "\
SELECT a.pid, NULL, extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS seconds,
       a.usename, a.application_name, a.state
FROM pg_catalog.pg_stat_activity AS a
WHERE a.xact_start < clock_timestamp() - $1::text::interval AND a.pid <> pg_backend_pid()
UNION ALL
SELECT NULL, p.gid, extract(epoch FROM clock_timestamp() - p.prepared)::bigint,
       p.owner, NULL, 'prepared'
FROM pg_catalog.pg_prepared_xacts AS p
WHERE p.prepared < clock_timestamp() - $1::text::interval
ORDER BY seconds DESC";

fn long_transactions(rows: &Rows) -> Result<Vec<LongTransaction>> {
    let text = |row: &Row, column| row.get(column).map(str::to_owned);
    rows.rows
        .iter()
        .map(|row| {
            Ok(LongTransaction {
                pid: row.get(0).map(|_| row.parse(0)).transpose()?,
                gid: text(row, 1),
                seconds: row.parse(2)?,
                user: text(row, 3),
                application: text(row, 4),
                state: text(row, 5),
            })
        })
        .collect()
}

/// Every transaction holds a lock on its own ID, which `pg_locks` shows to every user. The state of
/// the session is shown to users with the privilege to see it.
const SELECT_HOLDERS: &str = "\
SELECT w.number - 1, l.pid, a.usename, a.application_name, a.state, a.wait_event_type,
       a.wait_event, extract(epoch FROM clock_timestamp() - a.query_start)::bigint,
       p.gid, p.owner, extract(epoch FROM clock_timestamp() - p.prepared)::bigint
FROM json_array_elements_text($1::json) WITH ORDINALITY AS w(xid, number)
LEFT JOIN pg_catalog.pg_prepared_xacts AS p ON p.transaction::text = w.xid
LEFT JOIN pg_catalog.pg_locks AS l
  ON l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
  AND l.transactionid::text = w.xid
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
ORDER BY w.number";

/// Describes the sessions that run these transactions, and what they wait for. Transaction IDs
/// include the epoch, as in snapshots.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn explain_waiting(client: &mut Client, xids: &[u64]) -> Result<String> {
    let named = &xids[..xids.len().min(MAX_TRANSACTIONS_NAMED)];
    // The system views have transaction IDs without epoch.
    let list: Vec<String> = named
        .iter()
        .map(|xid| (xid & 0xffff_ffff).to_string())
        .collect();
    let rows = client
        .query(SELECT_HOLDERS, &[Some(&json!(list).to_string())])
        .await?;
    let (mut texts, mut unknown) = (Vec::new(), Vec::new());
    for row in &rows.rows {
        let Some(xid) = named.get(row.parse::<usize>(0)?) else {
            continue;
        };
        match holder(row) {
            Some(holder) => texts.push(format!("transaction {xid}: {holder}")),
            None => unknown.push(xid.to_string()),
        }
    }
    if !unknown.is_empty() {
        texts.push(format!(
            "no session of this server has {}: ended meanwhile, or on the primary",
            unknown.join(", "),
        ));
    }
    if xids.len() > named.len() {
        texts.push(format!("{} more transactions", xids.len() - named.len()));
    }
    Ok(texts.join("; "))
}

/// Describes a session or prepared transaction by the columns of a row after the first.
pub(super) fn holder(row: &Row) -> Option<String> {
    if let Some(gid) = row.get(8) {
        let (owner, seconds) = (row.get(9).unwrap_or("?"), row.get(10).unwrap_or("?"));
        return Some(format!(
            "prepared by user {owner:?} as {gid:?} for {seconds} s, and waiting for COMMIT \
             PREPARED or ROLLBACK PREPARED"
        ));
    }
    let mut text = format!("process {}", row.get(1)?);
    if let Some(user) = row.get(2) {
        text.push_str(&format!(" of user {user:?}"));
    }
    if let Some(application) = row.get(3).filter(|name| !name.is_empty()) {
        text.push_str(&format!(" ({application})"));
    }
    let Some(state) = row.get(4) else {
        text.push_str(", doing what this user may not see (GRANT pg_read_all_stats shows it)");
        return Some(text);
    };
    text.push_str(&format!(", {state}"));
    if let (Some(class), Some(event)) = (row.get(5), row.get(6)) {
        text.push_str(&format!(", waiting for {class} {event}"));
        if event == "SyncRep" {
            text.push_str(" (a synchronous standby has not confirmed the commit)");
        }
    }
    if let Some(seconds) = row.get(7) {
        text.push_str(&format!(", last statement began {seconds} s ago"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> SlotStatus {
        let slot = SlotInfo {
            name: "flow_slot".into(),
            plugin: Some("pgoutput".into()),
            database: Some("shop".into()),
            temporary: false,
            active_pid: Some(7),
            restart_lsn: Some(Lsn::new(0x100)),
            confirmed_flush_lsn: Some(Lsn::new(0x180)),
            wal_status: Some("reserved".into()),
            safe_wal_size: None,
            two_phase: false,
            invalidation_reason: None,
            synced: false,
        };
        SlotStatus {
            name: "flow_slot".into(),
            slot: Some(slot),
            current_lsn: Lsn::new(0x200),
        }
    }

    #[test]
    fn a_slot_is_displayed_in_one_line() {
        assert_eq!(
            status().to_string(),
            "slot flow_slot: restart_lsn 0/100, confirmed_flush_lsn 0/180, in use by process 7, \
             wal_status reserved, 256 bytes retained, 128 bytes unconfirmed, server at 0/200"
        );
    }

    #[test]
    fn a_slot_in_order_gives_no_warning() {
        assert_eq!(status().warning(), None);
        let with = |change: fn(&mut SlotInfo)| {
            let mut status = status();
            change(status.slot.as_mut().unwrap());
            status.warning().unwrap()
        };
        assert!(with(|slot| slot.wal_status = Some("lost".into())).contains("is lost"));
        assert!(with(|slot| slot.restart_lsn = None).contains("no position"));
        let far = with(|slot| slot.confirmed_flush_lsn = Some(Lsn::new(5 << 30)));
        assert!(far.contains("retains 5368708864 bytes"), "{far}");
        let gone = SlotStatus {
            slot: None,
            ..status()
        };
        assert!(gone.warning().unwrap().contains("does not exist"));
    }
}
