//! Bindings that Discover offers.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::document::{SchemaOptions, document_schema};
use super::key::{discovered_key, key_pointers};
use super::name::recommended_name;
use crate::catalog::{TableId, TableInfo};
use crate::value::TypeRegistry;

/// Binding that is offered for a table.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoveredBinding {
    /// Name of the table.
    pub table: TableId,
    /// Recommended name of the collection.
    pub recommended_name: String,
    /// Resource configuration of the binding.
    pub resource_config: Value,
    /// Schema of the documents.
    pub document_schema: Value,
    /// Key of the collection, as JSON pointers.
    pub key: Vec<String>,
    /// Whether the key is not the table's primary key.
    pub is_fallback_key: bool,
}

/// Column that connectors add when they write collections into a database.
const MATERIALIZED_COLUMN: &str = "flow_published_at";

/// Internal tables of such connectors.
const MATERIALIZATION_TABLES: [&str; 2] = ["flow_materializations_v2", "flow_checkpoints_v1"];

/// Returns a binding for each table that `published` contains, or for all if it is `None`, sorted by
/// recommended name. The watermarks table and tables that another connector appears to have written
/// are left out.
pub fn discover_bindings(
    tables: &[TableInfo],
    published: Option<&HashSet<TableId>>,
    watermarks: &TableId,
    types: &TypeRegistry,
    options: &SchemaOptions,
) -> Vec<DiscoveredBinding> {
    // If no table has exactly the name of the watermarks table, case is ignored.
    let exact = tables.iter().any(|table| table.id == *watermarks);
    let is_watermarks = |id: &TableId| match exact {
        true => id == watermarks,
        false => id.key() == watermarks.key(),
    };
    let mut tables: Vec<&TableInfo> = tables
        .iter()
        .filter(|table| {
            !is_watermarks(&table.id)
                && published.is_none_or(|published| published.contains(&table.id))
                && table.column(MATERIALIZED_COLUMN).is_none()
                && !MATERIALIZATION_TABLES.contains(&table.id.name.as_str())
        })
        .collect();
    // If names collide, the table whose own name is the recommended one keeps it.
    tables.sort_by_cached_key(|table| {
        let TableId { schema, name } = &table.id;
        (
            recommended_name(&table.id) != format!("{schema}/{name}"),
            table.id.clone(),
        )
    });
    let mut names = HashSet::with_capacity(tables.len());
    let mut bindings: Vec<DiscoveredBinding> = tables
        .into_iter()
        .map(|table| {
            let name = unique(&mut names, recommended_name(&table.id));
            binding(table, name, types, options)
        })
        .collect();
    bindings.sort_by(|a, b| a.recommended_name.cmp(&b.recommended_name));
    bindings
}

/// Returns a name that is not taken yet. The names of two tables can differ only in case, or in
/// characters that are not allowed in the name of a collection; these tables must not share one.
fn unique(taken: &mut HashSet<String>, name: String) -> String {
    let mut candidate = name.clone();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

fn binding(
    table: &TableInfo,
    recommended_name: String,
    types: &TypeRegistry,
    options: &SchemaOptions,
) -> DiscoveredBinding {
    let key = discovered_key(table);
    let mut resource_config = json!({"namespace": table.id.schema, "stream": table.id.name});
    if key.columns.is_empty() {
        resource_config["mode"] = json!("Without Primary Key");
    }
    DiscoveredBinding {
        table: table.id.clone(),
        recommended_name,
        resource_config,
        document_schema: document_schema(table, &key.columns, types, options),
        key: key_pointers(&key.columns),
        is_fallback_key: key.is_fallback,
    }
}
