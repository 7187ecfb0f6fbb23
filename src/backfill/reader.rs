//! Reading one chunk: its view and its rows in one round trip.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::{
    DataRow, Event, Format, Lsn, RowDescription, ServerError, Session, TransactionStatus,
};

use super::{ChunkQuery, View};
use crate::client::{Client, Statement, log_notice, server_error, unsendable};
use crate::error::{Error, ErrorKind, Result};

/// What the first statement of a span's transaction tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkStart {
    /// Which transactions the rows contain.
    pub view: View,
    /// The end of the log when the view was taken: what the rows contain was committed before it,
    /// so when the stream has passed it, every later change is not contained.
    pub fence: Lsn,
    /// The position up to which the log was on disk then. The stream does not get further.
    pub flushed: Lsn,
    /// What the expression for the table's columns gave.
    pub columns: String,
}

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

/// What comes next of a span.
#[derive(Debug)]
pub enum RowStep<'a> {
    /// The columns of the rows that follow.
    Description(RowDescription<'a>),
    /// A row.
    Row(DataRow<'a>),
    /// A batch has come, and more may be asked for.
    Batch,
    /// A statement has no more rows.
    Complete,
    /// The server has given up; rows that came before are valid.
    Failed(Error),
    /// Nothing of interest.
    Other,
}

/// The rows of a span as they arrive. The client that it was started with serves nothing else until
/// [`SpanReader::finish`].
#[derive(Debug)]
pub struct SpanReader {
    rows: SpanRows,
    standby: bool,
    /// The replay position, where that decides what the rows contain.
    until: Option<Lsn>,
    /// What the view's statement has told.
    viewed: Option<ChunkStart>,
    /// Statements behind the view's and before the rows' that are yet to be answered, with the
    /// view's own.
    leading: u32,
    /// The last key, where it was asked for and there is one.
    last_key: Option<Vec<Option<String>>>,
    /// Whether the columns were asked for.
    described: bool,
    /// Requests for rows that are not answered.
    outstanding: u32,
    /// Batches that were asked for.
    asked: u32,
    /// The statement of the batches has no more rows.
    complete: bool,
    /// The end of the transaction was asked for.
    closed: bool,
    /// Ends of request sequences that are yet to be answered.
    ready_due: u32,
    failure: Option<ServerError>,
}

/// The portal of the statement that is read in batches.
const PORTAL: &str = "span";

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
const REPLAY_POSITION: &str = "SELECT pg_last_wal_replay_lsn()";

/// The statement that takes the view, and whatever else in the same snapshot. A statement's snapshot is
/// taken before its functions are evaluated, so the position is never before what the snapshot
/// contains.
fn view_statement(client: &Client, standby: bool, more: &str) -> String {
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

/// Takes a view without reading rows.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn read_view(client: &mut Client, standby: bool) -> Result<View> {
    let until = if standby {
        Some(parse_lsn(
            client.query(REPLAY_POSITION, &[]).await?.one()?.get(0),
        )?)
    } else {
        None
    };
    let statement = view_statement(client, standby, "");
    view(until, client.query(&statement, &[]).await?.one()?.get(0))
}

/// Takes a view of a primary behind the end of a transaction of our own, which began after all that
/// can have been streamed up to now: a snapshot lists only those running that began before the last
/// one to have ended.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn read_view_behind_own(client: &mut Client) -> Result<View> {
    let [own, snapshot] = client
        .query_each([
            Statement::new("SELECT txid_current()", &[]),
            Statement::new(view_statement(client, false, ""), &[]),
        ])
        .await?;
    own?;
    view(None, snapshot?.one()?.get(0))
}

impl SpanReader {
    /// Asks for a span: the view, the table's columns, the key of its last row if that is wanted, and
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
        let view = view_statement(client, standby, &format!(", {columns}"));
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
        queue(session, &view)?;
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

    /// Returns whether all rows that were asked for have come, and no more will be asked for.
    pub fn is_exhausted(&self) -> bool {
        self.failure.is_some() || (self.closed && self.outstanding == 0)
    }

