//! Checked endpoint configuration.

use std::time::Duration;

use super::ssl_mode::SslMode;
use crate::config::address::HostPort;
use crate::config::credentials::Credentials;
use crate::config::environment::Environment;
use crate::config::filters::{DiscoveryFilters, SkipBackfills};
use crate::config::flags::Flags;
use crate::config::members::configuration;
use crate::config::secret::Secret;
use crate::config::security::Security;
use crate::error::Result;

/// SSH server that forwards connections to the database.
#[derive(Debug, Clone)]
pub struct SshForwarding {
    /// Address, as `ssh://user@host:port`.
    pub ssh_endpoint: String,
    /// Private key in PEM form.
    pub private_key: Secret,
}

/// Endpoint configuration, checked and completed with defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// Servers in the order in which they are tried; at least one.
    pub hosts: Vec<HostPort>,
    /// User to log in as.
    pub user: String,
    /// Database; if empty, that of the environment, or else the server's default.
    pub database: String,
    /// Credentials of the user.
    pub credentials: Credentials,
    /// Whether every change event is kept as a document, without reduction by key.
    pub history_mode: bool,
    /// Filters of discovered tables.
    pub discovery_filters: DiscoveryFilters,
    /// Whether tables outside the publication are discovered too.
    pub discover_unpublished_tables: bool,
    /// Publication to replicate.
    pub publication_name: String,
    /// Replication slot.
    pub slot_name: String,
    /// Schema and name of the watermarks table, as in the system catalogs.
    pub watermarks_table: (String, String),
    /// Tables that are not backfilled.
    pub skip_backfills: SkipBackfills,
    /// Rows per backfill chunk; at least one.
    pub backfill_chunk_size: u32,
    /// Connections that read rows concurrently, in addition to the one for all other queries.
    pub backfill_connections: u32,
    /// Configured mode; see [`effective_sslmode`](Self::effective_sslmode).
    pub sslmode: Option<SslMode>,
    /// Further settings that secure connections.
    pub security: Security,
    /// Oldest transaction whose rows are backfilled: the low 32 bits of its ID, as in `xmin`.
    pub min_backfill_xid: Option<u32>,
    /// Whether the capture never writes to the database.
    pub read_only_capture: bool,
    /// Whether partitions are captured as tables of their own.
    pub capture_as_partitions: bool,
    /// Text that every document has at `/_meta/source/tag`.
    pub source_tag: Option<String>,
    /// Interval at which the definitions of bound tables are queried again.
    pub rediscovery_interval: Duration,
    /// Time after which the server cancels a query; `None` for no limit.
    pub statement_timeout: Option<Duration>,
    /// `logical_decoding_work_mem` for the stream, in kB; `None` for the connector's default.
    pub logical_decoding_work_mem: Option<u32>,
    /// Feature flags.
    pub flags: Flags,
    /// SSH server that forwards connections, if any.
    pub network_tunnel: Option<SshForwarding>,
}

impl Config {
    /// Returns the mode to connect with: the configured one, or else `require` for credentials that
    /// need TLS, or else that of the environment, or else `prefer`.
    ///
    /// # Errors
    ///
    /// Fails if the environment has an unknown mode.
    pub fn effective_sslmode(&self, environment: &Environment) -> Result<SslMode> {
        if let Some(sslmode) = self.sslmode {
            return Ok(sslmode);
        }
        if self.credentials.implies_tls() {
            return Ok(SslMode::Require);
        }
        match environment.setting("sslmode") {
            Some(text) => SslMode::parse(&text).ok_or_else(|| {
                configuration(format!("invalid PGSSLMODE: unknown setting {text:?}"))
            }),
            None => Ok(SslMode::Prefer),
        }
    }

    /// Returns log messages about settings that are valid but have no effect.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for flag in &self.flags.unknown {
            warnings.push(format!(
                "feature flag {flag:?} is unknown and has no effect"
            ));
        }
        for entry in self.skip_backfills.blank_padded() {
            warnings.push(format!(
                "entry {entry:?} of 'advanced.skip_backfills' has no effect, since blanks are part \
                 of a name: remove the blanks around the comma"
            ));
        }
        warnings
    }
}
