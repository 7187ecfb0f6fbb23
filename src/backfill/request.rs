//! Asking for a span: its snapshot and its first rows in one round trip, then more of them.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::{Format, Session};

use super::reader::{parse_lsn, parse_snapshot};
use super::{ChunkQuery, Snapshot, SpanReader};
use crate::client::{Client, Statement, unsendable};
use crate::error::{Error, ErrorKind, Result, sqlstate};

/// The rows that a span asks for.
#[derive(Debug)]
pub enum SpanRows {
    /// The rows of one statement, in batches.
    Batches {
        /// The statement.
        query: ChunkQuery,
        /// The most rows of a batch.
        rows: u32,
        /// The most batches.
        count: u32,
    },
    /// The rows of several statements that differ in their parameters only, one after the other.
    Statements(VecDeque<ChunkQuery>),
}

/// What is asked of the server with a span.
#[derive(Debug)]
pub struct SpanRequest<'a> {
    /// The rows.
    pub rows: SpanRows,
    /// The statement that locks the table, if that is to be tried.
    pub lock: Option<&'a str>,
    /// How long that, and whatever else locks the table before its rows come, may wait.
    pub lock_timeout: Duration,
    /// An expression for the table's columns.
    pub columns: &'a str,
    /// The statement for the key of the last row, if that is wanted.
    pub last_key: Option<&'a ChunkQuery>,
    /// Whether the server is a standby.
    pub standby: bool,
    /// How many batches or statements are asked for at once.
    pub depth: u32,
}

/// The portal of the statement that is read in batches.
const PORTAL: &str = "span";

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
const REPLAY_POSITION: &str = "SELECT pg_last_wal_replay_lsn()";

/// The statement that takes the snapshot, and whatever else in the same snapshot. A statement's snapshot is
/// taken before its functions are evaluated, so the position is never before what the snapshot
/// contains.
fn snapshot_statement(client: &Client, standby: bool, more: &str) -> String {
    if standby {
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

/// Takes a snapshot without reading rows.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn read_snapshot(client: &mut Client, standby: bool) -> Result<Snapshot> {
    let until = if standby {
        Some(parse_lsn(
            client.query(REPLAY_POSITION, &[]).await?.one()?.get(0),
        )?)
    } else {
        None
    };
    let statement = snapshot_statement(client, standby, "");
    parse_snapshot(until, client.query(&statement, &[]).await?.one()?.get(0))
}

/// Takes a snapshot of a primary behind the end of a transaction of our own, which began after all that
/// can have been streamed up to now: a snapshot lists only those running that began before the last
/// one to have ended.
///
/// A transaction that has written nothing ends without waiting for the disk. One that is on disk when
/// it has ended has all before it there as well, so that soon afterwards nothing has to be written for
/// a fence. The message that it writes for that is none of the transaction's, and is not streamed; who
/// may not write messages does without.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn read_snapshot_after_own_commit(
    client: &mut Client,
    on_disk: bool,
) -> Result<Snapshot> {
    const ON_DISK: &str = "SELECT txid_current(), pg_logical_emit_message(false, 'flow', '')";
    const PLAIN: &str = "SELECT txid_current()";
    let snapshot = Statement::new(snapshot_statement(client, false, ""), &[]);
    let own = Statement::new(if on_disk { ON_DISK } else { PLAIN }, &[]);
    let [mut written, mut seen] = client.query_each([own, snapshot.clone()]).await?;
    let may_not = |error: &Error| error.sqlstate() == Some(sqlstate::INSUFFICIENT_PRIVILEGE);
    if on_disk && written.as_ref().is_err_and(may_not) {
        let own = Statement::new(PLAIN, &[]);
        [written, seen] = client.query_each([own, snapshot]).await?;
    }
    written?;
    parse_snapshot(None, seen?.one()?.get(0))
}

