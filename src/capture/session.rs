//! The parts of a session.
//!
//! Each part owns its state and is changed only by its own methods. An operation that needs several
//! parts is a method of [`Session`], in the file of its topic: reading the stream in `stream/`,
//! reading rows in `scan/`, the periodic checks in `upkeep/`, held checkpoints in
//! `held_checkpoint.rs`, waits in `visibility_wait.rs`, lookups in `lookup.rs`.

use super::checkpoint::Checkpoints;
use super::scan::Spans;
use super::server::Server;
use super::sink::Sink;
use super::snapshot_pacing::SnapshotPacing;
use super::table::Tables;
use super::task::Settings;
use super::upkeep::{SentSchemas, Upkeep};
use crate::error::Result;

/// One session of a capture, apart from its stream ([`super::stream::ChangeStream`]).
#[derive(Debug)]
pub(super) struct Session<S> {
    /// Settings of the task.
    pub(super) settings: Settings,
    /// Connection for queries, and facts about the server.
    pub(super) server: Server,
    /// Bound tables.
    pub(super) tables: Tables,
    /// Output.
    pub(super) sink: S,
    /// Cursor, and the checkpoints that are due.
    pub(super) checkpoints: Checkpoints,
    /// Time of the last snapshot, and the interval to the next one for a held checkpoint.
    pub(super) snapshots: SnapshotPacing,
    /// Rows that are being read.
    pub(super) spans: Spans,
    /// Schedule of the periodic checks.
    pub(super) upkeep: Upkeep,
    /// Schemas that were emitted.
    pub(super) schemas: SentSchemas,
}

impl<S: Sink> Session<S> {
    /// Emits a checkpoint of everything before it.
    pub(super) fn emit_checkpoint(&mut self) -> Result<()> {
        self.checkpoints.emit(&mut self.tables, &mut self.sink)
    }

    /// Emits a checkpoint with the cursor alone.
    pub(super) fn emit_cursor(&mut self) -> Result<()> {
        self.checkpoints.emit_cursor(&mut self.sink)
    }

    /// Returns whether a checkpoint is worth its cost where the stream is. `has_next` says that
    /// more of the stream was received already.
    pub(super) fn is_checkpoint_worth_emitting(&self, has_next: bool) -> bool {
        self.checkpoints
            .is_worth_emitting(&self.tables, &self.sink, has_next)
    }
}
