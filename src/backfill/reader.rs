//! The reader of a span: its start, then its rows as they arrive.

use protocol::{DataRow, Event, RowDescription, ServerError, TransactionStatus};

use super::row_requests::RowRequests;
use super::start::{ChunkStart, StartReader};
use super::statement::queue_statement;
use crate::client::{Client, log_notice, server_error, unsendable};
use crate::error::{Error, ErrorKind, Result};

/// Next step of a span.
#[derive(Debug)]
pub enum RowStep<'a> {
    /// Columns of the rows that follow.
    Description(RowDescription<'a>),
    /// Row.
    Row(DataRow<'a>),
    /// End of a batch: more rows can be requested.
    Batch,
    /// End of a statement, which has no more rows.
    Complete,
    /// Error of the server; the rows before it are valid.
    Failed(Error),
    /// Message that the caller ignores.
    Other,
}

/// Reader of the rows of a span. The connection serves nothing else until [`SpanReader::finish`].
#[derive(Debug)]
pub struct SpanReader {
    start: StartReader,
    requests: RowRequests,
    /// Whether the end of the transaction was requested.
    is_ended: bool,
    /// Number of ReadyForQuery messages that were not received yet.
    ready_expected: u32,
    failure: Option<ServerError>,
}

impl SpanReader {
    /// Starts before the first answer. On a standby the replay position has a ReadyForQuery of its
    /// own.
    pub(super) fn new(is_standby: bool, has_last_key: bool, requests: RowRequests) -> Self {
        Self {
            start: StartReader::new(is_standby, has_last_key),
            requests,
            is_ended: false,
            ready_expected: u32::from(is_standby),
            failure: None,
        }
    }

    /// Returns whether all rows that were requested have been received, and no more can be
    /// requested.
    pub fn is_exhausted(&self) -> bool {
        self.failure.is_some() || (self.is_ended && self.requests.are_answered())
    }

    /// Returns the start of the span, if it was received already.
    ///
    /// # Errors
    ///
    /// Fails with the server's error; [`SpanReader::finish`] has to be called then.
    pub fn try_start(&mut self, client: &mut Client) -> Result<Option<ChunkStart>> {
        while let Some(event) = client.connection().try_event()? {
            match event {
                Event::DataRow(row) => self.start.handle_row(&row)?,
                Event::CommandComplete(_) => {
                    if let Some(start) = self.start.handle_complete() {
                        return Ok(Some(start));
                    }
                }
                Event::Error(report) => {
                    let report = report.into_owned();
                    self.failure = Some(report.clone());
                    return Err(server_error(report));
                }
                Event::Notice(report) => log_notice(&report),
                Event::Ready(_) => self.ready_expected = self.ready_expected.saturating_sub(1),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Takes the texts of the last key, after the start; `None` if the span has fewer rows than
    /// were requested.
    pub fn take_last_key(&mut self) -> Option<Vec<Option<String>>> {
        self.start.take_last_key()
    }

    /// Waits until [`SpanReader::try_start`] or [`SpanReader::try_step`] has a message. It can be
    /// cancelled without losing messages.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn fill(&self, client: &mut Client) -> Result<()> {
        client.connection().fill_with_rows(false).await
    }

    /// Waits like [`SpanReader::fill`], for a thread that has nothing else to do.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn fill_blocking(&self, client: &mut Client) -> Result<()> {
        client.connection().fill_with_rows(true).await
    }

    /// Returns the next step, if it was received already.
    ///
    /// # Errors
    ///
    /// Fails if the server breaks the protocol.
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
                self.requests.end_batch();
                return RowStep::Batch;
            }
            Event::CommandComplete(_) if self.requests.end_statement() => {
                return RowStep::Complete;
            }
            Event::Error(report) => {
                let report = report.into_owned();
                self.requests.fail();
                self.failure = Some(report.clone());
                return RowStep::Failed(server_error(report));
            }
            Event::Notice(report) => log_notice(&report),
            Event::Ready(_) => self.ready_expected = self.ready_expected.saturating_sub(1),
            _ => {}
        }
        RowStep::Other
    }

    /// Requests more rows, so that `depth` requests are outstanding. After the last request the end
    /// of the transaction is requested.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn request_more(&mut self, client: &mut Client, depth: u32) -> Result<()> {
        if self.is_ended || self.failure.is_some() {
            return Ok(());
        }
        let session = client.connection().session();
        if self.requests.queue_more(session, depth)? {
            return self.end_transaction(client).await;
        }
        session.flush().map_err(unsendable)?;
        send(client).await
    }

    /// Requests the end of the transaction, after the rows that were requested.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn end_transaction(&mut self, client: &mut Client) -> Result<()> {
        if self.is_ended {
            return Ok(());
        }
        self.is_ended = true;
        let session = client.connection().session();
        if self.failure.is_none() {
            queue_statement(session, "COMMIT")?;
        }
        session.sync().map_err(unsendable)?;
        self.ready_expected += 1;
        send(client).await
    }

    /// Returns whether the server has closed the connection.
    pub fn is_lost(&self) -> bool {
        self.failure
            .as_ref()
            .is_some_and(|report| report.severity().ends_session())
    }

    /// Reads the remaining answers, and ends the transaction if an error has left it open. The
    /// connection is free afterwards.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn finish(mut self, client: &mut Client) -> Result<()> {
        if let (true, Some(report)) = (self.is_lost(), self.failure.take()) {
            return Err(server_error(report));
        }
        self.end_transaction(client).await?;
        while self.ready_expected > 0 {
            self.fill(client).await?;
            while self.ready_expected > 0 {
                match client.connection().try_event()? {
                    Some(Event::Ready(_)) => self.ready_expected -= 1,
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

/// Sends the queued messages. A lost connection is not an error here: reading reports it, after the
/// last messages of the server.
async fn send(client: &mut Client) -> Result<()> {
    match client.connection().send().await {
        Err(error) if error.kind() == ErrorKind::Connection => Ok(()),
        sent => sent,
    }
}
