//! Reading the stream up to a position, or for a time, with checkpoints at commits.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::{Lsn, TupleData};
use tracing::{debug, warn};

use super::checkpoint::{IDLE_CHECKPOINT, SHARED_TIME};
use super::deferrable_keys::key_of;
use super::engine::{ChangeStream, Engine};
use super::follow::{Dispatcher, Outcome};
use super::sink::Sink;
use crate::catalog::write_watermark;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Change, Image};

/// When checkpoints are emitted while the stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checkpoints {
    /// Not at all: what is read belongs to a checkpoint at the end.
    None,
    /// At commits.
    AtCommits,
}

/// Commits that are remembered for a table before it is asked which of them are visible.
const REMEMBERED: usize = 10_000;

/// How long the server is left to pass a fence by itself before something is written for it.
const ADVANCE_WAL_AFTER: Duration = Duration::from_millis(200);
/// How often that is repeated.
const ADVANCE_WAL_AGAIN: Duration = Duration::from_secs(10);

/// How long the server may be silent before it is said that it is waited for.
const SAY_SILENCE: Duration = Duration::from_secs(30);

/// What a message of the stream has led to.
enum Step {
    Next,
    Begin,
    Commit,
    Described(protocol::Oid),
}

impl<S: Sink> Engine<S> {
    /// Reads the stream until everything that committed before a position was received. It may stand
    /// before the first change of a transaction then.
    pub(super) async fn stream_to(
        &mut self,
        changes: &mut ChangeStream,
        fence: Lsn,
        checkpoints: Checkpoints,
    ) -> Result<()> {
        let fence = before_page_header(fence, self.wal_block_size);
        let reached = |dispatcher: &Dispatcher| dispatcher.position.has_passed(fence);
        changes.replication.feedback().ask_position();
        let (mut patience, started) = (Duration::from_millis(20), Instant::now());
        let mut advance_at = started + ADVANCE_WAL_AFTER;
        let mut say_at = SAY_SILENCE;
        while !self.drain(changes, checkpoints, reached).await? {
            if let Ok(filled) =
                tokio::time::timeout(patience, changes.replication.fill_alone()).await
            {
                filled?;
                continue;
            }
            // Nothing has come for a while: what is before the fence may not be on disk yet.
            let now = Instant::now();
            if now >= advance_at && !changes.dispatcher.position.in_transaction() {
                self.advance_wal().await?;
                advance_at = now + ADVANCE_WAL_AGAIN;
            }
            if changes.replication.silence() >= say_at {
                say_at += SAY_SILENCE;
                warn!(
                    fence = %fence,
                    received = %changes.dispatcher.position.received(),
                    seconds = changes.replication.silence().as_secs(),
                    "waiting for the server to stream its log"
                );
            }
            changes.replication.feedback().ask_position();
            patience = (patience * 2).min(Duration::from_secs(1));
        }
        self.cursor = Some(changes.dispatcher.position.received());
        Ok(())
    }

    /// Follows the stream until a point in time, and on to the end of the transaction under way.
    pub(super) async fn stream_for(
        &mut self,
        changes: &mut ChangeStream,
        end: Instant,
        checkpoints: Checkpoints,
    ) -> Result<()> {
        let over = |dispatcher: &Dispatcher| {
            !dispatcher.position.in_transaction() && Instant::now() >= end
        };
        while !self.drain(changes, checkpoints, over).await? {
            if !changes.dispatcher.position.in_transaction() {
                self.cursor = Some(changes.dispatcher.position.received());
                // What followed the last commit may have been no commit, so that it still waits for
                // others to share a checkpoint with.
                if checkpoints == Checkpoints::AtCommits && self.is_checkpoint_due(false) {
                    self.checkpoint_due = true;
                    self.try_settle().await?;
                }
            }
            let now = Instant::now();
            let wait = if now >= end {
                IDLE_CHECKPOINT
            } else {
                (end - now).min(IDLE_CHECKPOINT)
            };
            if let Ok(filled) = tokio::time::timeout(wait, changes.replication.fill_alone()).await {
                filled?;
            }
        }
        self.cursor = Some(changes.dispatcher.position.received());
        Ok(())
    }

