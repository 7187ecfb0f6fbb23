//! Reads members, checks them in the documented order, and adds defaults.

use serde_json::Value;

use super::config::{Config, SshForwarding};
use super::values::{
    parse_backfill_connections, parse_decoding_memory, parse_min_backfill_xid,
    parse_rediscovery_interval, parse_sslmode, parse_statement_timeout, parse_watermarks_table,
};
use crate::config::address::{parse_hosts, refuse_pooler};
use crate::config::credentials::{Credentials, RawCredentials};
use crate::config::filters::{DiscoveryFilters, SkipBackfills, TablePattern};
use crate::config::flags::Flags;
use crate::config::members::{Location, Members, Node, configuration, parse};
use crate::config::secret::Secret;
use crate::config::security::Security;
use crate::error::Result;

/// Name of the configuration in errors.
const NAME: &str = "the endpoint configuration";
const DEFAULT_PUBLICATION: &str = "flow_publication";
const DEFAULT_SLOT: &str = "flow_slot";
const DEFAULT_WATERMARKS_TABLE: &str = "public.flow_watermarks";
const DEFAULT_CHUNK_SIZE: u32 = 4096;

impl Config {
    /// Parses an endpoint configuration. An unknown member is an error; `null` counts as absent.
    ///
    /// # Errors
    ///
    /// Fails with the first problem, and the path of the member that has it.
    pub fn parse(json: &str) -> Result<Self> {
        Self::from_json(&parse(json, NAME)?)
    }

    /// Reads an endpoint configuration that is parsed already.
    ///
    /// # Errors
    ///
    /// Fails with the first problem, and the path of the member that has it.
    pub(crate) fn from_json(json: &Value) -> Result<Self> {
        Raw::read(json)?.check()
    }
}

/// Members of the configuration, unchecked.
struct Raw {
    address: String,
    user: String,
    database: String,
    history_mode: bool,
    credentials: Option<RawCredentials>,
    password: Secret,
    filters: RawFilters,
    advanced: RawAdvanced,
    network_tunnel: Option<SshForwarding>,
}

#[derive(Default)]
struct RawFilters {
    include_schemas: Vec<String>,
    exclude_schemas: Vec<String>,
    table_patterns: Vec<String>,
    discover_unpublished_tables: bool,
}

#[derive(Default)]
struct RawAdvanced {
    publication_name: String,
    slot_name: String,
    watermarks_table: String,
    skip_backfills: String,
    backfill_chunk_size: i64,
    backfill_connections: Option<i64>,
    sslmode: String,
    security: Security,
    discover_schemas: Vec<String>,
    min_backfill_xid: String,
    read_only_capture: bool,
    capture_as_partitions: bool,
    discover_unpublished_tables: bool,
    source_tag: String,
    rediscovery_interval: String,
    feature_flags: String,
    statement_timeout: String,
    logical_decoding_work_mem: String,
}

impl Raw {
    fn read(json: &Value) -> Result<Self> {
        let root = Node::root(json, Location::configuration(NAME));
        let mut root = Members::of(&root, "a JSON object")?;
        let raw = Self {
            address: root.string("address")?,
            user: root.string("user")?,
            database: root.string("database")?,
            history_mode: root.boolean("historyMode")?,
            credentials: root
                .object("credentials")?
                .map(RawCredentials::read)
                .transpose()?,
            password: root.string("password")?.into(),
            filters: match root.object("discoveryFilters")? {
                Some(members) => RawFilters::read(members)?,
                None => RawFilters::default(),
            },
            advanced: match root.object("advanced")? {
                Some(members) => RawAdvanced::read(members)?,
                None => RawAdvanced::default(),
            },
            network_tunnel: match root.object("networkTunnel")? {
                Some(members) => read_tunnel(members)?,
                None => None,
            },
        };
        // Encryption at rest leaves this member beside the decrypted ones.
        root.ignore(&["sops"]);
        root.finish()?;
        Ok(raw)
    }

