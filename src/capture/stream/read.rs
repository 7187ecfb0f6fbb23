//! Reading the stream: up to a fence, for a time, or as far as it was received.

use std::time::{Duration, Instant};

use protocol::{Lsn, Oid};
use tracing::warn;

use super::change_stream::ChangeStream;
use super::dispatcher::Outcome;
use super::position::StreamPosition;
use crate::capture::checkpoint::{IDLE_CHECKPOINT, SHARED_TIME};
use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::error::{ErrorKind, Result};

/// Checkpoints that are emitted while the stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::capture) enum CheckpointPolicy {
    /// None: the caller emits a checkpoint for all that is read.
    ByCaller,
    /// One wherever it is worth its cost: at a commit, at the begin of a large transaction, or when
    /// the stream is idle.
    AtCommits,
}

/// Time for which the server may pass a fence without help before WAL is written to advance it.
const ADVANCE_WAL_AFTER: Duration = Duration::from_millis(200);
/// Interval between further attempts to advance the server's WAL.
const ADVANCE_WAL_INTERVAL: Duration = Duration::from_secs(10);
/// First and longest time for which a message is waited for before the server is asked for its
/// position.
const ASK_INTERVALS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Interval between log lines about a server that is silent.
const SILENCE_LOG_INTERVAL: Duration = Duration::from_secs(30);
/// Time for which received messages are handled between two chunks.
const READY_TIME: Duration = Duration::from_millis(50);

/// Message that was handled, as far as the session has to act on it.
enum Handled {
    Other,
    Begin,
    Commit,
    Described(Oid),
}

impl<S: Sink> Session<S> {
    /// Returns when checkpoints are emitted while the stream is read during a backfill.
    pub(in crate::capture) fn checkpoint_policy(&self) -> CheckpointPolicy {
        if self.settings.stop_when_caught_up {
            CheckpointPolicy::ByCaller
        } else {
            CheckpointPolicy::AtCommits
        }
    }

    /// Reads the stream until everything that committed before a position was received. The stream
    /// may be in a transaction then of which no change was handled.
    pub(in crate::capture) async fn read_to(
        &mut self,
        changes: &mut ChangeStream,
        fence: Lsn,
        policy: CheckpointPolicy,
    ) -> Result<()> {
        let fence = self.server.fence_at(fence);
        let reached = |position: &StreamPosition| position.has_passed(fence);
        changes.ask_position();
        let started = Instant::now();
        let mut ask_interval = ASK_INTERVALS.0;
        let mut advance_at = started + ADVANCE_WAL_AFTER;
        let mut log_at = SILENCE_LOG_INTERVAL;
        while !self.read_received(changes, policy, reached).await? {
            let fill = changes.replication.fill_blocking();
            if let Ok(filled) = tokio::time::timeout(ask_interval, fill).await {
                filled?;
                continue;
            }
            // The records before the fence may not be flushed yet.
            let now = Instant::now();
            if now >= advance_at && !changes.dispatcher.position().in_transaction() {
                self.advance_wal().await?;
                advance_at = now + ADVANCE_WAL_INTERVAL;
            }
            if changes.replication.silence() >= log_at {
                log_at += SILENCE_LOG_INTERVAL;
                warn!(
                    fence = %fence,
                    received = %changes.received(),
                    seconds = changes.replication.silence().as_secs(),
                    "waiting for the server to stream its log"
                );
            }
            changes.ask_position();
            ask_interval = (ask_interval * 2).min(ASK_INTERVALS.1);
        }
        self.checkpoints.set_cursor(changes.received());
        Ok(())
    }

    /// Advances the WAL of the server.
    pub(in crate::capture) async fn advance_wal(&mut self) -> Result<()> {
        let slot = &self.settings.config.slot_name;
        self.server.advance_wal(slot).await
    }

    /// Reads the stream for a time, with checkpoints where they are due.
    pub(in crate::capture) async fn read_for(
        &mut self,
        changes: &mut ChangeStream,
        time: Duration,
    ) -> Result<()> {
        self.read_until(changes, Instant::now() + time).await
    }

