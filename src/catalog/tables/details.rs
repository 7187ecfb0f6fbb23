//! Description of tables by one statement, so that all of it is from one snapshot.

use protocol::{Oid, ReplicaIdentity};
use serde::Deserialize;

use crate::catalog::table::{
    ColumnInfo, Generated, PartitionInfo, Persistence, TableId, TableInfo, TableKind, UniqueIndex,
    name_list,
};
use crate::client::{Client, Row, Rows, Statement};
use crate::error::{Error, ErrorKind, Result};

/// Describes relations by name.
///
/// `bytewise_collation` is true where text sorts in the order of the bytes of its UTF-8 form: the
/// collation compares bytes or code points, and the order of bytes in the database encoding is that
/// of code points. The `builtin` provider compares code points in every locale.
const SELECT_DETAILS: &str = "\
WITH wanted AS (
  SELECT w.number, w.name ->> 0 AS schema, w.name ->> 1 AS name
  FROM json_array_elements($1::json) WITH ORDINALITY AS w(name, number)
), database AS (
  SELECT d.encoding IN (0, 6, 8) AS ordered_encoding,
         d.encoding IN (0, 6, 8) AND CASE {datlocprovider}
           WHEN 'b' THEN true
           WHEN 'c' THEN lower(d.datcollate) IN {bytewise_locales}
           ELSE false END AS bytewise
  FROM pg_catalog.pg_database AS d
  WHERE d.datname = current_database()
)
SELECT w.number - 1, c.oid, n.nspname, c.relname, c.relkind, c.relispartition, c.relpersistence,
       c.relreplident, c.reltuples::float8::bigint, c.relpages,
       has_schema_privilege(n.oid, 'USAGE')
         AND (has_table_privilege(c.oid, 'SELECT') OR NOT EXISTS (
           SELECT FROM pg_catalog.pg_attribute AS a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT'))),
       row_security_active(c.oid),
       (SELECT json_agg(json_build_object(
                 'name', a.attname, 'position', a.attnum, 'type_oid', a.atttypid::bigint,
                 'type_modifier', a.atttypmod, 'not_null', {not_null},
                 'generated', {attgenerated}, 'comment', t.description,
                 'collation', a.attcollation::bigint, 'bytewise_collation', CASE
                   WHEN a.attcollation = 0 THEN true
                   WHEN o.collprovider = 'd' THEN db.bytewise
                   WHEN NOT {deterministic} THEN false
                   WHEN o.collprovider = 'b' THEN db.ordered_encoding
                   WHEN o.collprovider = 'c'
                     THEN db.ordered_encoding AND lower(o.collcollate) IN {bytewise_locales}
                   ELSE false END
               ) ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute AS a
        LEFT JOIN pg_catalog.pg_collation AS o ON o.oid = a.attcollation
        LEFT JOIN pg_catalog.pg_description AS t
          ON t.objoid = a.attrelid AND t.objsubid = a.attnum
          AND t.classoid = 'pg_catalog.pg_class'::regclass
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       {indexes_of_c},
       CASE WHEN c.relkind = 'p' THEN (
         WITH RECURSIVE tree(oid) AS (
           SELECT c.oid
           UNION ALL
           SELECT h.inhrelid FROM pg_catalog.pg_inherits AS h JOIN tree ON tree.oid = h.inhparent
         )
         SELECT json_agg(json_build_object(
                  'schema', ln.nspname, 'name', l.relname, 'identity', l.relreplident,
                  'tuples', l.reltuples::float8::bigint, 'pages', l.relpages,
                  'indexes', CASE WHEN l.relreplident IN ('d', 'i') THEN {indexes_of_l} END
                ) ORDER BY ln.nspname, l.relname)
         FROM tree
         JOIN pg_catalog.pg_class AS l ON l.oid = tree.oid AND l.relkind = 'r'
         JOIN pg_catalog.pg_namespace AS ln ON ln.oid = l.relnamespace) END,
       CASE WHEN c.relkind = 'r' AND c.reltuples > 0 THEN (
         (c.relpages + COALESCE((SELECT o.relpages FROM pg_catalog.pg_class AS o
                                 WHERE o.oid = c.reltoastrelid), 0))
           * current_setting('block_size')::float8 / c.reltuples)::bigint END
FROM wanted AS w
CROSS JOIN database AS db
JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema::name AND n.nspname::text = w.schema
JOIN pg_catalog.pg_class AS c
  ON c.relnamespace = n.oid AND c.relname = w.name::name AND c.relname::text = w.name
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')";

/// Unique indexes that can identify a row. INCLUDE columns do not count: they are no part of the
/// unique key.
const INDEXES: &str = "\
(SELECT json_agg(json_build_object(
          'name', x.relname, 'primary', i.indisprimary, 'immediate', i.indimmediate,
          'identity', i.indisreplident, 'columns', (
            SELECT json_agg(a.attname ORDER BY k.number)
            FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(position, number)
            JOIN pg_catalog.pg_attribute AS a
              ON a.attrelid = i.indrelid AND a.attnum = k.position
            WHERE k.number <= {indnkeyatts})))
        FROM pg_catalog.pg_index AS i
        JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
        WHERE i.indrelid = {table}.oid AND i.indisunique AND i.indisvalid
          AND i.indpred IS NULL AND i.indexprs IS NULL)";

/// Locales of the C library that sort by code point. PostgreSQL guarantees it for the first two only;
/// the C library defines the others so.
const BYTEWISE_LOCALES: &str = "('c', 'posix', 'c.utf-8', 'c.utf8', 'ucs_basic')";

/// Since version 18 a NOT NULL constraint can be NOT VALID: rows may violate it.
const VALID_NOT_NULL: &str = "\
a.attnotnull AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_constraint AS k
  WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]
    AND NOT k.convalidated)";

