//! One attempt at one host: socket, TLS, authentication.

use protocol::{Event, Session, SessionConfig, TlsRequest};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::refusal::{INVALID_AUTHORIZATION, unexpected};
use super::socket::open_socket;
use super::{ConnectConfig, Purpose};
use crate::config::{HostPort, SslMode};
use crate::error::{Error, ErrorKind, Result};
use crate::net::Stream;
use crate::net::connection::{Connection, broken};
use crate::net::tls::{self, Verify};

/// How an attempt treats TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    Never,
    May,
    Must(Verify),
}

/// Why an attempt has failed, as far as another kind of attempt is worth it.
pub(super) enum Failure {
    /// There was no agreement about TLS.
    Handshake(Error),
    /// Anything else.
    Other(Error),
}

impl Failure {
    /// Returns whether the server may take the connection with TLS if it did not without, or the
    /// other way round.
    pub(super) fn is_about_tls(&self) -> bool {
        match self {
            Self::Handshake(_) => true,
            Self::Other(error) => error.sqlstate() == Some(INVALID_AUTHORIZATION),
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
            Failure::Handshake(error) | Failure::Other(error) => error,
        }
    }
}

impl ConnectConfig {
    pub(super) async fn attempt(
        &self,
        host: &HostPort,
        purpose: Purpose,
        tls: Tls,
    ) -> Result<Connection, Failure> {
        let socket = open_socket(host).await?;
        let session = Session::new(self.session_config(purpose, tls)?).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                "user, database or password cannot be sent",
            )
            .with_source(error)
        })?;
        let mut connection = Connection::new(Stream::Plain(socket), session);
        if tls != Tls::Never {
            connection = self.negotiate_tls(connection, host, tls).await?;
        }
        self.authenticate(&mut connection, host).await?;
        Ok(connection)
    }

    fn session_config(&self, purpose: Purpose, tls: Tls) -> Result<SessionConfig> {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).map_err(|error| {
            Error::new(ErrorKind::Internal, "the system gives no random bytes").with_source(error)
        })?;
        Ok(SessionConfig {
            database: (!self.database.is_empty()).then(|| self.database.clone()),
            password: self
                .password
                .as_ref()
                .map(|secret| protocol::Secret::new(secret.expose())),
            parameters: self.parameters(purpose),
            tls: if tls == Tls::Never {
                TlsRequest::Disable
            } else {
                TlsRequest::Request
            },
            // In clear text over an unencrypted connection a password goes only where the user
            // has said that there is to be no encryption.
            allow_cleartext: self.sslmode == SslMode::Disable,
            ..SessionConfig::new(self.user.clone(), nonce)
        })
    }

    async fn negotiate_tls(
        &self,
        mut connection: Connection,
        host: &HostPort,
        tls: Tls,
    ) -> Result<Connection, Failure> {
        let accepted = match connection.event().await? {
            Event::TlsAccepted => true,
            Event::TlsRefused => false,
            Event::Error(report) => {
                return Err(Error::new(
                    ErrorKind::Connection,
                    format!("{host} answered the request for TLS with an error"),
                )
                .with_source(report.into_owned())
                .into());
            }
            _ => return Err(unexpected(host).into()),
        };
        if !accepted {
            if matches!(tls, Tls::Must(_)) {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    format!(
                        "{host} does not support TLS, which sslmode \"{}\" asks for: enable ssl on \
                         the server, or set advanced.sslmode to \"disable\"",
                        self.sslmode.as_str()
                    ),
                )
                .into());
            }
            connection.session().handle_tls_declined().map_err(broken)?;
            return Ok(connection);
        }
        if !connection.unread().is_empty() {
            // Whatever came before the handshake came from anybody on the way.
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("{host} sent unencrypted bytes after it had agreed to TLS"),
            )
            .into());
        }
        let verify = match tls {
            Tls::Must(verify) => verify,
            Tls::May | Tls::Never => Verify::Nothing,
        };
        let (stream, mut session) = connection.into_parts();
        let Stream::Plain(socket) = stream else {
            return Err(unexpected(host).into());
        };
        let name = ServerName::try_from(host.host.clone()).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                format!(
                    "the host name \"{}\" cannot be the name of a certificate",
                    host.host
                ),
            )
            .with_source(error)
        })?;
        let stream = TlsConnector::from(tls::client_config(verify)?)
            .connect(name, socket)
            .await
            .map_err(|error| {
                let kind = if tls == Tls::May {
                    ErrorKind::Protocol
                } else {
                    ErrorKind::Configuration
                };
                let message = format!("the TLS handshake with {host} failed");
                Failure::Handshake(Error::new(kind, message).with_source(error))
            })?;
        session.handle_tls_established(None).map_err(broken)?;
        Ok(Connection::new(Stream::Tls(Box::new(stream)), session))
    }

    async fn authenticate(&self, connection: &mut Connection, host: &HostPort) -> Result<()> {
        loop {
            connection.send().await?;
            connection.fill().await?;
            let event = connection.try_event().map_err(|error| {
                error.context(format!("logging in to {host} as \"{}\" failed", self.user))
            })?;
            match event {
                Some(Event::Ready(_)) => return Ok(()),
                Some(Event::Error(report)) => {
                    let report = report.into_owned();
                    return Err(self.refusal(host, report));
                }
                Some(_) => {}
                None => return Err(unexpected(host)),
            }
        }
    }
}
