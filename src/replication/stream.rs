//! The stream of a slot, one message at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::command::start_replication;
use protocol::{
    Event, LogicalReplicationMessage, Lsn, ParseContext, ReplicationMessage, TupleArena,
};
use tracing::info;

use super::durable_position::DurablePosition;
use super::error::malformed_message;
use super::feedback::Feedback;
use super::in_progress::Spool;
use super::options::StreamOptions;
use super::slot::is_in_use;
use crate::client::{Client, ReplicationReader, log_notice, server_error};
use crate::error::{Error, ErrorKind, Result, sqlstate};

/// Time without any message after which the connection counts as lost, although the server was
/// asked for an answer every few seconds. It is long because a server that decodes a large
/// transaction answers late; the keep-alives of the socket detect a dead network much earlier.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Time for which the stream is read on after status updates cannot be sent any more.
const FINAL_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Item of the stream.
#[derive(Debug)]
pub enum StreamItem<'a> {
    /// The server has sent every transaction that committed before `wal_end`.
    Keepalive {
        /// Position up to which the server has decoded and sent its log.
        wal_end: Lsn,
    },
    /// Message of the output plugin.
    Message {
        /// Position of the change in the log.
        wal_start: Lsn,
        /// The message, borrowed from the receive buffer.
        message: LogicalReplicationMessage<'a>,
    },
    /// Message that the reader ignores, such as a notice, which was logged.
    Other,
}

/// Reader of the stream of a slot.
#[derive(Debug)]
pub struct ReplicationStream {
    reader: ReplicationReader,
    feedback: Feedback,
    durable_position: Arc<DurablePosition>,
    /// Spool for transactions in progress, if the server streams them.
    spool: Option<Spool>,
    /// Time at which bytes were received last.
    last_receipt: Instant,
}

impl ReplicationStream {
    /// Starts streaming. The durable position is before the start of the stream where the stream
    /// replaces another one whose changes are not acknowledged yet.
    ///
    /// # Errors
    ///
    /// Fails with the server's error, and an explanation for a slot that is missing or in use.
    pub async fn start(
        client: Client,
        options: &StreamOptions,
        durable_position: Arc<DurablePosition>,
    ) -> Result<Self> {
        let StreamOptions {
            slot,
            publication,
            start,
            status_interval,
            in_progress,
        } = options;
        let (spool, reason) = in_progress.open_spool(client.server_version_num());
        let (proto_version, streaming) = if spool.is_some() {
            ("2", "on")
        } else {
            ("1", "off")
        };
        info!(startLSN = %start, %publication, %slot, proto_version, streaming, because = reason,
            "starting replication");
        let publications = protocol::quote_identifier(publication);
        let mut plugin_options = vec![
            ("proto_version", proto_version),
            ("publication_names", publications.as_str()),
        ];
        if spool.is_some() {
            // Servers before version 14 refuse the option.
            plugin_options.push(("streaming", streaming));
        }
        let command = start_replication(slot, *start, &plugin_options);
        let (reader, writer) = client
            .start_replication(&command)
            .await
            .map_err(|error| explain_failed_start(error, slot, *start))?;
        let feedback = Feedback::start(writer, Arc::clone(&durable_position), *status_interval);
        Ok(Self {
            reader,
            feedback,
            durable_position,
            spool,
            last_receipt: Instant::now(),
        })
    }

    /// Returns the position up to which the server may remove its log.
    pub fn durable_position(&self) -> &Arc<DurablePosition> {
        &self.durable_position
    }

    /// Returns the sender of status updates.
    pub fn feedback(&self) -> &Feedback {
        &self.feedback
    }

    /// Waits until [`ReplicationStream::try_next`] has an item. It can be cancelled without losing
    /// messages.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost, or nothing was received for too long.
    pub async fn fill(&mut self) -> Result<()> {
        self.fill_within_timeout(false).await
    }

    /// Waits like [`ReplicationStream::fill`], for a thread that has nothing else to do. The thread
    /// sleeps while bytes collect, which takes less CPU time.
    ///
    /// # Errors
    ///
    /// Fails as [`ReplicationStream::fill`] does.
    pub async fn fill_blocking(&mut self) -> Result<()> {
        self.fill_within_timeout(true).await
    }

    async fn fill_within_timeout(&mut self, blocking: bool) -> Result<()> {
        if self.is_replaying() {
            return Ok(());
        }
        let silence = self.last_receipt.elapsed();
        // The socket may have bytes that a busy capture has not read yet.
        let remaining = SILENCE_TIMEOUT
            .saturating_sub(silence)
            .max(FINAL_READ_TIMEOUT);
        // If status updates cannot be sent any more, the server may have sent the reason.
        let limit = if self.feedback.has_failed() {
            FINAL_READ_TIMEOUT
        } else {
            remaining
        };
        let reader = &mut self.reader;
        let filling = async {
            if blocking {
                reader.fill_blocking().await
            } else {
                reader.fill().await
            }
        };
        match tokio::time::timeout(limit, filling).await.ok() {
            Some(filled) => {
                filled?;
                self.last_receipt = Instant::now();
                Ok(())
            }
            None if self.feedback.has_failed() => Err(Error::new(
                ErrorKind::Connection,
                "the connection to the server was lost: status updates cannot be sent",
            )),
            None => Err(Error::new(
                ErrorKind::Connection,
                format!(
                    "the server has not sent anything for {} minutes, although it was asked \
                     for answers",
                    SILENCE_TIMEOUT.as_secs() / 60
                ),
            )),
        }
    }