/// Reads the relations with exactly these names, in the order of the names; `None` for a name without
/// relation.
pub(crate) async fn read_details(
    client: &mut Client,
    ids: &[TableId],
) -> Result<Vec<Option<TableInfo>>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let statement = details_statement(ids, client.server_version_num());
    parse_details(&client.run(&statement).await?, ids.len())
}

/// Returns the statement whose result [`parse_details`] reads.
pub(super) fn details_statement(ids: &[TableId], version: u32) -> Statement {
    let names = name_list(&ids.iter().collect::<Vec<_>>());
    Statement::new(versioned(version), &[Some(&names)])
}

/// Reads the result of [`details_statement`] for `name_count` names.
pub(super) fn parse_details(rows: &Rows, name_count: usize) -> Result<Vec<Option<TableInfo>>> {
    let mut tables = vec![None; name_count];
    for row in &rows.rows {
        if let Some(slot) = tables.get_mut(row.parse::<usize>(0)?) {
            *slot = Some(parse_table(row)?);
        }
    }
    Ok(tables)
}

/// Returns the query for a server version.
fn versioned(version: u32) -> String {
    let since = |first: u32, then: &'static str, before: &'static str| {
        if version >= first * 10_000 {
            then
        } else {
            before
        }
    };
    let indexes = INDEXES.replace("{indnkeyatts}", since(11, "i.indnkeyatts", "i.indnatts"));
    SELECT_DETAILS
        .replace("{indexes_of_c}", &indexes.replace("{table}", "c"))
        .replace("{indexes_of_l}", &indexes.replace("{table}", "l"))
        .replace("{attgenerated}", since(12, "a.attgenerated", "''"))
        .replace(
            "{deterministic}",
            since(12, "o.collisdeterministic", "true"),
        )
        .replace("{datlocprovider}", since(15, "d.datlocprovider", "'c'"))
        .replace("{not_null}", since(18, VALID_NOT_NULL, "a.attnotnull"))
        .replace("{bytewise_locales}", BYTEWISE_LOCALES)
}

