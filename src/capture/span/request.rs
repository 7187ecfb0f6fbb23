//! What spans are asked for, and where each begins.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{End, Span};
use crate::backfill::{SpanReader, SpanRequest, Window};
use crate::capture::deferred::DeferredChanges;
use crate::capture::engine::Engine;
use crate::capture::rows::{SpanRun, depth};
use crate::capture::sink::Sink;
use crate::capture::state::Mode;
use crate::capture::table::SpanRange;
use crate::client::Client;
use crate::error::Result;
use crate::record::RowKey;

/// How long rows are asked for from one snapshot. For so long the server keeps dead rows, and whoever
/// wants the table for himself waits.
const SPAN_TIME: Duration = Duration::from_secs(5);
/// The most rows of a span, and the most chunks: more than come in that time, since between two spans
/// there are round trips with nothing under way. Of what is held in memory only the windows of a scan
/// by position grow with them, a few hundred bytes each. Changes that are kept, and checkpoints that wait
/// for these, have bounds of their own.
const SPAN_ROWS: u32 = 8 * 1024 * 1024;
const SPAN_CHUNKS: u32 = 2048;

/// The most rows and chunks of a span where others are read beside it, and what their documents are to
/// come to: what is read ahead waits in the sockets.
const SECTION_ROWS: u32 = 65_536;
const SECTION_CHUNKS: u32 = 256;
const SECTION_BYTES: u64 = 16 * 1024 * 1024;
/// How soon a span behind others is asked for again whose snapshot came too early.
const READ_AGAIN: Duration = Duration::from_secs(1);

impl<S: Sink> Engine<S> {
    /// Returns whether changes of a table are judged by the keys that a chunk was found to hold: then
    /// its rows come before them.
    pub(in crate::capture) fn is_judged_by_rows(&self, index: usize) -> Result<bool> {
        Ok(self.table(index)?.state.mode == Mode::Backfill && !self.scan(index)?.comparable)
    }

    /// Asks for spans as long as there are connections, and it is known where the next begins. Returns
    /// whether there is a span now.
    pub(super) async fn request_spans(&mut self, index: usize) -> Result<bool> {
        let most = usize::try_from(self.config.backfill_connections).unwrap_or(1);
        while self.spans.open.len() < most {
            let is_soon = |then: Instant| then.elapsed() < READ_AGAIN;
            let next = match self.spans.open.back() {
                Some(_) if self.spans.too_early.is_some_and(is_soon) => None,
                None => Some((index, self.scan(index)?.position.clone())),
                Some(Span { end, table, .. }) => match end {
                    End::Unknown => None,
                    End::Key(key) => Some((*table, Some(key.clone()))),
                    End::Table => self.next_table()?,
                },
            };
            let Some((index, after)) = next else { break };
            let windows = match self.next_windows(index, self.most_chunks(index)?).await {
                Ok(windows) => windows,
                Err(error) => {
                    self.on_scan_error(index, error).await?;
                    break;
                }
            };
            let Some(client) = self.spans.connection(&self.connect).await? else {
                break;
            };
            self.request_span(client, index, after, windows).await?;
        }
        Ok(!self.spans.open.is_empty())
    }

    /// The table that comes behind those which are being read, and where its scan stands.
    fn next_table(&self) -> Result<Option<(usize, Option<RowKey>)>> {
        let open: Vec<_> = self.spans.open.iter().map(|span| span.table).collect();
        let Some(index) = self.next_backfill(&open) else {
            return Ok(None);
        };
        if self.is_locked(index)? {
            return Ok(None);
        }
        if self.is_judged_by_rows(index)? || self.scan_by_position(index)? {
            // Its pages are counted over the connection for queries, which may wait for a lock.
            return Ok(None);
        }
        Ok(Some((index, self.scan(index)?.position.clone())))
    }

    fn scan_by_position(&self, index: usize) -> Result<bool> {
        Ok(self.table(index)?.state.mode == Mode::KeylessBackfill)
    }

