//! One attempt at one address: socket, TLS, authentication.

use protocol::{Event, ProtocolError, Session, SessionConfig, TlsRequest};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::cancel::Canceller;
use super::refusal::{
    authentication_failure, interrupted, refusal_by, startup_failure, unexpected,
};
use super::{ConnectConfig, Purpose, Target};
use crate::config::{HostPort, SslMode};
use crate::error::{Error, ErrorKind, Result};
use crate::net::connection::Connection;
use crate::net::error::protocol_violation;
use crate::net::stream::{Route, Stream};
use crate::net::tls::{self, failure_behind, handshake_failure, no_direct};

/// How an attempt treats TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// Goes without.
    Never,
    /// Asks for it, and goes on without where the server has none.
    May,
    /// Asks for it, and ends where the server has none.
    Must,
    /// Starts with it.
    Direct,
}

/// Why an attempt has failed, as far as another kind of attempt is worth it.
pub(super) enum Failure {
    /// The TLS handshake failed.
    Handshake(Error),
    /// The server refused the login, or asked for what it does not get over such a connection.
    Refused {
        error: Error,
        encrypted: bool,
        refusal: Refusal,
    },
    /// Anything else.
    Other(Error),
}

/// What a login has failed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The server's pg_hba.conf lets nobody in by such a connection.
    Line,
    /// The server asked for the password in clear text.
    ClearText,
    /// The server did not accept who we are, or where to.
    Login,
}

impl Failure {
    /// Returns whether the server may take the connection with TLS if it did not without, or the
    /// other way round.
    pub(super) fn is_about(&self, tls: Tls) -> bool {
        match self {
            Self::Handshake(_) => true,
            // A second attempt without TLS after one that had none would be the same.
            Self::Refused { encrypted, .. } => *encrypted == (tls != Tls::Never),
            Self::Other(_) => false,
        }
    }

    /// Returns what the login has failed for, if it came to one.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Handshake(error) | Failure::Refused { error, .. } | Failure::Other(error) => {
                error
            }
        }
    }
}

impl ConnectConfig {
    pub(super) async fn attempt(
        &self,
        host: &HostPort,
        target: Target,
        purpose: Purpose,
        tls: Tls,
    ) -> Result<Connection, Failure> {
        let mut connection = self.reach(host, target, purpose, tls).await?;
        self.authenticate(&mut connection, host, purpose).await?;
        let encrypted = connection.is_encrypted();
        connection.cancel_with(Canceller::new(self, host, target, tls, encrypted));
        Ok(connection)
    }

