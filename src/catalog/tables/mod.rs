//! Discovery of tables, and look-up of tables by name.

mod details;

use std::collections::HashMap;

use serde_json::json;

pub(super) use details::read_details;
use details::{details_statement, parse_details};

use crate::catalog::table::{TableId, TableInfo, name_list};
use crate::client::{Client, Rows, Statement};
use crate::error::Result;

/// Number of tables that one query describes.
const TABLES_PER_QUERY: usize = 100;

/// Filter for discovery. Names are matched exactly.
#[derive(Debug, Clone, Default)]
pub struct TableFilter<'a> {
    /// Schemas to search; all if empty.
    pub include_schemas: &'a [String],
    /// Schemas to leave out.
    pub exclude_schemas: &'a [String],
    /// Whether each partition counts as a table and a partitioned table does not, instead of the
    /// reverse.
    pub partitions: bool,
}

/// Schemas of the server and of extensions.
const SYSTEM_SCHEMAS: [&str; 6] = [
    "pg_catalog",
    "pg_internal",
    "information_schema",
    "catalog_history",
    "cron",
    "pglogical",
];

const SELECT_NAMES: &str = "\
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relpersistence = 'p'
  AND CASE WHEN $1::boolean THEN c.relkind = 'r'
           ELSE c.relkind IN ('r', 'p') AND NOT c.relispartition END
  AND (json_array_length($2::json) = 0
       OR n.nspname::text IN (SELECT json_array_elements_text($2::json)))
  AND n.nspname::text NOT IN (SELECT json_array_elements_text($3::json))";

/// Returns the permanent tables that `filter` and `wanted` accept, sorted by name. A table that is
/// dropped during discovery is left out.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn discover_tables(
    client: &mut Client,
    filter: &TableFilter<'_>,
    wanted: impl Fn(&TableId) -> bool,
) -> Result<Vec<TableInfo>> {
    let excluded: Vec<&str> = SYSTEM_SCHEMAS
        .into_iter()
        .chain(filter.exclude_schemas.iter().map(String::as_str))
        .collect();
    let rows = client
        .query(
            SELECT_NAMES,
            &[
                Some(if filter.partitions { "t" } else { "f" }),
                Some(&json!(filter.include_schemas).to_string()),
                Some(&json!(excluded).to_string()),
            ],
        )
        .await?;
    let mut ids = Vec::with_capacity(rows.rows.len());
    for row in &rows.rows {
        let id = TableId::new(row.text(0)?, row.text(1)?);
        if wanted(&id) {
            ids.push(id);
        }
    }
    ids.sort();
    let mut tables = Vec::with_capacity(ids.len());
    for ids in ids.chunks(TABLES_PER_QUERY) {
        tables.extend(read_details(client, ids).await?.into_iter().flatten());
    }
    Ok(tables)
}

/// Result of looking up a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableLookup {
    /// The relation of that name or, if there is none, the only one whose name differs in case only.
    Found(Box<TableInfo>),
    /// No such relation.
    Missing,
    /// No relation of exactly that name, and several whose names differ in case only.
    Ambiguous(Vec<TableId>),
}

impl TableLookup {
    /// Returns the relation that was found.
    pub fn table(&self) -> Option<&TableInfo> {
        match self {
            Self::Found(table) => Some(table),
            Self::Missing | Self::Ambiguous(_) => None,
        }
    }

    /// Returns the relation that was found, for changes.
    pub(super) fn table_mut(&mut self) -> Option<&mut TableInfo> {
        match self {
            Self::Found(table) => Some(table),
            Self::Missing | Self::Ambiguous(_) => None,
        }
    }
}

const SELECT_SIMILAR: &str = "\
SELECT w.number - 1, n.nspname, c.relname
FROM json_array_elements($1::json) WITH ORDINALITY AS w(name, number)
JOIN pg_catalog.pg_namespace AS n ON lower(n.nspname::text) = lower(w.name ->> 0)
JOIN pg_catalog.pg_class AS c
  ON c.relnamespace = n.oid AND lower(c.relname::text) = lower(w.name ->> 1)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY 1, 2, 3";

/// Looks relations up by name: by exact spelling first, then ignoring case. The results are in the
/// order of `ids`. Relations of other kinds than tables are found, too: see [`TableInfo::kind`].
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn lookup_tables(client: &mut Client, ids: &[TableId]) -> Result<Vec<TableLookup>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let first = client
        .run(&lookup_statement(ids, client.server_version_num()))
        .await?;
    complete_lookup(client, ids, &first).await
}

/// Returns the first statement of a look-up: it describes the first [`TABLES_PER_QUERY`] relations.
pub(super) fn lookup_statement(ids: &[TableId], version: u32) -> Statement {
    details_statement(
        ids.chunks(TABLES_PER_QUERY).next().unwrap_or_default(),
        version,
    )
}

/// Completes a look-up from the result of [`lookup_statement`].
pub(super) async fn complete_lookup(
    client: &mut Client,
    ids: &[TableId],
    first: &Rows,
) -> Result<Vec<TableLookup>> {
    let mut found = Vec::with_capacity(ids.len());
    for (number, ids) in ids.chunks(TABLES_PER_QUERY).enumerate() {
        let tables = match number {
            0 => parse_details(first, ids.len())?,
            _ => read_details(client, ids).await?,
        };
        found.extend(tables.into_iter().map(|table| match table {
            Some(table) => TableLookup::Found(Box::new(table)),
            None => TableLookup::Missing,
        }));
    }
    let missing: Vec<usize> = (0..ids.len())
        .filter(|&index| found[index] == TableLookup::Missing)
        .collect();
    for missing in missing.chunks(TABLES_PER_QUERY) {
        let names: Vec<&TableId> = missing.iter().map(|&index| &ids[index]).collect();
        let mut similar: HashMap<usize, Vec<TableId>> = HashMap::new();
        for row in &client
            .query(SELECT_SIMILAR, &[Some(&name_list(&names))])
            .await?
            .rows
        {
            let id = TableId::new(row.text(1)?, row.text(2)?);
            if let Some(&index) = missing.get(row.parse::<usize>(0)?) {
                similar.entry(index).or_default().push(id);
            }
        }
        let (mut unique, mut indices) = (Vec::new(), Vec::new());
        for (index, mut candidates) in similar {
            if candidates.len() > 1 {
                found[index] = TableLookup::Ambiguous(candidates);
            } else if let Some(id) = candidates.pop() {
                unique.push(id);
                indices.push(index);
            }
        }
        for (table, index) in read_details(client, &unique)
            .await?
            .into_iter()
            .zip(indices)
        {
            if let Some(table) = table {
                found[index] = TableLookup::Found(Box::new(table));
            }
        }
    }
    Ok(found)
}
