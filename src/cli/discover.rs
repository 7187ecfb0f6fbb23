//! Handling of Discover requests: finds the tables that can be captured.

use tracing::warn;

use crate::capture::schema_options;
use crate::catalog::{
    TableFilter, TableId, complete_types, discover_tables, load_types, note_restrictions,
    read_publication,
};
use crate::client::Client;
use crate::config::Config;
use crate::error::Result;
use crate::flow::{Discover, Discovered, DiscoveredBinding};
use crate::net::{ConnectConfig, Purpose};
use crate::schema::{self, discover_bindings};

/// Handles a Discover request.
pub(super) async fn discover(request: &Discover) -> Result<Discovered> {
    let config = Config::parse(&request.config_json)?;
    let bindings = discover_with(&config)
        .await?
        .into_iter()
        .map(|binding| DiscoveredBinding {
            recommended_name: binding.recommended_name,
            resource_config_json: binding.resource_config.to_string(),
            document_schema_json: binding.document_schema.to_string(),
            key: binding.key,
            is_fallback_key: binding.is_fallback_key,
            ..DiscoveredBinding::default()
        })
        .collect();
    Ok(Discovered { bindings })
}

/// Discovers the tables that can be captured with a configuration.
pub(super) async fn discover_with(config: &Config) -> Result<Vec<schema::DiscoveredBinding>> {
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let mut client = Client::connect(&ConnectConfig::new(config)?, Purpose::Query).await?;
    let mut types = load_types(&mut client).await?;
    let filter = TableFilter {
        include_schemas: &config.discovery_filters.include_schemas,
        exclude_schemas: &config.discovery_filters.exclude_schemas,
        partitions: config.capture_as_partitions,
    };
    let wanted = |table: &TableId| {
        config
            .discovery_filters
            .includes(&table.schema, &table.name)
    };
    let mut tables = discover_tables(&mut client, &filter, wanted).await?;
    note_restrictions(&mut client, &config.publication_name, &mut tables).await?;
    let used: Vec<_> = tables
        .iter()
        .flat_map(|table| table.columns.iter().map(|column| column.type_oid))
        .collect();
    complete_types(&mut client, &mut types, used).await?;
    // Without a publication, offers every table: the publication is created later, for the tables
    // that are bound.
    let publication = if config.discover_unpublished_tables {
        None
    } else {
        read_publication(&mut client, &config.publication_name).await?
    };
    let published = publication.as_ref().map(|publication| &publication.tables);
    let (watermarks_schema, watermarks_name) = &config.watermarks_table;
    let watermarks = TableId::new(watermarks_schema, watermarks_name);
    let bindings = discover_bindings(
        &tables,
        published,
        &watermarks,
        &types,
        &schema_options(config),
    );
    if bindings.is_empty() {
        warn!(
            publication = %config.publication_name,
            "no tables discovered: check that the publication has tables, that they are visible to \
             the user, and that the discovery filters include them"
        );
    }
    Ok(bindings)
}
