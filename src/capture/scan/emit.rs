//! Emitting the rows of spans, and the changes that were deferred for them.

use std::time::{Duration, Instant};

use super::chunk_reader::ChunkEnd;
use super::spans::{Span, SpanEnd};
use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::stream::ChangeStream;
use crate::error::Result;

/// Time for which the next row is awaited before the stream is read on. A filter of the user's can
/// make the server take any time for a row.
const ROW_TIMEOUT: Duration = Duration::from_millis(250);

/// State of a span after a chunk.
struct Emitted {
    /// Whether all rows of the table were emitted.
    table_complete: bool,
    /// Whether the chunk has ended, by its last row or by an error that cuts it short.
    chunk_complete: bool,
    /// Whether the span has no more rows.
    is_over: bool,
}

impl<S: Sink> Session<S> {
    /// Emits a chunk of the first span, and the changes that were deferred for its rows.
    pub(super) async fn emit_chunk(&mut self, changes: &mut ChangeStream) -> Result<()> {
        let Some(mut span) = self.spans.open.pop_front() else {
            return Ok(());
        };
        let (index, started) = (span.table, Instant::now());
        let before = self.sink.uncommitted_bytes();
        let end = self.read_rows(&mut span).await?;
        let bytes = self.sink.uncommitted_bytes() - before;
        let is_cut_off = matches!(end, ChunkEnd::Nothing | ChunkEnd::Failed(_));
        let is_part = matches!(end, ChunkEnd::Part);
        // The server is slow to find rows, so the span is not ended for its age.
        let is_slow = is_part || matches!(end, ChunkEnd::Waiting);
        let chunks = span.chunks.progress.chunks;
        let table_complete = self.advance(index, &mut span.chunks, end, started)?;
        let emitted = Emitted {
            table_complete,
            chunk_complete: span.chunks.progress.chunks > chunks,
            is_over: table_complete || is_cut_off || !is_slow && span.is_over(),
        };
        let is_at_end = self.emit_after_rows(&span, bytes, &emitted)?;
        if emitted.is_over {
            let Span { client, chunks, .. } = span;
            self.spans
                .connections
                .put_back(client, chunks.reader)
                .await?;
            if !is_at_end {
                // The later spans begin where this span was expected to end.
                self.end_spans().await?;
            }
        } else {
            self.spans.open.push_front(span);
        }
        if table_complete {
            self.complete_table(changes, index).await?;
        }
        if emitted.chunk_complete || is_part {
            self.spans.note_emitted();
            self.try_checkpoint().await?;
        }
        Ok(())
    }

    /// Reads and emits the rows of a span's next chunk.
    async fn read_rows(&mut self, span: &mut Span) -> Result<ChunkEnd> {
        if span.chunks.reader.is_exhausted() {
            return Ok(ChunkEnd::Nothing);
        }
        let Some(mut table) = self.tables.scanned(span.table) else {
            return Ok(ChunkEnd::Nothing);
        };
        let inputs = self.settings.plan_inputs(self.server.types());
        let (client, sink) = (&mut span.client, &mut self.sink);
        span.chunks
            .read_chunk(client, &mut table, &inputs, sink, Some(ROW_TIMEOUT))
            .await
    }

    /// Emits the changes that were deferred for the rows of a chunk, and closes the range of a span
    /// that is over. Returns whether the scan has reached the end of the span.
    fn emit_after_rows(&mut self, span: &Span, bytes: u64, emitted: &Emitted) -> Result<bool> {
        let Some(table) = self.tables.scanned(span.table) else {
            return Ok(true);
        };
        let scan = table.scan;
        let is_at_end = match (&span.end, &scan.position) {
            (SpanEnd::Key(last), Some(position)) => {
                !emitted.table_complete && last.compare(position).is_eq()
            }
            _ => emitted.table_complete,
        };
        if emitted.chunk_complete {
            scan.chunk_bytes = bytes;
        }
        let position = scan.position.clone().filter(|_| scan.comparable);
        let mut documents = Vec::new();
        if let Some(range) = scan.range_of(span.number) {
            if emitted.table_complete {
                documents = range.deferred.take_all();
            } else if let Some(position) = position {
                documents = range.deferred.take_through(&position);
            }
            if emitted.is_over {
                documents.append(&mut range.deferred.take_required());
                scan.ranges.retain(|range| range.span != span.number);
            }
        }
        self.emit_deferred(span.table, documents)?;
        Ok(is_at_end)
    }
}
