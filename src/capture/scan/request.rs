//! Requests for spans, and where each begins.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::chunk_reader::ChunkReader;
use super::spans::{Span, SpanEnd};
use crate::backfill::{ExtraColumns, SpanRequest, SpanRows, Window};
use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::table::{DeferredChanges, ScannedTable, SpanRange, TableIndex};
use crate::catalog::{columns_expression, measure_pages};
use crate::client::Client;
use crate::error::Result;
use crate::record::RowKey;

/// Time for which rows are requested from one snapshot. The server keeps dead rows for that time,
/// and a session that wants an exclusive lock on the table waits.
const SPAN_TIME: Duration = Duration::from_secs(5);
/// Limits of the rows and chunks of a span: more than arrive in that time, since between two spans
/// there are round trips without rows. Memory grows with them only by the windows of a scan by
/// position, a few hundred bytes each. Deferred changes, and checkpoints that wait for these, have
/// limits of their own.
const SPAN_ROWS: u32 = 8 * 1024 * 1024;
const SPAN_CHUNKS: u32 = 2048;

/// Limits of the rows and chunks of a range, while others are read at the same time, and the size
/// of their documents: what is read ahead waits in the sockets.
const RANGE_ROWS: u32 = 65_536;
const RANGE_CHUNKS: u32 = 256;
const RANGE_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of documents that are requested ahead of the current chunk: more than arrives in some 20
/// ms, so that a server at that distance always has something to send.
const AHEAD_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of documents that are requested in a scan by position, the current chunk included: so few
/// that the sockets take them. A statement that waits for the output reaches its timeout, and then
/// it is unknown which rows of its window have arrived.
const AHEAD_BYTES_BY_POSITION: u64 = 4 * 1024 * 1024;
/// Limit of the chunks that are requested at once, the current one included.
const MAX_AHEAD: u64 = 64;

impl ScannedTable<'_> {
    /// Returns how many chunks are requested at once, by the size of the last chunk.
    pub(super) fn depth(&self) -> u32 {
        let chunks = match self.scan.chunk_bytes {
            0 => 2,
            bytes if self.is_by_position() => AHEAD_BYTES_BY_POSITION / bytes,
            bytes => 1 + AHEAD_BYTES.div_ceil(bytes),
        };
        u32::try_from(chunks.clamp(2, MAX_AHEAD)).unwrap_or(2)
    }

    /// Returns the limit of the chunks of a span.
    fn max_chunks(&self) -> u32 {
        (SPAN_ROWS / self.scan.table.chunk_size).clamp(1, SPAN_CHUNKS)
    }

    /// Returns the chunks of a range, if the table can be read in ranges: by a key whose order is
    /// known here and which an index has.
    fn range_chunks(&self) -> Option<u32> {
        let names = || self.scan.table.key_columns.iter().map(|(name, _)| name);
        let is_key = |columns: &[String]| names().eq(columns);
        let info = &self.scan.info;
        let is_indexed = info.primary_key.as_deref().is_some_and(is_key)
            || info
                .unique_indexes
                .iter()
                .any(|index| is_key(&index.columns));
        let mut columns = self.scan.table.key_columns.iter();
        let is_nullable = columns.any(|(_, nullable)| *nullable);
        // The condition of a filter would be evaluated twice, and may take any time.
        let is_filtered = self.scan.table.filter.is_some();
        // A change that moves a row from one range to another belongs to no range.
        let has_ranges = self.scan.comparable && is_indexed && !is_nullable;
        if !has_ranges || is_filtered || self.rows_may_move {
            return None;
        }
        let by_rows = u64::from(RANGE_ROWS / self.scan.table.chunk_size);
        let by_bytes = RANGE_BYTES
            .checked_div(self.scan.chunk_bytes)
            .unwrap_or(by_rows);
        let chunks = u32::try_from(by_rows.min(by_bytes)).unwrap_or(RANGE_CHUNKS);
        Some(chunks.clamp(1, RANGE_CHUNKS))
    }

    /// Returns the rows that a span asks for, and the leading columns that are not the table's.
    pub(super) fn rows(
        &self,
        after: Option<&RowKey>,
        windows: &VecDeque<(Window, bool)>,
        chunks: u32,
    ) -> (SpanRows, ExtraColumns) {
        let scan = &self.scan;
        if self.is_by_position() {
            let query = |(window, _): &(Window, bool)| scan.table.rows_in(*window);
            let rows = SpanRows::Statements(windows.iter().map(query).collect());
            return (rows, ExtraColumns::Position);
        }
        let after = after.map(|key| key.parameters(&scan.codecs));
        let query = scan.table.rows_after(after.as_deref(), chunks);
        let extra_columns = query.extra_columns;
        let rows = SpanRows::Batches {
            query,
            rows: scan.table.chunk_size,
            count: chunks,
        };
        (rows, extra_columns)
    }

    /// Returns the request for rows, all of them at once and without the key of the last one. The
    /// table is locked first, unless the role may not lock it.
    pub(super) fn request(
        &self,
        rows: SpanRows,
        lock_timeout: Duration,
        standby: bool,
    ) -> SpanRequest {
        let scan = &self.scan;
        SpanRequest {
            rows,
            lock: scan.may_lock.then(|| scan.table.lock_statement()),
            lock_timeout,
            columns: columns_expression(&scan.info, scan.table.server_version),
            last_key: None,
            standby,
            depth: 1,
        }
    }
}

