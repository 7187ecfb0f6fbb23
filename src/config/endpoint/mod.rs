//! The endpoint configuration: which database, as whom, and how.

mod raw;
mod values;

use std::time::Duration;

use serde_json::Value;

use self::raw::Raw;
use super::address::HostPort;
use super::credentials::Credentials;
use super::environment::Environment;
use super::filters::{DiscoveryFilters, SkipBackfills};
use super::flags::Flags;
use super::members::{configuration, parse};
use super::secret::Secret;
use super::security::Security;
use crate::error::Result;

/// How the connection is encrypted and the server verified, as libpq defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server insists.
    Allow,
    /// Encrypted if the server can.
    Prefer,
    /// Encrypted, the server not verified.
    Require,
    /// Encrypted, with a certificate of a trusted authority.
    VerifyCa,
    /// Encrypted, with a certificate of a trusted authority for this host.
    VerifyFull,
}

impl SslMode {
    pub(super) const ALL: [Self; 6] = [
        Self::Disable,
        Self::Allow,
        Self::Prefer,
        Self::Require,
        Self::VerifyCa,
        Self::VerifyFull,
    ];

    /// Reads the configuration's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }

    /// Returns the mode as the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// An SSH server to go through.
#[derive(Debug, Clone)]
pub struct SshForwarding {
    /// As `ssh://user@host:port`.
    pub ssh_endpoint: String,
    /// The private key in PEM form.
    pub private_key: Secret,
}

/// The endpoint configuration, checked and completed with defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The servers to try, in this order; at least one.
    pub hosts: Vec<HostPort>,
    /// The user to log in as.
    pub user: String,
    /// The database; empty leaves the choice to the server.
    pub database: String,
    /// How to authenticate.
    pub credentials: Credentials,
    /// Change events are kept one by one instead of being reduced by key.
    pub history_mode: bool,
    /// Which tables discovery offers.
    pub discovery_filters: DiscoveryFilters,
    /// Discovery also offers tables outside the publication.
    pub discover_unpublished_tables: bool,
    /// The publication to replicate.
    pub publication_name: String,
    /// The replication slot.
    pub slot_name: String,
    /// Schema and name of the watermarks table, as the catalog spells them.
    pub watermarks_table: (String, String),
    /// Tables that are not backfilled.
    pub skip_backfills: SkipBackfills,
    /// Rows of one backfill query; at least one.
    pub backfill_chunk_size: u32,
    /// Connections that read rows at once, besides the one for all other queries.
    pub backfill_connections: u32,
    /// The configured mode; see [`effective_sslmode`](Self::effective_sslmode).
    pub sslmode: Option<SslMode>,
    /// Certificates, and what else secures connections.
    pub security: Security,
    /// Only rows written since this transaction are backfilled. The low 32 bits, as in `xmin`.
    pub min_backfill_xid: Option<u32>,
    /// Nothing is written to the database.
    pub read_only_capture: bool,
    /// Partitions are captured one by one.
    pub capture_as_partitions: bool,
    /// A text for each document.
    pub source_tag: Option<String>,
    /// How often definitions of tables are looked at anew.
    pub rediscovery_interval: Duration,
    /// When the server cancels a query; `None` for never.
    pub statement_timeout: Option<Duration>,
    /// Memory that the server may use to decode the log for this capture, in kB; `None` to choose.
    pub logical_decoding_work_mem: Option<u32>,
    /// The feature flags.
    pub flags: Flags,
    /// The SSH server to go through, if any.
    pub network_tunnel: Option<SshForwarding>,
}

impl Config {
    /// Parses an endpoint configuration. An unknown member is an error; `null` counts as absent.
    ///
    /// # Errors
    ///
    /// With the first thing that is wrong, named by its path.
    pub fn parse(json: &str) -> Result<Self> {
        Self::from_json(&parse(json, raw::NAME)?)
    }

    /// Reads an endpoint configuration that is parsed already.
    ///
    /// # Errors
    ///
    /// With the first thing that is wrong, named by its path.
    pub(crate) fn from_json(json: &Value) -> Result<Self> {
        Raw::read(json)?.check()
    }

    /// Returns the mode to connect with: what is configured, otherwise what the kind of credentials
    /// needs, otherwise what the environment says, otherwise `prefer`.
    ///
    /// # Errors
    ///
    /// If the environment names a mode that there is not.
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

    /// Returns what is accepted but probably not what its author meant, a sentence each, for the log.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for flag in &self.flags.unknown {
            warnings.push(format!(
                "feature flag {flag:?} is unknown and has no effect"
            ));
        }
        for entry in self.skip_backfills.blank_padded() {
            warnings.push(format!(
                "entry {entry:?} of 'advanced.skip_backfills' has no effect, since blanks count: \
                 remove those around the comma"
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests;