    /// Opens a connection, and encrypts it if that is asked for.
    pub(super) async fn reach(
        &self,
        host: &HostPort,
        target: Target,
        purpose: Purpose,
        tls: Tls,
    ) -> Result<Connection, Failure> {
        let route = self.open(host, target).await?;
        let session = Session::new(self.session_config(host, purpose, tls)?).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                "user, database or password cannot be sent",
            )
            .with_source(error)
        })?;
        match tls {
            Tls::Never => Ok(Connection::new(Stream::Plain(route), session)),
            Tls::Direct => self.handshake(route, session, host, tls).await,
            Tls::May | Tls::Must => self.negotiate_tls(route, session, host, tls).await,
        }
    }

    fn session_config(&self, host: &HostPort, purpose: Purpose, tls: Tls) -> Result<SessionConfig> {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).map_err(|error| {
            Error::new(ErrorKind::Internal, "the system gives no random bytes").with_source(error)
        })?;
        Ok(SessionConfig {
            database: (!self.database.is_empty()).then(|| self.database.clone()),
            password: self
                .password(host)?
                .map(|secret| protocol::Secret::new(secret.expose())),
            parameters: self.parameters(purpose),
            tls: match tls {
                Tls::Never => TlsRequest::Disable,
                Tls::May | Tls::Must => TlsRequest::Request,
                Tls::Direct => TlsRequest::Direct,
            },
            // In clear text over an unencrypted connection a password goes only where the user
            // has said that there is to be no encryption.
            allow_cleartext: self.sslmode == SslMode::Disable,
            channel_binding: self.channel_binding,
            allowed_methods: self.allowed_methods,
            ..SessionConfig::new(self.user.clone(), nonce)
        })
    }

    /// Asks the server for TLS, and goes on with its answer.
    async fn negotiate_tls(
        &self,
        route: Route,
        session: Session,
        host: &HostPort,
        tls: Tls,
    ) -> Result<Connection, Failure> {
        let mut connection = Connection::new(Stream::Plain(route), session);
        let ended = |error| interrupted(host, error);
        connection.send().await.map_err(ended)?;
        connection.fill().await.map_err(ended)?;
        let accepted = match connection.try_event() {
            Ok(Some(Event::TlsAccepted)) => true,
            Ok(Some(Event::TlsRefused)) => false,
            Ok(_) => return Err(unexpected(host).into()),
            Err(error) => return Err(startup_failure(host, error).into()),
        };
        if accepted {
            if !connection.unread().is_empty() {
                // Whatever came before the handshake came from anybody on the way.
                return Err(startup_failure(
                    host,
                    protocol_violation(ProtocolError::BytesBeforeTls),
                )
                .into());
            }
            let (Stream::Plain(route), session) = connection.into_parts() else {
                return Err(unexpected(host).into());
            };
            return self.handshake(route, session, host, tls).await;
        }
        if tls == Tls::Must {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "{host} does not support TLS, which sslmode \"{}\" asks for: enable ssl on the \
                     server, or set advanced.sslmode to \"disable\"",
                    self.sslmode.as_str()
                ),
            )
            .into());
        }
        connection
            .session()
            .handle_tls_declined()
            .map_err(protocol_violation)?;
        Ok(connection)
    }

    /// Makes the TLS handshake. The name to verify is the configured one, whichever way the bytes
    /// take.
    async fn handshake(
        &self,
        route: Route,
        mut session: Session,
        host: &HostPort,
        tls: Tls,
    ) -> Result<Connection, Failure> {
        // The zone of an IPv6 address means something on this machine only.
        let name = host.host.split('%').next().unwrap_or_default();
        let server_name = ServerName::try_from(name.to_owned()).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                format!(
                    "the host name \"{}\" cannot be the name of a certificate",
                    host.host
                ),
            )
            .with_source(error)
        })?;
        let config = self.tls.client_config(name, tls == Tls::Direct)?;
        let stream = TlsConnector::from(config)
            .connect(server_name, route.buffered())
            .await
            .map_err(|error| {
                Failure::Handshake(handshake_failure(host, error, tls == Tls::Direct))
            })?;
        let (_, facts) = stream.get_ref();
        if tls == Tls::Direct && facts.alpn_protocol() != Some(tls::ALPN) {
            // Else somebody could make the handshake with another protocol's server.
            return Err(Error::new(ErrorKind::Configuration, no_direct(host)).into());
        }
        let hash = facts
            .peer_certificates()
            .and_then(|chain| tls::end_point_hash(chain.first()?));
        session
            .handle_tls_established(hash)
            .map_err(protocol_violation)?;
        Ok(Connection::new(Stream::tls(stream), session))
    }

    async fn authenticate(
        &self,
        connection: &mut Connection,
        host: &HostPort,
        purpose: Purpose,
    ) -> Result<(), Failure> {
        let encrypted = connection.is_encrypted();
        let (mut has_answered, mut is_authenticated) = (false, false);
        loop {
            let sent = connection.send().await;
            // What the server has said before it ended the connection tells more.
            if let Err(error) = connection.fill().await {
                return Err(match (encrypted, has_answered) {
                    (true, false) => failure_behind(host, error).into(),
                    _ => interrupted(host, sent.err().unwrap_or(error)).into(),
                });
            }
            has_answered = true;
            let event = match connection.try_event() {
                Ok(event) => event,
                Err(error) => return Err(authentication_failure(self, host, error, encrypted)),
            };
            match event {
                Some(Event::Ready(_)) => return Ok(()),
                Some(Event::Authenticated) => is_authenticated = true,
                Some(Event::Error(report)) => {
                    let refusal = refusal_by(&report);
                    let error = self.refusal(host, purpose, report.into_owned());
                    return Err(if is_authenticated {
                        Failure::Other(error)
                    } else {
                        Failure::Refused {
                            error,
                            encrypted,
                            refusal,
                        }
                    });
                }
                Some(_) => {}
                None => return Err(unexpected(host).into()),
            }
        }
    }
}
