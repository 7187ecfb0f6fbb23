//! One step of the backfill.

use super::locks::LOCKED_READ_TIME;
use super::spans::Span;
use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::stream::ChangeStream;
use crate::capture::table::TableIndex;
use crate::error::Result;

impl<S: Sink> Session<S> {
    /// Reads the next chunk of a table, and the stream as far as that needs. Spans that are open
    /// come first.
    pub(in crate::capture) async fn backfill(
        &mut self,
        changes: &mut ChangeStream,
        index: TableIndex,
    ) -> Result<()> {
        self.report_status("Backfilling Tables");
        self.spans.connections.drop_stale();
        // Rows that were requested ahead come first, whichever tables other sessions have locked
        // meanwhile.
        let index = self.spans.open.front().map_or(index, |span| span.table);
        let Some(table) = self.tables.scanned(index) else {
            return self.end_spans().await;
        };
        let by_equality = table.is_matched_by_equality();
        let has_spans = !by_equality && self.request_spans(index).await?;
        let is_requested = |span: &Span| span.chunks.start.is_none();
        if self.spans.open.front().is_some_and(is_requested) {
            // The server answers at about the time of the snapshot. Where little is written, the
            // position in the answer is past the fence already.
            changes.ask_position();
        }
        if changes.is_slot_new() {
            self.confirm_start(changes).await?;
        } else {
            self.check_server_once().await?;
        }
        if !has_spans {
            if !by_equality && self.tables.is_locked(index) {
                return self.read_for(changes, LOCKED_READ_TIME).await;
            }
            return self.backfill_chunk(changes, index).await;
        }
        self.take_snapshots(changes).await?;
        if self.await_snapshot(changes).await? {
            self.request_spans(index).await?;
            if self.pass_fence(changes).await? && self.await_rows(changes).await? {
                self.emit_chunk(changes).await?;
            }
        }
        Ok(())
    }
}
