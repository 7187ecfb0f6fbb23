//! State machine of a connection: received bytes in, events and bytes to send out.

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

/// Configuration of a [`Session`].
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Role to connect as.
    pub user: String,
    /// Database to connect to. Without one the server uses the name of the role.
    pub database: Option<String>,
    /// Password, in case the server requests one.
    pub password: Option<Secret>,
    /// Run-time parameters of the StartupMessage, such as `application_name`; also `replication`.
    pub parameters: Vec<(String, String)>,
    /// Use of TLS.
    pub tls: TlsRequest,
    /// Fresh random bytes for the authentication. They must not be used for another session.
    pub nonce: [u8; NONCE],
    /// Whether the password may be sent in clear text over a connection without TLS.
    pub allow_cleartext: bool,
    /// Use of channel binding, which ties the authentication to the TLS connection.
    pub channel_binding: BindingPolicy,
    /// Authentication methods that are allowed.
    pub allowed_methods: AllowedMethods,
    /// Protocol version to request.
    pub protocol_version: ProtocolVersion,
    /// Maximum lengths of messages from the server.
    pub limits: Limits,
}

impl SessionConfig {
    /// Creates a configuration for a role, with fresh random bytes and defaults for the rest.
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

/// Use of TLS by a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsRequest {
    /// Start the session without TLS.
    #[default]
    Disable,
    /// Send SSLRequest first. The response is reported as [`Event::TlsAccepted`] or
    /// [`Event::TlsRefused`].
    Request,
    /// Start with the TLS handshake, which servers since 17 support. There is no event: the session
    /// waits for [`Session::handle_tls_established`] from the start.
    Direct,
}

/// Protocol state machine of one connection, from the first byte to the last.
///
/// The caller owns the socket, the receive buffer and the clock. The order of calls is:
///
/// 1. [`new`](Self::new) queues the first message. After this and after every other call, send the
///    bytes that [`poll_transmit`](Self::poll_transmit) returns, until it returns `None`.
/// 2. Pass the received bytes to [`handle_input`](Self::handle_input) repeatedly, and remove the
///    consumed bytes from the buffer each time, until it returns `None`. Then receive at least
///    [`needed`](Self::needed) more bytes.
/// 3. After [`Event::TlsAccepted`] perform the TLS handshake and call
///    [`handle_tls_established`](Self::handle_tls_established). After [`Event::TlsRefused`] call
///    [`handle_tls_declined`](Self::handle_tls_declined), or drop the session.
/// 4. After the first [`Event::Ready`] queue queries. Extended queries may be queued before the
///    responses to earlier ones have arrived: each [`sync`](Self::sync) leads to one
///    [`Event::Ready`], and [`is_ready`](Self::is_ready) returns true after the last one. A simple
///    query can only be queued while `is_ready` returns true.
/// 5. Call [`terminate`](Self::terminate) at the end.
///
/// An [`Event::Error`] is reported by the server, and the session continues unless
/// [`is_closed`](Self::is_closed) returns true. An error from `handle_input` closes the session.
pub struct Session {
    phase: Phase,
    pending: VecDeque<PendingRequest>,
    /// Whether extended queries were queued after the last Sync.
    unsynced: bool,
    /// Whether the server skips requests, after an error, up to a Sync that is not queued yet.
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
    /// Established, with the requests in `pending` in progress.
    Open,
    Closed,
}

/// Maximum number of run-time parameters that are stored. Servers report about twenty.
const MAX_PARAMETERS: usize = 256;

impl fmt::Debug for Session {
    /// Shows the state, without any data that was sent or received.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("phase", &self.phase)
            .field("pending", &self.pending)
            .field("transaction_status", &self.transaction_status)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Starts a session: queues SSLRequest or StartupMessage.
    ///
    /// # Errors
    ///
    /// Fails if the configuration cannot be encoded in the messages.
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

    /// Handles the first message of the input. Returns the number of bytes that it takes and its
    /// event, or `None` if it is incomplete. Responses that the protocol requires are queued.
    ///
    /// The event borrows from the input, which is not copied.
    ///
    /// # Errors
    ///
    /// Fails if the server violates the protocol, or if the authentication fails on the client's
    /// side. The session is closed then.
    #[inline(always)]
    pub fn handle_input<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(usize, Event<'a>)>, ProtocolError> {
        // Nearly all messages are data of streams. Only this case is inlined into the caller, so
        // that its event does not pass through memory.
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

    /// Returns the minimum number of bytes to receive, in addition to this input, before
    /// [`handle_input`](Self::handle_input) can continue.
    ///
    /// This is 0 if the input can be handled already. Once the header of a message is complete, it
    /// is the number of missing bytes of that message. It is safe to reserve as much memory, since
    /// [`Limits`] restrict it.
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

    /// Returns whether a query can be queued and no request is in progress.
    pub fn is_ready(&self) -> bool {
        self.is_idle()
    }

    /// Returns whether the session has ended: terminated, ended by the server, or failed.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Returns whether the connection is in CopyBoth mode.
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

    /// Returns the process of the session's backend, once it is known.
    pub fn process_id(&self) -> Option<ProcessId> {
        self.cancel_key.as_ref().map(CancelKey::process_id)
    }

    /// Returns the key to cancel a query of this session, once it is known.
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

/// Results of the TLS negotiation, from the caller.
impl Session {
    /// Continues after [`Event::TlsAccepted`] and the handshake: queues the StartupMessage.
    ///
    /// `server_end_point` is the hash of the server's certificate that RFC 5929 defines for
    /// `tls-server-end-point`; `None` if it defines none. It is used for channel binding.
    ///
    /// # Errors
    ///
    /// Fails unless the session waits for the handshake.
    pub fn handle_tls_established(
        &mut self,
        server_end_point: Option<Vec<u8>>,
    ) -> Result<(), ProtocolError> {
        self.finish_tls("handle_tls_established", Transport::Tls(server_end_point))
    }

    /// Continues without TLS after [`Event::TlsRefused`]: queues the StartupMessage.
    ///
    /// # Errors
    ///
    /// Fails unless the server has refused TLS.
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
