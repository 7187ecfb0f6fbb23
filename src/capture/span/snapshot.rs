//! From the request of a span to its rows: the snapshot, and the stream past what it can contain.

use std::time::{Duration, Instant};

use tracing::debug;

use super::End;
use crate::backfill::ChunkStart;
use crate::capture::checkpoint::IDLE_CHECKPOINT;
use crate::capture::engine::{ChangeStream, Engine};
use crate::capture::fence::Checkpoints;
use crate::capture::follow::Dispatcher;
use crate::capture::rows::unknown;
use crate::capture::sink::Sink;
use crate::error::Result;
use crate::record::RowKey;

/// How long the answer to a request is waited for with nothing else going on.
const VIEW_PATIENCE: Duration = Duration::from_millis(250);
/// How long what the stream has ready is handled between two chunks.
const STREAM_SHARE: Duration = Duration::from_millis(50);

impl<S: Sink> Engine<S> {
    /// Takes the snapshots of spans behind the first, as far as they are there.
    pub(super) async fn take_views(&mut self, changes: &mut ChangeStream) -> Result<()> {
        for place in 1..self.spans.open.len() {
            let Some(span) = self.spans.open.get_mut(place) else {
                break;
            };
            if span.run.start.is_some() {
                continue;
            }
            let index = span.table;
            span.client.connection().fill_now().await?;
            match span.run.reader.try_start(&mut span.client) {
                Ok(None) => break,
                Ok(Some(start)) => {
                    // Whether or not the stream is past it when the rows are due, it need not be
                    // asked for then.
                    changes.replication.feedback().ask_position();
                    // A table with other columns is looked up when no span is open.
                    if !self.is_as_known(index, &start.columns)? || !self.accept(place, start)? {
                        self.spans.too_early = Some(Instant::now());
                        self.end_spans_behind(place).await?;
                    }
                }
                Err(error) => {
                    self.spans.too_early = Some(Instant::now());
                    self.end_spans_behind(place).await?;
                    // If it is so still when its turn has come, that is time enough to fail.
                    if let Err(error) = self.on_scan_error(index, error).await {
                        debug!(%error, "rows cannot be asked for ahead");
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for the snapshot of the first span. Returns whether it contains what it has to, and shows the
    /// table as it is known; otherwise the span is gone.
    pub(super) async fn await_snapshot(&mut self, changes: &mut ChangeStream) -> Result<bool> {
        let patience = VIEW_PATIENCE.max(self.spans.first_patience());
        loop {
            let Some(span) = self.spans.open.front_mut() else {
                return Ok(false);
            };
            if span.run.start.is_some() {
                return Ok(true);
            }
            let index = span.table;
            match span.run.reader.try_start(&mut span.client) {
                Ok(Some(start)) => {
                    if !self.is_as_known(index, &start.columns)? {
                        self.end_spans().await?;
                        self.look_up_scanned(index).await?;
                        return Ok(false);
                    }
                    if !self.accept(0, start)? {
                        self.end_spans().await?;
                        self.until_visible(changes, index).await?;
                        return Ok(false);
                    }
                    if self.checkpoint_due {
                        // It was held back for commits that this span contains; its rows come after.
                        self.try_settle().await?;
                    }
                    return Ok(!self.spans.open.is_empty());
                }
                Ok(None) => {}
                Err(error) => {
                    self.end_spans().await?;
                    self.on_scan_error(index, error).await?;
                    return Ok(false);
                }
            }
            // It is there in a moment, unless the table is locked by somebody else.
            let left = patience.saturating_sub(span.requested.elapsed());
            if !left.is_zero() {
                let filled = span.run.reader.fill(&mut span.client);
                if let Ok(filled) = tokio::time::timeout(left, filled).await {
                    filled?;
                }
                continue;
            }
            tokio::select! {
                filled = span.run.reader.fill(&mut span.client) => filled?,
                filled = changes.replication.fill() => filled?,
                () = tokio::time::sleep(IDLE_CHECKPOINT) => {}
            }
            self.follow_ready(changes).await?;
        }
    }

    /// Takes the snapshot of a span, if it contains what it has to.
    fn accept(&mut self, place: usize, start: ChunkStart) -> Result<bool> {
        self.resolve(&start.snapshot);
        let Some(span) = self.spans.open.get_mut(place) else {
            return Ok(false);
        };
        let (index, number) = (span.table, span.number);
        span.awaited.resolve(&start.snapshot);
        let is_complete = span.awaited.is_empty();
        let table = self.tables.get_mut(index).ok_or_else(unknown)?;
        let is_free = table.initial_wait.is_empty();
        let Some(scan) = &mut table.scan else {
            return Err(unknown());
        };
        scan.locked = None;
        if span.is_section {
            span.end = match span.run.reader.take_last_key() {
                Some(texts) => End::Key(RowKey::of_texts(&texts, &scan.codecs)?),
                None => End::Table,
            };
        }
        let Some(range) = scan.range(number).filter(|_| is_complete && is_free) else {
            return Ok(false);
        };
        let mut documents = range.deferred.take_contained(&start.snapshot);
        range.snapshot = Some(start.snapshot.clone());
        if let End::Key(key) = &span.end {
            // A later span will contain what is behind.
            documents.append(&mut range.deferred.take_required_after(key));
            range.until = Some(key.clone());
        }
        span.run.start = Some(start);
        self.emit_kept(index, documents)?;
        Ok(true)
    }

    /// Follows the stream past what the rows of the first span can contain. Returns whether it is
    /// still there.
    pub(super) async fn pass_fence(&mut self, changes: &mut ChangeStream) -> Result<bool> {
        let Some(span) = self.spans.open.front() else {
            return Ok(false);
        };
        let (Some(start), number) = (&span.run.start, span.number) else {
            return Err(unknown());
        };
        if span.passed {
            return Ok(true);
        }
        let (fence, flushed) = (start.fence, start.flushed);
        let is_due = changes.dispatcher.position.received() < fence;
        if is_due && fence > flushed && !self.standby {
            self.advance_wal().await?;
        }
        self.stream_to(changes, fence, Checkpoints::None).await?;
        let Some(span) = self.spans.open.front_mut() else {
            return Ok(false);
        };
        span.passed = span.number == number;
        Ok(span.passed)
    }

    /// Follows the stream until the first span has something. Returns whether it is still there.
    pub(super) async fn await_rows(&mut self, changes: &mut ChangeStream) -> Result<bool> {
        if !self.spans.have_emitted() && self.has_first_rows().await? {
            return Ok(true);
        }
        loop {
            self.follow_ready(changes).await?;
            let Some(span) = self.spans.open.front_mut() else {
                return Ok(false);
            };
            if span.client.connection().has_event() || span.run.reader.is_exhausted() {
                return Ok(true);
            }
            tokio::select! {
                filled = span.run.reader.fill(&mut span.client) => filled?,
                filled = changes.replication.fill() => filled?,
                () = tokio::time::sleep(IDLE_CHECKPOINT) => {}
            }
        }
    }

    /// Looks whether the first rows of the first span are there. Where spans were given up before that,
    /// they are waited for with nothing else going on: changes that have to be kept for them could come
    /// faster than they do, time and again.
    async fn has_first_rows(&mut self) -> Result<bool> {
        let patience = self.spans.first_patience();
        let Some(span) = self.spans.open.front_mut() else {
            return Ok(false);
        };
        let connection = span.client.connection();
        connection.fill_now().await?;
        if !connection.has_event() && !span.run.reader.is_exhausted() && !patience.is_zero() {
            let filled = span.run.reader.fill(&mut span.client);
            if let Ok(filled) = tokio::time::timeout(patience, filled).await {
                filled?;
            }
        }
        Ok(span.client.connection().has_event() || span.run.reader.is_exhausted())
    }

    /// Handles what the stream has ready, up to the end of a transaction.
    async fn follow_ready(&mut self, changes: &mut ChangeStream) -> Result<()> {
        let end = Instant::now() + STREAM_SHARE;
        let over = |dispatcher: &Dispatcher| {
            !dispatcher.position.in_transaction() && Instant::now() >= end
        };
        let checkpoints = self.stream_checkpoints();
        changes.replication.fill_now().await?;
        while !self.drain(changes, checkpoints, over).await? {
            if changes.dispatcher.position.in_transaction() {
                changes.replication.fill().await?;
            } else if !changes.replication.fill_now().await? {
                break;
            }
        }
        self.cursor = Some(changes.dispatcher.position.received());
        // That a scan has begun is said with its first chunk.
        let is_news =
            self.sink.uncommitted_bytes() > 0 || self.last_checkpoint.elapsed() >= IDLE_CHECKPOINT;
        if checkpoints == Checkpoints::AtCommits && is_news && self.is_checkpoint_due(false) {
            self.checkpoint_due = true;
            self.try_settle().await?;
        }
        Ok(())
    }
}
