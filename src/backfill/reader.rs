//! Reading a span: its snapshot, then its rows as they come.

use protocol::{DataRow, Event, Lsn, RowDescription, ServerError, TransactionStatus};

use super::Snapshot;
use super::request::SpanRows;
use crate::client::{Client, log_notice, server_error};
use crate::error::{Error, ErrorKind, Result};

/// What the first statement of a span's transaction tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkStart {
    /// Which transactions the rows contain.
    pub snapshot: Snapshot,
    /// The end of the log when the snapshot was taken: what the rows contain was committed before it,
    /// so when the stream has passed it, every later change is not contained.
    pub fence: Lsn,
    /// The position up to which the log was on disk then. The stream does not get further.
    pub flushed: Lsn,
    /// What the expression for the table's columns gave.
    pub columns: String,
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
    pub(super) rows: SpanRows,
    pub(super) standby: bool,
    /// The replay position, where that decides what the rows contain.
    pub(super) until: Option<Lsn>,
    /// What the snapshot's statement has told.
    pub(super) viewed: Option<ChunkStart>,
    /// Statements behind the snapshot's and before the rows' that are yet to be answered, with the
    /// snapshot's own.
    pub(super) leading: u32,
    /// The last key, where it was asked for and there is one.
    pub(super) last_key: Option<Vec<Option<String>>>,
    /// Whether the columns were asked for.
    pub(super) described: bool,
    /// Requests for rows that are not answered.
    pub(super) outstanding: u32,
    /// Batches that were asked for.
    pub(super) asked: u32,
    /// The statement of the batches has no more rows.
    pub(super) complete: bool,
    /// The end of the transaction was asked for.
    pub(super) closed: bool,
    /// Ends of request sequences that are yet to be answered.
    pub(super) ready_due: u32,
    pub(super) failure: Option<ServerError>,
}

impl SpanReader {
    /// Returns whether all rows that were asked for have come, and no more will be asked for.
    pub fn is_exhausted(&self) -> bool {
        self.failure.is_some() || (self.closed && self.outstanding == 0)
    }

    /// Returns what the snapshot's statement tells, if it is there already.
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
                            snapshot: parse_snapshot(self.until, next())?,
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

    /// Takes the texts of the last key, once the snapshot is there; `None` where there are fewer rows.
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
        client.connection().fill_with_rows(false).await
    }

    /// The same for a thread that waits for nothing else.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn fill_alone(&self, client: &mut Client) -> Result<()> {
        client.connection().fill_with_rows(true).await
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

pub(super) fn parse_snapshot(until: Option<Lsn>, snapshot: Option<&str>) -> Result<Snapshot> {
    Ok(match until {
        Some(until) => Snapshot::Standby { until },
        None => Snapshot::Primary(snapshot.unwrap_or_default().parse()?),
    })
}

pub(super) fn parse_lsn(text: Option<&str>) -> Result<Lsn> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::new(
            ErrorKind::Protocol,
            "the server did not tell a position of its log",
        )
    })
}
