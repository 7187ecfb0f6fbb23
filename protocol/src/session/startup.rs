//! Start-up of a session, from the first byte to the first ReadyForQuery.
//!
//! ```text
//! AwaitTlsAnswer -> AwaitHandshake -> Authenticate -> AwaitReady -> (established)
//! ```

use std::fmt;

use bytes::BytesMut;

use super::{Event, Phase, Session, SessionConfig, TlsRequest};
use crate::{
    auth::{Authenticator, Policy, Transport},
    error::ProtocolError,
    frame::{self, Frame, Limits},
    message::{self, BackendMessage, CancelKey, ProtocolVersion},
};

/// State of a session before it is established.
pub(super) struct Startup {
    state: State,
    transport: Transport,
    authenticator: Authenticator,
    version: ProtocolVersion,
    /// StartupMessage until it may be sent. It is encoded early, to check the arguments.
    message: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// SSLRequest was sent: its response, one byte, is pending.
    AwaitTlsAnswer,
    /// The caller performs the TLS handshake, or decides whether to continue without TLS.
    AwaitHandshake { accepted: bool },
    /// StartupMessage was sent: the authentication is in progress.
    Authenticate,
    /// The client is authenticated: the server sends its parameters.
    AwaitReady,
}

impl fmt::Debug for Startup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Startup")
            .field("state", &self.state)
            .field("authenticator", &self.authenticator)
            .finish_non_exhaustive()
    }
}

impl Startup {
    pub(super) fn new(config: SessionConfig, out: &mut BytesMut) -> Result<Self, ProtocolError> {
        let mut message = BytesMut::new();
        let named = [
            ("user", Some(&config.user)),
            ("database", config.database.as_ref()),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.as_str())));
        let others = config
            .parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        message::startup_message(&mut message, config.protocol_version, named.chain(others))?;
        let state = match config.tls {
            TlsRequest::Disable => {
                out.unsplit(message.split());
                State::Authenticate
            }
            TlsRequest::Request => {
                message::ssl_request(out)?;
                State::AwaitTlsAnswer
            }
            TlsRequest::Direct => State::AwaitHandshake { accepted: true },
        };
        let authenticator = Authenticator::new(
            config.user,
            config.password,
            Policy {
                allow_cleartext: config.allow_cleartext,
                binding: config.channel_binding,
                methods: config.allowed_methods,
            },
            config.nonce,
        );
        Ok(Self {
            state,
            transport: Transport::Plain,
            authenticator,
            version: config.protocol_version,
            message,
        })
    }

    pub(super) fn needed(&self, input: &[u8], limits: &Limits) -> usize {
        match self.state {
            State::AwaitTlsAnswer => usize::from(input.is_empty()),
            State::AwaitHandshake { .. } => 0,
            State::Authenticate => frame::missing(input, &limits.before_authentication()),
            State::AwaitReady => frame::missing(input, limits),
        }
    }

    pub(super) fn finish_tls(
        &mut self,
        call: &'static str,
        transport: Transport,
        out: &mut BytesMut,
    ) -> Result<(), ProtocolError> {
        match (self.state, &transport) {
            (State::AwaitHandshake { accepted: true }, Transport::Tls(_))
            | (State::AwaitHandshake { accepted: false }, Transport::Plain) => {
                out.unsplit(self.message.split());
                self.transport = transport;
                self.state = State::Authenticate;
                Ok(())
            }
            _ => Err(ProtocolError::Call {
                call,
                state: "the session does not wait for this result of the TLS negotiation",
            }),
        }
    }

    /// Fails unless StartupMessage was sent: the server accepts no Terminate before it.
    pub(super) fn check_started(&self) -> Result<(), ProtocolError> {
        match self.state {
            State::Authenticate | State::AwaitReady => Ok(()),
            State::AwaitTlsAnswer | State::AwaitHandshake { .. } => Err(ProtocolError::Call {
                call: "terminate",
                state: "the session negotiates TLS",
            }),
        }
    }

    /// Fails if the server offers a version that the session has not requested.
    fn check_version(&self, found: u32) -> Result<(), ProtocolError> {
        // Old servers send the minor version only.
        let (major, minor) = (found >> 16, found & 0xffff);
        if !matches!(major, 0 | 3) || minor > self.version.code() & 0xffff {
            return Err(ProtocolError::Version { found });
        }
        Ok(())
    }

    /// Handles the response to SSLRequest, a single byte.
    ///
    /// More bytes are an error: they were injected before the handshake, and must not be treated as
    /// if they had been received over TLS.
    fn tls_answer<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(usize, Event<'a>)>, ProtocolError> {
        let Some((&answer, rest)) = input.split_first() else {
            return Ok(None);
        };
        let accepted = match answer {
            b'S' => true,
            b'N' => false,
            other => return Err(ProtocolError::TlsAnswer(other)),
        };
        if !rest.is_empty() {
            return Err(ProtocolError::BytesBeforeTls);
        }
        self.state = State::AwaitHandshake { accepted };
        Ok(Some((
            1,
            if accepted {
                Event::TlsAccepted
            } else {
                Event::TlsRefused
            },
        )))
    }
}

impl Session {
    pub(super) fn handle_startup<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(usize, Event<'a>)>, ProtocolError> {
        let Phase::Startup(startup) = &mut self.phase else {
            return Ok(None);
        };
        let limits = match startup.state {
            State::AwaitTlsAnswer => return startup.tls_answer(input),
            State::AwaitHandshake { .. } if input.is_empty() => return Ok(None),
            State::AwaitHandshake { .. } => return Err(ProtocolError::BytesBeforeTls),
            State::Authenticate => self.limits.before_authentication(),
            State::AwaitReady => self.limits,
        };
        let Some(frame) = Frame::split(input, &limits)? else {
            return Ok(None);
        };
        let message = BackendMessage::parse(frame.tag, frame.body)?;
        let event = match (startup.state, message) {
            (_, BackendMessage::NoticeResponse(report)) => Event::Notice(report),
            (_, BackendMessage::ErrorResponse(report)) => {
                // The server closes the connection after this error, for any severity.
                self.close();
                Event::Error(report)
            }
            (State::Authenticate, BackendMessage::Authentication(step)) => {
                if startup
                    .authenticator
                    .handle(step, &startup.transport, &mut self.out)?
                {
                    startup.state = State::AwaitReady;
                    Event::Authenticated
                } else {
                    Event::AuthenticationStep
                }
            }
            (State::Authenticate, BackendMessage::NegotiateProtocolVersion(negotiation)) => {
                startup.check_version(negotiation.version)?;
                Event::NegotiateProtocolVersion(negotiation)
            }
            (State::AwaitReady, BackendMessage::ParameterStatus { name, value }) => {
                self.set_parameter(name, value)?;
                Event::ParameterStatus { name, value }
            }
            (State::AwaitReady, BackendMessage::BackendKeyData(data)) => {
                self.cancel_key = Some(CancelKey::new(data));
                Event::BackendKeyData
            }
            (State::AwaitReady, BackendMessage::ReadyForQuery(status)) => {
                self.transaction_status = status;
                self.phase = Phase::Open;
                Event::Ready(status)
            }
            (state, _) => return Err(unexpected(frame.tag, state)),
        };
        Ok(Some((frame.size(), event)))
    }
}

fn unexpected(tag: u8, state: State) -> ProtocolError {
    ProtocolError::UnexpectedMessage {
        tag,
        state: match state {
            State::AwaitReady => "the session is being set up",
            _ => "the authentication is in progress",
        },
    }
}