    /// Handles what has been received. Returns whether the end was reached.
    pub(super) async fn drain(
        &mut self,
        changes: &mut ChangeStream,
        checkpoints: Checkpoints,
        reached: impl Fn(&Dispatcher) -> bool,
    ) -> Result<bool> {
        self.spans.close_overdue().await?;
        loop {
            if reached(&changes.dispatcher) {
                return Ok(true);
            }
            let ChangeStream {
                replication,
                dispatcher,
                arena,
                ..
            } = changes;
            let item = match replication.try_next(arena) {
                Ok(Some(item)) => item,
                Ok(None) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Spool => {
                    Box::pin(self.stream_without_spool(changes, error)).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if dispatcher.has_ambiguous_keys(&item) {
                self.emit_ambiguous(dispatcher).await?;
            }
            let step = match dispatcher.handle(&item, arena, &mut self.tables, &mut self.sink)? {
                Outcome::Done => Step::Next,
                Outcome::Begin => Step::Begin,
                Outcome::Commit => Step::Commit,
                Outcome::Described(oid) => Step::Described(oid),
                Outcome::Incomplete(change, wal_start) => {
                    self.fill_in(dispatcher, change, wal_start).await?;
                    Step::Next
                }
            };
            arena.reset();
            if std::mem::take(&mut changes.dispatcher.has_deferred) {
                self.bound_deferred().await?;
            }
            if matches!(step, Step::Commit) {
                self.report_progress(changes);
            }
            match step {
                Step::Next => {}
                // What was held for company does not wait for the end of a large transaction.
                Step::Begin
                    if checkpoints == Checkpoints::AtCommits
                        && self.sink.uncommitted_bytes() > 0
                        && (changes.dispatcher.is_large()
                            || self.last_checkpoint.elapsed() >= SHARED_TIME) =>
                {
                    self.checkpoint_due = true;
                    self.try_settle().await?;
                }
                Step::Begin => {}
                Step::Described(oid) => self.prepare_relation(changes, oid).await?,
                Step::Commit if self.remembers_too_much() => {
                    self.cursor = Some(changes.dispatcher.position.received());
                    self.take_snapshot().await?;
                }
                Step::Commit if checkpoints == Checkpoints::AtCommits => {
                    self.cursor = Some(changes.dispatcher.position.received());
                    if self.is_checkpoint_due(changes.replication.has_next()) {
                        self.checkpoint_due = true;
                        self.try_settle().await?;
                    }
                }
                Step::Commit => self.cursor = Some(changes.dispatcher.position.received()),
            }
        }
    }

    /// Whether so many commits are remembered that it is worth to ask which are visible by now.
    fn remembers_too_much(&self) -> bool {
        self.tables
            .iter()
            .any(|table| table.unseen.len() >= REMEMBERED)
            && self.snapshot_taken.elapsed() >= SHARED_TIME
    }

    /// Emits a row under a new key, whose values that were not sent are fetched first: under its new
    /// key it has no earlier document that holds them.
    async fn fill_in(
        &mut self,
        dispatcher: &mut Dispatcher,
        change: Change<'_>,
        wal_start: Lsn,
    ) -> Result<()> {
        let relation = dispatcher.relations.get(change.relation);
        let (Some(relation), Some(image)) = (relation, change.new) else {
            return Ok(());
        };
        let (Some(plan), Some(index)) = (&relation.plan, relation.table) else {
            return Ok(());
        };
        let missing: Vec<usize> = plan
            .captured
            .iter()
            .copied()
            .filter(|index| matches!(image.get(*index), TupleData::UnchangedToast))
            .collect();
        let key = key_of(&image, plan.collection_key.as_deref().unwrap_or_default());
        let Some(table) = self.tables.get(index) else {
            return Ok(());
        };
        let query = self.query_by_key(relation, &key)?;
        let stream = table.id.to_string();
        let transaction = *dispatcher.position.transaction()?;
        let rows = self.fetch_visible(&query, &stream, &transaction).await?;
        let mut values = image.values.to_vec();
        if let Some(fetched) = self.values_of(relation, &rows) {
            for index in missing {
                if let (Some(value), Some(fetched)) = (values.get_mut(index), fetched.get(index)) {
                    *value = *fetched;
                }
                if let (Some(TupleData::UnchangedToast), Some(column)) =
                    (values.get(index), relation.columns.get(index))
                {
                    warn!(%stream, column = column.name, lsn = %wal_start,
                        "a value of a row under a new key is left out: its column has been dropped, \
                         renamed or given another type since");
                }
            }
        } else {
            // The row is gone, or has another key by now: a later change says so.
            debug!(%stream, lsn = %wal_start, "a row under a new key has changed again meanwhile");
        }
        let complete = Change {
            new: Some(Image {
                values: &values,
                key_only: false,
            }),
            ..change
        };
        dispatcher.complete(&complete, wal_start, &mut self.tables, &mut self.sink)
    }

    /// Makes the server's log move: what commits were inserted before the fence are then on disk,
    /// and something behind them is streamed.
    pub(super) async fn advance_wal(&mut self) -> Result<()> {
        if let Some(table) = &self.watermarks {
            // Nobody looks at what it is, as long as it is something else than before.
            let elapsed = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let mark = elapsed.as_micros().to_string();
            return write_watermark(&mut self.client, table, &self.config.slot_name, &mark).await;
        }
        if self.standby {
            let rows = self.client.query("SELECT pg_is_in_recovery()", &[]).await?;
            if !rows.one()?.bool(0)? {
                return Err(Error::new(
                    ErrorKind::Connection,
                    "the standby was promoted: the capture connects anew, to a primary now",
                ));
            }
        } else {
            // A transaction that writes nothing but its own end; a session that may not even do that
            // waits for the server's background writer instead.
            if let Err(error) = self.client.query("SELECT txid_current()", &[]).await {
                if error.sqlstate().is_none() {
                    return Err(error);
                }
                debug!(%error, "the log cannot be moved on");
            }
        }
        Ok(())
    }
}

/// The end of the log can be told as the first byte behind the header of a page, where no record
/// ends: the stream never reports that position.
fn before_page_header(position: Lsn, page: u64) -> Lsn {
    const SHORT_HEADER: u64 = 24;
    const LONG_HEADER: u64 = 40;
    let offset = position.as_u64() % page.max(1);
    if offset == SHORT_HEADER || offset == LONG_HEADER {
        Lsn::from(position.as_u64() - offset)
    } else {
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_behind_a_page_header_is_that_before_it() {
        for (position, fence) in [
            (0x2000, 0x2000),
            (0x2018, 0x2000),
            (0x2028, 0x2000),
            (0x2020, 0x2020),
            (0x2030, 0x2030),
            (0x1ff8, 0x1ff8),
        ] {
            assert_eq!(
                before_page_header(Lsn::from(position), 8192),
                Lsn::from(fence)
            );
        }
        // A server that was built with other pages, and one that does not tell.
        assert_eq!(
            before_page_header(Lsn::from(0x2018), 16384),
            Lsn::from(0x2018)
        );
        assert_eq!(before_page_header(Lsn::from(0x2018), 0), Lsn::from(0x2018));
    }
}
