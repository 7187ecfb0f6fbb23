//! Checkpoints: the position that the next one has, and whether one is due.
//!
//! A checkpoint covers everything that was emitted before it. Its position is always between two
//! source transactions, and it is held back while it would pass a commit that a later chunk might
//! not contain (`held_checkpoint`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Lsn;

use super::acknowledgements::Acknowledgements;
use super::sink::{Durability, Sink};
use super::state::{self, TableState};
use super::table::Tables;
use crate::error::Result;
use crate::replication::DurablePosition;

/// Bytes of documents up to which the commits of a backlog share a checkpoint.
const SHARED_BYTES: u64 = 1024 * 1024;
/// Time for which the commits of a backlog share a checkpoint.
pub(super) const SHARED_TIME: Duration = Duration::from_millis(100);

/// Interval between checkpoints that only move the position, so that the server can remove its log.
pub(super) const IDLE_CHECKPOINT: Duration = Duration::from_secs(10);
/// Bytes of log after which such a checkpoint is due before its interval has passed.
const IDLE_DISTANCE: u64 = 16 * 1024 * 1024;

/// Checkpoints of a session.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// Position of the next checkpoint.
    cursor: Option<Lsn>,
    /// Whether a checkpoint was asked for and is not emitted yet, because it is held back.
    due: bool,
    /// Position of the last checkpoint.
    last_position: Option<Lsn>,
    /// Time of the last checkpoint.
    last_emitted: Instant,
    /// Whether the stream has started, so that the cursor is a position of this session.
    stream_started: bool,
    /// State entries of removed bindings, until a checkpoint has them.
    removed: Vec<(String, TableState)>,
    acknowledgements: Acknowledgements,
}

impl Checkpoints {
    /// Starts with the cursor of the last session's state, and the entries whose bindings were
    /// removed.
    pub(super) fn new(
        cursor: Option<Lsn>,
        removed: Vec<(String, TableState)>,
        acknowledgements: Acknowledgements,
    ) -> Self {
        Self {
            cursor,
            due: false,
            last_position: None,
            last_emitted: Instant::now(),
            stream_started: false,
            removed,
            acknowledgements,
        }
    }

    /// Returns the position of the next checkpoint.
    pub(super) fn cursor(&self) -> Option<Lsn> {
        self.cursor
    }

    /// Sets the position of the next checkpoint.
    pub(super) fn set_cursor(&mut self, cursor: Lsn) {
        self.cursor = Some(cursor);
    }

    /// Notes that the stream has started at a position. Acknowledgements move the position that the
    /// server is told from now on.
    pub(super) fn stream_started(&mut self, start: Lsn, durable: &Arc<DurablePosition>) {
        self.acknowledgements.report_to(durable);
        self.cursor = Some(start);
        self.stream_started = true;
    }

    /// Notes that a checkpoint is due.
    pub(super) fn set_due(&mut self) {
        self.due = true;
    }

    /// Returns whether a checkpoint is due that was held back.
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// Returns the time since the last checkpoint.
    pub(super) fn since_last(&self) -> Duration {
        self.last_emitted.elapsed()
    }

    /// Emits a checkpoint with the cursor and the table states that have changed.
    pub(super) fn emit<S: Sink>(&mut self, tables: &mut Tables, sink: &mut S) -> Result<()> {
        let removed = self.removed.iter();
        let removed = removed.map(|(key, state)| (key.as_str(), state));
        let patch = state::patch(self.cursor, tables.changed_states().chain(removed))?;
        self.emit_patch(&patch, sink)?;
        tables.mark_saved();
        self.removed.clear();
        Ok(())
    }

    /// Emits a checkpoint with the cursor alone.
    pub(super) fn emit_cursor<S: Sink>(&mut self, sink: &mut S) -> Result<()> {
        let patch = state::patch(self.cursor, std::iter::empty())?;
        self.emit_patch(&patch, sink)
    }

    fn emit_patch<S: Sink>(&mut self, patch: &str, sink: &mut S) -> Result<()> {
        // Before the stream has started, the cursor is that of an earlier session, and this session
        // may start elsewhere.
        self.acknowledgements
            .sent(self.cursor.filter(|_| self.stream_started));
        if sink.checkpoint(patch)? == Durability::Durable {
            self.acknowledgements.acknowledge(1)?;
        }
        self.due = false;
        self.last_position = self.cursor;
        self.last_emitted = Instant::now();
        Ok(())
    }

    /// Returns whether a checkpoint is worth its cost where the stream is, between two
    /// transactions: by the documents since the last one, the time, and the movement of the
    /// position. `has_next` says that more of the stream was received already.
    pub(super) fn is_worth_emitting<S: Sink>(
        &self,
        tables: &Tables,
        sink: &S,
        has_next: bool,
    ) -> bool {
        let moved = match (self.cursor, self.last_position) {
            (Some(cursor), Some(last)) => cursor.as_u64().saturating_sub(last.as_u64()),
            (Some(_), None) => IDLE_DISTANCE,
            (None, _) => 0,
        };
        let situation = Situation {
            uncommitted: sink.uncommitted_bytes(),
            changed: tables.have_changed_states(),
            moved,
            elapsed: self.since_last(),
            has_next,
        };
        situation.is_worth_checkpoint()
    }

