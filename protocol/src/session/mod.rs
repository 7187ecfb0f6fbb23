//! The state machine of a connection: what arrived goes in, what is to be sent comes out.

mod copy_both;
mod copy_sender;
mod event;
mod pipeline;
mod request;
mod startup;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, fmt};

use bytes::{Bytes, BytesMut};

use crate::{
    auth::{AllowedMethods, BindingPolicy, NONCE, Secret, Transport},
    error::ProtocolError,
    frame::{self, Frame, Limits},
    ids::ProcessId,
    message::{BackendMessage, CancelKey, DataRow, ProtocolVersion, TransactionStatus, tag},
};
pub use copy_sender::CopySender;
pub use event::Event;
use pipeline::PendingRequest;
use startup::Startup;

/// What a session needs to know before it starts.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The role to connect as.
    pub user: String,
    /// The database; the server takes the user's name if there is none.
    pub database: Option<String>,
    /// The password, should the server ask for one.
    pub password: Option<Secret>,
    /// Run-time parameters to start with, such as `application_name`; also `replication`.
    pub parameters: Vec<(String, String)>,
    /// Whether to ask for TLS.
    pub tls: TlsRequest,
    /// Fresh random bytes for the authentication. Never use them for a second session.
    pub nonce: [u8; NONCE],
    /// Whether to send the password in clear text over a connection without TLS.
    pub allow_cleartext: bool,
    /// Whether the login is bound to the TLS connection.
    pub channel_binding: BindingPolicy,
    /// The methods by which the login may go.
    pub allowed_methods: AllowedMethods,
    /// The protocol version to ask for.
    pub protocol_version: ProtocolVersion,
    /// The longest messages that are accepted.
    pub limits: Limits,
}

impl SessionConfig {
    /// Makes a configuration for a role, with fresh random bytes; all else has its default.
    pub fn new(user: impl Into<String>, nonce: [u8; NONCE]) -> Self {
        Self {
            user: user.into(),
            database: None,
            password: None,
            parameters: Vec::new(),
            tls: TlsRequest::Disable,
            nonce,
            allow_cleartext: false,
            channel_binding: BindingPolicy::default(),
            allowed_methods: AllowedMethods::default(),
            protocol_version: ProtocolVersion::V3_0,
            limits: Limits::default(),
        }
    }
}

/// Whether a session asks for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsRequest {
    /// Start at once, without.
    #[default]
    Disable,
    /// Ask first. The answer is [`Event::TlsAccepted`] or [`Event::TlsRefused`].
    Request,
    /// Start with the handshake, as servers from version 17 can. No event tells to: the session
    /// waits for [`Session::handle_tls_established`] from the first.
    Direct,
}

/// One connection to a server, from the first byte to the last.
///
/// The caller owns the socket, the receive buffer and the clock. The order of calls:
///
/// 1. [`new`](Self::new) queues the first message. Send what [`poll_transmit`](Self::poll_transmit)
///    returns, after this and after every other call, until it returns `None`.
/// 2. Give what was received to [`handle_input`](Self::handle_input), again and again, dropping
///    from the buffer as many bytes as it consumed, until it returns `None`. Then receive at least
///    [`needed`](Self::needed) bytes more.
/// 3. After [`Event::TlsAccepted`] do the TLS handshake and call
///    [`handle_tls_established`](Self::handle_tls_established); after [`Event::TlsRefused`] call
///    [`handle_tls_declined`](Self::handle_tls_declined), or give up.
/// 4. After the first [`Event::Ready`] queue queries. Extended queries may be queued before earlier
///    ones are answered; each [`sync`](Self::sync) is answered by one [`Event::Ready`], and
///    [`is_ready`](Self::is_ready) holds after the last. A simple query waits for that.
/// 5. [`terminate`](Self::terminate) at the end.
///
/// An [`Event::Error`] is the server's, and the session goes on unless it
/// [`is_closed`](Self::is_closed). What `handle_input` fails with is the end of the session.
pub struct Session {
    phase: Phase,
    pending: VecDeque<PendingRequest>,
    /// Extended queries were queued behind the last Sync.
    unsynced: bool,
    /// The server skips what it is asked for until a Sync that is not yet queued.
    skipping: bool,
    limits: Limits,
    parameters: Vec<(String, String)>,
    cancel_key: Option<CancelKey>,
    transaction_status: TransactionStatus,
    out: BytesMut,
}

