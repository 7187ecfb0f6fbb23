//! The statements that take a snapshot, and their answers.

use protocol::Lsn;

use super::snapshot::Snapshot;
use crate::client::{Client, Statement};
use crate::error::{Error, ErrorKind, Result, sqlstate};

/// Statement for the position up to which a standby has replayed the log.
pub(super) const REPLAY_POSITION: &str = "SELECT pg_last_wal_replay_lsn()";

/// Takes a snapshot without reading rows.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn read_snapshot(client: &mut Client, is_standby: bool) -> Result<Snapshot> {
    let replay_position = if is_standby {
        Some(parse_lsn(
            client.query(REPLAY_POSITION, &[]).await?.one()?.get(0),
        )?)
    } else {
        None
    };
    let statement = snapshot_statement(client, is_standby, "");
    let text = client.query(&statement, &[]).await?;
    parse_snapshot(replay_position, text.one()?.get(0))
}

/// Commits a transaction of this session on a primary, then takes a snapshot.
///
/// A snapshot lists only those running transactions whose ids are less than that of the last
/// transaction to have ended. The own transaction gets its id after every transaction that can have
/// been streamed so far, so the snapshot contains each of these or lists it as running.
///
/// A transaction that has written nothing commits without waiting for the disk. With `is_flushed`
/// it writes a message, so that all commits before it are flushed when it has committed, and the
/// log need not be flushed for a fence soon afterwards. The message is not transactional and not
/// streamed. A role that may not write messages commits without one.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn commit_and_read_snapshot(client: &mut Client, is_flushed: bool) -> Result<Snapshot> {
    const FLUSHED: &str = "SELECT txid_current(), pg_logical_emit_message(false, 'flow', '')";
    const UNFLUSHED: &str = "SELECT txid_current()";
    let snapshot = Statement::new(snapshot_statement(client, false, ""), &[]);
    let own = Statement::new(if is_flushed { FLUSHED } else { UNFLUSHED }, &[]);
    let [mut committed, mut taken] = client.query_each([own, snapshot.clone()]).await?;
    let is_denied = |error: &Error| error.sqlstate() == Some(sqlstate::INSUFFICIENT_PRIVILEGE);
    if is_flushed && committed.as_ref().is_err_and(is_denied) {
        let own = Statement::new(UNFLUSHED, &[]);
        [committed, taken] = client.query_each([own, snapshot]).await?;
    }
    committed?;
    parse_snapshot(None, taken?.one()?.get(0))
}

/// Returns the statement that takes the snapshot and reads the end of the log, with the columns
/// `more` in the same snapshot. The server takes the snapshot of a statement before it evaluates
/// the functions in it, so every transaction that the snapshot contains has committed before the
/// returned position.
pub(super) fn snapshot_statement(client: &Client, is_standby: bool, more: &str) -> String {
    if is_standby {
        return format!("SELECT NULL, pg_last_wal_replay_lsn(), pg_last_wal_replay_lsn(){more}");
    }
    let snapshot = if client.server_version_num() >= 130_000 {
        "pg_current_snapshot()"
    } else {
        "txid_current_snapshot()"
    };
    format!(
        "SELECT {snapshot}::text, pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn(){more}"
    )
}

/// Makes a snapshot from the answers: the replay position on a standby, else the text of the
/// snapshot.
///
/// # Errors
///
/// Fails if the text is not a snapshot.
pub(super) fn parse_snapshot(
    replay_position: Option<Lsn>,
    snapshot: Option<&str>,
) -> Result<Snapshot> {
    Ok(match replay_position {
        Some(until) => Snapshot::Standby { until },
        None => Snapshot::Primary(snapshot.unwrap_or_default().parse()?),
    })
}

/// Reads a position of the log.
///
/// # Errors
///
/// Fails if the answer is NULL or not a position.
pub(super) fn parse_lsn(text: Option<&str>) -> Result<Lsn> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::new(
            ErrorKind::Protocol,
            "the server did not report a position of its log",
        )
    })
}
