//! Reading one chunk: its view and its rows in one round trip.

use protocol::{
    DataRow, Event, Format, Lsn, RowDescription, ServerError, Session, TransactionStatus,
};

use super::{ChunkQuery, View};
use crate::client::{Client, log_notice, server_error, unsendable};
use crate::error::{Error, ErrorKind, Result};

/// What the first statement of a chunk's transaction tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkStart {
    /// Which transactions the rows contain.
    pub view: View,
    /// The end of the log when the view was taken: what the rows contain was committed before it,
    /// so when the stream has passed it, every later change is not contained.
    pub fence: Lsn,
    /// The position up to which the log was on disk then. The stream does not get further.
    pub flushed: Lsn,
}

/// What comes next of a chunk.
#[derive(Debug)]
pub enum RowStep<'a> {
    /// The columns of the rows that follow.
    Description(RowDescription<'a>),
    /// A row.
    Row(DataRow<'a>),
    /// The chunk is at its end and the connection is free again.
    End(ChunkEnd),
    /// Nothing of interest.
    Other,
}

/// How a chunk has ended.
#[derive(Debug)]
pub enum ChunkEnd {
    /// All of its rows have come.
    Complete,
    /// The server has given up; rows that came before are valid.
    Failed(Error),
}

/// The rows of a chunk as they arrive. The client that it was started with serves nothing else until
/// the chunk is at its end.
#[derive(Debug)]
pub struct ChunkReader {
    failure: Option<ServerError>,
}

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// SQLSTATE insufficient_privilege.
const NO_PRIVILEGE: &str = "42501";
const REPLAY_POSITION: &str = "SELECT pg_last_wal_replay_lsn()";

/// The statement that takes the view. A statement's snapshot is taken before its functions are
/// evaluated, so the position is never before what the snapshot contains.
fn view_statement(client: &Client, standby: bool) -> String {
    if standby {
        return "SELECT NULL, pg_last_wal_replay_lsn(), pg_last_wal_replay_lsn()".to_owned();
    }
    let snapshot = if client.server_version_num() >= 130_000 {
        "pg_current_snapshot()"
    } else {
        "txid_current_snapshot()"
    };
    format!("SELECT {snapshot}::text, pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn()")
}

/// Takes a view without reading rows.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn read_view(client: &mut Client, standby: bool) -> Result<ChunkStart> {
    let until = if standby {
        Some(parse_lsn(
            client.query(REPLAY_POSITION, &[]).await?.one()?.get(0),
        )?)
    } else {
        None
    };
    let rows = client.query(&view_statement(client, standby), &[]).await?;
    let row = rows.one()?;
    chunk_start(until, [row.get(0), row.get(1), row.get(2)])
}

impl ChunkReader {
    /// Starts reading. All of it is sent at once: the view's statement, the rows', and the end of
    /// the transaction.
    ///
    /// # Errors
    ///
    /// Fails with the server's error, or when the connection is lost.
    pub async fn start(
        client: &mut Client,
        query: &ChunkQuery,
        standby: bool,
    ) -> Result<(Self, ChunkStart)> {
        match Self::start_with(client, query, query.lock.as_deref(), standby).await {
            // Who may read all columns, but not the table as such, may not lock it.
            Err(error) if query.lock.is_some() && error.sqlstate() == Some(NO_PRIVILEGE) => {
                Self::start_with(client, query, None, standby).await
            }
            other => other,
        }
    }

    async fn start_with(
        client: &mut Client,
        query: &ChunkQuery,
        lock: Option<&str>,
        standby: bool,
    ) -> Result<(Self, ChunkStart)> {
        let view = view_statement(client, standby);
        let parameters: Vec<_> = query
            .parameters
            .iter()
            .map(|value| value.as_deref().map(str::as_bytes))
            .collect();
        let session = client.connection().session();
        if standby {
            // Whatever was replayed by now is in the snapshot that is taken next.
            queue(session, REPLAY_POSITION, &[], false)?;
            session.sync().map_err(unsendable)?;
        }
        queue(session, BEGIN, &[], false)?;
        if let Some(lock) = lock {
            queue(session, lock, &[], false)?;
        }
        queue(session, &view, &[], false)?;
        queue(session, &query.sql, &parameters, true)?;
        queue(session, "COMMIT", &[], false)?;
        session.sync().map_err(unsendable)?;
        client.connection().send().await?;
        let mut reader = Self { failure: None };
        let start = reader.read_start(client, standby).await?;
        Ok((reader, start))
    }

