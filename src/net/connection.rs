//! A connection: socket, session and receive buffer together.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use protocol::{Event, Session};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tracing::debug;

use super::coalesce::{PIECE, Pace};
use super::connect::Canceller;
use super::{ReceiveBuffer, Route, Stream};
use crate::background;
use crate::error::{Error, ErrorKind, Result};

/// A connection whose start-up is complete.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    session: Session,
    input: ReceiveBuffer,
    pace: Pace,
    canceller: Option<Box<Canceller>>,
}

/// How long a server may take to be told to cancel what it is doing.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);

impl Connection {
    pub(super) fn new(stream: Stream, session: Session) -> Self {
        Self {
            stream,
            session,
            input: ReceiveBuffer::default(),
            pace: Pace::of_rows(),
            canceller: None,
        }
    }

    pub(super) fn cancel_with(&mut self, canceller: Canceller) {
        self.canceller = Some(Box::new(canceller));
    }

    /// Gives the connection up while the server may be busy with what it was asked for. It would go on
    /// until it has something to send, and keep its locks as long: so it is told to cancel that, by the
    /// way, as far as it can be told.
    pub fn give_up(self) {
        let key = self.session.cancel_key();
        let (Some(canceller), Some(request)) =
            (self.canceller, key.map(protocol::CancelKey::cancel_request))
        else {
            return;
        };
        let stream = self.stream;
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
        &mut self.session
    }

    /// Returns the session's facts: parameters, transaction status, version.
    pub fn facts(&self) -> &Session {
        &self.session
    }

    /// Sends what the session has queued.
    ///
    /// # Errors
    ///
    /// Fails when the connection is gone.
    pub async fn send(&mut self) -> Result<()> {
        send(&mut self.session, &mut self.stream).await
    }

    /// Waits until [`Connection::try_event`] has an event.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends, or the server sends what is no message.
    pub async fn fill(&mut self) -> Result<()> {
        fill(&self.session, &mut self.input, &mut self.stream).await
    }

    /// The same where many rows are on their way: they are left to collect for a moment. A thread that is
    /// `alone`, which waits for nothing else, sleeps meanwhile: that takes less of the processor.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends, or the server sends what is no message.
    pub async fn fill_with_rows(&mut self, alone: bool) -> Result<()> {
        if self.session.is_closed() {
            return Err(closed());
        }
        fill_at(
            &mut self.pace,
            alone,
            &self.session,
            &mut self.input,
            &mut self.stream,
        )
        .await
    }

    /// Reads what has arrived by now, unless [`Connection::try_event`] has an event already.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends.
    pub async fn fill_now(&mut self) -> Result<()> {
        let needed = self.session.needed(self.input.unread());
        if needed > 0 {
            fill_now(needed, &mut self.input, &mut self.stream).await?;
        }
        Ok(())
    }

    /// Returns whether a whole message waits in the buffer.
    pub fn has_event(&self) -> bool {
        self.session.needed(self.input.unread()) == 0
    }

    /// Returns the next event, if it is there already.
    ///
    /// # Errors
    ///
    /// Fails when the server breaks the protocol.
    #[inline]
    pub fn try_event(&mut self) -> Result<Option<Event<'_>>> {
        next(&mut self.session, &mut self.input)
    }

    /// Waits for the next event, sending first what earlier ones have queued.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends or the server breaks the protocol.
    pub async fn event(&mut self) -> Result<Event<'_>> {
        self.send().await?;
        self.fill().await?;
        self.try_event()?.ok_or_else(unframed)
    }

    /// Returns whether the bytes are encrypted on their way.
    pub fn is_encrypted(&self) -> bool {
        self.stream.is_encrypted()
    }

    pub(super) fn unread(&self) -> &[u8] {
        self.input.unread()
    }

    pub(super) fn into_parts(self) -> (Stream, Session) {
        (self.stream, self.session)
    }

    /// Takes the connection apart for streaming, so that positions can be reported while a reader
    /// is busy elsewhere.
    pub fn into_halves(self) -> (ReplicationReader, ReplicationWriter) {
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
        let reader = ReplicationReader {
            stream: read,
            session: self.session,
            input: self.input,
            pace: Pace::of_changes(),
        };
        (reader, ReplicationWriter { stream: write })
    }
}

type BoxedRead = Box<dyn AsyncRead + Send + Unpin>;
type BoxedWrite = Box<dyn AsyncWrite + Send + Unpin>;

/// The receiving half of a connection in CopyBoth mode.
pub struct ReplicationReader {
    stream: BoxedRead,
    session: Session,
    input: ReceiveBuffer,
    pace: Pace,
}

