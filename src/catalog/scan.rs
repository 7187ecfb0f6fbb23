//! What a scan asks of its table: how large it is, and whether its columns are still the same.

use std::time::Duration;

use protocol::Oid;

use crate::catalog::table::{Generated, TableInfo};
use crate::client::{Client, parse_json};
use crate::error::Result;

/// Counts what is on disk. The catalogs' own count is as old as the last VACUUM, and rows of pages
/// that came since would be left out. The main fork alone holds rows.
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

/// The extent of a scan by physical position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCount {
    /// The pages of the table; of a partitioned one, those of its largest leaf, at any depth. Each
    /// leaf numbers its own pages from 0.
    pub largest: u64,
    /// How many leaves there are; 1 for a table that is not partitioned.
    pub leaves: u64,
}

/// Counts the pages that a scan of `table` by physical position has to cover.
///
/// Rows that are put on pages beyond these later were written later, so the stream has them. It
/// waits for whoever holds the table in exclusive mode, for no longer than it is given.
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

/// Returns the expression for the columns that a table has in the snapshot of the statement which it is
/// part of.
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

/// Returns whether the columns that the expression gave are those of a table as it was looked up: their
/// names, types and collations, and which of them are generated.
///
/// # Errors
///
/// Fails where that is not what the expression gives.
pub fn has_columns(table: &TableInfo, told: &str) -> Result<bool> {
    let told: Vec<(String, u32, u32, String)> = if told.is_empty() {
        Vec::new()
    } else {
        parse_json(told, format_args!("the columns of table {}", table.id))?
    };
    let told = told.iter().map(|(name, type_oid, collation, letter)| {
        let oids = [*type_oid, *collation].map(Oid::from);
        (name.as_str(), oids, Generated::of_letter(letter))
    });
    let known = table.columns.iter().map(|column| {
        let oids = [column.type_oid, column.collation];
        (column.name.as_str(), oids, column.generated)
    });
    Ok(told.eq(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_the_same_by_name_type_collation_and_origin() {
        let mut table = TableInfo::sample("shop", "t", &[("id", 25), ("twice", 20)]);
        table.columns[0].collation = Oid::from(950);
        table.columns[1].generated = Generated::Stored;
        for (told, same) in [
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
            // The table is gone.
            ("", false),
        ] {
            assert_eq!(has_columns(&table, told).unwrap(), same, "{told}");
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