    async fn read_start(&mut self, client: &mut Client, standby: bool) -> Result<ChunkStart> {
        let mut until = None;
        loop {
            match client.connection().event().await? {
                Event::DataRow(row) => {
                    let mut texts = row
                        .iter()
                        .map(|value| value.and_then(|bytes| std::str::from_utf8(bytes).ok()));
                    if standby && until.is_none() {
                        until = Some(parse_lsn(texts.next().flatten())?);
                        continue;
                    }
                    let mut next = || texts.next().flatten();
                    return chunk_start(until, [next(), next(), next()]);
                }
                Event::Error(report) => self.failed(report.into_owned())?,
                Event::Notice(report) => log_notice(&report),
                Event::Ready(status) => {
                    if let Some(failure) = self.failure.take() {
                        roll_back(client, status).await?;
                        return Err(server_error(failure));
                    }
                }
                _ => {}
            }
        }
    }

    /// Waits until [`ChunkReader::try_step`] has a step.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn fill(&self, client: &mut Client) -> Result<()> {
        client.connection().fill().await
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
        Ok(Some(match event {
            Event::DataRow(row) => RowStep::Row(row),
            Event::RowDescription(description) => RowStep::Description(description),
            Event::Ready(_) => RowStep::End(match self.failure.take() {
                Some(failure) => ChunkEnd::Failed(server_error(failure)),
                None => ChunkEnd::Complete,
            }),
            Event::Error(report) => {
                let report = report.into_owned();
                self.failed(report)?;
                RowStep::Other
            }
            Event::Notice(report) => {
                log_notice(&report);
                RowStep::Other
            }
            _ => RowStep::Other,
        }))
    }

    /// Notes what the server has reported. After some failures nothing more comes.
    fn failed(&mut self, report: ServerError) -> Result<()> {
        if report.severity().ends_session() {
            return Err(server_error(report));
        }
        self.failure = Some(report);
        Ok(())
    }

    /// Ends the transaction where a failure has left it open.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn finish(self, client: &mut Client) -> Result<()> {
        let status = client.connection().facts().transaction_status();
        roll_back(client, status).await
    }

    /// Reads the rest of the rows and forgets them.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn discard(mut self, client: &mut Client) -> Result<()> {
        loop {
            self.fill(client).await?;
            if let Some(RowStep::End(_)) = self.try_step(client)? {
                return self.finish(client).await;
            }
        }
    }
}

async fn roll_back(client: &mut Client, status: TransactionStatus) -> Result<()> {
    if status != TransactionStatus::Idle {
        client.execute_script("ROLLBACK").await?;
    }
    Ok(())
}

fn queue(
    session: &mut Session,
    sql: &str,
    parameters: &[Option<&[u8]>],
    describe: bool,
) -> Result<()> {
    session.parse("", sql, &[]).map_err(unsendable)?;
    session
        .bind("", "", parameters, Format::Text)
        .map_err(unsendable)?;
    if describe {
        session.describe_portal("").map_err(unsendable)?;
    }
    session.execute("", 0).map_err(unsendable)
}

fn chunk_start(until: Option<Lsn>, texts: [Option<&str>; 3]) -> Result<ChunkStart> {
    let [snapshot, fence, flushed] = texts;
    let view = match until {
        Some(until) => View::Replayed { until },
        None => View::Snapshot(snapshot.unwrap_or_default().parse()?),
    };
    Ok(ChunkStart {
        view,
        fence: parse_lsn(fence)?,
        flushed: parse_lsn(flushed)?,
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