#[derive(Deserialize)]
struct RawColumn {
    name: String,
    position: i16,
    type_oid: u32,
    type_modifier: i32,
    not_null: bool,
    generated: String,
    comment: Option<String>,
    collation: u32,
    bytewise_collation: bool,
}

#[derive(Deserialize)]
struct RawIndex {
    name: String,
    primary: bool,
    immediate: bool,
    identity: bool,
    /// NULL for an index on system columns only.
    columns: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RawLeaf {
    schema: String,
    name: String,
    identity: String,
    tuples: i64,
    pages: i64,
    indexes: Option<Vec<RawIndex>>,
}

fn parse_table(row: &Row) -> Result<TableInfo> {
    let id = TableId::new(row.text(2)?, row.text(3)?);
    let kind = match row.text(4)? {
        "r" => TableKind::Ordinary,
        "p" => TableKind::Partitioned,
        other => TableKind::Other(other.chars().next().unwrap_or('?')),
    };
    let persistence = match row.text(6)? {
        "p" => Persistence::Permanent,
        "u" => Persistence::Unlogged,
        _ => Persistence::Temporary,
    };
    let (columns, indexes, leaves) = parse_parts(row, &id)?;
    let replica_identity = identity(row.text(7)?, &id)?;
    let identity_columns = match replica_identity {
        ReplicaIdentity::Full => columns.iter().map(|column| column.name.clone()).collect(),
        other => identity_columns(other, &indexes),
    };
    let primary = indexes.iter().find(|index| index.primary);
    let primary_key = primary.and_then(|index| index.columns.clone());
    let unique_indexes = unique_indexes(indexes, &columns);
    let mut candidates = unique_indexes.iter().filter(|index| index.not_null);
    let fallback_key = match primary_key {
        Some(_) => None,
        None => candidates.next().map(|index| index.columns.clone()),
    };
    let (mut tuples, mut pages) = (row.parse::<i64>(8)?, row.parse::<i64>(9)?);
    if kind == TableKind::Partitioned {
        // A leaf that was never analyzed has -1; it counts as empty, so the sum is known but low.
        tuples = leaves.iter().map(|leaf| leaf.tuples.max(0)).sum();
        pages = leaves.iter().map(|leaf| leaf.pages).max().unwrap_or(0);
    }
    let leaves = leaves.into_iter().map(|leaf| partition(leaf, &id));
    Ok(TableInfo {
        oid: row.parse::<u32>(1)?.into(),
        kind,
        is_partition: row.bool(5)?,
        persistence,
        primary_key,
        fallback_key,
        replica_identity,
        identity_columns,
        unique_indexes,
        leaves: leaves.collect::<Result<_>>()?,
        row_estimate: u64::try_from(tuples).ok().filter(|&tuples| tuples > 0),
        pages: u64::try_from(pages).unwrap_or(0),
        row_bytes: row.get(15).map(|_| row.parse(15)).transpose()?,
        selectable: row.bool(10)?,
        row_security: row.bool(11)?,
        row_filter: None,
        columns,
        id,
    })
}

/// Parses the columns of a table, its unique indexes sorted by name, and its leaves.
fn parse_parts(row: &Row, id: &TableId) -> Result<(Vec<ColumnInfo>, Vec<RawIndex>, Vec<RawLeaf>)> {
    let columns: Option<Vec<RawColumn>> =
        row.json(12, format_args!("the columns of table {id}"))?;
    let indexes: Option<Vec<RawIndex>> =
        row.json(13, format_args!("the unique indexes of table {id}"))?;
    let leaves: Option<Vec<RawLeaf>> =
        row.json(14, format_args!("the partitions of table {id}"))?;
    let columns = columns.unwrap_or_default().into_iter().map(column);
    let mut indexes = indexes.unwrap_or_default();
    // In the order of bytes, which does not depend on the server's collation.
    indexes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((columns.collect(), indexes, leaves.unwrap_or_default()))
}

/// Returns the indexes that could serve as replica identity.
fn unique_indexes(indexes: Vec<RawIndex>, columns: &[ColumnInfo]) -> Vec<UniqueIndex> {
    let not_null = |name: &String| {
        columns
            .iter()
            .any(|column| column.not_null && column.name == *name)
    };
    let immediate = indexes.into_iter().filter(|index| index.immediate);
    immediate
        .filter_map(|index| {
            let columns = index.columns?;
            Some(UniqueIndex {
                name: index.name,
                not_null: columns.iter().all(not_null),
                columns,
            })
        })
        .collect()
}

fn column(raw: RawColumn) -> ColumnInfo {
    ColumnInfo {
        name: raw.name,
        position: raw.position,
        type_oid: Oid::from(raw.type_oid),
        type_modifier: raw.type_modifier,
        not_null: raw.not_null,
        generated: Generated::from_letter(&raw.generated),
        published: true,
        comment: raw.comment,
        collation: Oid::from(raw.collation),
        bytewise_collation: raw.bytewise_collation,
    }
}

fn partition(leaf: RawLeaf, root: &TableId) -> Result<PartitionInfo> {
    let replica_identity = identity(&leaf.identity, root)?;
    Ok(PartitionInfo {
        identity_columns: identity_columns(replica_identity, &leaf.indexes.unwrap_or_default()),
        id: TableId::new(leaf.schema, leaf.name),
        replica_identity,
    })
}

/// Returns the columns of a replica identity by index. As in the server, a deferrable index is no
/// replica identity.
fn identity_columns(identity: ReplicaIdentity, indexes: &[RawIndex]) -> Vec<String> {
    let chosen = |index: &&RawIndex| match identity {
        ReplicaIdentity::Default => index.primary,
        ReplicaIdentity::Index => index.identity,
        _ => false,
    };
    indexes
        .iter()
        .filter(|index| index.immediate)
        .find(chosen)
        .and_then(|index| index.columns.clone())
        .unwrap_or_default()
}

fn identity(letter: &str, table: &TableId) -> Result<ReplicaIdentity> {
    match letter {
        "d" => Ok(ReplicaIdentity::Default),
        "n" => Ok(ReplicaIdentity::Nothing),
        "f" => Ok(ReplicaIdentity::Full),
        "i" => Ok(ReplicaIdentity::Index),
        other => Err(Error::new(
            ErrorKind::Protocol,
            format!("table {table} has the unknown relreplident {other:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str, primary: bool, immediate: bool, identity: bool) -> RawIndex {
        let columns = Some(vec![name.to_owned()]);
        RawIndex {
            name: name.to_owned(),
            primary,
            immediate,
            identity,
            columns,
        }
    }

    #[test]
    fn the_query_is_complete_for_every_version() {
        for version in 10..=18 {
            let sql = versioned(version * 10_000);
            assert!(!sql.contains(['{', '}']), "version {version}: {sql}");
            assert_eq!(sql.contains("attgenerated"), version >= 12);
            assert_eq!(sql.contains("convalidated"), version >= 18);
        }
    }

    #[test]
    fn a_deferrable_index_is_no_replica_identity() {
        let indexes = [
            index("id", true, true, false),
            index("code", false, true, true),
        ];
        let columns = |identity, indexes: &[RawIndex]| identity_columns(identity, indexes);
        assert_eq!(columns(ReplicaIdentity::Default, &indexes), ["id"]);
        assert_eq!(columns(ReplicaIdentity::Index, &indexes), ["code"]);
        assert!(columns(ReplicaIdentity::Nothing, &indexes).is_empty());
        let deferrable = [index("id", true, false, false)];
        assert!(columns(ReplicaIdentity::Default, &deferrable).is_empty());
    }
}