    /// Returns what the view's statement tells, if it is there already.
    ///
    /// # Errors
    ///
    /// Fails with the server's error; [`SpanReader::finish`] is due then.
    pub fn try_start(&mut self, client: &mut Client) -> Result<Option<ChunkStart>> {
        while let Some(event) = client.connection().try_event()? {
            match event {
                Event::DataRow(row) => {
                    let mut texts = row
                        .iter()
                        .map(|value| value.and_then(|bytes| std::str::from_utf8(bytes).ok()));
                    if self.standby && self.until.is_none() {
                        self.until = Some(parse_lsn(texts.next().flatten())?);
                    } else if self.viewed.is_none() {
                        let mut next = || texts.next().flatten();
                        self.viewed = Some(ChunkStart {
                            view: view(self.until, next())?,
                            fence: parse_lsn(next())?,
                            flushed: parse_lsn(next())?,
                            columns: next().unwrap_or_default().to_owned(),
                        });
                    } else {
                        self.last_key = Some(texts.map(|text| text.map(str::to_owned)).collect());
                    }
                }
                Event::CommandComplete(_) if self.viewed.is_some() => {
                    self.leading = self.leading.saturating_sub(1);
                    if self.leading == 0 {
                        return Ok(self.viewed.take());
                    }
                }
                Event::Error(report) => {
                    let report = report.into_owned();
                    self.failure = Some(report.clone());
                    return Err(server_error(report));
                }
                Event::Notice(report) => log_notice(&report),
                Event::Ready(_) => self.ready_due = self.ready_due.saturating_sub(1),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Takes the texts of the last key, once the view is there; `None` where there are fewer rows.
    pub fn take_last_key(&mut self) -> Option<Vec<Option<String>>> {
        self.last_key.take()
    }

    /// Waits until [`SpanReader::try_start`] or [`SpanReader::try_step`] has something. May be
    /// cancelled without losing any.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn fill(&self, client: &mut Client) -> Result<()> {
        client.connection().fill_with_rows().await
    }

    /// Returns the next step, if it is there already.
    ///
    /// # Errors
    ///
    /// Fails when the server breaks the protocol.
    #[inline]
    pub fn try_step<'c>(&mut self, client: &'c mut Client) -> Result<Option<RowStep<'c>>> {
        let Some(event) = client.connection().try_event()? else {
            return Ok(None);
        };
        if let Event::DataRow(row) = event {
            return Ok(Some(RowStep::Row(row)));
        }
        Ok(Some(self.step(event)))
    }

    fn step<'c>(&mut self, event: Event<'c>) -> RowStep<'c> {
        match event {
            Event::RowDescription(description) => return RowStep::Description(description),
            Event::PortalSuspended => {
                self.outstanding = self.outstanding.saturating_sub(1);
                return RowStep::Batch;
            }
            Event::CommandComplete(_) if self.outstanding > 0 => {
                self.outstanding -= 1;
                // What was asked for behind the end is answered with nothing.
                let in_batches = matches!(self.rows, SpanRows::Batches { .. });
                if !std::mem::replace(&mut self.complete, in_batches) {
                    return RowStep::Complete;
                }
            }
            Event::Error(report) => {
                let report = report.into_owned();
                self.outstanding = 0;
                self.failure = Some(report.clone());
                return RowStep::Failed(server_error(report));
            }
            Event::Notice(report) => log_notice(&report),
            Event::Ready(_) => self.ready_due = self.ready_due.saturating_sub(1),
            _ => {}
        }
        RowStep::Other
    }

    /// Returns whether the server has ended the connection.
    pub fn is_lost(&self) -> bool {
        self.failure
            .as_ref()
            .is_some_and(|report| report.severity().ends_session())
    }

    /// Takes what is left of the answers, and ends the transaction where a failure has left it open:
    /// the client is free then.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn finish(mut self, client: &mut Client) -> Result<()> {
        if let (true, Some(report)) = (self.is_lost(), self.failure.take()) {
            return Err(server_error(report));
        }
        self.close(client).await?;
        while self.ready_due > 0 {
            self.fill(client).await?;
            while self.ready_due > 0 {
                match client.connection().try_event()? {
                    Some(Event::Ready(_)) => self.ready_due -= 1,
                    Some(Event::Error(report)) if report.severity().ends_session() => {
                        return Err(server_error(report.into_owned()));
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        }
        let status = client.connection().facts().transaction_status();
        roll_back(client, status).await
    }
}

async fn roll_back(client: &mut Client, status: TransactionStatus) -> Result<()> {
    if status != TransactionStatus::Idle {
        client.execute_script("ROLLBACK").await?;
    }
    Ok(())
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

fn view(until: Option<Lsn>, snapshot: Option<&str>) -> Result<View> {
    Ok(match until {
        Some(until) => View::Replayed { until },
        None => View::Snapshot(snapshot.unwrap_or_default().parse()?),
    })
}

fn parse_lsn(text: Option<&str>) -> Result<Lsn> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::new(
            ErrorKind::Protocol,
            "the server did not tell a position of its log",
        )
    })
}
