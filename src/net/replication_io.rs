//! The reading and the writing half of a connection in CopyBoth mode: status updates are sent while
//! another task reads changes.

use std::fmt;

use protocol::{CopySender, Event};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::coalesce::BACKLOG_READ_SIZE;
use super::error::connection_lost;
use super::receiver::Receiver;
use crate::error::Result;

pub(super) type BoxedRead = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type BoxedWrite = Box<dyn AsyncWrite + Send + Unpin>;

/// The reading half of a connection in CopyBoth mode.
pub struct ReplicationReader {
    stream: BoxedRead,
    receiver: Receiver,
}

impl fmt::Debug for ReplicationReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationReader")
            .field("receiver", &self.receiver)
            .finish_non_exhaustive()
    }
}

impl ReplicationReader {
    pub(super) fn new(stream: BoxedRead, receiver: Receiver) -> Self {
        Self { stream, receiver }
    }

    /// Waits until [`ReplicationReader::try_event`] has an event. During a backlog, bytes
    /// are left to collect in the socket for a moment.
    ///
    /// # Errors
    ///
    /// Fails when the connection is closed or lost.
    pub async fn fill(&mut self) -> Result<()> {
        self.receiver.fill_at_pace(false, &mut self.stream).await
    }

    /// Waits like [`ReplicationReader::fill`], for a thread that has nothing else to do. The thread
    /// sleeps while bytes collect, so that their arrival does not wake it.
    ///
    /// # Errors
    ///
    /// Fails as [`ReplicationReader::fill`] does.
    pub async fn fill_blocking(&mut self) -> Result<()> {
        self.receiver.fill_at_pace(true, &mut self.stream).await
    }

    /// Reads the bytes that have already arrived, without waiting for more. Returns whether there
    /// were any.
    ///
    /// # Errors
    ///
    /// Fails when the connection is closed or lost.
    pub async fn fill_now(&mut self) -> Result<bool> {
        let needed = self.receiver.needed().max(BACKLOG_READ_SIZE);
        let count = self.receiver.fill_now(needed, &mut self.stream).await?;
        if count > 0 {
            self.receiver.record_read(count);
        }
        Ok(count > 0)
    }

    /// Returns the next event, if the buffer holds a complete message.
    ///
    /// # Errors
    ///
    /// Fails when the server violates the protocol.
    #[inline]
    pub fn try_event(&mut self) -> Result<Option<Event<'_>>> {
        self.receiver.try_event()
    }

    /// Closes this half of the connection. The socket closes when the other half is dropped too.
    pub fn close(&mut self) {
        self.stream = Box::new(tokio::io::empty());
    }

    /// Returns whether the buffer holds a complete message.
    pub fn has_event(&self) -> bool {
        self.receiver.needed() == 0
    }
}

/// The writing half of a connection in CopyBoth mode.
pub struct ReplicationWriter {
    stream: BoxedWrite,
    sender: CopySender,
}

impl fmt::Debug for ReplicationWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationWriter").finish_non_exhaustive()
    }
}

impl ReplicationWriter {
    pub(super) fn new(stream: BoxedWrite, sender: CopySender) -> Self {
        Self { stream, sender }
    }

    /// Returns the encoder of the messages that [`ReplicationWriter::send`] sends.
    pub fn copy_sender(&mut self) -> &mut CopySender {
        &mut self.sender
    }

    /// Sends complete frontend messages.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn send(&mut self, messages: &[u8]) -> Result<()> {
        self.stream
            .write_all(messages)
            .await
            .map_err(connection_lost)?;
        self.stream.flush().await.map_err(connection_lost)
    }
}
