//! The stream of a slot: what the server sends, one message at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::command::start_replication;
use protocol::{Event, LogicalReplicationMessage, Lsn, ParseContext, ReplicationMessage};
use tracing::info;

use super::slot::{UNDEFINED_OBJECT, is_in_use};
use super::{Feedback, Progress};
use crate::client::{Client, ReplicationReader, log_notice, server_error};
use crate::error::{Error, ErrorKind, Result};

/// What is asked of the server when streaming starts.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// The slot to read.
    pub slot: String,
    /// The publication that says which tables' changes are sent.
    pub publication: String,
    /// The position to start from: transactions that commit at or after it are sent.
    pub start: Lsn,
    /// The time between two status updates.
    pub status_interval: Duration,
}

/// The longest silence of a server that was asked for an answer every few seconds. It is generous
/// since a server that decodes a large transaction answers late; a dead network is noticed by the
/// socket's keep-alives long before.
const SILENCE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How long a server that takes nothing any more is listened to.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
    progress: Arc<Progress>,
    /// When something was received last.
    heard: Instant,
}

impl ReplicationStream {
    /// Starts streaming.
    ///
    /// # Errors
    ///
    /// Fails with the server's reason; a slot that is missing or in use is named as such.
    pub async fn start(client: Client, options: &StreamOptions) -> Result<Self> {
        let StreamOptions {
            slot,
            publication,
            start,
            status_interval,
        } = options;
        info!(startLSN = %start, %publication, %slot, "starting replication");
        let publications = protocol::quote_identifier(publication);
        let command = start_replication(
            slot,
            *start,
            &[
                ("proto_version", "1"),
                ("publication_names", publications.as_str()),
            ],
        );
        let (reader, writer) = client.start_replication(&command).await.map_err(|error| {
            let what = match error.sqlstate() {
                _ if is_in_use(&error) => format!(
                    "the replication slot \"{slot}\" is in use: another capture, or an earlier \
                     session of this one that the server has not noticed to be gone, is reading it"
                ),
                Some(UNDEFINED_OBJECT) => format!(
                    "the replication slot \"{slot}\" does not exist any more: changes since the \
                     last checkpoint are lost, so every binding has to be backfilled anew"
                ),
                _ => format!("reading the replication slot \"{slot}\" from {start} failed"),
            };
            error.context(what)
        })?;
        let progress = Arc::new(Progress::new(*start));
        let feedback = Feedback::start(writer, Arc::clone(&progress), *status_interval);
        Ok(Self {
            reader,
            feedback,
            progress,
            heard: Instant::now(),
        })
    }

    /// Returns the position up to which the server may forget.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
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
        let silence = self.heard.elapsed();
        let left = SILENCE_LIMIT.saturating_sub(silence);
        // Where nothing can be sent any more, the server may have said why.
        let limit = if self.feedback.has_failed() {
            LAST_WORDS
        } else {
            left
        };
        let filled = tokio::time::timeout(limit, self.reader.fill()).await.ok();
        match filled {
            Some(filled) => {
                filled?;
                self.heard = Instant::now();
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
                    SILENCE_LIMIT.as_secs() / 60
                ),
            )),
        }
    }

    /// Returns how long nothing was received.
    pub fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Returns whether an item is there without waiting.
    pub fn has_next(&self) -> bool {
        self.reader.has_event()
    }

    /// Returns the next item, if it is there already.
    ///
    /// # Errors
    ///
    /// Fails when the server ends the stream, reports an error, or sends what cannot be parsed.
    #[inline]
    pub fn try_next(&mut self) -> Result<Option<StreamItem<'_>>> {
        let Some(event) = self.reader.try_event()? else {
            return Ok(None);
        };
        match event {
            Event::CopyData(data) => match ReplicationMessage::parse(data).map_err(undecodable)? {
                ReplicationMessage::XLogData(data) => {
                    let context = ParseContext {
                        protocol_version: 1,
                        ..ParseContext::default()
                    };
                    let message = LogicalReplicationMessage::parse(data.data, context)
                        .map_err(undecodable)?;
                    Ok(Some(StreamItem::Message {
                        wal_start: data.wal_start,
                        message,
                    }))
                }
                ReplicationMessage::PrimaryKeepalive(keepalive) => {
                    if keepalive.reply_requested {
                        self.feedback.send();
                    }
                    Ok(Some(StreamItem::Keepalive {
                        wal_end: keepalive.wal_end,
                    }))
                }
                _ => Ok(Some(StreamItem::Other)),
            },
            Event::Error(report) => Err(server_error(report.into_owned())),
            Event::Notice(report) => {
                log_notice(&report);
                Ok(Some(StreamItem::Other))
            }
            Event::CopyDone | Event::CommandComplete(_) | Event::Ready(_) => Err(Error::new(
                ErrorKind::Connection,
                "the server ended the replication stream",
            )),
            _ => Ok(Some(StreamItem::Other)),
        }
    }

    /// Ends the stream, telling the server the last durable position.
    pub async fn finish(self) {
        self.feedback.finish().await;
    }
}

fn undecodable(error: protocol::DecodeError) -> Error {
    Error::new(
        ErrorKind::Protocol,
        "a message of the replication stream cannot be parsed",
    )
    .with_source(error)
}