    /// Waits until every checkpoint is acknowledged, or no more acknowledgements follow.
    pub(super) async fn all_acknowledged(&self) {
        self.acknowledgements.all_acknowledged().await;
    }
}

/// Facts that decide whether a checkpoint is worth its cost between two transactions.
#[derive(Debug, Clone, Copy)]
struct Situation {
    /// Bytes of documents since the last checkpoint.
    uncommitted: u64,
    /// Whether the state of a table has changed since then.
    changed: bool,
    /// Bytes of log by which the position has moved since then.
    moved: u64,
    /// Time since then.
    elapsed: Duration,
    /// Whether more of the stream was received already.
    has_next: bool,
}

impl Situation {
    /// A lone commit gets a checkpoint at once; the commits of a backlog share one.
    fn is_worth_checkpoint(&self) -> bool {
        if self.uncommitted == 0 && !self.changed {
            return self.moved >= IDLE_DISTANCE
                || (self.moved > 0 && self.elapsed >= IDLE_CHECKPOINT);
        }
        !self.has_next || self.uncommitted >= SHARED_BYTES || self.elapsed >= SHARED_TIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;
    use crate::error::{Error, ErrorKind};

    /// A sink whose checkpoints have a given outcome.
    struct Outcome(Option<Durability>, Buffer);

    impl Sink for Outcome {
        fn opened(&mut self) -> Result<()> {
            Ok(())
        }
        fn begin_document(&mut self, _: u32) {}
        fn buffer(&mut self) -> &mut Buffer {
            &mut self.1
        }
        fn end_document(&mut self) -> Result<()> {
            Ok(())
        }
        fn sourced_schema(&mut self, _: u32, _: &str) -> Result<()> {
            Ok(())
        }
        fn checkpoint(&mut self, _: &str) -> Result<Durability> {
            self.0
                .ok_or_else(|| Error::new(ErrorKind::Io, "the disk is full"))
        }
        fn uncommitted_bytes(&self) -> u64 {
            0
        }
    }

    #[test]
    fn a_checkpoint_waits_for_its_acknowledgement_unless_it_is_durable_at_once() {
        for (outcome, is_pending) in [
            (Some(Durability::Durable), false),
            (Some(Durability::Unacknowledged), true),
            (None, true),
        ] {
            let acknowledgements = Acknowledgements::default();
            let mut checkpoints = Checkpoints::new(None, Vec::new(), acknowledgements.clone());
            let emitted = checkpoints.emit_cursor(&mut Outcome(outcome, Buffer::new()));
            assert_eq!(emitted.is_ok(), outcome.is_some());
            let acknowledged = acknowledgements.acknowledge(1).is_ok();
            assert_eq!(acknowledged, is_pending, "{outcome:?}");
        }
    }

    const IDLE: Situation = Situation {
        uncommitted: 0,
        changed: false,
        moved: 0,
        elapsed: Duration::ZERO,
        has_next: false,
    };

    #[test]
    fn a_lone_commit_gets_a_checkpoint_at_once() {
        assert!(
            Situation {
                uncommitted: 1,
                ..IDLE
            }
            .is_worth_checkpoint()
        );
        assert!(
            Situation {
                changed: true,
                ..IDLE
            }
            .is_worth_checkpoint()
        );
    }

    #[test]
    fn commits_of_a_backlog_share_a_checkpoint_up_to_a_size_and_time() {
        let backlog = Situation {
            uncommitted: 1,
            has_next: true,
            ..IDLE
        };
        assert!(!backlog.is_worth_checkpoint());
        assert!(
            Situation {
                uncommitted: SHARED_BYTES,
                ..backlog
            }
            .is_worth_checkpoint()
        );
        assert!(
            Situation {
                elapsed: SHARED_TIME,
                ..backlog
            }
            .is_worth_checkpoint()
        );
    }

    #[test]
    fn a_position_that_moves_without_documents_gets_a_checkpoint_at_times() {
        let long = Duration::from_secs(3600);
        assert!(
            !Situation {
                elapsed: long,
                ..IDLE
            }
            .is_worth_checkpoint()
        );
        assert!(!Situation { moved: 1, ..IDLE }.is_worth_checkpoint());
        assert!(
            Situation {
                moved: 1,
                elapsed: IDLE_CHECKPOINT,
                ..IDLE
            }
            .is_worth_checkpoint()
        );
        assert!(
            Situation {
                moved: IDLE_DISTANCE,
                ..IDLE
            }
            .is_worth_checkpoint()
        );
    }
}
