//! What an operator wants to know when a capture is slow: who holds what.
//!
//! The text of other sessions' statements is never read: it can hold the values of rows.

use std::fmt;

use protocol::Lsn;
use serde_json::json;

use crate::catalog::slot::{SlotInfo, parse_slot, slot_statement};
use crate::client::{Client, Row, Rows, Statement};
use crate::error::Result;

/// How far the log may be kept behind what was confirmed before it is worth a warning.
const GAP_WARNED_OF: u64 = 4 << 30;

/// How many transactions an explanation names.
const TRANSACTIONS_NAMED: usize = 10;

/// A slot and where the server's log has got to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotStatus {
    /// The name that was asked for.
    pub name: String,
    /// The slot; `None` if there is none of the name.
    pub slot: Option<SlotInfo>,
    /// The end of what is flushed; on a standby, of what is replayed.
    pub current_lsn: Lsn,
}

const SELECT_POSITION: &str = "\
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_flush_lsn() END";

/// Returns the statement for the position up to which the log can be streamed now.
pub fn position_statement() -> Statement {
    Statement::new(SELECT_POSITION, &[])
}

/// What an operator has to know of the server now and then. What cannot be found out is the server's
/// error.
#[derive(Debug)]
pub struct Health {
    /// The end of a snapshot: every transaction that has been given a number below it, with its
    /// epoch, has ended or was in progress.
    pub next_transaction_id: Result<u64>,
    /// The state of the slot.
    pub slot: Result<SlotStatus>,
    /// What is wrong where commits wait for the one who reads the slot, as for a synchronous
    /// standby: a commit is confirmed when it is durable in Flow, and what a snapshot of ours has to
    /// contain first could be that very commit.
    ///
    /// See <https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONOUS-STANDBY-NAMES>.
    pub standby_warning: Result<Option<String>>,
    /// Transactions that have been open for long. Without the right to see them, those of other users
    /// are left out.
    pub long_transactions: Result<Vec<LongTransaction>>,
}

/// By the name that every version knows.
const SELECT_NEXT_TRANSACTION_ID: &str = "SELECT txid_snapshot_xmax(txid_current_snapshot())";

/// Reads what an operator has to know, with which transactions have been open for at least so many
/// seconds.
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
    /// Tells what about the slot should worry its owner.
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
        (gap > GAP_WARNED_OF).then(|| {
            format!(
                "replication slot {:?} keeps {gap} bytes of WAL from before what was confirmed: a \
                 transaction has been open for that long",
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
        for (what, lsn) in [
            ("kept", slot.restart_lsn),
            ("unconfirmed", slot.confirmed_flush_lsn),
        ] {
            if let Some(lsn) = lsn {
                write!(f, ", {} bytes {what}", self.current_lsn.distance(lsn))?;
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

/// A transaction that has been open for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongTransaction {
    /// The process of its session; `None` for a prepared transaction, which has none.
    pub pid: Option<u32>,
    /// The name of a prepared transaction.
    pub gid: Option<String>,
    /// How long it has been open, in seconds.
    pub seconds: u64,
    /// The user.
    pub user: Option<String>,
    /// The application as it calls itself.
    pub application: Option<String>,
    /// What the session is doing, such as `idle in transaction`.
    pub state: Option<String>,
}

/// Prepared transactions hold back the log as open ones do, and nobody sees them.
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

/// Every transaction holds a lock on its own number, and `pg_locks` shows them to everybody; what
/// the session is doing is shown to those who may see it.
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

/// Tells which sessions hold these transactions, and what they wait for. The numbers are those of
/// snapshots, with their epoch.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn explain_waiting(client: &mut Client, xids: &[u64]) -> Result<String> {
    let named = &xids[..xids.len().min(TRANSACTIONS_NAMED)];
    // The server's lists of who runs what have the lower half of the number only.
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

/// Describes a session or prepared transaction by the columns behind the first of a row.
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
    fn a_slot_is_summed_up_in_one_line() {
        assert_eq!(
            status().to_string(),
            "slot flow_slot: restart_lsn 0/100, confirmed_flush_lsn 0/180, in use by process 7, \
             wal_status reserved, 256 bytes kept, 128 bytes unconfirmed, server at 0/200"
        );
    }

    #[test]
    fn only_what_is_wrong_with_a_slot_is_warned_of() {
        assert_eq!(status().warning(), None);
        let with = |change: fn(&mut SlotInfo)| {
            let mut status = status();
            change(status.slot.as_mut().unwrap());
            status.warning().unwrap()
        };
        assert!(with(|slot| slot.wal_status = Some("lost".into())).contains("is lost"));
        assert!(with(|slot| slot.restart_lsn = None).contains("no position"));
        let far = with(|slot| slot.confirmed_flush_lsn = Some(Lsn::new(5 << 30)));
        assert!(far.contains("keeps 5368708864 bytes"), "{far}");
        let gone = SlotStatus {
            slot: None,
            ..status()
        };
        assert!(gone.warning().unwrap().contains("does not exist"));
    }
}
