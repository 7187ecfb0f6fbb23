//! Opens the byte stream to a server: socket or tunnel, and TLS over it.

use protocol::{Event, ProtocolError, Session, SessionConfig, TlsRequest};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::attempt::{Attempt, Failure, Target, TlsUse};
use super::config::ConnectConfig;
use super::refusal::{login_interrupted, tls_negotiation_failure, unexpected_message};
use super::socket;
use crate::config::{HostPort, SslMode};
use crate::error::{Error, ErrorKind, Result};
use crate::net::coalesce::Pace;
use crate::net::error::protocol_violation;
use crate::net::receiver::Receiver;
use crate::net::stream::{Route, Stream};
use crate::net::tls::{self, direct_tls_unsupported, handshake_failure};

impl ConnectConfig {
    /// Opens a byte stream to the server, with TLS as the attempt says. The startup message of the
    /// session is still to be sent.
    pub(super) async fn reach(&self, attempt: &Attempt<'_>) -> Result<(Stream, Receiver), Failure> {
        let route = self.open(attempt).await?;
        let session = Session::new(self.session_config(attempt)?).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                "user, database or password cannot be put into a message",
            )
            .with_source(error)
        })?;
        match attempt.tls {
            TlsUse::Never => Ok((Stream::Plain(route), receiver(session))),
            TlsUse::Direct => self.handshake(route, session, attempt).await,
            TlsUse::IfOffered | TlsUse::Required => {
                self.negotiate_tls(route, session, attempt).await
            }
        }
    }

    fn session_config(&self, attempt: &Attempt<'_>) -> Result<SessionConfig> {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                "the operating system provides no random bytes",
            )
            .with_source(error)
        })?;
        Ok(SessionConfig {
            database: (!self.database.is_empty()).then(|| self.database.clone()),
            password: self
                .password(attempt.host)?
                .map(|secret| protocol::Secret::new(secret.expose())),
            parameters: self.parameters(attempt.purpose),
            tls: match attempt.tls {
                TlsUse::Never => TlsRequest::Disable,
                TlsUse::IfOffered | TlsUse::Required => TlsRequest::Request,
                TlsUse::Direct => TlsRequest::Direct,
            },
            // A password is sent in clear text over an unencrypted connection only if the user has
            // turned encryption off.
            allow_cleartext: self.sslmode == SslMode::Disable,
            channel_binding: self.channel_binding,
            allowed_methods: self.allowed_methods,
            ..SessionConfig::new(self.user.clone(), nonce)
        })
    }

    /// Requests TLS, and continues as the server answers.
    async fn negotiate_tls(
        &self,
        route: Route,
        session: Session,
        attempt: &Attempt<'_>,
    ) -> Result<(Stream, Receiver), Failure> {
        let host = attempt.host;
        let mut stream = Stream::Plain(route);
        let mut receiver = receiver(session);
        let ended = |error| login_interrupted(host, error);
        let sent = stream.send_queued(&mut receiver.session).await;
        sent.map_err(ended)?;
        receiver.fill(&mut stream).await.map_err(ended)?;
        let accepted = match receiver.try_event() {
            Ok(Some(Event::TlsAccepted)) => true,
            Ok(Some(Event::TlsRefused)) => false,
            Ok(_) => return Err(unexpected_message(host).into()),
            Err(error) => return Err(tls_negotiation_failure(host, error).into()),
        };
        if accepted {
            if !receiver.unread().is_empty() {
                // Bytes from before the handshake may have been injected by an attacker.
                return Err(tls_negotiation_failure(
                    host,
                    protocol_violation(ProtocolError::BytesBeforeTls),
                )
                .into());
            }
            let Stream::Plain(route) = stream else {
                return Err(unexpected_message(host).into());
            };
            return self.handshake(route, receiver.session, attempt).await;
        }
        if attempt.tls == TlsUse::Required {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "{host} does not support TLS, which sslmode \"{}\" requires: enable ssl on the \
                     server, or set advanced.sslmode to \"disable\"",
                    self.sslmode.as_str()
                ),
            )
            .into());
        }
        let session = &mut receiver.session;
        session.handle_tls_declined().map_err(protocol_violation)?;
        Ok((stream, receiver))
    }

    /// Makes the TLS handshake. The name to verify is the configured one, with or without a tunnel.
    async fn handshake(
        &self,
        route: Route,
        mut session: Session,
        attempt: &Attempt<'_>,
    ) -> Result<(Stream, Receiver), Failure> {
        let host = attempt.host;
        let direct = attempt.tls == TlsUse::Direct;
        // The zone of an IPv6 address is meaningful on this machine only.
        let name = host.host.split('%').next().unwrap_or_default();
        let server_name = ServerName::try_from(name.to_owned()).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                format!(
                    "the host name \"{}\" cannot be verified: it is not a valid name for a \
                     certificate",
                    host.host
                ),
            )
            .with_source(error)
        })?;
        let config = self.tls.client_config(name, direct)?;
        let stream = TlsConnector::from(config)
            .connect(server_name, route.buffered())
            .await
            .map_err(|error| Failure::Handshake(handshake_failure(host, error, direct)))?;
        let (_, facts) = stream.get_ref();
        if direct && facts.alpn_protocol() != Some(tls::ALPN) {
            // Without this check an attacker could redirect the handshake to the server of another
            // protocol (ALPACA).
            return Err(Error::new(ErrorKind::Configuration, direct_tls_unsupported(host)).into());
        }
        let hash = facts
            .peer_certificates()
            .and_then(|chain| tls::end_point_hash(chain.first()?));
        session
            .handle_tls_established(hash)
            .map_err(protocol_violation)?;
        Ok((Stream::tls(stream), receiver(session)))
    }

    /// Opens a TCP connection to the server, or a connection through the tunnel.
    async fn open(&self, attempt: &Attempt<'_>) -> Result<Route> {
        let host = attempt.host;
        match (attempt.target, &self.tunnel) {
            (Target::Tunnel, Some(tunnel)) => {
                let socket = connect_to_ssh_server(tunnel.server()).await?;
                Ok(Route::Tunnel(Box::new(tunnel.open(socket, host).await?)))
            }
            (Target::Address(address), _) => {
                Ok(Route::Direct(socket::open_socket(host, address).await?))
            }
            (Target::Tunnel, None) => Err(socket::unresolved(host)),
        }
    }
}

/// Returns a receiver with an empty buffer.
fn receiver(session: Session) -> Receiver {
    Receiver::new(session, Pace::of_rows())
}

/// Connects to the SSH server, trying its addresses in turn.
async fn connect_to_ssh_server(server: &HostPort) -> Result<TcpStream> {
    let mut last = None;
    for address in socket::resolve(server).await.map_err(ssh_unreachable)? {
        match socket::open_socket(server, address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    Err(ssh_unreachable(
        last.unwrap_or_else(|| socket::unresolved(server)),
    ))
}

fn ssh_unreachable(error: Error) -> Error {
    error.context("the SSH server of networkTunnel cannot be reached")
}