    /// Reads the stream until a point in time, and on to the end of the transaction that it is in
    /// then.
    pub(in crate::capture) async fn read_until(
        &mut self,
        changes: &mut ChangeStream,
        end: Instant,
    ) -> Result<()> {
        let policy = self.checkpoint_policy();
        let over = |position: &StreamPosition| !position.in_transaction() && Instant::now() >= end;
        while !self.read_received(changes, policy, over).await? {
            if !changes.dispatcher.position().in_transaction() {
                self.checkpoints.set_cursor(changes.received());
                // The message after the last commit may have been no commit, so that the documents
                // still wait for others to share a checkpoint with.
                if policy == CheckpointPolicy::AtCommits && self.is_checkpoint_worth_emitting(false)
                {
                    self.try_checkpoint().await?;
                }
            }
            let now = Instant::now();
            let wait = if now >= end {
                IDLE_CHECKPOINT
            } else {
                (end - now).min(IDLE_CHECKPOINT)
            };
            let fill = changes.replication.fill_blocking();
            if let Ok(filled) = tokio::time::timeout(wait, fill).await {
                filled?;
            }
        }
        self.checkpoints.set_cursor(changes.received());
        Ok(())
    }

    /// Handles messages as long as they arrive without a wait: for [`READY_TIME`], and on to the
    /// end of the transaction.
    pub(in crate::capture) async fn read_ready(
        &mut self,
        changes: &mut ChangeStream,
    ) -> Result<()> {
        let end = Instant::now() + READY_TIME;
        let over = |position: &StreamPosition| !position.in_transaction() && Instant::now() >= end;
        let policy = self.checkpoint_policy();
        changes.replication.fill_now().await?;
        while !self.read_received(changes, policy, over).await? {
            if changes.dispatcher.position().in_transaction() {
                changes.replication.fill().await?;
            } else if !changes.replication.fill_now().await? {
                break;
            }
        }
        self.checkpoints.set_cursor(changes.received());
        // The checkpoint of the first chunk records that the scan has begun.
        let has_documents = self.sink.uncommitted_bytes() > 0;
        if policy == CheckpointPolicy::AtCommits
            && (has_documents || self.checkpoints.since_last() >= IDLE_CHECKPOINT)
            && self.is_checkpoint_worth_emitting(false)
        {
            self.try_checkpoint().await?;
        }
        Ok(())
    }

    /// Handles the messages that were received, until `reached` holds. Returns whether it does.
    async fn read_received(
        &mut self,
        changes: &mut ChangeStream,
        policy: CheckpointPolicy,
        reached: impl Fn(&StreamPosition) -> bool,
    ) -> Result<bool> {
        self.spans.close_overdue().await?;
        loop {
            if reached(changes.dispatcher.position()) {
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
                    Box::pin(self.restart_without_spool(changes, error)).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if dispatcher.must_resolve_keys(&item) {
                self.emit_ambiguous_rows(dispatcher).await?;
            }
            let handled = match dispatcher.handle(&item, arena, &mut self.tables, &mut self.sink)? {
                Outcome::Done => Handled::Other,
                Outcome::Begin => Handled::Begin,
                Outcome::Commit => Handled::Commit,
                Outcome::Described(oid) => Handled::Described(oid),
                Outcome::Incomplete(event) => {
                    self.emit_incomplete_row(dispatcher, event).await?;
                    Handled::Other
                }
            };
            arena.reset();
            if changes.dispatcher.take_has_deferred() {
                self.limit_deferred().await?;
            }
            match handled {
                Handled::Other => {}
                Handled::Begin => self.after_begin(changes, policy).await?,
                Handled::Described(oid) => self.prepare_plan(changes, oid).await?,
                Handled::Commit => self.after_commit(changes, policy).await?,
            }
        }
    }

    /// Emits a checkpoint before the changes of a transaction that is large, or begins when the
    /// last checkpoint is old: documents that were to share one with later commits do not wait for
    /// its end.
    async fn after_begin(
        &mut self,
        changes: &mut ChangeStream,
        policy: CheckpointPolicy,
    ) -> Result<()> {
        if policy == CheckpointPolicy::AtCommits
            && self.sink.uncommitted_bytes() > 0
            && (changes.dispatcher.is_transaction_large()
                || self.checkpoints.since_last() >= SHARED_TIME)
        {
            self.try_checkpoint().await?;
        }
        Ok(())
    }

    async fn after_commit(
        &mut self,
        changes: &mut ChangeStream,
        policy: CheckpointPolicy,
    ) -> Result<()> {
        self.log_progress(changes);
        self.checkpoints.set_cursor(changes.received());
        if self.tables.have_many_unseen() && self.snapshots.since_last() >= SHARED_TIME {
            self.take_snapshot().await?;
        } else if policy == CheckpointPolicy::AtCommits
            && self.is_checkpoint_worth_emitting(changes.replication.has_next())
        {
            self.try_checkpoint().await?;
        }
        Ok(())
    }
}
