//! A connection: socket, session and receive buffer together.

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

/// A connection whose start-up is complete.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    receiver: Receiver,
    canceller: Box<Canceller>,
}

/// How long a server may take to be told to cancel what it is doing.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);

impl Connection {
    pub(super) fn new(stream: Stream, receiver: Receiver, canceller: Canceller) -> Self {
        Self {
            stream,
            receiver,
            canceller: Box::new(canceller),
        }
    }

    /// Gives the connection up while the server may be busy with what it was asked for. It would go on
    /// until it has something to send, and keep its locks as long: so it is told to cancel that, by the
    /// way, as far as it can be told.
    pub fn give_up(self) {
        let key = self.receiver.session.cancel_key();
        let Some(request) = key.map(protocol::CancelKey::cancel_request) else {
            return;
        };
        let Self {
            stream, canceller, ..
        } = self;
        let cancelling = async move {
            match tokio::time::timeout(CANCEL_LIMIT, canceller.cancel(&request)).await {
                Ok(Ok(())) => debug!("a query was cancelled with its connection"),
                Ok(Err(error)) => debug!(%error, "a query cannot be cancelled"),
                Err(_) => debug!("a query cannot be cancelled: there is no answer"),
            }
            drop(stream);
        };
        // Nobody waits for it.
        drop(background::spawn(cancelling));
    }

    /// Returns the session, to queue requests with; [`Connection::send`] sends them.
    pub fn session(&mut self) -> &mut Session {
        &mut self.receiver.session
    }

    /// Returns the session's facts: parameters, transaction status, version.
    pub fn facts(&self) -> &Session {
        &self.receiver.session
    }

    /// Sends what the session has queued.
    ///
    /// # Errors
    ///
    /// Fails when the connection is gone.
    pub async fn send(&mut self) -> Result<()> {
        self.stream.send_queued(&mut self.receiver.session).await
    }

    /// Waits until [`Connection::try_event`] has an event.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends, or the server sends what is no message.
    pub async fn fill(&mut self) -> Result<()> {
        self.receiver.fill(&mut self.stream).await
    }

    /// The same where many rows are on their way: they are left to collect for a moment. A thread that is
    /// `alone`, which waits for nothing else, sleeps meanwhile: that takes less of the processor.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends, or the server sends what is no message.
    pub async fn fill_with_rows(&mut self, alone: bool) -> Result<()> {
        if self.receiver.session.is_closed() {
            return Err(connection_closed());
        }
        self.receiver.fill_at_pace(alone, &mut self.stream).await
    }

    /// Reads what has arrived by now, unless [`Connection::try_event`] has an event already.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends.
    pub async fn fill_now(&mut self) -> Result<()> {
        let needed = self.receiver.needed();
        if needed > 0 {
            self.receiver.fill_now(needed, &mut self.stream).await?;
        }
        Ok(())
    }

    /// Returns whether a whole message waits in the buffer.
    pub fn has_event(&self) -> bool {
        self.receiver.needed() == 0
    }

    /// Returns the next event, if it is there already.
    ///
    /// # Errors
    ///
    /// Fails when the server breaks the protocol.
    #[inline]
    pub fn try_event(&mut self) -> Result<Option<Event<'_>>> {
        self.receiver.try_event()
    }

    /// Waits for the next event, sending first what earlier ones have queued.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends or the server breaks the protocol.
    pub async fn event(&mut self) -> Result<Event<'_>> {
        self.send().await?;
        self.fill().await?;
        self.try_event()?.ok_or_else(unrecognized_message)
    }

    /// Returns whether the bytes are encrypted on their way.
    pub fn is_encrypted(&self) -> bool {
        self.stream.is_encrypted()
    }

    /// Takes the connection apart for streaming, so that positions can be reported while a reader
    /// is busy elsewhere.
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
