//! Making a connection: addresses in turn, TLS as sslmode asks, authentication, errors by cause.

use std::time::Duration;

use protocol::{Event, Session, SessionConfig, TlsRequest};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::Stream;
use super::connection::{Connection, broken, lost};
use super::tls::{self, Verify};
use crate::config::{Config, HostPort, PasswordSource, Secret, SslMode};
use crate::error::{Error, ErrorKind, Result};

/// What a connection is for: it decides about the session's parameters and its patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// SQL queries.
    Query,
    /// The replication stream and the commands about slots.
    Replication,
}

/// Where to connect to, as whom, and how.
#[derive(Debug, Clone)]
pub struct ConnectConfig {
    /// Addresses, tried in this order.
    pub hosts: Vec<HostPort>,
    /// The role to authenticate as.
    pub user: String,
    /// The database; the server's default for the role where it is empty.
    pub database: String,
    /// The password, or a token in its place.
    pub password: Option<Secret>,
    /// Whether and how TLS is used.
    pub sslmode: SslMode,
    /// How long a query may run on the server; `None` is without limit.
    pub statement_timeout: Option<Duration>,
}

/// The message of a server that refuses a connection by its pg_hba.conf has this SQLSTATE.
const INVALID_AUTHORIZATION: &str = "28000";

impl ConnectConfig {
    /// Takes what it needs from the configuration.
    ///
    /// # Errors
    ///
    /// Fails where the credentials lack something, or ask for a way in that is not there.
    pub fn new(config: &Config) -> Result<Self> {
        let password = match config.credentials.password_source()? {
            PasswordSource::Fixed(secret) => Some(secret.clone()),
            PasswordSource::None => None,
            PasswordSource::AwsToken { .. } => {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    "credentials of type AWSIAM are not supported yet: use a password",
                ));
            }
        };
        if config.network_tunnel.is_some() {
            return Err(Error::new(
                ErrorKind::Configuration,
                "connections through networkTunnel are not supported yet: give a direct address",
            ));
        }
        Ok(Self {
            hosts: config.hosts.clone(),
            user: config.user.clone(),
            database: config.database.clone(),
            password,
            sslmode: config.effective_sslmode(),
            statement_timeout: config.statement_timeout,
        })
    }

    /// Returns the addresses as text, for the log.
    pub fn addresses(&self) -> String {
        let addresses: Vec<_> = self.hosts.iter().map(ToString::to_string).collect();
        addresses.join(",")
    }

    /// Connects to the first address that answers.
    ///
    /// # Errors
    ///
    /// Fails when no address can be reached, TLS cannot be had as asked, or the server refuses.
    pub async fn connect(&self, purpose: Purpose) -> Result<Connection> {
        let patience = match purpose {
            Purpose::Query => Duration::from_secs(20),
            Purpose::Replication => Duration::from_secs(30),
        };
        let mut last = None;
        for host in &self.hosts {
            match tokio::time::timeout(patience, self.connect_host(host, purpose)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) if error.kind() == ErrorKind::Protocol => {
                    return Err(error.context(format!(
                        "no PostgreSQL server was found at {host}: is the port right?"
                    )));
                }
                // A server that answered and refused is the right server: others of the list are
                // there for when it cannot be reached.
                Ok(Err(error)) if error.kind() != ErrorKind::Connection => return Err(error),
                Ok(Err(error)) => {
                    last = Some(error.context(format!("connecting to {host} failed")));
                }
                Err(_) => {
                    last = Some(Error::new(
                        ErrorKind::Connection,
                        format!(
                            "connecting to {host} took longer than {} s: check the address, and \
                             that a firewall lets the connector through",
                            patience.as_secs()
                        ),
                    ));
                }
            }
        }
        Err(last
            .unwrap_or_else(|| Error::new(ErrorKind::Configuration, "no address to connect to")))
    }

    async fn connect_host(&self, host: &HostPort, purpose: Purpose) -> Result<Connection> {
        use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
        let (first, second) = match self.sslmode {
            Disable => (Tls::Never, None),
            Allow => (Tls::Never, Some(Tls::Must(Verify::Nothing))),
            Prefer => (Tls::May, Some(Tls::Never)),
            Require => (Tls::Must(Verify::Nothing), None),
            VerifyCa => (Tls::Must(Verify::Authority), None),
            VerifyFull => (Tls::Must(Verify::AuthorityAndName), None),
        };
        match (self.attempt(host, purpose, first).await, second) {
            (Err(failure), Some(second)) if failure.is_about_tls() => {
                debug!(%host, ?first, ?second, "trying again with another use of TLS");
                Ok(self.attempt(host, purpose, second).await?)
            }
            (result, _) => Ok(result?),
        }
    }

    async fn attempt(
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

    /// Start-up parameters. Those that would change how a value is written are pinned; TimeZone and
    /// lc_monetary stay the server's, since existing documents hold values written by them.
    fn parameters(&self, purpose: Purpose) -> Vec<(String, String)> {
        let mut parameters = vec![
            ("application_name", "estuary_flow".to_owned()),
            ("client_encoding", "UTF8".to_owned()),
            ("DateStyle", "ISO".to_owned()),
            ("IntervalStyle", "postgres".to_owned()),
            ("bytea_output", "hex".to_owned()),
            ("extra_float_digits", "3".to_owned()),
            // A write of ours must never wait for a standby: the capture has to see commits that
            // do.
            ("synchronous_commit", "local".to_owned()),
            ("tcp_keepalives_idle", "120".to_owned()),
            ("tcp_keepalives_interval", "30".to_owned()),
            ("tcp_keepalives_count", "6".to_owned()),
        ];
        match purpose {
            Purpose::Query => {
                let timeout = self
                    .statement_timeout
                    .map_or(0, |timeout| timeout.as_millis());
                parameters.push(("statement_timeout", timeout.to_string()));
                parameters.push(("max_parallel_workers_per_gather", "0".to_owned()));
            }
            Purpose::Replication => parameters.push(("replication", "database".to_owned())),
        }
        parameters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
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

    /// Says by SQLSTATE why the server refuses the connection, and what helps.
    fn refusal(&self, host: &HostPort, report: protocol::ServerError) -> Error {
        let Self { user, database, .. } = self;
        let code = report.code();
        let message = match code.as_str() {
            "28P01" => format!("incorrect username or password for user \"{user}\" at {host}"),
            "3D000" => format!("database \"{database}\" does not exist at {host}"),
            "42501" => format!(
                "user \"{user}\" does not have CONNECT privilege to database \"{database}\" at {host}"
            ),
            INVALID_AUTHORIZATION => format!(
                "{host} does not let user \"{user}\" connect to database \"{database}\" this way: see \
                 pg_hba.conf, and that the role exists and may log in"
            ),
            "53300" => {
                format!("{host} has no connection left: see max_connections, max_wal_senders")
            }
            "57P03" => {
                format!("{host} is starting up, shutting down or recovering: try again later")
            }
            _ => format!("{host} refuses the connection"),
        };
        Error::new(ErrorKind::Server, message)
            .with_sqlstate(*code.as_bytes())
            .with_source(report)
    }
}

/// How an attempt treats TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    Never,
    May,
    Must(Verify),
}

