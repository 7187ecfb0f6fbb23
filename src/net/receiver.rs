//! What comes from the server: bytes, the messages in them, and the pace at which they are read.

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

/// The receiving side of a connection, without its stream.
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

    /// The same at another pace.
    pub(super) fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    pub(super) fn unread(&self) -> &[u8] {
        self.input.unread()
    }

    /// Returns how many bytes are missing for the next event.
    pub(super) fn needed(&self) -> usize {
        self.session.needed(self.input.unread())
    }

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

    /// Waits until there is an event.
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

    /// Waits until there is an event, and lets bytes collect at the pace at which they come. A thread that
    /// is `alone` sleeps meanwhile.
    pub(super) async fn fill_at_pace(
        &mut self,
        alone: bool,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<()> {
        loop {
            let needed = self.needed();
            if needed == 0 {
                return Ok(());
            }
            let room = match self.pace.pause(Instant::now()) {
                Some(pause) => {
                    if alone {
                        std::thread::sleep(pause);
                    } else {
                        tokio::time::sleep(pause).await;
                    }
                    needed.max(BACKLOG_READ_SIZE)
                }
                None => needed,
            };
            let count = self.read(room, stream).await?;
            self.record_read(count);
        }
    }

    /// Notes a read for the pace.
    pub(super) fn record_read(&mut self, bytes: usize) {
        self.pace.record_read(bytes, Instant::now());
    }

    /// Reads what has arrived by now, with room for at least so many bytes. Returns how much that was.
    pub(super) async fn fill_now(
        &mut self,
        room: usize,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<usize> {
        // What has arrived is known when the runtime has asked the system; a thread that was busy since
        // has not let it.
        tokio::task::yield_now().await;
        // A timer would be late by up to a millisecond.
        let mut reading = pin!(self.read(room, stream));
        match poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
            Poll::Ready(count) => count,
            Poll::Pending => Ok(0),
        }
    }

    /// Reads once.
    async fn read(&mut self, room: usize, stream: &mut (impl AsyncRead + Unpin)) -> Result<usize> {
        match self
            .input
            .fill(stream, room)
            .await
            .map_err(connection_lost)?
        {
            0 => Err(connection_closed()),
            count => Ok(count),
        }
    }
}
