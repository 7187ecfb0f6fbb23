//! Sessions that keep a table from being read.

use crate::catalog::diagnostics::holder;
use crate::catalog::table::TableInfo;
use crate::client::{Client, Rows};
use crate::error::Result;

/// Columns and tables of a query for the session or prepared transaction that holds the lock `l`.
const HOLDER: &str = "\
l.pid, a.usename, a.application_name, a.state, a.wait_event_type, a.wait_event,
       extract(epoch FROM clock_timestamp() - a.query_start)::bigint,
       p.gid, p.owner, extract(epoch FROM clock_timestamp() - p.prepared)::bigint
FROM pg_catalog.pg_locks AS l
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
LEFT JOIN pg_catalog.pg_prepared_xacts AS p ON l.virtualtransaction = '-1/' || p.transaction
JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())";

/// Only ACCESS EXCLUSIVE keeps a table from being read; a session that waits for this lock does so,
/// too.
const SELECT_OF_TABLE: &str = "\
WITH RECURSIVE tree(oid) AS (
  SELECT $1::oid
  UNION
  SELECT h.inhrelid FROM pg_catalog.pg_inherits AS h JOIN tree ON tree.oid = h.inhparent)
SELECT n.nspname || '.' || c.relname, {holder}
  AND c.oid IN (SELECT oid FROM tree)
ORDER BY l.granted DESC, l.pid LIMIT 3";

/// The table that a session waits for.
const SELECT_OF_SESSION: &str = "\
SELECT n.nspname || '.' || c.relname, {holder}
  AND c.oid IN (SELECT w.relation FROM pg_catalog.pg_locks AS w
                WHERE w.pid = $1::int AND w.locktype = 'relation' AND NOT w.granted)
ORDER BY l.granted DESC, l.pid LIMIT 3";

/// Describes the sessions that keep a table, or one of its partitions, from being read; empty if it
/// can be read now.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn explain_lock(client: &mut Client, table: &TableInfo) -> Result<String> {
    let sql = SELECT_OF_TABLE.replace("{holder}", HOLDER);
    let oid = table.oid.as_u32().to_string();
    Ok(explain(&client.query(&sql, &[Some(&oid)]).await?))
}

/// Describes the table that another session waits for, and the sessions that lock it; empty if the
/// session waits for no table.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn explain_block(client: &mut Client, process: protocol::ProcessId) -> Result<String> {
    let sql = SELECT_OF_SESSION.replace("{holder}", HOLDER);
    let process = process.to_string();
    Ok(explain(&client.query(&sql, &[Some(&process)]).await?))
}

fn explain(rows: &Rows) -> String {
    let texts = rows.rows.iter().map(|row| {
        let table = row.get(0).unwrap_or("?");
        let holder = holder(row).unwrap_or_else(|| "a transaction that was prepared".to_owned());
        format!("table \"{table}\" is locked in exclusive mode, or about to be, by {holder}")
    });
    texts.collect::<Vec<_>>().join("; ")
}