/// Why an attempt has failed, as far as another kind of attempt is worth it.
enum Failure {
    /// There was no agreement about TLS.
    Handshake(Error),
    /// Anything else.
    Other(Error),
}

impl Failure {
    /// Returns whether the server may take the connection with TLS if it did not without, or the
    /// other way round.
    fn is_about_tls(&self) -> bool {
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

fn unexpected(host: &HostPort) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("{host} does not speak the PostgreSQL protocol: is the port right?"),
    )
}

async fn open_socket(host: &HostPort) -> Result<TcpStream> {
    let addresses = tokio::net::lookup_host((host.host.as_str(), host.port))
        .await
        .map_err(|error| {
            Error::new(
                ErrorKind::Connection,
                format!("the host name \"{}\" cannot be resolved", host.host),
            )
            .with_source(error)
        })?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // Requests are small and each waits for its answer.
                socket.set_nodelay(true).map_err(lost)?;
                let keepalive = TcpKeepalive::new()
                    .with_time(Duration::from_secs(120))
                    .with_interval(Duration::from_secs(30))
                    .with_retries(6);
                SockRef::from(&socket)
                    .set_tcp_keepalive(&keepalive)
                    .map_err(lost)?;
                return Ok(socket);
            }
            Err(error) => last = Some(error),
        }
    }
    let error = Error::new(
        ErrorKind::Connection,
        format!("{host} cannot be reached: check the address, and that the server is running"),
    );
    Err(match last {
        Some(cause) => error.with_source(cause),
        None => error,
    })
}
