//! Checkpoints that are held back for commits that no snapshot contains yet.
//!
//! Unseen commits are forgotten when the process ends, so no checkpoint passes them. The stream is
//! read on meanwhile, up to a limit of documents that wait for the checkpoint.

use std::time::{Duration, Instant};

use super::session::Session;
use super::sink::Sink;
use super::wait_log::WaitBackoff;
use crate::error::Result;

/// Bytes of documents that may wait for a checkpoint that is held back. Beyond them the stream is
/// not read on.
const HELD_BYTES: u64 = 64 * 1024 * 1024;
/// Time for which deferred changes may hold back checkpoints. After that the spans are given up.
const DEFER_TIME: Duration = Duration::from_millis(250);

impl<S: Sink> Session<S> {
    /// Emits the checkpoint that is due, unless it has to be held back; then it stays due.
    pub(super) async fn try_checkpoint(&mut self) -> Result<()> {
        self.checkpoints.set_due();
        if self.tables.hold_back_checkpoint() {
            if self.sink.uncommitted_bytes() >= HELD_BYTES {
                return self.checkpoint_when_visible().await;
            }
            if self.tables.have_required_changes() {
                // A span that has emitted nothing yet is not given up for them: the next might not
                // get any further.
                if self.checkpoints.since_last() < DEFER_TIME || !self.spans.have_emitted() {
                    return Ok(());
                }
                self.end_spans().await?;
            }
            if !self.snapshots.is_due() {
                return Ok(());
            }
            let started = Instant::now();
            self.take_snapshot().await?;
            if self.tables.hold_back_checkpoint() {
                self.snapshots.back_off();
                return Ok(());
            }
            self.snapshots.reset(started.elapsed());
        }
        self.emit_checkpoint()
    }

    /// Emits a checkpoint, after waiting for as long as it has to be held back.
    pub(super) async fn checkpoint_when_visible(&mut self) -> Result<()> {
        self.checkpoints.set_due();
        let mut backoff = WaitBackoff::new();
        if self.tables.hold_back_checkpoint() {
            // The wait may be long, and no other session is to wait for the locks of the spans.
            self.end_spans().await?;
        }
        while self.tables.hold_back_checkpoint() {
            self.take_snapshot().await?;
            let xids = self.tables.unseen_xids();
            if !xids.is_empty() {
                self.wait("a checkpoint is held back", &xids, &mut backoff)
                    .await?;
            }
        }
        self.emit_checkpoint()
    }
}
