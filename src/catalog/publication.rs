//! The publication: its settings and tables, and statements that create it and add tables.

use std::collections::HashSet;

use protocol::{Oid, quote_identifier};

use crate::catalog::table::{Generated, TableId, TableInfo, name_list};
use crate::client::{Client, Rows, Statement};
use crate::error::Result;

/// A publication and the tables it publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Name of the publication.
    pub name: String,
    /// Whether it is FOR ALL TABLES.
    pub all_tables: bool,
    /// Whether it publishes inserts.
    pub inserts: bool,
    /// Whether it publishes updates.
    pub updates: bool,
    /// Whether it publishes deletes.
    pub deletes: bool,
    /// Whether changes of partitions are published under the name of the root. Before version 13 they
    /// are always published under their own name, and a partitioned table cannot be published.
    pub via_partition_root: bool,
    /// Tables under whose names changes are published.
    pub tables: HashSet<TableId>,
}

const SELECT_PUBLICATION: &str = "\
SELECT p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, {pubviaroot}
FROM pg_catalog.pg_publication AS p
WHERE p.pubname::text = $1";

const SELECT_MEMBERS: &str = "\
SELECT schemaname, tablename FROM pg_catalog.pg_publication_tables WHERE pubname::text = $1";

/// Reads a publication; `None` if there is none of that name.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn read_publication(client: &mut Client, name: &str) -> Result<Option<Publication>> {
    let statements = publication_statements(name, client.server_version_num());
    let [publication, members] = client.query_each(statements).await?;
    parse_publication(name, &publication?, &members?)
}

/// Returns the statements whose results [`parse_publication`] reads.
pub(super) fn publication_statements(name: &str, version: u32) -> [Statement; 2] {
    let via_root = if version >= 130_000 {
        "p.pubviaroot"
    } else {
        "false"
    };
    let sql = SELECT_PUBLICATION.replace("{pubviaroot}", via_root);
    [
        Statement::new(sql, &[Some(name)]),
        Statement::new(SELECT_MEMBERS, &[Some(name)]),
    ]
}

/// Reads the results of [`publication_statements`].
pub(super) fn parse_publication(
    name: &str,
    publication: &Rows,
    members: &Rows,
) -> Result<Option<Publication>> {
    let Some(row) = publication.rows.first() else {
        return Ok(None);
    };
    Ok(Some(Publication {
        name: name.to_owned(),
        all_tables: row.bool(0)?,
        inserts: row.bool(1)?,
        updates: row.bool(2)?,
        deletes: row.bool(3)?,
        via_partition_root: row.bool(4)?,
        tables: parse_members(members)?,
    }))
}

/// Reads the tables that a publication publishes.
pub(super) async fn read_members(client: &mut Client, name: &str) -> Result<HashSet<TableId>> {
    parse_members(&client.query(SELECT_MEMBERS, &[Some(name)]).await?)
}

fn parse_members(rows: &Rows) -> Result<HashSet<TableId>> {
    rows.rows
        .iter()
        .map(|row| Ok(TableId::new(row.text(0)?, row.text(1)?)))
        .collect()
}

/// Returns the statement that creates a publication of these tables. Publishing partitions under the
/// name of their root is an option since version 13.
pub(super) fn create_statement(
    name: &str,
    tables: &[TableId],
    via_partition_root: bool,
    version: u32,
) -> String {
    let mut sql = format!("CREATE PUBLICATION {}", quote_identifier(name));
    if !tables.is_empty() {
        sql.push_str(&format!(" FOR TABLE {}", table_list(tables)));
    }
    if via_partition_root && version >= 130_000 {
        sql.push_str(" WITH (publish_via_partition_root = true)");
    }
    sql
}

/// Returns the statement that adds tables to a publication.
pub(super) fn add_statement(name: &str, tables: &[TableId]) -> String {
    format!(
        "ALTER PUBLICATION {} ADD TABLE {}",
        quote_identifier(name),
        table_list(tables)
    )
}

/// Formats a list of tables without those that inherit from one of them: these are not bound.
fn table_list(tables: &[TableId]) -> String {
    let names: Vec<String> = tables
        .iter()
        .map(|id| format!("ONLY {}", id.quoted()))
        .collect();
    names.join(", ")
}

/// A bound table that is a partition or an ancestor of a relation under whose name changes arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namesake {
    /// OID of the bound table.
    pub table: Oid,
    /// Whether the bound table is an ancestor and the relation its partition; false for the reverse.
    pub is_root: bool,
    /// Whether the publication publishes changes under the name of the root.
    pub via_partition_root: bool,
}

const SELECT_NAMESAKE: &str = "\
WITH RECURSIVE bound(oid) AS (
  SELECT b.oid::oid FROM unnest(string_to_array($3, ',')) AS b(oid)
), line(start, oid) AS (
  SELECT c.oid, c.oid FROM pg_catalog.pg_class AS c
  WHERE c.oid = $2::oid OR c.oid IN (SELECT oid FROM bound)
  UNION
  SELECT line.start, h.inhparent
  FROM line
  JOIN pg_catalog.pg_class AS c ON c.oid = line.oid AND c.relispartition
  JOIN pg_catalog.pg_inherits AS h ON h.inhrelid = c.oid
)
SELECT CASE line.start WHEN $2::oid THEN line.oid ELSE line.start END,
       line.start = $2::oid, p.pubviaroot
