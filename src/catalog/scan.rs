//! How large a table is, for a scan by physical position.

use crate::catalog::table::TableInfo;
use crate::client::Client;
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
  SELECT pg_relation_size(c.oid, 'main') AS bytes
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
/// waits for whoever holds the table in exclusive mode.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn measure_pages(client: &mut Client, table: &TableInfo) -> Result<PageCount> {
    let rows = client
        .query(SELECT_PAGES, &[Some(&table.oid.to_string())])
        .await?;
    let row = rows.one()?;
    Ok(PageCount {
        largest: row.parse(0)?,
        leaves: row.parse(1)?,
    })
}