impl fmt::Debug for ReplicationReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationReader")
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl ReplicationReader {
    /// Waits until [`ReplicationReader::try_event`] has an event.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends, or the server sends what is no message.
    pub async fn fill(&mut self) -> Result<()> {
        self.fill_at_pace(false).await
    }

    /// The same for a thread that waits for nothing else. While bytes are left to collect it sleeps,
    /// so that what arrives meanwhile wakes nobody.
    ///
    /// # Errors
    ///
    /// Fails as [`ReplicationReader::fill`] does.
    pub async fn fill_alone(&mut self) -> Result<()> {
        self.fill_at_pace(true).await
    }

    async fn fill_at_pace(&mut self, alone: bool) -> Result<()> {
        fill_at(
            &mut self.pace,
            alone,
            &self.session,
            &mut self.input,
            &mut self.stream,
        )
        .await
    }

    /// Reads what has arrived by now, neither waiting nor letting more collect. Returns whether
    /// there was something.
    ///
    /// # Errors
    ///
    /// Fails when the connection ends.
    pub async fn fill_now(&mut self) -> Result<bool> {
        let needed = self.session.needed(self.input.unread()).max(PIECE);
        let count = fill_now(needed, &mut self.input, &mut self.stream).await?;
        if count > 0 {
            self.pace.read(count, Instant::now());
        }
        Ok(count > 0)
    }

    /// Returns the next event, if it is there already.
    ///
    /// # Errors
    ///
    /// Fails when the server breaks the protocol.
    #[inline]
    pub fn try_event(&mut self) -> Result<Option<Event<'_>>> {
        next(&mut self.session, &mut self.input)
    }

    /// Ends this half of the connection.
    pub fn close(&mut self) {
        self.stream = Box::new(tokio::io::empty());
    }

    /// Returns whether a whole message waits in the buffer.
    pub fn has_event(&self) -> bool {
        self.session.needed(self.input.unread()) == 0
    }
}

/// The sending half of a connection in CopyBoth mode.
pub struct ReplicationWriter {
    stream: BoxedWrite,
}

impl fmt::Debug for ReplicationWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationWriter").finish_non_exhaustive()
    }
}

impl ReplicationWriter {
    /// Sends bytes that are whole frontend messages.
    ///
    /// # Errors
    ///
    /// Fails when the connection is gone.
    pub async fn send(&mut self, messages: &[u8]) -> Result<()> {
        self.stream.write_all(messages).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)
    }
}

async fn send(session: &mut Session, stream: &mut Stream) -> Result<()> {
    while let Some(bytes) = session.poll_transmit() {
        stream.write_all(&bytes).await.map_err(lost)?;
    }
    stream.flush().await.map_err(lost)
}

async fn fill(
    session: &Session,
    input: &mut ReceiveBuffer,
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<()> {
    loop {
        let needed = session.needed(input.unread());
        if session.is_closed() {
            return Err(closed());
        }
        if needed == 0 {
            return Ok(());
        }
        if input.fill(stream, needed).await.map_err(lost)? == 0 {
            return Err(closed());
        }
    }
}

/// Reads what has arrived by now, and returns how much that was.
async fn fill_now(
    needed: usize,
    input: &mut ReceiveBuffer,
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<usize> {
    // What has arrived is known when the runtime has asked the system; a thread that was busy since
    // has not let it.
    tokio::task::yield_now().await;
    // A timer would be late by up to a millisecond.
    let mut filled = pin!(input.fill(stream, needed));
    let polled = poll_fn(|context| Poll::Ready(filled.as_mut().poll(context))).await;
    match polled {
        Poll::Ready(Ok(0)) => Err(closed()),
        Poll::Ready(count) => count.map_err(lost),
        Poll::Pending => Ok(0),
    }
}

/// Fills at the pace at which bytes come.
async fn fill_at(
    pace: &mut Pace,
    alone: bool,
    session: &Session,
    input: &mut ReceiveBuffer,
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<()> {
    loop {
        let needed = session.needed(input.unread());
        if needed == 0 {
            return Ok(());
        }
        let room = match pace.pause(Instant::now()) {
            Some(pause) => {
                if alone {
                    std::thread::sleep(pause);
                } else {
                    tokio::time::sleep(pause).await;
                }
                needed.max(PIECE)
            }
            None => needed,
        };
        let count = input.fill(stream, room).await.map_err(lost)?;
        if count == 0 {
            return Err(closed());
        }
        pace.read(count, Instant::now());
    }
}

#[inline]
fn next<'a>(session: &mut Session, input: &'a mut ReceiveBuffer) -> Result<Option<Event<'a>>> {
    let (unread, consumed) = input.split();
    match session.handle_input(unread) {
        Ok(Some((count, event))) => {
            *consumed += count;
            Ok(Some(event))
        }
        Ok(None) => Ok(None),
        Err(error) => Err(broken(error)),
    }
}

fn closed() -> Error {
    Error::new(
        ErrorKind::Connection,
        "the server closed the connection unexpectedly",
    )
}

pub(super) fn lost(error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Connection,
        "the connection to the server was lost",
    )
    .with_source(error)
}

/// The session has consumed nothing although it needed no more bytes.
fn unframed() -> Error {
    Error::new(
        ErrorKind::Internal,
        "a whole message from the server was not recognized",
    )
}

pub(super) fn broken(error: protocol::ProtocolError) -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the server sent what the protocol does not allow",
    )
    .with_source(error)
}
