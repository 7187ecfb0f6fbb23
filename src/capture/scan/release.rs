//! Giving spans up.

use tracing::debug;

use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::table::TableIndex;
use crate::error::Result;

/// Memory for the deferred changes of all tables, in bytes.
const DEFERRED_BYTES: usize = 16 * 1024 * 1024;

impl<S: Sink> Session<S> {
    /// Gives up all spans. The rows that they have not emitted are read again.
    pub(in crate::capture) async fn end_spans(&mut self) -> Result<()> {
        self.end_spans_after(0).await
    }

    /// Gives up all spans except the first `remaining`.
    pub(super) async fn end_spans_after(&mut self, remaining: usize) -> Result<()> {
        self.spans.release_after(remaining).await;
        self.close_ranges()
    }

    /// Closes the ranges of spans that were given up: emits the deferred changes that must be
    /// emitted. The others are among the commits that later snapshots have to contain.
    pub(in crate::capture) fn close_ranges(&mut self) -> Result<()> {
        for index in self.tables.indices() {
            let Some(scan) = &mut self.tables[index].scan else {
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
            self.emit_deferred(index, documents)?;
        }
        Ok(())
    }

    /// Emits documents of deferred changes.
    pub(super) fn emit_deferred(
        &mut self,
        index: TableIndex,
        documents: Vec<Box<[u8]>>,
    ) -> Result<()> {
        let binding = self.tables[index].binding;
        for document in documents {
            self.sink.begin_document(binding);
            self.sink.buffer().extend_from_slice(&document);
            self.sink.end_document()?;
        }
        Ok(())
    }

    /// Gives up spans if their deferred changes take too much memory.
    pub(in crate::capture) async fn limit_deferred(&mut self) -> Result<()> {
        let bytes = self.tables.deferred_bytes();
        if bytes >= DEFERRED_BYTES {
            debug!(bytes, "spans given up: too many of their rows are changing");
            let open = self.spans.open.len();
            if open == 1 && !self.spans.have_emitted() {
                self.spans.note_fruitless();
            }
            // The first of several comes to its end by itself, and frees its deferred changes.
            self.end_spans_after(usize::from(open > 1)).await?;
        }
        Ok(())
    }
}