#[derive(Debug)]
enum Phase {
    Startup(Box<Startup>),
    /// Established. What is going on is in `pending`.
    Open,
    Closed,
}

/// The most run-time parameters that are kept. Servers report about twenty.
const MAX_PARAMETERS: usize = 256;

impl fmt::Debug for Session {
    /// Shows what is going on, and nothing of what was sent or received.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("phase", &self.phase)
            .field("pending", &self.pending)
            .field("transaction_status", &self.transaction_status)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Starts a session: queues the request for TLS, or the StartupMessage.
    ///
    /// # Errors
    ///
    /// If the configuration does not fit into the messages.
    pub fn new(config: SessionConfig) -> Result<Self, ProtocolError> {
        let limits = config.limits;
        let mut out = BytesMut::new();
        let startup = Startup::new(config, &mut out)?;
        Ok(Self {
            phase: Phase::Startup(Box::new(startup)),
            pending: VecDeque::new(),
            unsynced: false,
            skipping: false,
            limits,
            parameters: Vec::new(),
            cancel_key: None,
            transaction_status: TransactionStatus::Idle,
            out,
        })
    }

    /// Takes the first message off the input: returns how many bytes it took and what it was, or
    /// `None` if it is not whole yet. Answers that the protocol demands are queued.
    ///
    /// The event borrows from the input. Nothing is copied or kept.
    ///
    /// # Errors
    ///
    /// If the server breaks the protocol, or cannot be authenticated to. The session is closed then.
    #[inline(always)]
    pub fn handle_input<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(usize, Event<'a>)>, ProtocolError> {
        // Streams come first: they are nearly all there is. This much is made part of the caller,
        // where the event need not take the way over memory.
        if let (Phase::Open, Some(pending)) = (&self.phase, self.pending.front())
            && let Some(&tag::COPY_DATA) = input.first()
            && pending.accepts_data(tag::COPY_DATA)
            && let Some(frame) = Frame::split_whole(input, &self.limits)
        {
            return Ok(Some((frame.size(), Event::CopyData(frame.body))));
        }
        self.handle_data(input)
    }

    fn handle_data<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(usize, Event<'a>)>, ProtocolError> {
        if let (Phase::Open, Some(pending)) = (&self.phase, self.pending.front())
            && let Some(&first) = input.first()
            && pending.accepts_data(first)
        {
            let Some(frame) = self.split(input)? else {
                return Ok(None);
            };
            let event = if first == tag::COPY_DATA {
                Event::CopyData(frame.body)
            } else {
                match DataRow::parse(frame.body) {
                    Ok(row) => Event::DataRow(row),
                    Err(error) => return Err(self.fail(error)),
                }
            };
            return Ok(Some((frame.size(), event)));
        }
        self.handle_message(input)
    }