    /// The chunks of a range, if a table can be read in ranges: by a key in an order that is known
    /// here, and that an index has.
    fn section_chunks(&self, index: usize) -> Result<Option<u32>> {
        let table = self.table(index)?;
        let (Some(scan), Some(info)) = (&table.scan, &table.info) else {
            return Ok(None);
        };
        let names = || scan.table.key_columns.iter().map(|(name, _)| name);
        let is_key = |columns: &[String]| names().eq(columns);
        let is_indexed = info.primary_key.as_deref().is_some_and(is_key)
            || info
                .unique_indexes
                .iter()
                .any(|index| is_key(&index.columns));
        let is_nullable = scan.table.key_columns.iter().any(|(_, nullable)| *nullable);
        // The condition of a filter would be evaluated twice, and may take any time.
        let is_filtered = scan.table.filter.is_some();
        // A change of a row that can leap from one range to another is of no range.
        let may_leap = table.scan_may_miss_rows();
        let may_be_cut = scan.comparable && is_indexed && !is_nullable && !is_filtered && !may_leap;
        if self.config.backfill_connections < 2 || !may_be_cut {
            return Ok(None);
        }
        let by_rows = u64::from(SECTION_ROWS / scan.table.chunk_size);
        let by_bytes = SECTION_BYTES
            .checked_div(scan.chunk_bytes)
            .unwrap_or(by_rows);
        let chunks = u32::try_from(by_rows.min(by_bytes)).unwrap_or(SECTION_CHUNKS);
        Ok(Some(chunks.clamp(1, SECTION_CHUNKS)))
    }

    /// The most chunks of a span.
    fn most_chunks(&self, index: usize) -> Result<u32> {
        let chunk_size = self.scan(index)?.table.chunk_size;
        Ok((SPAN_ROWS / chunk_size).clamp(1, SPAN_CHUNKS))
    }

    /// Asks for a span of a table, behind a key or for windows.
    async fn request_span(
        &mut self,
        mut client: Client,
        index: usize,
        after: Option<RowKey>,
        windows: VecDeque<(Window, bool)>,
    ) -> Result<()> {
        let range = self.section_chunks(index)?;
        let chunk_size = self.scan(index)?.table.chunk_size;
        let chunks = range.unwrap_or(self.most_chunks(index)?);
        let (rows, extra_columns) = self.rows_of_span(index, after.as_ref(), &windows, chunks)?;
        let lock = self.lock(index)?;
        let columns = self.columns_expression(index)?;
        let scan = self.scan(index)?;
        let last_key = range.map(|chunks| {
            let after = after.as_ref().map(|key| key.parameters(&scan.codecs));
            let rows = u64::from(chunks) * u64::from(chunk_size);
            scan.table.last_key(after.as_deref(), rows)
        });
        let depth = depth(self.table(index)?);
        let request = SpanRequest {
            rows,
            lock: lock.as_deref(),
            lock_timeout: self.lock_timeout_of_span(),
            columns: &columns,
            last_key: last_key.as_ref(),
            standby: self.standby,
            depth,
        };
        let reader = SpanReader::request(&mut client, request).await?;
        let time = match self.config.statement_timeout {
            Some(timeout) => SPAN_TIME.min(timeout / 2),
            None => SPAN_TIME,
        };
        self.spans.numbers += 1;
        let number = self.spans.numbers;
        let table = self.table_mut(index)?;
        let awaited = table.unseen.clone();
        if let Some(scan) = &mut table.scan {
            scan.ranges.push_back(SpanRange {
                span: number,
                until: None,
                snapshot: None,
                deferred: DeferredChanges::default(),
            });
        }
        self.spans.open.push_back(Span {
            number,
            table: index,
            client,
            run: SpanRun::new(reader, windows, extra_columns, time),
            requested: Instant::now(),
            awaited,
            chunks,
            passed: false,
            is_section: range.is_some(),
            end: End::Unknown,
        });
        Ok(())
    }
}
