//! Making a connection: addresses in turn, TLS as sslmode asks, authentication, errors by cause.

mod attempt;
mod cancel;
mod parameters;
mod refusal;
mod session_attrs;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::{AllowedMethods, BindingPolicy};
use tokio::net::TcpStream;
use tracing::{debug, warn};

pub(super) use self::cancel::Canceller;

use self::attempt::{Refusal, Tls};
use self::refusal::{is_pooler, not_postgres, pooler_at};
use self::session_attrs::SessionAttrs;
use super::aws::Signer;
use super::connection::Connection;
use super::stream::Route;
use super::tls::TlsSettings;
use super::tunnel::Tunnel;
use crate::config::{
    Config, Credentials, Environment, HostPort, PasswordSource, Secret, SslMode, SslNegotiation,
};
use crate::error::{Error, ErrorKind, Result, sqlstate};

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
    hosts: Vec<HostPort>,
    user: String,
    /// The database; the server's default for the role where it is empty.
    database: String,
    credentials: Credentials,
    sslmode: SslMode,
    /// TLS starts with the first byte.
    direct: bool,
    tls: Arc<TlsSettings>,
    channel_binding: BindingPolicy,
    allowed_methods: AllowedMethods,
    session_attrs: SessionAttrs,
    /// How long a query may run on the server; `None` is without limit.
    statement_timeout: Option<Duration>,
    /// How long an address may take, where the environment says so.
    connect_timeout: Option<Duration>,
    tunnel: Option<Arc<Tunnel>>,
    environment: Arc<Environment>,
}

/// What an attempt connects to.
#[derive(Debug, Clone, Copy)]
enum Target {
    Address(SocketAddr),
    /// The host itself, from the SSH server.
    Tunnel,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Tunnel => f.write_str("through the SSH tunnel"),
        }
    }
}

impl ConnectConfig {
    /// Takes what it needs from the configuration and, where that is silent, from the environment
    /// of the process.
    ///
    /// # Errors
    ///
    /// Fails where the credentials lack something, or certificates and keys cannot be read.
    pub fn new(config: &Config) -> Result<Self> {
        Self::with_environment(config, Environment::process()?)
    }

    /// Takes what it needs from the configuration and, where that is silent, from this environment.
    ///
    /// # Errors
    ///
    /// Fails where the credentials lack something, or certificates and keys cannot be read.
    pub fn with_environment(config: &Config, environment: Environment) -> Result<Self> {
        // What is missing is missing at every attempt.
        config.credentials.password_source()?;
        let sslmode = config.effective_sslmode(&environment)?;
        Ok(Self {
            hosts: config.hosts.clone(),
            user: config.user.clone(),
            database: if config.database.is_empty() {
                environment.setting("dbname").unwrap_or_default()
            } else {
                config.database.clone()
            },
            credentials: config.credentials.clone(),
            sslmode,
            direct: is_direct(config, sslmode, &environment)?,
            tls: Arc::new(TlsSettings::load(sslmode, &config.security, &environment)?),
            channel_binding: match config.security.channel_binding {
                Some(policy) => policy,
                None => setting(&environment, "channel_binding", BindingPolicy::parse)?
                    .unwrap_or_default(),
            },
            allowed_methods: match config.security.require_auth {
                Some(methods) => methods,
                None => setting(&environment, "require_auth", AllowedMethods::parse)?
                    .unwrap_or_default(),
            },
            session_attrs: setting(&environment, "target_session_attrs", SessionAttrs::parse)?
                .unwrap_or_default(),
            statement_timeout: config.statement_timeout,
            // As in libpq, zero is no limit of its own.
            connect_timeout: environment
                .setting("connect_timeout")
                .and_then(|text| text.parse().ok())
                .filter(|&seconds: &u64| seconds > 0)
                .map(Duration::from_secs),
            tunnel: match &config.network_tunnel {
                Some(forwarding) => Some(Arc::new(Tunnel::new(forwarding)?)),
                None => None,
            },
            environment: Arc::new(environment),
        })
    }

    /// Returns the addresses as text, for the log.
    pub fn addresses(&self) -> String {
        let addresses: Vec<_> = self.hosts.iter().map(ToString::to_string).collect();
        addresses.join(",")
    }

