//! The receiving side of a connection: bytes, the messages in them, and the pace of reading.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use protocol::{Event, Session};
use tokio::io::AsyncRead;

use super::buffer::ReceiveBuffer;
use super::coalesce::{BACKLOG_READ_SIZE, Pace};
use super::error::{connection_closed, connection_lost, protocol_violation};
use crate::error::Result;

/// The session, the receive buffer and the pace of a connection. The byte stream is an argument,
/// since it is split from its writing half for replication.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) session: Session,
    input: ReceiveBuffer,
    pace: Pace,
}

impl Receiver {
    pub(super) fn new(session: Session, pace: Pace) -> Self {
        Self {
            session,
            input: ReceiveBuffer::default(),
            pace,
        }
    }

    /// Replaces the pace.
    pub(super) fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    pub(super) fn unread(&self) -> &[u8] {
        self.input.unread()
    }

    /// Returns the number of bytes that have to be read before the next event; zero if there is
    /// one.
    pub(super) fn needed(&self) -> usize {
        self.session.needed(self.input.unread())
    }

    /// Returns the next event, if the buffer holds a complete message.
    #[inline]
    pub(super) fn try_event(&mut self) -> Result<Option<Event<'_>>> {
        let (unread, consumed) = self.input.split();
        match self.session.handle_input(unread) {
            Ok(Some((count, event))) => {
                *consumed += count;
                Ok(Some(event))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(protocol_violation(error)),
        }
    }

    /// Waits until there is an event, and reads bytes as soon as they arrive.
    pub(super) async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<()> {
        loop {
            if self.session.is_closed() {
                return Err(connection_closed());
            }
            let needed = self.needed();
            if needed == 0 {
                return Ok(());
            }
            self.read(needed, stream).await?;
        }
    }

    /// Waits until there is an event, with the pauses that the pace requires. With `blocking` a
    /// pause suspends the thread, else only the task.
    pub(super) async fn fill_at_pace(
        &mut self,
        blocking: bool,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<()> {
        loop {
            let needed = self.needed();
            if needed == 0 {
                return Ok(());
            }
            let space = match self.pace.pause(Instant::now()) {
                Some(pause) => {
                    if blocking {
                        std::thread::sleep(pause);
                    } else {
                        tokio::time::sleep(pause).await;
                    }
                    needed.max(BACKLOG_READ_SIZE)
                }
                None => needed,
            };
            let count = self.read(space, stream).await?;
            self.record_read(count);
        }
    }

    /// Records a read of `bytes` bytes in the pace.
    pub(super) fn record_read(&mut self, bytes: usize) {
        self.pace.record_read(bytes, Instant::now());
    }

    /// Reads the bytes that have already arrived, after making space for at least `space`. Returns
    /// the number of bytes read; zero if there were none.
    pub(super) async fn fill_now(
        &mut self,
        space: usize,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<usize> {
        // The socket becomes readable for the runtime when the runtime polls the system, which it
        // could not do while this thread was busy.
        tokio::task::yield_now().await;
        // Polled once: a timeout of zero would take up to a millisecond.
        let mut reading = pin!(self.read(space, stream));
        match poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
            Poll::Ready(count) => count,
            Poll::Pending => Ok(0),
        }
    }

    /// Reads once, after making space for at least `space` bytes.
    async fn read(&mut self, space: usize, stream: &mut (impl AsyncRead + Unpin)) -> Result<usize> {
        match self
            .input
            .fill(stream, space)
            .await
            .map_err(connection_lost)?
        {
            0 => Err(connection_closed()),
            count => Ok(count),
        }
    }
}