impl<S: Sink> Session<S> {
    /// Requests spans as long as there are connections, and it is known where the next span begins.
    /// Returns whether there is a span.
    pub(super) async fn request_spans(&mut self, index: TableIndex) -> Result<bool> {
        let connections = self.settings.config.backfill_connections;
        let max_open = usize::try_from(connections).unwrap_or(1);
        while self.spans.open.len() < max_open {
            let Some((index, after)) = self.next_start(index) else {
                break;
            };
            let Some(table) = self.tables.scanned(index) else {
                break;
            };
            let count = table.max_chunks();
            let windows = match self.next_windows(index, count).await {
                Ok(windows) => windows,
                Err(error) => {
                    self.on_scan_error(index, error).await?;
                    break;
                }
            };
            let connect = self.server.connect_config();
            let Some(client) = self.spans.connection(connect).await? else {
                break;
            };
            self.request_span(client, index, after, windows).await?;
        }
        Ok(!self.spans.open.is_empty())
    }

    /// Returns the table of the next span and the key after which it begins, if that is known. The
    /// first span is one of the table `index`.
    fn next_start(&mut self, index: TableIndex) -> Option<(TableIndex, Option<RowKey>)> {
        let Some(last) = self.spans.open.back() else {
            let table = self.tables.scanned(index)?;
            return Some((index, table.scan.position.clone()));
        };
        if !self.spans.may_request_after() {
            return None;
        }
        match &last.end {
            SpanEnd::Unknown => None,
            SpanEnd::Key(key) => Some((last.table, Some(key.clone()))),
            SpanEnd::Table => self.next_table(),
        }
    }

    /// Returns the table after those that are being read, and the position of its scan.
    fn next_table(&mut self) -> Option<(TableIndex, Option<RowKey>)> {
        let open: Vec<_> = self.spans.open.iter().map(|span| span.table).collect();
        let index = self.tables.next_backfill(&open)?;
        if self.tables.is_locked(index) {
            return None;
        }
        let table = self.tables.scanned(index)?;
        // The pages of a scan by position are counted over the connection for queries, which may
        // wait for a lock.
        let is_ahead = !table.is_matched_by_equality() && !table.is_by_position();
        is_ahead.then(|| (index, table.scan.position.clone()))
    }

    /// Returns the next windows of a scan by position, each with whether it is the last of the
    /// table; none for a scan by key.
    pub(super) async fn next_windows(
        &mut self,
        index: TableIndex,
        count: u32,
    ) -> Result<VecDeque<(Window, bool)>> {
        let mut windows = VecDeque::new();
        let lock_timeout = self.lock_timeout();
        let Some(table) = self.tables.scanned(index) else {
            return Ok(windows);
        };
        if !table.is_by_position() {
            return Ok(windows);
        }
        let scan = table.scan;
        let pages = measure_pages(self.server.client(), &scan.info, lock_timeout).await?;
        let partitions = u32::try_from(scan.info.leaves.len()).unwrap_or(u32::MAX);
        let mut after = scan.physical;
        for _ in 0..count {
            let mut window = Window::starting_after(after, scan.table.chunk_size, partitions);
            if let Some(limit) = scan.pages {
                window = window.limited_to(limit);
            }
            let is_last = window.reaches_end(pages.largest);
            windows.push_back((window, is_last));
            if is_last {
                break;
            }
            after = window.until;
        }
        Ok(windows)
    }

    /// Requests a span of a table, after a key or for windows.
    async fn request_span(
        &mut self,
        mut client: Client,
        index: TableIndex,
        after: Option<RowKey>,
        windows: VecDeque<(Window, bool)>,
    ) -> Result<()> {
        let lock_timeout = self.lock_timeout_of_span();
        let Some(table) = self.tables.scanned(index) else {
            return Ok(());
        };
        let has_several = self.settings.config.backfill_connections > 1;
        let range = has_several.then(|| table.range_chunks()).flatten();
        let max_chunks = range.unwrap_or(table.max_chunks());
        let (rows, extra_columns) = table.rows(after.as_ref(), &windows, max_chunks);
        let last_key = range.map(|chunks| {
            let after = after.as_ref().map(|key| key.parameters(&table.scan.codecs));
            let rows = u64::from(chunks) * u64::from(table.scan.table.chunk_size);
            table.scan.table.last_key(after.as_deref(), rows)
        });
        let request = SpanRequest {
            last_key,
            depth: table.depth(),
            ..table.request(rows, lock_timeout, self.server.is_standby())
        };
        let reader = request.send(&mut client).await?;
        let time = match self.settings.config.statement_timeout {
            Some(timeout) => SPAN_TIME.min(timeout / 2),
            None => SPAN_TIME,
        };
        let number = self.spans.next_number();
        table.scan.ranges.push_back(SpanRange {
            span: number,
            until: None,
            snapshot: None,
            deferred: DeferredChanges::default(),
        });
        self.spans.open.push_back(Span {
            number,
            table: index,
            client,
            chunks: ChunkReader::new(reader, windows, extra_columns, time),
            requested: Instant::now(),
            awaited: self.tables[index].unseen.clone(),
            max_chunks,
            is_fence_passed: false,
            is_range: range.is_some(),
            end: SpanEnd::Unknown,
        });
        Ok(())
    }
}
