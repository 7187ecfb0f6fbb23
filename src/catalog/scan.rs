//! Queries of a scan about its table: its size, and whether its columns have changed.

use std::time::Duration;

use protocol::Oid;

use crate::catalog::table::{Generated, TableInfo};
use crate::client::{Client, parse_json};
use crate::error::Result;

/// Counts the pages on disk. `pg_class.relpages` is as old as the last VACUUM or ANALYZE, so rows on
/// pages added since would be missed. Only the main fork holds rows.
const SELECT_PAGES: &str = "\
WITH RECURSIVE tree(oid) AS (
  SELECT $1::oid
  UNION ALL
  SELECT h.inhrelid
  FROM pg_catalog.pg_inherits AS h
  JOIN tree ON tree.oid = h.inhparent
  WHERE (SELECT c.relkind FROM pg_catalog.pg_class AS c WHERE c.oid = tree.oid) = 'p'
), leaf AS (
  SELECT CASE WHEN set_config('lock_timeout', $2, true) IS NOT NULL
              THEN pg_relation_size(c.oid, 'main') END AS bytes
  FROM tree
  JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid
  WHERE c.relkind IN ('r', 'm')
), block AS (
  SELECT current_setting('block_size')::bigint AS bytes
)
SELECT COALESCE(max((leaf.bytes + block.bytes - 1) / block.bytes), 0), count(leaf.bytes)
FROM block LEFT JOIN leaf ON true";

/// Extent of a scan by physical position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCount {
    /// Number of pages of the table; for a partitioned table, that of its largest leaf at any depth.
    /// Each leaf numbers its own pages from 0.
    pub largest: u64,
    /// Number of leaves; 1 for a table that is not partitioned.
    pub leaves: u64,
}

/// Counts the pages that a scan of `table` by physical position has to cover.
///
/// Rows on pages that are added later were written later, so the change stream contains them. If
/// another session holds the table in ACCESS EXCLUSIVE mode, the count waits for at most
/// `lock_timeout`.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn measure_pages(
    client: &mut Client,
    table: &TableInfo,
    lock_timeout: Duration,
) -> Result<PageCount> {
    let oid = table.oid.to_string();
    let lock_timeout = lock_timeout.as_millis().to_string();
    let rows = client
        .query(SELECT_PAGES, &[Some(&oid), Some(&lock_timeout)])
        .await?;
    let row = rows.one()?;
    Ok(PageCount {
        largest: row.parse(0)?,
        leaves: row.parse(1)?,
    })
}

const COLUMNS: &str = "\
(SELECT json_agg(json_build_array(a.attname, a.atttypid::bigint, a.attcollation::bigint, {attgenerated})
                 ORDER BY a.attnum)
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = {table} AND a.attnum > 0 AND NOT a.attisdropped)";

/// Returns an SQL expression for the columns of a table in the snapshot of the statement that contains
/// the expression. [`has_columns`] compares its value.
pub fn columns_expression(table: &TableInfo, version: u32) -> String {
    let generated = if version >= 120_000 {
        "a.attgenerated"
    } else {
        "''"
    };
    COLUMNS
        .replace("{attgenerated}", generated)
        .replace("{table}", &table.oid.as_u32().to_string())
}

/// Returns whether a table, as it was looked up, has the columns that [`columns_expression`] has found:
/// the same names, types and collations, and the same generated columns. `found` is empty if the
/// table does not exist.
///
/// # Errors
///
/// Fails if `found` is not a value of that expression.
pub fn has_columns(table: &TableInfo, found: &str) -> Result<bool> {
    let found: Vec<(String, u32, u32, String)> = if found.is_empty() {
        Vec::new()
    } else {
        parse_json(found, format_args!("the columns of table {}", table.id))?
    };
    let found = found.iter().map(|(name, type_oid, collation, letter)| {
        let oids = [*type_oid, *collation].map(Oid::from);
        (name.as_str(), oids, Generated::from_letter(letter))
    });
    let known = table.columns.iter().map(|column| {
        let oids = [column.type_oid, column.collation];
        (column.name.as_str(), oids, column.generated)
    });
    Ok(found.eq(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_compared_by_name_type_collation_and_generation() {
        let mut table = TableInfo::sample("shop", "t", &[("id", 25), ("twice", 20)]);
        table.columns[0].collation = Oid::from(950);
        table.columns[1].generated = Generated::Stored;
        for (found, same) in [
            (r#"[["id", 25, 950, ""], ["twice", 20, 0, "s"]]"#, true),
            (r#"[["id", 25, 950, ""], ["twice", 20, 0, ""]]"#, false),
            (r#"[["id", 25, 100, ""], ["twice", 20, 0, "s"]]"#, false),
            (r#"[["id", 20, 950, ""], ["twice", 20, 0, "s"]]"#, false),
            (r#"[["id", 25, 950, ""], ["double", 20, 0, "s"]]"#, false),
            (r#"[["id", 25, 950, ""]]"#, false),
            (
                r#"[["id", 25, 950, ""], ["twice", 20, 0, "s"], ["n", 23, 0, ""]]"#,
                false,
            ),
            // The table does not exist any more.
            ("", false),
        ] {
            assert_eq!(has_columns(&table, found).unwrap(), same, "{found}");
        }
        assert!(has_columns(&table, "id").is_err());
    }

    #[test]
    fn the_expression_is_complete_for_every_version() {
        let table = TableInfo::sample("shop", "t", &[("id", 23)]);
        for version in 10..=18 {
            let sql = columns_expression(&table, version * 10_000);
            assert!(!sql.contains(['{', '}']), "version {version}: {sql}");
            assert_eq!(sql.contains("attgenerated"), version >= 12);
        }
    }
}
