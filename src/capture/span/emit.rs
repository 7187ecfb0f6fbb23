//! The rows of spans and the changes that were kept for them, and how spans end.

use std::time::{Duration, Instant};

use tracing::debug;

use super::{End, Idle, Span};
use crate::capture::chunk_plan::PlanContext;
use crate::capture::engine::{ChangeStream, Engine};
use crate::capture::rows::{ChunkEnd, SpanRun, unknown};
use crate::capture::sink::Sink;
use crate::capture::table::Table;
use crate::error::Result;

/// Memory for kept changes of all tables.
const DEFERRED_BYTES: usize = 16 * 1024 * 1024;

/// How long a row is waited for with nothing else going on. A condition of the user's can take any time.
const ROW_PATIENCE: Duration = Duration::from_millis(250);

impl<S: Sink> Engine<S> {
    /// Emits a chunk of the first span, and the changes that were kept for its rows.
    pub(super) async fn emit_chunk(&mut self, changes: &mut ChangeStream) -> Result<()> {
        let Some(mut span) = self.spans.open.pop_front() else {
            return Ok(());
        };
        let (index, started) = (span.table, Instant::now());
        let before = self.sink.uncommitted_bytes();
        let table = self.tables.get_mut(index).ok_or_else(unknown)?;
        let context = PlanContext {
            tag: self.config.source_tag.as_deref(),
            types: &self.types,
            options: &self.plan_options,
        };
        let end = if span.run.reader.is_exhausted() {
            ChunkEnd::Nothing
        } else {
            span.run
                .read_chunk(
                    &mut span.client,
                    table,
                    &context,
                    &mut self.sink,
                    Some(ROW_PATIENCE),
                )
                .await?
        };
        let bytes = self.sink.uncommitted_bytes() - before;
        let cut_off = matches!(end, ChunkEnd::Nothing | ChunkEnd::Failed(_));
        let is_part = matches!(end, ChunkEnd::Part);
        // It is the server that takes its time, not the span.
        let goes_slowly = is_part || matches!(end, ChunkEnd::Waiting);
        let chunks = span.run.progress.chunks;
        let complete = self.advance(index, &mut span.run, end, started)?;
        let has_chunk = span.run.progress.chunks > chunks;
        let is_over = complete || cut_off || !goes_slowly && span.is_over();
        let goes_on = match (&span.end, &self.scan(index)?.position) {
            (End::Key(last), Some(position)) => !complete && last.compare(position).is_eq(),
            _ => complete,
        };
        let Some(scan) = &mut self.table_mut(index)?.scan else {
            return Err(unknown());
        };
        if has_chunk {
            scan.chunk_bytes = bytes;
        }
        let position = scan.position.clone().filter(|_| scan.comparable);
        let mut documents = Vec::new();
        if let Some(range) = scan.range(span.number) {
            if complete {
                documents = range.deferred.take_all();
            } else if let Some(position) = position {
                documents = range.deferred.take_through(&position);
            }
            if is_over {
                documents.append(&mut range.deferred.take_required());
                scan.ranges.retain(|range| range.span != span.number);
            }
        }
        self.emit_kept(index, documents)?;
        if is_over {
            self.retire(span).await?;
            if !goes_on {
                // The spans behind begin where this one was to end.
                self.end_spans().await?;
            }
        } else {
            self.spans.open.push_front(span);
        }
        if complete {
            self.complete_table(changes, index).await?;
        }
        if has_chunk || is_part {
            self.spans.unlucky = 0;
            self.checkpoint_due = true;
            self.try_settle().await?;
        }
        Ok(())
    }

    /// Frees the connection of a span that has come to its end.
    async fn retire(&mut self, span: Span) -> Result<()> {
        let Span {
            mut client,
            run: SpanRun { mut reader, .. },
            ..
        } = span;
        if reader.is_lost() {
            return Ok(());
        }
        // The answer is there when the connection is used next.
        reader.close(&mut client).await?;
        self.spans.idle.push(Idle {
            client,
            reader: Some(reader),
        });
        Ok(())
    }

    pub(super) fn emit_kept(&mut self, index: usize, documents: Vec<Box<[u8]>>) -> Result<()> {
        let binding = self.table(index)?.binding;
        for document in documents {
            self.sink.begin_document(binding);
            self.sink.buffer().extend_from_slice(&document);
            self.sink.end_document()?;
        }
        Ok(())
    }

    /// Gives up all spans. What they were to emit is read again.
    pub(in crate::capture) async fn end_spans(&mut self) -> Result<()> {
        self.spans.release().await;
        self.close_ranges()
    }

    /// Gives up all spans but so many.
    pub(super) async fn end_spans_behind(&mut self, remaining: usize) -> Result<()> {
        self.spans.release_behind(remaining).await;
        self.close_ranges()
    }

    /// Emits what is owed of changes that were kept for spans which are gone. The others are in what
    /// later snapshots have to contain.
    pub(in crate::capture) fn close_ranges(&mut self) -> Result<()> {
        for index in 0..self.tables.len() {
            let Some(scan) = &mut self.tables.get_mut(index).ok_or_else(unknown)?.scan else {
                continue;
            };
            let mut documents = Vec::new();
            let open = &self.spans.open;
            scan.ranges.retain_mut(|range| {
                let is_open = open.iter().any(|span| span.number == range.span);
                if !is_open {
                    documents.append(&mut range.deferred.take_required());
                }
                is_open
            });
            self.emit_kept(index, documents)?;
        }
        Ok(())
    }

    /// Gives up spans whose kept changes take too much memory.
    pub(in crate::capture) async fn bound_deferred(&mut self) -> Result<()> {
        let bytes: usize = self.tables.iter().map(Table::deferred_bytes).sum();
        if bytes >= DEFERRED_BYTES {
            debug!(
                bytes,
                "spans are given up: too many of their rows change meanwhile"
            );
            if self.spans.open.len() == 1 && !self.spans.have_emitted() {
                self.spans.unlucky += 1;
            }
            // The first comes to its end by itself, and gives back what is kept.
            self.end_spans_behind(usize::from(self.spans.open.len() > 1))
                .await?;
        }
        Ok(())
    }
}
