//! The stream of a slot: what the server sends, one message at a time.

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

/// The longest silence of a server that was asked for an answer every few seconds. It is generous
/// since a server that decodes a large transaction answers late; a dead network is noticed by the
/// socket's keep-alives long before.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How long a server that takes nothing any more is listened to.
const FINAL_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// What the stream carries.
#[derive(Debug)]
pub enum StreamItem<'a> {
    /// The server has sent everything that committed before `wal_end`.
    Keepalive {
        /// Position up to which the log was decoded and sent.
        wal_end: Lsn,
    },
    /// A message of the output plugin.
    Message {
        /// Position of the change in the log.
        wal_start: Lsn,
        /// The message, borrowed from the receive buffer.
        message: LogicalReplicationMessage<'a>,
    },
    /// Something that is of no interest here, such as a notice; it was logged if it ought to be.
    Other,
}

/// A slot's stream, read message by message.
#[derive(Debug)]
pub struct ReplicationStream {
    reader: ReplicationReader,
    feedback: Feedback,
    durable_position: Arc<DurablePosition>,
    /// Keeps transactions in progress, if they are sent.
    spool: Option<Spool>,
    /// When something was received last.
    last_receipt: Instant,
}

impl ReplicationStream {
    /// Starts streaming in place of another stream, which may have come further than what is
    /// acknowledged.
    ///
    /// # Errors
    ///
    /// Fails with the server's reason; a slot that is missing or in use is named as such.
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
            // Servers before 14 do not know the option at all.
            plugin_options.push(("streaming", streaming));
        }
        let command = start_replication(slot, *start, &plugin_options);
        let (reader, writer) = client.start_replication(&command).await.map_err(|error| {
            let context = match error.sqlstate() {
                _ if is_in_use(&error) => format!(
                    "the replication slot \"{slot}\" is in use: another capture, or an earlier \
                     session of this one that the server has not noticed to be gone, is reading it"
                ),
                Some(sqlstate::UNDEFINED_OBJECT) => format!(
                    "the replication slot \"{slot}\" does not exist any more: changes since the \
                     last checkpoint are lost, so every binding has to be backfilled anew"
                ),
                _ => format!("reading the replication slot \"{slot}\" from {start} failed"),
            };
            error.context(context)
        })?;
        let feedback = Feedback::start(writer, Arc::clone(&durable_position), *status_interval);
        Ok(Self {
            reader,
            feedback,
            durable_position,
            spool,
            last_receipt: Instant::now(),
        })
    }

    /// Returns the position up to which the server may forget.
    pub fn durable_position(&self) -> &Arc<DurablePosition> {
        &self.durable_position
    }

    /// Returns the sender of status updates.
    pub fn feedback(&self) -> &Feedback {
        &self.feedback
    }

    /// Waits until [`ReplicationStream::try_next`] has an item. May be cancelled without losing any.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends or has been silent for too long.
    pub async fn fill(&mut self) -> Result<()> {
        self.fill_within_timeout(false).await
    }

    /// The same for a thread that waits for nothing else, which sleeps now and then: that takes less
    /// of the processor.
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
        // Bytes may be there that a busy capture has not looked at.
        let remaining = SILENCE_TIMEOUT
            .saturating_sub(silence)
            .max(FINAL_READ_TIMEOUT);
        // Where nothing can be sent any more, the server may have said why.
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
                "the connection to the server was lost: status updates cannot be sent any more",
            )),
            None => Err(Error::new(
                ErrorKind::Connection,
                format!(
                    "the server has not sent anything for {} minutes, although it was asked to",
                    SILENCE_TIMEOUT.as_secs() / 60
                ),
            )),
        }
    }

    /// Reads what has arrived by now, without waiting. Returns whether there was something.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends.
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

    /// Returns how long nothing was received.
    pub fn silence(&self) -> Duration {
        self.last_receipt.elapsed()
    }

    /// Returns whether an item is there without waiting, or a message that may become one.
    pub fn has_next(&self) -> bool {
        self.is_replaying() || self.reader.has_event()
    }

    fn is_replaying(&self) -> bool {
        self.spool.as_ref().is_some_and(Spool::is_replaying)
    }

    /// Returns the next item, if it is there already.
    ///
    /// # Errors
    ///
    /// Fails when the server ends the stream, reports an error, or sends what cannot be parsed; with
    /// [`ErrorKind::Spool`] when transactions in progress cannot be kept. The stream can be started
    /// anew without them then, from where the reader is: between two transactions.
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

    /// Ends the connection at once, without another word.
    pub fn abandon(&mut self) {
        self.reader.close();
        self.feedback.abandon();
    }

    /// Ends the stream, telling the server the last durable position.
    pub async fn finish(self) {
        self.feedback.finish().await;
    }
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

/// Takes in the messages of a block that have arrived, without a look at each by the reader of the
/// stream. Returns what else has come, or how far the server is at the end of the block.
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