    #[inline]
    fn split<'a>(&mut self, input: &'a [u8]) -> Result<Option<Frame<'a>>, ProtocolError> {
        match Frame::split(input, &self.limits) {
            Ok(frame) => Ok(frame),
            Err(error) => Err(self.fail(error)),
        }
    }

    #[cold]
    fn fail(&mut self, error: impl Into<ProtocolError>) -> ProtocolError {
        self.close();
        error.into()
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.pending.clear();
    }

    fn handle_message<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(usize, Event<'a>)>, ProtocolError> {
        let result = match &mut self.phase {
            Phase::Startup(_) => self.handle_startup(input),
            Phase::Open => self.handle_open(input),
            Phase::Closed => match input.first() {
                Some(&tag) => Err(ProtocolError::UnexpectedMessage {
                    tag,
                    state: "the session is closed",
                }),
                None => Ok(None),
            },
        };
        if result.is_err() {
            self.close();
        }
        result
    }

    fn handle_open<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(usize, Event<'a>)>, ProtocolError> {
        let Some(frame) = Frame::split(input, &self.limits)? else {
            return Ok(None);
        };
        let message = BackendMessage::parse(frame.tag, frame.body)?;
        let event = match message {
            BackendMessage::ParameterStatus { name, value } => {
                self.set_parameter(name, value)?;
                Event::ParameterStatus { name, value }
            }
            BackendMessage::NoticeResponse(report) => Event::Notice(report),
            BackendMessage::NotificationResponse(notification) => Event::Notification(notification),
            BackendMessage::ErrorResponse(report) => {
                if report.severity().ends_session() {
                    self.close();
                } else {
                    self.handle_error();
                }
                Event::Error(report)
            }
            _ => self.advance(frame.tag, message)?,
        };
        Ok(Some((frame.size(), event)))
    }

    /// Returns how many bytes more are needed at least before
    /// [`handle_input`](Self::handle_input) can go on with this input. Once a message's header is
    /// there, it is what is missing of the message; to size the buffer by it is safe, since
    /// [`Limits`] cap it. 0 if there is something to handle already.
    pub fn needed(&self, input: &[u8]) -> usize {
        match &self.phase {
            Phase::Startup(startup) => startup.needed(input, &self.limits),
            Phase::Open => frame::missing(input, &self.limits),
            Phase::Closed => 0,
        }
    }

    /// Returns all queued output, or `None` if there is none.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| self.out.split().freeze())
    }

    /// Returns whether a query can be queued and nothing is under way.
    pub fn is_ready(&self) -> bool {
        self.is_idle()
    }

    /// Returns whether the session is over: terminated, ended by the server or failed.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Returns whether the connection carries CopyData both ways.
    pub fn is_copy_both(&self) -> bool {
        self.pending
            .front()
            .is_some_and(|pending| pending.copy().is_both())
    }

    /// Returns the transaction status that the server reported last.
    pub fn transaction_status(&self) -> TransactionStatus {
        self.transaction_status
    }

    /// Returns the value of a run-time parameter that the server has reported.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the process that serves the session, once it is known.
    pub fn process_id(&self) -> Option<ProcessId> {
        self.cancel_key.as_ref().map(CancelKey::process_id)
    }

    /// Returns what it takes to cancel a query of this session, once it is known.
    pub fn cancel_key(&self) -> Option<&CancelKey> {
        self.cancel_key.as_ref()
    }

    fn set_parameter(&mut self, name: &str, value: &str) -> Result<(), ProtocolError> {
        if let Some((_, slot)) = self.parameters.iter_mut().find(|(found, _)| found == name) {
            value.clone_into(slot);
        } else if self.parameters.len() < MAX_PARAMETERS {
            self.parameters.push((name.to_owned(), value.to_owned()));
        } else {
            return Err(ProtocolError::TooManyParameters);
        }
        Ok(())
    }
}

/// What the connection below reports.
impl Session {
    /// Goes on after [`Event::TlsAccepted`] and a handshake: queues the StartupMessage. The hash is
    /// that of the server's certificate as RFC 5929 has it for `tls-server-end-point`, if it
    /// defines one; with it the authentication is bound to this connection where the server can.
    ///
    /// # Errors
    ///
    /// Unless the session waits for it.
    pub fn handle_tls_established(
        &mut self,
        server_end_point: Option<Vec<u8>>,
    ) -> Result<(), ProtocolError> {
        self.finish_tls("handle_tls_established", Transport::Tls(server_end_point))
    }

    /// Goes on without TLS after [`Event::TlsRefused`]: queues the StartupMessage.
    ///
    /// # Errors
    ///
    /// Unless the session waits for it.
    pub fn handle_tls_declined(&mut self) -> Result<(), ProtocolError> {
        self.finish_tls("handle_tls_declined", Transport::Plain)
    }

    fn finish_tls(
        &mut self,
        call: &'static str,
        transport: Transport,
    ) -> Result<(), ProtocolError> {
        match &mut self.phase {
            Phase::Startup(startup) => startup.finish_tls(call, transport, &mut self.out),
            Phase::Open => Err(ProtocolError::Call {
                call,
                state: "the session is established",
            }),
            Phase::Closed => Err(ProtocolError::Call {
                call,
                state: "the session is closed",
            }),
        }
    }
}
