//! From the request of a span to its rows: its snapshot, and the stream past its fence.

use std::time::Duration;

use tracing::debug;

use super::spans::{Span, SpanEnd};
use crate::backfill::ChunkStart;
use crate::capture::checkpoint::IDLE_CHECKPOINT;
use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::stream::{ChangeStream, CheckpointPolicy};
use crate::capture::table::TableIndex;
use crate::catalog::has_columns;
use crate::error::{Error, ErrorKind, Result};
use crate::record::RowKey;

/// Time for which the snapshot of a span is awaited before the stream is read on.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_millis(250);

impl<S: Sink> Session<S> {
    /// Takes the snapshots of the spans after the first, as far as they have arrived.
    pub(super) async fn take_snapshots(&mut self, changes: &mut ChangeStream) -> Result<()> {
        for span_index in 1..self.spans.open.len() {
            let Some(span) = self.spans.open.get_mut(span_index) else {
                break;
            };
            if span.chunks.start.is_some() {
                continue;
            }
            let index = span.table;
            span.client.connection().fill_now().await?;
            match span.chunks.reader.try_start(&mut span.client) {
                Ok(None) => break,
                Ok(Some(start)) => {
                    // The stream's position is asked for now, so that it is known by the time the
                    // rows are due.
                    changes.ask_position();
                    // A table with other columns is looked up once no span is open.
                    if !self.has_known_columns(index, &start.columns)?
                        || !self.accept_snapshot(span_index, start)?
                    {
                        self.spans.note_too_early();
                        self.end_spans_after(span_index).await?;
                    }
                }
                Err(error) => {
                    self.spans.note_too_early();
                    self.end_spans_after(span_index).await?;
                    // An error that persists fails the capture once this is the first span.
                    if let Err(error) = self.on_scan_error(index, error).await {
                        debug!(%error, "rows cannot be requested ahead");
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for the snapshot of the first span. Returns whether it contains what it has to, and
    /// the table has the columns that are known; otherwise the span was given up.
    pub(super) async fn await_snapshot(&mut self, changes: &mut ChangeStream) -> Result<bool> {
        let timeout = SNAPSHOT_TIMEOUT.max(self.spans.first_rows_timeout());
        loop {
            let Some(span) = self.spans.open.front_mut() else {
                return Ok(false);
            };
            if span.chunks.start.is_some() {
                return Ok(true);
            }
            let index = span.table;
            match span.chunks.reader.try_start(&mut span.client) {
                Ok(Some(start)) => return self.begin_span(changes, index, start).await,
                Ok(None) => {}
                Err(error) => {
                    self.end_spans().await?;
                    self.on_scan_error(index, error).await?;
                    return Ok(false);
                }
            }
            // The snapshot arrives in a moment, unless another session has locked the table.
            let left = timeout.saturating_sub(span.requested.elapsed());
            if !left.is_zero() {
                let filled = span.chunks.reader.fill(&mut span.client);
                if let Ok(filled) = tokio::time::timeout(left, filled).await {
                    filled?;
                }
                continue;
            }
            fill_either(span, changes).await?;
            self.read_ready(changes).await?;
        }
    }

    /// Takes the snapshot of the first span. Returns whether the span is still there.
    async fn begin_span(
        &mut self,
        changes: &mut ChangeStream,
        index: TableIndex,
        start: ChunkStart,
    ) -> Result<bool> {
        if !self.has_known_columns(index, &start.columns)? {
            self.end_spans().await?;
            self.look_up_scanned(index).await?;
            return Ok(false);
        }
        if !self.accept_snapshot(0, start)? {
            self.end_spans().await?;
            self.read_until_visible(changes, index).await?;
            return Ok(false);
        }
        if self.checkpoints.is_due() {
            // The checkpoint was held back for commits that this span contains. It is emitted
            // before the rows of the span.
            self.try_checkpoint().await?;
        }
        Ok(!self.spans.open.is_empty())
    }

    /// Takes the snapshot of a span, if it contains what it has to.
    fn accept_snapshot(&mut self, span_index: usize, start: ChunkStart) -> Result<bool> {
        self.resolve(&start.snapshot);
        let Some(span) = self.spans.open.get_mut(span_index) else {
            return Ok(false);
        };
        let index = span.table;
        span.awaited.resolve(&start.snapshot);
        let is_complete = span.awaited.is_empty() && self.tables[index].initial_wait.is_empty();
        let Some(table) = self.tables.scanned(index) else {
            return Ok(false);
        };
        table.scan.locked = None;
        if span.is_range {
            span.end = match span.chunks.reader.take_last_key() {
                Some(texts) => SpanEnd::Key(RowKey::of_texts(&texts, &table.scan.codecs)?),
                None => SpanEnd::Table,
            };
        }
        let range = table.scan.range_of(span.number);
        let Some(range) = range.filter(|_| is_complete) else {
            return Ok(false);
        };
        let mut documents = range.deferred.take_contained(&start.snapshot);
        range.snapshot = Some(start.snapshot.clone());
        if let SpanEnd::Key(key) = &span.end {
            // A later span will contain the changes after the key.
            documents.append(&mut range.deferred.take_required_after(key));
            range.until = Some(key.clone());
        }
        span.chunks.start = Some(start);
        self.emit_deferred(index, documents)?;
        Ok(true)
    }

    /// Returns whether a table has the columns, as a span has read them, that it was looked up
    /// with. The stream describes other columns only with the next change.
    pub(super) fn has_known_columns(&mut self, index: TableIndex, columns: &str) -> Result<bool> {
        let table = self.tables.scanned(index);
        table.map_or(Ok(true), |table| has_columns(&table.scan.info, columns))
    }

    /// Looks up a table again that a span has found with other columns. No span may be open: the
    /// publication's answer about the table may wait for a session that waits for the lock of a
    /// span.
    pub(super) async fn look_up_scanned(&mut self, index: TableIndex) -> Result<()> {
        let exists = self.look_up_one(index).await?;
        let id = &self.tables[index].id;
        if exists {
            debug!(stream = %id, "columns of a table have changed during its backfill");
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Prerequisite,
            format!("the backfill of table \"{id}\" failed: it does not exist any more"),
        ))
    }

    /// Reads the stream past the fence of the first span. Returns whether the span is still there.
    pub(super) async fn pass_fence(&mut self, changes: &mut ChangeStream) -> Result<bool> {
        let Some(span) = self.spans.open.front() else {
            return Ok(false);
        };
        if span.is_fence_passed {
            return Ok(true);
        }
        let number = span.number;
        let Some(start) = &span.chunks.start else {
            return Ok(false);
        };
        let (fence, flushed) = (start.fence, start.flushed);
        let is_ahead = changes.received() < fence;
        if is_ahead && fence > flushed && !self.server.is_standby() {
            self.advance_wal().await?;
        }
        self.read_to(changes, fence, CheckpointPolicy::ByCaller)
            .await?;
        let Some(span) = self.spans.open.front_mut() else {
            return Ok(false);
        };
        span.is_fence_passed = span.number == number;
        Ok(span.is_fence_passed)
    }

    /// Reads the stream until the first span has rows. Returns whether the span is still there.
    pub(super) async fn await_rows(&mut self, changes: &mut ChangeStream) -> Result<bool> {
        if !self.spans.have_emitted() && self.has_first_rows().await? {
            return Ok(true);
        }
        loop {
            self.read_ready(changes).await?;
            let Some(span) = self.spans.open.front_mut() else {
                return Ok(false);
            };
            if span.has_rows() {
                return Ok(true);
            }
            fill_either(span, changes).await?;
        }
    }

    /// Returns whether the first rows of the first span have arrived. After spans that were given
    /// up without rows, they are awaited without reading the stream: changes that have to be
    /// deferred for them could otherwise arrive faster than the rows, again and again.
    async fn has_first_rows(&mut self) -> Result<bool> {
        let timeout = self.spans.first_rows_timeout();
        let Some(span) = self.spans.open.front_mut() else {
            return Ok(false);
        };
        span.client.connection().fill_now().await?;
        if !span.has_rows() && !timeout.is_zero() {
            let filled = span.chunks.reader.fill(&mut span.client);
            if let Ok(filled) = tokio::time::timeout(timeout, filled).await {
                filled?;
            }
        }
        Ok(span.has_rows())
    }
}

/// Receives rows of a span or more of the stream, for a limited time.
async fn fill_either(span: &mut Span, changes: &mut ChangeStream) -> Result<()> {
    tokio::select! {
        filled = span.chunks.reader.fill(&mut span.client) => filled,
        filled = changes.fill() => filled,
        () = tokio::time::sleep(IDLE_CHECKPOINT) => Ok(()),
    }
}