    /// Checks the members and adds defaults.
    fn check(self) -> Result<Config> {
        self.check_required()?;
        let credentials = match self.credentials {
            Some(credentials) => credentials.check(self.password)?,
            None => Credentials::Password(self.password),
        };
        refuse_pooler(&self.address)?;
        let hosts = parse_hosts(&self.address)?;

        let advanced = self.advanced;
        let watermarks_table = parse_watermarks_table(
            or_default(&advanced.watermarks_table, DEFAULT_WATERMARKS_TABLE),
            &self.database,
        )?;
        let skip_backfills = SkipBackfills::parse(&advanced.skip_backfills)?;
        let sslmode = parse_sslmode(&advanced.sslmode)?;
        check_schemas(&advanced.discover_schemas)?;
        let statement_timeout = parse_statement_timeout(&advanced.statement_timeout)?;
        let rediscovery_interval = parse_rediscovery_interval(&advanced.rediscovery_interval)?;
        let discover_unpublished_tables =
            self.filters.discover_unpublished_tables || advanced.discover_unpublished_tables;
        let discovery_filters = self.filters.check(advanced.discover_schemas)?;
        let min_backfill_xid = parse_min_backfill_xid(&advanced.min_backfill_xid)?;
        let backfill_connections = parse_backfill_connections(advanced.backfill_connections)?;
        let flags = Flags::parse(&advanced.feature_flags)?;
        let logical_decoding_work_mem = parse_decoding_memory(&advanced.logical_decoding_work_mem)?;

        let chunk_size = match advanced.backfill_chunk_size {
            ..=0 => DEFAULT_CHUNK_SIZE,
            rows => u32::try_from(rows).unwrap_or(u32::MAX),
        };
        Ok(Config {
            hosts,
            user: self.user,
            database: self.database,
            credentials,
            history_mode: self.history_mode,
            discovery_filters,
            discover_unpublished_tables,
            publication_name: or_default(&advanced.publication_name, DEFAULT_PUBLICATION)
                .to_owned(),
            slot_name: or_default(&advanced.slot_name, DEFAULT_SLOT).to_owned(),
            watermarks_table,
            skip_backfills,
            backfill_chunk_size: chunk_size,
            backfill_connections,
            sslmode,
            security: advanced.security,
            min_backfill_xid,
            read_only_capture: advanced.read_only_capture,
            capture_as_partitions: advanced.capture_as_partitions,
            source_tag: Some(advanced.source_tag).filter(|tag| !tag.is_empty()),
            rediscovery_interval,
            statement_timeout,
            logical_decoding_work_mem,
            flags,
            network_tunnel: self.network_tunnel,
        })
    }

    fn check_required(&self) -> Result<()> {
        if self.address.trim().is_empty() {
            return Err(configuration(
                "missing 'address': give the host or host:port of the database server",
            ));
        }
        if self.user.is_empty() {
            return Err(configuration(
                "missing 'user': give the database user to log in as",
            ));
        }
        Ok(())
    }
}

fn check_schemas(schemas: &[String]) -> Result<()> {
    if schemas.iter().any(String::is_empty) {
        return Err(configuration(
            "invalid 'advanced.discover_schemas': entries must not be blank; leave the list \
             empty to look at all schemas",
        ));
    }
    Ok(())
}

impl RawFilters {
    fn read(mut members: Members<'_>) -> Result<Self> {
        let raw = Self {
            include_schemas: members.strings("include_schemas")?,
            exclude_schemas: members.strings("exclude_schemas")?,
            table_patterns: members.strings("table_patterns")?,
            discover_unpublished_tables: members.boolean("discover_unpublished_tables")?,
        };
        members.finish()?;
        Ok(raw)
    }

    /// Compiles the patterns. `schemas` are included as well.
    fn check(self, schemas: Vec<String>) -> Result<DiscoveryFilters> {
        let table_patterns = self
            .table_patterns
            .iter()
            .map(|pattern| TablePattern::compile(pattern))
            .collect::<Result<_>>()?;
        let mut include_schemas = self.include_schemas;
        include_schemas.extend(schemas);
        Ok(DiscoveryFilters {
            include_schemas,
            exclude_schemas: self.exclude_schemas,
            table_patterns,
        })
    }
}

impl RawAdvanced {
    fn read(mut members: Members<'_>) -> Result<Self> {
        let raw = Self {
            publication_name: members.string("publicationName")?,
            slot_name: members.string("slotName")?,
            watermarks_table: members.string("watermarksTable")?,
            skip_backfills: members.string("skip_backfills")?,
            backfill_chunk_size: members.integer("backfill_chunk_size")?.unwrap_or_default(),
            backfill_connections: members.integer("backfill_connections")?,
            sslmode: members.string("sslmode")?,
            security: Security::read(&mut members)?,
            discover_schemas: members.strings("discover_schemas")?,
            min_backfill_xid: members.string("min_backfill_xid")?,
            read_only_capture: members.boolean("read_only_capture")?,
            capture_as_partitions: members.boolean("capture_as_partitions")?,
            discover_unpublished_tables: members.boolean("discover_unpublished_tables")?,
            source_tag: members.string("source_tag")?,
            rediscovery_interval: members.string("rediscovery_interval")?,
            feature_flags: members.string("feature_flags")?,
            statement_timeout: members.string("statement_timeout")?,
            logical_decoding_work_mem: members.string("logical_decoding_work_mem")?,
        };
        // Has no effect: published tables only is the default, which discover_unpublished_tables
        // changes.
        members.boolean("discover_only_published")?;
        members.finish()?;
        Ok(raw)
    }
}

fn read_tunnel(mut members: Members<'_>) -> Result<Option<SshForwarding>> {
    let mut tunnel = None;
    if let Some(mut forwarding) = members.object("sshForwarding")? {
        tunnel = Some(SshForwarding {
            ssh_endpoint: forwarding.string("sshEndpoint")?,
            private_key: forwarding.string("privateKey")?.into(),
        });
        forwarding.finish()?;
    }
    members.finish()?;
    Ok(tunnel.filter(|tunnel| !tunnel.ssh_endpoint.is_empty()))
}

fn or_default<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}
