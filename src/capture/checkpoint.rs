//! When a checkpoint is emitted, and when it is held back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::sink::Sink;
use super::state;
use super::waiting::Patience;
use crate::error::Result;

/// In a backlog, commits share a checkpoint up to so many bytes of documents, and for so long.
const SHARED_BYTES: u64 = 1024 * 1024;
pub(super) const SHARED_TIME: Duration = Duration::from_millis(100);

/// How often the position is committed while it moves and nothing of interest happens, so that the
/// server can remove its log.
pub(super) const IDLE_CHECKPOINT: Duration = Duration::from_secs(10);
/// The same by how far it has moved.
const IDLE_DISTANCE: u64 = 16 * 1024 * 1024;

/// Documents that may wait for a checkpoint that is held back. Beyond it the stream is not read on.
const HELD_BYTES: u64 = 64 * 1024 * 1024;
/// How often a checkpoint that is held back is tried again at least while the stream is read.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// For how long changes may be kept, where that holds back checkpoints. Then spans are given up.
const KEEP_TIME: Duration = Duration::from_millis(250);
/// How often at most.
const TRY_SOON: Duration = Duration::from_millis(5);
/// Snapshots for that take this part of the time.
const SNAPSHOT_SHARE: u32 = 20;

/// What decides whether a checkpoint is due between two transactions.
#[derive(Debug, Clone, Copy)]
struct Situation {
    /// Bytes of documents since the last.
    uncommitted: u64,
    /// Whether the state of a table has changed since.
    changed: bool,
    /// How far the position has moved since.
    moved: u64,
    /// How long ago it was.
    elapsed: Duration,
    /// Whether more is there to be read at once.
    has_next: bool,
}

impl Situation {
    /// A commit that is alone is handed on at once; in a backlog several share a checkpoint.
    fn is_due(&self) -> bool {
        if self.uncommitted == 0 && !self.changed {
            return self.moved >= IDLE_DISTANCE
                || (self.moved > 0 && self.elapsed >= IDLE_CHECKPOINT);
        }
        !self.has_next || self.uncommitted >= SHARED_BYTES || self.elapsed >= SHARED_TIME
    }
}

impl<S: Sink> Engine<S> {
    /// Emits a checkpoint of everything before it.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        let changed = self
            .tables
            .iter()
            .filter(|table| table.changed)
            .map(|table| (table.state_key.as_str(), &table.state))
            .chain(
                self.removed
                    .iter()
                    .map(|(key, state)| (key.as_str(), state)),
            );
        let patch = state::patch(self.cursor, changed)?;
        self.emit_checkpoint(&patch)?;
        for table in &mut self.tables {
            table.changed = false;
        }
        self.removed.clear();
        Ok(())
    }

    pub(super) fn emit_checkpoint(&mut self, patch: &str) -> Result<()> {
        // Until the stream has started, the position is that of an earlier session, which need not be
        // where this one starts.
        self.acknowledgements
            .sent(self.cursor.filter(|_| self.is_streaming));
        self.sink.checkpoint(patch, &self.acknowledgements)?;
        self.checkpoint_due = false;
        self.checkpointed = self.cursor;
        self.last_checkpoint = Instant::now();
        Ok(())
    }

    /// Emits the checkpoint that is due, unless it has to be held back; it stays due then.
    pub(super) async fn try_settle(&mut self) -> Result<()> {
        if self.awaits_commits() {
            if self.sink.uncommitted_bytes() >= HELD_BYTES {
                return self.settle().await;
            }
            if self.must_emit_deferred() {
                // A span that has emitted nothing yet is not ended for them: the next might not come any
                // further.
                if self.last_checkpoint.elapsed() < KEEP_TIME || !self.spans.have_emitted() {
                    return Ok(());
                }
                self.end_spans().await?;
            }
            if self.snapshot_taken.elapsed() < self.snapshot_interval {
                return Ok(());
            }
            let started = Instant::now();
            self.take_snapshot().await?;
            if self.awaits_commits() {
                self.snapshot_interval = (self.snapshot_interval * 2).clamp(TRY_SOON, TRY_AGAIN);
                return Ok(());
            }
            self.snapshot_interval =
                (started.elapsed() * SNAPSHOT_SHARE).clamp(TRY_SOON, TRY_AGAIN);
        }
        self.checkpoint()
    }

    /// Emits the checkpoint that is due, waiting for as long as it has to be held back.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let mut patience = Patience::new();
        if self.awaits_commits() {
            // It may take long, and nobody is to wait for their locks meanwhile.
            self.end_spans().await?;
        }
        while self.awaits_commits() {
            self.take_snapshot().await?;
            let xids: BTreeSet<u32> = self
                .tables
                .iter()
                .flat_map(|table| table.unseen.xids())
                .collect();
            if !xids.is_empty() {
                self.wait("a checkpoint is held back", &xids, &mut patience)
                    .await?;
            }
        }
        self.checkpoint()
    }

    /// Returns whether a checkpoint is due where the stream stands.
    pub(super) fn is_checkpoint_due(&self, has_next: bool) -> bool {
        let moved = match (self.cursor, self.checkpointed) {
            (Some(cursor), Some(last)) => cursor.as_u64().saturating_sub(last.as_u64()),
            (Some(_), None) => IDLE_DISTANCE,
            (None, _) => 0,
        };
        let situation = Situation {
            uncommitted: self.sink.uncommitted_bytes(),
            changed: self.tables.iter().any(|table| table.changed),
            moved,
            elapsed: self.last_checkpoint.elapsed(),
            has_next,
        };
        situation.is_due()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Situation = Situation {
        uncommitted: 0,
        changed: false,
        moved: 0,
        elapsed: Duration::ZERO,
        has_next: false,
    };

    #[test]
    fn a_lone_commit_is_handed_on_at_once() {
        assert!(
            Situation {
                uncommitted: 1,
                ..IDLE
            }
            .is_due()
        );
        assert!(
            Situation {
                changed: true,
                ..IDLE
            }
            .is_due()
        );
    }

    #[test]
    fn commits_of_a_backlog_share_a_checkpoint_for_a_while() {
        let backlog = Situation {
            uncommitted: 1,
            has_next: true,
            ..IDLE
        };
        assert!(!backlog.is_due());
        assert!(
            Situation {
                uncommitted: SHARED_BYTES,
                ..backlog
            }
            .is_due()
        );
        assert!(
            Situation {
                elapsed: SHARED_TIME,
                ..backlog
            }
            .is_due()
        );
    }

    #[test]
    fn a_position_that_moves_is_committed_now_and_then() {
        let long = Duration::from_secs(3600);
        assert!(
            !Situation {
                elapsed: long,
                ..IDLE
            }
            .is_due()
        );
        assert!(!Situation { moved: 1, ..IDLE }.is_due());
        assert!(
            Situation {
                moved: 1,
                elapsed: IDLE_CHECKPOINT,
                ..IDLE
            }
            .is_due()
        );
        assert!(
            Situation {
                moved: IDLE_DISTANCE,
                ..IDLE
            }
            .is_due()
        );
    }
}