impl SpanReader {
    /// Asks for a span: the snapshot, the table's columns, the key of its last row if that is wanted, and
    /// the first batches or statements.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn request(client: &mut Client, request: SpanRequest<'_>) -> Result<Self> {
        let SpanRequest {
            rows,
            lock,
            lock_timeout,
            columns,
            last_key,
            standby,
            depth,
        } = request;
        let snapshot = snapshot_statement(client, standby, &format!(", {columns}"));
        let mut reader = Self {
            rows,
            standby,
            until: None,
            viewed: None,
            leading: 2 + u32::from(last_key.is_some()),
            last_key: None,
            described: false,
            outstanding: 0,
            asked: 0,
            complete: false,
            closed: false,
            ready_due: 0,
            failure: None,
        };
        let session = client.connection().session();
        if standby {
            // Whatever was replayed by now is in the snapshot that is taken next.
            queue(session, REPLAY_POSITION)?;
            session.sync().map_err(unsendable)?;
            reader.ready_due += 1;
        }
        queue(session, BEGIN)?;
        let lock_timeout = lock_timeout.as_millis();
        queue(session, &format!("SET LOCAL lock_timeout = {lock_timeout}"))?;
        if let Some(lock) = lock {
            queue(session, lock)?;
        }
        queue(session, &snapshot)?;
        if let Some(query) = last_key {
            bind(session, query, "", false)?;
            session.execute("", 0).map_err(unsendable)?;
        }
        // A portal locks the partitions as well.
        if let SpanRows::Batches { query, .. } = &reader.rows {
            bind(session, query, PORTAL, false)?;
        }
        queue(session, "SET LOCAL lock_timeout TO DEFAULT")?;
        if let SpanRows::Batches { .. } = &reader.rows {
            session.describe_portal(PORTAL).map_err(unsendable)?;
        }
        reader.ask(client, depth).await?;
        Ok(reader)
    }

    /// Asks for more, so that as many requests for rows as given are not answered yet. Behind the
    /// last of them the transaction is ended.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn ask(&mut self, client: &mut Client, depth: u32) -> Result<()> {
        if self.closed || self.failure.is_some() {
            return Ok(());
        }
        let session = client.connection().session();
        while self.outstanding < depth {
            match &mut self.rows {
                SpanRows::Batches { rows, count, .. } => {
                    if self.asked >= *count || self.complete {
                        break;
                    }
                    session.execute(PORTAL, *rows).map_err(unsendable)?;
                }
                SpanRows::Statements(queries) => {
                    let Some(query) = queries.pop_front() else {
                        break;
                    };
                    bind(session, &query, "", !self.described)?;
                    session.execute("", 0).map_err(unsendable)?;
                }
            }
            self.described = true;
            self.outstanding += 1;
            self.asked += 1;
        }
        let is_last = match &self.rows {
            SpanRows::Batches { count, .. } => self.asked >= *count || self.complete,
            SpanRows::Statements(queries) => queries.is_empty(),
        };
        if is_last {
            return self.close(client).await;
        }
        session.flush().map_err(unsendable)?;
        send(client).await
    }

    /// Asks for no more rows than were asked for already, and ends the transaction behind them.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn close(&mut self, client: &mut Client) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        self.closed = true;
        let session = client.connection().session();
        if self.failure.is_none() {
            queue(session, "COMMIT")?;
        }
        session.sync().map_err(unsendable)?;
        self.ready_due += 1;
        send(client).await
    }
}

/// Sends what is queued. Where the connection is lost, reading meets the loss as well, and before it
/// what the server has said last.
async fn send(client: &mut Client) -> Result<()> {
    match client.connection().send().await {
        Err(error) if error.kind() == ErrorKind::Connection => Ok(()),
        sent => sent,
    }
}

/// Queues a statement without parameters.
fn queue(session: &mut Session, sql: &str) -> Result<()> {
    session.parse("", sql, &[]).map_err(unsendable)?;
    session
        .bind("", "", &[], Format::Text)
        .map_err(unsendable)?;
    session.execute("", 0).map_err(unsendable)
}

/// Queues the making of a portal for a statement that gives rows.
fn bind(session: &mut Session, query: &ChunkQuery, portal: &str, describe: bool) -> Result<()> {
    let parameters: Vec<_> = query
        .parameters
        .iter()
        .map(|value| value.as_deref().map(str::as_bytes))
        .collect();
    session.parse("", &query.sql, &[]).map_err(unsendable)?;
    session
        .bind(portal, "", &parameters, Format::Text)
        .map_err(unsendable)?;
    if describe {
        session.describe_portal(portal).map_err(unsendable)?;
    }
    Ok(())
}
