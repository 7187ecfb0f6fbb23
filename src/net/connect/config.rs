//! Settings of connections, from the configuration and from the environment variables of libpq.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::{AllowedMethods, BindingPolicy};

use super::session_attrs::SessionAttrs;
use crate::config::{
    Config, Credentials, Environment, HostPort, PasswordSource, Secret, SslMode, SslNegotiation,
};
use crate::error::{Error, ErrorKind, Result};
use crate::net::aws::Signer;
use crate::net::tls::TlsSettings;
use crate::net::tunnel::Tunnel;

/// Purpose of a connection, which determines its startup parameters and its timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// For SQL queries.
    Query,
    /// For the replication stream and replication commands.
    Replication,
}

/// Settings of connections: servers, credentials, TLS and timeouts.
#[derive(Debug, Clone)]
pub struct ConnectConfig {
    /// Hosts, tried in this order.
    pub(super) hosts: Vec<HostPort>,
    pub(super) user: String,
    /// Name of the database; if empty, the server uses the name of the user.
    pub(super) database: String,
    pub(super) credentials: Credentials,
    pub(super) sslmode: SslMode,
    /// TLS starts with the first byte (`sslnegotiation=direct`).
    pub(super) direct: bool,
    pub(super) tls: Arc<TlsSettings>,
    pub(super) channel_binding: BindingPolicy,
    pub(super) allowed_methods: AllowedMethods,
    pub(super) session_attrs: SessionAttrs,
    /// Maximum run time of a statement; `None` means no limit.
    pub(super) statement_timeout: Option<Duration>,
    /// Timeout for each address, if the environment sets one.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) tunnel: Option<Arc<Tunnel>>,
    pub(super) environment: Arc<Environment>,
}

impl ConnectConfig {
    /// Reads the settings from the configuration. The environment of the process supplies those
    /// that the configuration does not have.
    ///
    /// # Errors
    ///
    /// Fails if the credentials are incomplete, or if certificates or keys cannot be read.
    pub fn new(config: &Config) -> Result<Self> {
        Self::with_environment(config, Environment::process()?)
    }

    /// Reads the settings from the configuration. The given environment supplies those that the
    /// configuration does not have.
    ///
    /// # Errors
    ///
    /// Fails if the credentials are incomplete, or if certificates or keys cannot be read.
    pub fn with_environment(config: &Config, environment: Environment) -> Result<Self> {
        // Incomplete credentials are reported here rather than at the first attempt.
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
            // As in libpq, zero means that no timeout is set.
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

    /// Returns the hosts as text, for the log.
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

    /// Returns the password for one attempt at `host`: an AWS token expires.
    pub(super) fn password(&self, host: &HostPort) -> Result<Option<Secret>> {
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

/// Reads a setting from the environment.
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

/// Returns whether TLS starts with the first byte.
fn is_direct(config: &Config, sslmode: SslMode, environment: &Environment) -> Result<bool> {
    let negotiation = match config.security.negotiation {
        Some(negotiation) => Some(negotiation),
        None => setting(environment, "sslnegotiation", SslNegotiation::parse)?,
    };
    let is_direct = negotiation == Some(SslNegotiation::Direct);
    let allows_clear_text = matches!(sslmode, SslMode::Disable | SslMode::Allow | SslMode::Prefer);
    if is_direct && allows_clear_text {
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
