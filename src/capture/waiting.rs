//! Waiting for commits that were streamed and that no snapshot contains yet.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::engine::Engine;
use super::sink::Sink;
use super::table::Table;
use super::transaction::Transaction;
use super::visibility::InitialWait;
use crate::backfill::{ChunkQuery, Snapshot, read_snapshot, read_snapshot_after_own_commit};
use crate::catalog::explain_waiting;
use crate::client::Rows;
use crate::error::Result;

/// How often it is said what is waited for.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// How long a row is waited for before spans give up their locks.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// SQLSTATE undefined_table.
const UNDEFINED_TABLE: &str = "42P01";
/// SQLSTATE undefined_column.
const UNDEFINED_COLUMN: &str = "42703";

/// Waits a little longer each time, and says now and then what for.
#[derive(Debug)]
pub(super) struct Patience {
    pause: Duration,
    said: Option<(Instant, BTreeSet<u32>)>,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            pause: Duration::from_millis(50),
            said: None,
        }
    }

    /// Returns whether it is time to say what is waited for.
    fn is_news(&mut self, xids: &BTreeSet<u32>) -> bool {
        let news = self
            .said
            .as_ref()
            .is_none_or(|(when, before)| before != xids || when.elapsed() >= SAY_AGAIN);
        if news {
            self.said = Some((Instant::now(), xids.clone()));
        }
        news
    }

    /// Returns how long to wait, and makes the next wait longer.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(Duration::from_secs(1));
        pause
    }
}

impl<S: Sink> Engine<S> {
    /// Takes a snapshot, and forgets what it contains.
    pub(super) async fn take_snapshot(&mut self) -> Result<()> {
        let snapshot = read_snapshot(&mut self.client, self.standby).await?;
        self.resolve(&snapshot);
        Ok(())
    }

    /// Forgets the commits that a snapshot contains.
    pub(super) fn resolve(&mut self, snapshot: &Snapshot) {
        self.snapshot_taken = Instant::now();
        for table in &mut self.tables {
            table.unseen.resolve(snapshot);
            table.initial_wait.resolve(snapshot);
        }
    }

    /// Sets up what the first chunks of tables wait for. What was streamed of them up to now, by an
    /// earlier session or while they were not followed, was not remembered.
    pub(super) async fn begin_initial_waits(&mut self) -> Result<()> {
        if !self.tables.iter().any(Table::awaits_chunks) {
            return Ok(());
        }
        let snapshot = if self.standby {
            read_snapshot(&mut self.client, self.standby).await?
        } else {
            let on_disk = self.watermarks.is_some();
            read_snapshot_after_own_commit(&mut self.client, on_disk).await?
        };
        let mut unread = Vec::new();
        for table in self.tables.iter_mut().filter(|table| table.awaits_chunks()) {
            table.initial_wait = InitialWait::new(&snapshot);
            // Their first chunk waits for who wrote before they were published; later ones need not.
            if let (None, false, Some(info)) = (
                &table.state.scanned.0,
                table.initial_wait.is_empty(),
                &table.info,
            ) {
                unread.push(info.oid.as_u32().to_string());
            }
        }
        if unread.is_empty() {
            return Ok(());
        }
        let list = format!("{{{}}}", unread.join(","));
        for row in &self.client.query(WRITERS, &[Some(&list)]).await?.rows {
            let (oid, xid): (u32, u32) = (row.parse(0)?, row.parse(1)?);
            for table in &mut self.tables {
                if table
                    .info
                    .as_ref()
                    .is_some_and(|info| info.oid.as_u32() == oid)
                {
                    table.initial_wait.has_written(xid);
                }
            }
        }
        Ok(())
    }

    /// Returns the transactions that a chunk of a table has to contain and that its snapshot, which was
    /// resolved, does not.
    pub(super) async fn missing_from_snapshot(&mut self, table: usize) -> Result<BTreeSet<u32>> {
        // A checkpoint that is held back is for all tables.
        let mut missing: BTreeSet<u32> = self
            .tables
            .iter()
            .flat_map(|table| table.unseen.xids())
            .collect();
        let Some(Table { initial_wait, .. }) = self.tables.get_mut(table) else {
            return Ok(missing);
        };
        if !initial_wait.is_empty() {
            let at_work = transactions_at_work(&mut self.client).await?;
            initial_wait.at_work(&at_work);
            missing.extend(initial_wait.xids());
        }
        Ok(missing)
    }

