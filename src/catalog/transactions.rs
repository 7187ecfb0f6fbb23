//! Transactions of other sessions: which are at work, and which write to a table.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::{Oid, ProcessId};
use tracing::info;

use crate::client::Client;
use crate::error::Result;

/// Pause between the two looks at the transactions at work.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// Transactions whose session is not in the middle of a commit.
///
/// A session whose state cannot be seen is not known to be at work. A prepared transaction is at
/// work as long as no session is in the middle of a commit.
const AT_WORK: &str = "\
SELECT l.transactionid::text
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
  AND (a.state LIKE 'idle in transaction%'
       OR a.state IN ('active', 'fastpath function call')
          AND a.wait_event IS DISTINCT FROM 'SyncRep'
          AND a.query !~* '^\\s*(commit|end|prepare)\\M')
UNION ALL
SELECT p.transaction::text
FROM pg_catalog.pg_prepared_xacts AS p
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a
                  WHERE a.datid IS NOT NULL
                    AND (a.state IS NULL OR a.wait_event = 'SyncRep'
                         OR a.query ~* '^\\s*commit\\s+prepared\\M'))";

/// Transactions that hold a lock for writing on a table or on one of its partitions.
const WRITERS: &str = "\
WITH RECURSIVE tree(root, oid) AS (
  SELECT t, t FROM unnest($1::oid[]) AS t
  UNION
  SELECT tree.root, i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN tree ON i.inhparent = tree.oid)
SELECT DISTINCT tree.root, x.transactionid::text
FROM tree
JOIN pg_catalog.pg_locks AS r
  ON r.locktype = 'relation' AND r.relation = tree.oid AND r.granted
  AND r.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
  AND r.mode NOT IN ('AccessShareLock', 'RowShareLock')
JOIN pg_catalog.pg_locks AS x
  ON x.virtualtransaction = r.virtualtransaction
  AND x.locktype = 'transactionid' AND x.mode = 'ExclusiveLock' AND x.granted";

/// Transactions whose end a session waits for.
const AWAITED_BY: &str = "\
SELECT l.transactionid::text FROM pg_catalog.pg_locks AS l
WHERE l.pid = $1::int AND NOT l.granted AND l.locktype = 'transactionid'";

/// Ends a session.
const TERMINATE: &str = "SELECT pg_terminate_backend($1::int)";

/// Returns the transactions that are known to be at work: their sessions are not in the middle of a
/// commit, so the commit record is not written yet.
///
/// The server is asked twice, because between the write of a commit record and the wait for a
/// synchronous standby a session looks as if it were still at work.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn transactions_at_work(client: &mut Client) -> Result<BTreeSet<u32>> {
    let first = look_at_work(client).await?;
    if first.is_empty() {
        return Ok(first);
    }
    tokio::time::sleep(SECOND_LOOK).await;
    let second = look_at_work(client).await?;
    let both: BTreeSet<u32> = first.intersection(&second).copied().collect();
    if !both.is_empty() {
        info!(
            transactions = both.len(),
            "transactions in progress are not waited for: their commits are not written yet"
        );
    }
    Ok(both)
}

async fn look_at_work(client: &mut Client) -> Result<BTreeSet<u32>> {
    let rows = client.query(AT_WORK, &[]).await?;
    rows.rows.iter().map(|row| row.parse(0)).collect()
}

/// Returns pairs of a table and the id of a transaction that holds a lock for writing on it or on
/// one of its partitions.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn writers(client: &mut Client, tables: &[Oid]) -> Result<Vec<(Oid, u32)>> {
    let oids: Vec<_> = tables.iter().map(|oid| oid.as_u32().to_string()).collect();
    let list = format!("{{{}}}", oids.join(","));
    let rows = client.query(WRITERS, &[Some(&list)]).await?;
    rows.rows
        .iter()
        .map(|row| Ok((Oid::from(row.parse::<u32>(0)?), row.parse(1)?)))
        .collect()
}

/// Returns the transactions whose end a session waits for.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn awaited_transactions(
    client: &mut Client,
    session: Option<ProcessId>,
) -> Result<Vec<u64>> {
    let session = session.map(|process| process.to_string());
    let rows = client.query(AWAITED_BY, &[session.as_deref()]).await?;
    rows.rows.iter().map(|row| row.parse(0)).collect()
}

/// Ends a session of the role's own.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn terminate_session(client: &mut Client, session: Option<ProcessId>) -> Result<()> {
    let session = session.map(|process| process.to_string());
    client.query(TERMINATE, &[session.as_deref()]).await?;
    Ok(())
}