FROM line
CROSS JOIN pg_catalog.pg_publication AS p
WHERE p.pubname::text = $1
  AND (line.start = $2::oid AND line.oid IN (SELECT oid FROM bound)
       OR line.oid = $2::oid AND line.start IN (SELECT oid FROM bound))
LIMIT 1";

/// Finds a table among `tables` that is a partition or an ancestor of `relation`, under whose name
/// changes have arrived.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn find_namesake(
    client: &mut Client,
    publication: &str,
    relation: Oid,
    tables: &[Oid],
) -> Result<Option<Namesake>> {
    // Before version 13 partitioned tables cannot be published.
    if tables.is_empty() || client.server_version_num() < 130_000 {
        return Ok(None);
    }
    let list: Vec<String> = tables.iter().map(|oid| oid.as_u32().to_string()).collect();
    let (list, relation) = (list.join(","), relation.as_u32().to_string());
    let parameters = [Some(publication), Some(&*relation), Some(&*list)];
    let rows = client.query(SELECT_NAMESAKE, &parameters).await?;
    let Some(row) = rows.rows.first() else {
        return Ok(None);
    };
    Ok(Some(Namesake {
        table: row.parse::<u32>(0)?.into(),
        is_root: row.bool(1)?,
        via_partition_root: row.bool(2)?,
    }))
}

/// Column list and row filter of a table in a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Restriction {
    /// The published table.
    pub(super) table: TableId,
    /// Published columns.
    pub(super) columns: HashSet<String>,
    /// Row filter, as an SQL condition.
    pub(super) row_filter: Option<String>,
}

/// Reads the column lists and row filters that a publication has for `tables`, and sets them there,
/// so that a backfill reads no other columns and rows.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn note_restrictions<'t>(
    client: &mut Client,
    name: &str,
    tables: impl IntoIterator<Item = &'t mut TableInfo>,
) -> Result<()> {
    let mut tables: Vec<&mut TableInfo> = tables.into_iter().collect();
    let restrictions = {
        let shared: Vec<&TableInfo> = tables.iter().map(|table| &**table).collect();
        read_restrictions(client, name, &shared).await?
    };
    apply_restrictions(restrictions, &mut tables);
    Ok(())
}

/// Sets column lists and row filters in `tables`.
pub(super) fn apply_restrictions(restrictions: Vec<Restriction>, tables: &mut [&mut TableInfo]) {
    for restriction in restrictions {
        let Some(table) = tables
            .iter_mut()
            .find(|table| table.id == restriction.table)
        else {
            continue;
        };
        for column in &mut table.columns {
            column.published = restriction.columns.contains(&column.name)
                // Before version 18 generated columns are never listed.
                || column.generated != Generated::No;
        }
        table.row_filter = restriction.row_filter;
    }
}

const SELECT_RESTRICTIONS: &str = "\
SELECT p.schemaname, p.tablename, to_json(p.attnames), p.rowfilter
FROM json_array_elements($2::json) AS w(name)
JOIN pg_catalog.pg_publication_tables AS p
  ON p.schemaname::text = w.name ->> 0 AND p.tablename::text = w.name ->> 1
WHERE p.pubname::text = $1";

/// Reads the column lists and row filters of tables. There are none before version 15.
pub(super) async fn read_restrictions(
    client: &mut Client,
    name: &str,
    tables: &[&TableInfo],
) -> Result<Vec<Restriction>> {
    let statement = restrictions_statement(name, tables, client.server_version_num());
    match statement {
        Some(statement) => parse_restrictions(&client.run(&statement).await?),
        None => Ok(Vec::new()),
    }
}

/// Returns the statement whose result [`parse_restrictions`] reads; `None` if there cannot be any
/// restrictions.
pub(super) fn restrictions_statement(
    name: &str,
    tables: &[&TableInfo],
    version: u32,
) -> Option<Statement> {
    if version < 150_000 || tables.is_empty() {
        return None;
    }
    let names = name_list(&tables.iter().map(|table| &table.id).collect::<Vec<_>>());
    let parameters = [Some(name), Some(&*names)];
    Some(Statement::new(SELECT_RESTRICTIONS, &parameters))
}

/// Reads the result of [`restrictions_statement`].
pub(super) fn parse_restrictions(rows: &Rows) -> Result<Vec<Restriction>> {
    rows.rows
        .iter()
        .map(|row| {
            let table = TableId::new(row.text(0)?, row.text(1)?);
            let content = format_args!("the published columns of table {table}");
            Ok(Restriction {
                columns: row.json(2, content)?.unwrap_or_default(),
                table,
                row_filter: row.get(3).map(str::to_owned),
            })
        })
        .collect()
}