    /// Returns the name of the database, for the log.
    pub fn database(&self) -> &str {
        if self.database.is_empty() {
            &self.user
        } else {
            &self.database
        }
    }

    /// Connects to the first address that answers.
    ///
    /// # Errors
    ///
    /// Fails when no address can be reached, TLS cannot be had as asked, or the server refuses.
    pub async fn connect(&self, purpose: Purpose) -> Result<Connection> {
        let mut last = None;
        let tries = self.session_attrs.passes().iter();
        let tries: Vec<_> = tries
            .flat_map(|wanted| self.hosts.iter().map(move |host| (wanted, host)))
            .collect();
        for (wanted, host) in tries {
            if let Some(pooler) = pooler_at(host) {
                return Err(is_pooler(host, pooler));
            }
            let connected = match self.connect_host(host, purpose).await {
                Ok(mut connection) => match wanted.check(&mut connection, host).await {
                    Ok(()) => Ok(connection),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            match connected {
                Ok(connection) => return Ok(connection),
                // A server that answered and refused is the right server: others of the list are
                // there for when it cannot be reached, or is not up yet.
                Err(error) if !is_unreachable(&error) => return Err(error),
                Err(error) => {
                    if self.hosts.len() > 1 {
                        warn!(%host, error = %error, "going on with the next host");
                    }
                    last = Some(error);
                }
            }
        }
        Err(last
            .unwrap_or_else(|| Error::new(ErrorKind::Configuration, "no address to connect to")))
    }

    /// Tries the addresses of a host in turn.
    async fn connect_host(&self, host: &HostPort, purpose: Purpose) -> Result<Connection> {
        let patience = self.connect_timeout.unwrap_or(match purpose {
            Purpose::Query => Duration::from_secs(20),
            Purpose::Replication => Duration::from_secs(30),
        });
        let late = |what: &str| {
            Error::new(
                ErrorKind::Connection,
                format!(
                    "{what} took longer than {} s: check the address, and that a firewall lets \
                     the connector through",
                    patience.as_secs()
                ),
            )
        };
        let addresses = match tokio::time::timeout(patience, self.targets(host)).await {
            Ok(addresses) => addresses?,
            Err(_) => return Err(late(&format!("resolving {:?}", host.host))),
        };
        let mut last = None;
        for address in addresses {
            let attempt = self.connect_address(host, address, purpose);
            match tokio::time::timeout(patience, attempt).await {
                Ok(Err(error)) if is_unreachable(&error) => last = Some(error),
                Ok(Err(error)) if error.kind() == ErrorKind::Protocol => {
                    return Err(not_postgres(host, error));
                }
                Ok(result) => return result,
                Err(_) => last = Some(late(&format!("connecting to {host} ({address})"))),
            }
            debug!(%host, %address, error = ?last, "an address did not answer");
        }
        Err(last.unwrap_or_else(|| socket::unresolved(host)))
    }

    /// Returns what a host has to be tried at: its addresses, in the order of the resolver, or the
    /// host itself where the SSH server resolves it.
    async fn targets(&self, host: &HostPort) -> Result<Vec<Target>> {
        if self.tunnel.is_some() {
            return Ok(vec![Target::Tunnel]);
        }
        let addresses = socket::resolve(host).await?;
        Ok(addresses.into_iter().map(Target::Address).collect())
    }

    /// Opens the way to a host.
    async fn open(&self, host: &HostPort, target: Target) -> Result<Route> {
        match (target, &self.tunnel) {
            (Target::Tunnel, Some(tunnel)) => {
                let socket = ssh_socket(tunnel.server()).await?;
                Ok(Route::Tunnel(Box::new(tunnel.open(socket, host).await?)))
            }
            (Target::Address(address), _) => {
                Ok(Route::Direct(socket::open_socket(host, address).await?))
            }
            (Target::Tunnel, None) => Err(socket::unresolved(host)),
        }
    }

    /// Makes the attempts that sslmode allows, as libpq does.
    async fn connect_address(
        &self,
        host: &HostPort,
        target: Target,
        purpose: Purpose,
    ) -> Result<Connection> {
        let (first, second) = match self.sslmode {
            SslMode::Disable => (Tls::Never, None),
            SslMode::Allow => (Tls::Never, Some(Tls::May)),
            SslMode::Prefer => (Tls::May, Some(Tls::Never)),
            _ if self.direct => (Tls::Direct, None),
            _ => (Tls::Must, None),
        };
        let failure = match self.attempt(host, target, purpose, first).await {
            Ok(connection) => return Ok(connection),
            Err(failure) => failure,
        };
        let Some(second) = second.filter(|_| failure.is_about(first)) else {
            return Err(failure.into());
        };
        debug!(%host, ?first, ?second, "trying again with another use of TLS");
        let first_refusal = failure.refusal();
        let first_error = Error::from(failure);
        match self.attempt(host, target, purpose, second).await {
            Ok(connection) => {
                if second == Tls::Never {
                    warn!(
                        %host,
                        error = %first_error,
                        "connected without encryption, since the server does not take the \
                         connection with it: set advanced.sslmode to \"require\" to refuse this"
                    );
                }
                Ok(connection)
            }
            Err(failure) => {
                // What a login has failed for says more than that the other kind of connection is
                // not let in, or does not carry the password.
                let tells_less = match failure.refusal() {
                    Some(Refusal::Line) => true,
                    Some(Refusal::ClearText) => first_refusal == Some(Refusal::Login),
                    _ => false,
                };
                let (told, other) = if tells_less {
                    (first_error, failure.into())
                } else {
                    (failure.into(), first_error)
                };
                debug!(%host, error = ?other, "the other use of TLS failed as well");
                Err(told)
            }
        }
    }

    /// Returns the password for one attempt.
    fn password(&self, host: &HostPort) -> Result<Option<Secret>> {
        match self.credentials.password_source()? {
            PasswordSource::Fixed(secret) => Ok(Some(secret.clone())),
            PasswordSource::AwsToken {
                region,
                access_key_id,
                secret_access_key,
                session_token,
            } => {
                let signer = Signer {
                    region,
                    access_key_id,
                    secret_access_key,
                    session_token: Some(session_token),
                };
                Ok(Some(signer.token(host, &self.user, SystemTime::now())))
            }
            PasswordSource::None => Ok(self.environment.password(host, &self.database, &self.user)),
        }
    }
}

/// Connects to an SSH server.
async fn ssh_socket(server: &HostPort) -> Result<TcpStream> {
    let mut last = None;
    for address in socket::resolve(server).await.map_err(of_ssh)? {
        match socket::open_socket(server, address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    Err(of_ssh(last.unwrap_or_else(|| socket::unresolved(server))))
}

fn of_ssh(error: Error) -> Error {
    error.context("the SSH server of networkTunnel cannot be reached")
}

/// Whether another address may do better.
fn is_unreachable(error: &Error) -> bool {
    error.kind() == ErrorKind::Connection || error.sqlstate() == Some(sqlstate::CANNOT_CONNECT_NOW)
}

/// Reads a setting of the environment.
fn setting<T>(
    environment: &Environment,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>> {
    let read = |text: String| {
        parse(&text).ok_or_else(|| {
            Error::new(
                ErrorKind::Configuration,
                format!("invalid {name} in the environment: unknown setting {text:?}"),
            )
        })
    };
    environment.setting(name).map(read).transpose()
}

fn is_direct(config: &Config, sslmode: SslMode, environment: &Environment) -> Result<bool> {
    let negotiation = match config.security.negotiation {
        Some(negotiation) => Some(negotiation),
        None => setting(environment, "sslnegotiation", SslNegotiation::parse)?,
    };
    let is_direct = negotiation == Some(SslNegotiation::Direct);
    let is_weak = matches!(sslmode, SslMode::Disable | SslMode::Allow | SslMode::Prefer);
    if is_direct && is_weak {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "advanced.sslnegotiation \"direct\" needs an advanced.sslmode of at least \
                 \"require\", found \"{}\"",
                sslmode.as_str()
            ),
        ));
    }
    Ok(is_direct)
}
