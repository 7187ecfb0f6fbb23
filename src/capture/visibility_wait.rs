//! Waiting until snapshots contain transactions that were streamed.

use std::collections::BTreeSet;

use tracing::warn;

use super::session::Session;
use super::sink::Sink;
use super::table::{InitialWait, Table, TableIndex};
use super::wait_log::WaitBackoff;
use crate::backfill::Snapshot;
use crate::catalog::{explain_waiting, transactions_at_work, writers};
use crate::error::Result;

impl<S: Sink> Session<S> {
    /// Takes a snapshot, and forgets the commits that it contains.
    pub(super) async fn take_snapshot(&mut self) -> Result<()> {
        let snapshot = self.server.snapshot().await?;
        self.resolve(&snapshot);
        Ok(())
    }

    /// Forgets the commits that a snapshot contains.
    pub(super) fn resolve(&mut self, snapshot: &Snapshot) {
        self.snapshots.note_taken();
        self.tables.resolve(snapshot);
    }

    /// Determines the transactions that the first chunks of tables wait for. Changes that were
    /// streamed before, by an earlier session or while a table was not followed, were not
    /// remembered.
    pub(super) async fn begin_initial_waits(&mut self) -> Result<()> {
        if !self.tables.iter().any(Table::awaits_chunks) {
            return Ok(());
        }
        let snapshot = self.server.snapshot_after_streamed().await?;
        let mut unread = Vec::new();
        for table in self.tables.iter_mut().filter(|table| table.awaits_chunks()) {
            table.initial_wait = InitialWait::new(&snapshot);
            // The first chunk waits for transactions that wrote before the table was published;
            // later chunks need not.
            let is_unread = table.state.scanned.0.is_none() && !table.initial_wait.is_empty();
            if let (true, Some(info)) = (is_unread, &table.info) {
                unread.push(info.oid);
            }
        }
        if unread.is_empty() {
            return Ok(());
        }
        for (oid, xid) in writers(self.server.client(), &unread).await? {
            self.tables.has_written(oid, xid);
        }
        Ok(())
    }

    /// Returns the transactions that a chunk of a table has to contain and that its snapshot does
    /// not; the snapshot was resolved before.
    pub(super) async fn missing_from_snapshot(
        &mut self,
        index: TableIndex,
    ) -> Result<BTreeSet<u32>> {
        // A checkpoint that is held back concerns all tables.
        let mut missing = self.tables.unseen_xids();
        let initial_wait = &mut self.tables[index].initial_wait;
        if !initial_wait.is_empty() {
            let at_work = transactions_at_work(self.server.client()).await?;
            initial_wait.at_work(&at_work);
            missing.extend(initial_wait.xids());
        }
        Ok(missing)
    }

    /// Logs a wait if that is due, and pauses.
    pub(super) async fn wait(
        &mut self,
        what: &str,
        xids: &BTreeSet<u32>,
        backoff: &mut WaitBackoff,
    ) -> Result<()> {
        self.log_wait(what, xids, backoff).await?;
        tokio::time::sleep(backoff.pause()).await;
        Ok(())
    }

    /// Logs what waits for which transactions, if that is due.
    pub(super) async fn log_wait(
        &mut self,
        what: &str,
        xids: &BTreeSet<u32>,
        backoff: &mut WaitBackoff,
    ) -> Result<()> {
        if backoff.is_log_due(xids) {
            let wide: Vec<u64> = xids.iter().map(|xid| u64::from(*xid)).collect();
            let why = explain_waiting(self.server.client(), &wide).await?;
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
}