    /// Says what is waited for, when it is new, and waits a little.
    pub(super) async fn wait(
        &mut self,
        what: &str,
        xids: &BTreeSet<u32>,
        patience: &mut Patience,
    ) -> Result<()> {
        self.say(what, xids, patience).await?;
        tokio::time::sleep(patience.pause()).await;
        Ok(())
    }

    /// Says what is waited for, when it is new.
    pub(super) async fn say(
        &mut self,
        what: &str,
        xids: &BTreeSet<u32>,
        patience: &mut Patience,
    ) -> Result<()> {
        if patience.is_news(xids) {
            let wide: Vec<u64> = xids.iter().map(|xid| u64::from(*xid)).collect();
            let why = explain_waiting(&mut self.client, &wide).await?;
            let xid = xids.first().copied().unwrap_or_default();
            warn!(
                xid,
                transactions = xids.len(),
                waits_for = %why,
                "waiting for transaction {xid}: {what}, since its commit was streamed, or may have \
                 been, and snapshots do not contain it yet"
            );
        }
        Ok(())
    }

    /// Fetches a row that a transaction of the stream has written, from a snapshot that contains the
    /// transaction; no row if it is gone by then.
    pub(super) async fn fetch_visible(
        &mut self,
        query: &ChunkQuery,
        stream: &str,
        transaction: &Transaction,
    ) -> Result<Rows> {
        let mut patience = Patience::new();
        loop {
            // The snapshot is taken before the row: what it contains, the row's snapshot contains.
            let snapshot = read_snapshot(&mut self.client, self.standby).await?;
            let parameters: Vec<_> = query.parameters.iter().map(Option::as_deref).collect();
            let mut released = false;
            let fetched = {
                let Self { client, spans, .. } = self;
                let fetching = client.query(&query.sql, &parameters);
                tokio::pin!(fetching);
                match tokio::time::timeout(LOCK_PATIENCE, &mut fetching).await {
                    Ok(fetched) => fetched,
                    Err(_) => {
                        // It waits for somebody who waits for a span of ours.
                        spans.release().await;
                        released = true;
                        fetching.await
                    }
                }
            };
            if released {
                self.close_ranges()?;
            }
            let rows = match fetched {
                // There is no such table any more, or its key has other columns.
                Err(error)
                    if matches!(error.sqlstate(), Some(UNDEFINED_TABLE | UNDEFINED_COLUMN)) =>
                {
                    Rows::default()
                }
                other => other?,
            };
            let contained = snapshot.contains(transaction.xid, transaction.final_lsn)
                || cfg!(feature = "unchecked-visibility");
            if contained {
                return Ok(rows);
            }
            self.end_spans().await?;
            let xids = BTreeSet::from([transaction.xid.as_u32()]);
            let what =
                format!("a row of table \"{stream}\" has a new key, and its values are fetched");
            self.wait(&what, &xids, &mut patience).await?;
        }
    }
}

/// The transactions that are simply still at work: their sessions do something else than wait for a
/// standby behind a commit. Looked at twice, since between the end of a commit's write and that wait
/// there is a moment.
async fn transactions_at_work(client: &mut crate::client::Client) -> Result<BTreeSet<u32>> {
    let first = look_at_work(client).await?;
    if first.is_empty() {
        return Ok(first);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = look_at_work(client).await?;
    let both: BTreeSet<u32> = first.intersection(&second).copied().collect();
    if !both.is_empty() {
        info!(
            transactions = both.len(),
            "transactions at work need not be waited for"
        );
    }
    Ok(both)
}

/// A session whose state cannot be seen is not known to be at work. A prepared transaction is, as
/// long as no session is in the middle of a commit.
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

/// The transactions that hold a lock for writing on a table or one of its partitions.
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

async fn look_at_work(client: &mut crate::client::Client) -> Result<BTreeSet<u32>> {
    let rows = client.query(AT_WORK, &[]).await?;
    rows.rows.iter().map(|row| row.parse(0)).collect()
}
