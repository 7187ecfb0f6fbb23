//! A connection to a server: byte stream, protocol session and receive buffer.

use std::time::Duration;

use protocol::{Event, Session};
use tracing::debug;

use super::coalesce::Pace;
use super::connect::cancel::Canceller;
use super::error::{connection_closed, unrecognized_message};
use super::receiver::Receiver;
use super::replication_io::{BoxedRead, BoxedWrite, ReplicationReader, ReplicationWriter};
use super::stream::{Route, Stream};
use crate::background;
use crate::error::Result;

/// A connection to a server. Other rooms only see it after its login is complete.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    receiver: Receiver,
    canceller: Box<Canceller>,
}

/// Timeout for sending a CancelRequest and waiting for the server to handle it.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

impl Connection {
    pub(super) fn new(stream: Stream, receiver: Receiver, canceller: Canceller) -> Self {
        Self {
            stream,
            receiver,
            canceller: Box::new(canceller),
        }
    }

    /// Closes the connection while the server may still be executing a statement, and asks the
    /// server to cancel it. Without the request the server would continue until it has a message to
    /// send, and hold its locks until then.
    ///
    /// The request is sent in the background. A failure is only logged.
    pub fn give_up(self) {
        let key = self.receiver.session.cancel_key();
        let Some(request) = key.map(protocol::CancelKey::cancel_request) else {
            return;
        };
        let Self {
            stream, canceller, ..
        } = self;
        let cancelling = async move {
            match tokio::time::timeout(CANCEL_TIMEOUT, canceller.cancel(&request)).await {
                Ok(Ok(())) => debug!("query cancelled"),
                Ok(Err(error)) => debug!(%error, "query not cancelled"),
                Err(_) => debug!(timeout = ?CANCEL_TIMEOUT, "query not cancelled: no answer"),
            }
            drop(stream);
        };
        // A task continues when its handle is dropped.
        drop(background::spawn(cancelling));
    }

    /// Returns the session, to queue requests; [`Connection::send`] sends them.
    pub fn session(&mut self) -> &mut Session {
        &mut self.receiver.session
    }

    /// Returns the session, to read the server's parameters, the transaction status and the
    /// cancellation key.
    pub fn facts(&self) -> &Session {
        &self.receiver.session
    }

    /// Sends the messages that the session has queued.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn send(&mut self) -> Result<()> {
        self.stream.send_queued(&mut self.receiver.session).await
    }

    /// Waits until [`Connection::try_event`] has an event.
    ///
    /// # Errors
    ///
    /// Fails when the connection is closed or lost.
    pub async fn fill(&mut self) -> Result<()> {
        self.receiver.fill(&mut self.stream).await
    }

    /// Waits until [`Connection::try_event`] has an event, when many rows are expected: during a
    /// backlog, bytes are left to collect in the socket for a moment. With `blocking` the thread
    /// sleeps meanwhile instead of running other tasks, which costs less CPU time if there are
    /// none.
    ///
    /// # Errors
    ///
    /// Fails when the connection is closed or lost.
    pub async fn fill_with_rows(&mut self, blocking: bool) -> Result<()> {
        if self.receiver.session.is_closed() {
            return Err(connection_closed());
        }
        self.receiver.fill_at_pace(blocking, &mut self.stream).await
    }

    /// Reads the bytes that have already arrived, without waiting for more. Does nothing if
    /// [`Connection::try_event`] has an event.
    ///
    /// # Errors
    ///
    /// Fails when the connection is closed or lost.
    pub async fn fill_now(&mut self) -> Result<()> {
        let needed = self.receiver.needed();
        if needed > 0 {
            self.receiver.fill_now(needed, &mut self.stream).await?;
        }
        Ok(())
    }

    /// Returns whether the buffer holds a complete message.
    pub fn has_event(&self) -> bool {
        self.receiver.needed() == 0
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

    /// Sends the messages that the session has queued, and waits for the next event.
    ///
    /// # Errors
    ///
    /// Fails when the connection is closed or lost, or the server violates the protocol.
    pub async fn event(&mut self) -> Result<Event<'_>> {
        self.send().await?;
        self.fill().await?;
        self.try_event()?.ok_or_else(unrecognized_message)
    }

    /// Returns whether the connection uses TLS.
    pub fn is_encrypted(&self) -> bool {
        self.stream.is_encrypted()
    }

    /// Splits the connection for streaming, so that status updates can be sent while the reader is
    /// busy or waits.
    ///
    /// # Errors
    ///
    /// Fails unless the connection is in CopyBoth mode.
    pub fn into_replication(
        mut self,
    ) -> Result<(ReplicationReader, ReplicationWriter), protocol::ProtocolError> {
        let sender = self.receiver.session.take_copy_sender()?;
        let (read, write): (BoxedRead, BoxedWrite) = match self.stream {
            Stream::Plain(Route::Direct(stream)) => {
                let (read, write) = stream.into_split();
                (Box::new(read), Box::new(write))
            }
            Stream::Plain(stream) => {
                let (read, write) = tokio::io::split(stream);
                (Box::new(read), Box::new(write))
            }
            Stream::Tls(stream) => {
                let (read, write) = tokio::io::split(*stream);
                (Box::new(read), Box::new(write))
            }
        };
        let receiver = self.receiver.with_pace(Pace::of_changes());
        Ok((
            ReplicationReader::new(read, receiver),
            ReplicationWriter::new(write, sender),
        ))
    }
}