    /// Reads the bytes that have already arrived, without waiting for more. Returns whether there
    /// were any.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn fill_now(&mut self) -> Result<bool> {
        if self.is_replaying() {
            return Ok(false);
        }
        let filled = self.reader.fill_now().await?;
        if filled {
            self.last_receipt = Instant::now();
        }
        Ok(filled)
    }

    /// Returns the time since bytes were received last.
    pub fn silence(&self) -> Duration {
        self.last_receipt.elapsed()
    }

    /// Returns whether a message was received that has not been handled.
    pub fn has_next(&self) -> bool {
        self.is_replaying() || self.reader.has_event()
    }

    fn is_replaying(&self) -> bool {
        self.spool.as_ref().is_some_and(Spool::is_replaying)
    }

    /// Returns the next item, if it was received already.
    ///
    /// # Errors
    ///
    /// Fails if the server ends the stream, reports an error, or sends a message that cannot be
    /// parsed. Fails with [`ErrorKind::Spool`] if transactions in progress cannot be spooled: the
    /// stream can be started again without them, from the position of the reader, which is between
    /// two transactions then.
    #[inline]
    pub fn try_next<'a>(&'a mut self, arena: &'a TupleArena) -> Result<Option<StreamItem<'a>>> {
        if let Some(spool) = &mut self.spool
            && spool.is_receiving()
        {
            return receive_block(spool, &mut self.reader, &self.feedback);
        }
        if self.is_replaying() {
            return next_replayed(self.spool.as_mut(), arena);
        }
        let Some(event) = self.reader.try_event()? else {
            return Ok(None);
        };
        let data = match event {
            Event::CopyData(data) => data,
            other => return handle_other_event(other).map(Some),
        };
        let xlog_data = match ReplicationMessage::parse(data).map_err(malformed_message)? {
            ReplicationMessage::XLogData(xlog_data) => xlog_data,
            other => return Ok(Some(handle_other_message(&other, &self.feedback))),
        };
        let context = match &self.spool {
            Some(_) => Spool::CONTEXT,
            None => ParseContext::default(),
        };
        let message = LogicalReplicationMessage::parse(xlog_data.data, context, arena)
            .map_err(malformed_message)?;
        if let Some(spool) = &mut self.spool
            && spool.handle(&message, xlog_data.wal_start, xlog_data.data)?
        {
            return Ok(Some(StreamItem::Other));
        }
        Ok(Some(StreamItem::Message {
            wal_start: xlog_data.wal_start,
            message,
        }))
    }

    /// Closes the connection at once, without a last status update.
    pub fn abandon(&mut self) {
        self.reader.close();
        self.feedback.abandon();
    }

    /// Ends the stream after a last status update with the durable position.
    pub async fn finish(self) {
        self.feedback.finish().await;
    }
}

/// Adds an explanation to the error of a failed start.
fn explain_failed_start(error: Error, slot: &str, start: Lsn) -> Error {
    let context = match error.sqlstate() {
        _ if is_in_use(&error) => format!(
            "the replication slot \"{slot}\" is in use: another capture, or an earlier session of \
             this one whose end the server has not noticed, is reading it"
        ),
        Some(sqlstate::UNDEFINED_OBJECT) => format!(
            "the replication slot \"{slot}\" does not exist any more: changes since the last \
             checkpoint are lost, so every binding has to be backfilled again"
        ),
        _ => format!("reading the replication slot \"{slot}\" from {start} failed"),
    };
    error.context(context)
}

#[inline]
fn next_replayed<'a>(
    spool: Option<&'a mut Spool>,
    arena: &'a TupleArena,
) -> Result<Option<StreamItem<'a>>> {
    let Some(spool) = spool else { return Ok(None) };
    let (wal_start, message) = spool.next_message(arena)?;
    Ok(Some(StreamItem::Message { wal_start, message }))
}

/// Spools the received messages of a stream block, without returning each to the reader of the
/// stream. Returns the first item of another kind, or the position of the server at the end of the
/// stream block.
fn receive_block(
    spool: &mut Spool,
    reader: &mut ReplicationReader,
    feedback: &Feedback,
) -> Result<Option<StreamItem<'static>>> {
    while let Some(event) = reader.try_event()? {
        let data = match event {
            Event::CopyData(data) => data,
            other => return handle_other_event(other).map(Some),
        };
        match ReplicationMessage::parse(data).map_err(malformed_message)? {
            ReplicationMessage::XLogData(xlog_data) => {
                if let Some(wal_end) = spool.receive(xlog_data.wal_start, xlog_data.data)? {
                    return Ok(Some(StreamItem::Keepalive { wal_end }));
                }
            }
            other => return Ok(Some(handle_other_message(&other, feedback))),
        }
    }
    Ok(None)
}

/// Handles a message other than XLogData: sends a status update if the server requests one.
fn handle_other_message(
    message: &ReplicationMessage<'_>,
    feedback: &Feedback,
) -> StreamItem<'static> {
    let ReplicationMessage::PrimaryKeepalive(keepalive) = message else {
        return StreamItem::Other;
    };
    if keepalive.reply_requested {
        feedback.send();
    }
    StreamItem::Keepalive {
        wal_end: keepalive.wal_end,
    }
}

/// Handles an event other than CopyData.
///
/// # Errors
///
/// Fails if the server has reported an error or ended the stream.
fn handle_other_event(event: Event<'_>) -> Result<StreamItem<'static>> {
    match event {
        Event::Error(report) => Err(server_error(report.into_owned())),
        Event::Notice(report) => {
            log_notice(&report);
            Ok(StreamItem::Other)
        }
        Event::CopyDone | Event::CommandComplete(_) | Event::Ready(_) => Err(Error::new(
            ErrorKind::Connection,
            "the server ended the replication stream",
        )),
        _ => Ok(StreamItem::Other),
    }
}
