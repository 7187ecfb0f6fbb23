//! One chunk that is read by itself: its rows, and then the stream past what they contain.
//!
//! That is how a table is read where only the equality of keys can be told and changes are judged by
//! it, and where no connection can be had for spans.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::chunk_plan::PlanContext;
use super::engine::{ChangeStream, Engine};
use super::fence::Checkpoints;
use super::locks::LOCK_SHARE;
use super::rows::{ChunkEnd, SpanRun, unknown};
use super::sink::Sink;
use super::state::{Mode, Scanned};
use super::table::{Scan, Table, UnfencedChunk};
use super::waiting::Patience;
use crate::backfill::{ExtraColumns, SpanReader, SpanRequest, SpanRows, Window};
use crate::catalog::{columns_expression, measure_pages};
use crate::error::{Error, Result};
use crate::record::RowKey;

/// SQLSTATE query_canceled: the statement timeout, or somebody's pg_cancel_backend.
const QUERY_CANCELED: &str = "57014";
/// What ends a span and leaves the rows that came before valid: besides that, the timeouts for
/// transactions that are idle or long, and a standby's conflict with what it replays.
const CUT_SHORT: [&str; 4] = [QUERY_CANCELED, "25P03", "25P04", "40001"];

impl<S: Sink> Engine<S> {
    /// Reads a chunk of a table and follows the stream past it.
    pub(super) async fn backfill_chunk(
        &mut self,
        changes: &mut ChangeStream,
        index: usize,
    ) -> Result<()> {
        let started = Instant::now();
        let Some(mut run) = self.start_chunk(changes, index).await? else {
            return Ok(());
        };
        if self.checkpoint_due {
            // It was held back for commits that this chunk contains; its rows come after.
            self.checkpoint()?;
        }
        let Some(start) = run.start.clone() else {
            return Err(unknown());
        };
        let after = self.scan(index)?.position.clone();
        if self.is_judged_by_rows(index)? {
            run.progress.keys = Some(HashSet::new());
        }
        let table = self.tables.get_mut(index).ok_or_else(unknown)?;
        let context = PlanContext {
            tag: self.config.source_tag.as_deref(),
            types: &self.types,
            options: &self.plan_options,
        };
        let end = run
            .read_chunk(&mut self.client, table, &context, &mut self.sink, None)
            .await?;
        let complete = self.advance(index, &mut run, end, started)?;
        let keys = run.progress.keys.take();
        run.reader.finish(&mut self.client).await?;
        let Some(scan) = &mut self.table_mut(index)?.scan else {
            return Err(unknown());
        };
        scan.chunk = Some(UnfencedChunk {
            after,
            snapshot: start.snapshot,
            keys,
            complete,
        });
        if start.fence > start.flushed && !self.standby {
            self.advance_wal().await?;
        }
        self.stream_to(changes, start.fence, Checkpoints::None)
            .await?;
        if let Some(scan) = &mut self.table_mut(index)?.scan {
            scan.chunk = None;
        }
        if complete {
            self.complete_table(changes, index).await?;
        }
        self.checkpoint_due = true;
        self.try_settle().await
    }

    /// Starts reading a chunk whose snapshot contains what it has to. As long as it does not, the stream is
    /// followed. Nothing is started where somebody else has locked the table.
    async fn start_chunk(
        &mut self,
        changes: &mut ChangeStream,
        index: usize,
    ) -> Result<Option<SpanRun>> {
        loop {
            let windows = match self.next_windows(index, 1).await {
                Ok(windows) => windows,
                Err(error) => {
                    self.on_scan_error(index, error).await?;
                    self.follow_for(changes, LOCK_SHARE).await?;
                    return Ok(None);
                }
            };
            let after = self.scan(index)?.position.clone();
            let (rows, extra_columns) = self.rows_of_span(index, after.as_ref(), &windows, 1)?;
            let lock = self.lock(index)?;
            let columns = self.columns_expression(index)?;
            let request = SpanRequest {
                rows,
                lock: lock.as_deref(),
                lock_timeout: self.lock_timeout(),
                columns: &columns,
                last_key: None,
                standby: self.standby,
                depth: 1,
            };
            let reader = SpanReader::request(&mut self.client, request).await?;
            // It was all asked for at once.
            let mut run = SpanRun::new(reader, windows, extra_columns, Duration::ZERO);
            let started = loop {
                match run.reader.try_start(&mut self.client) {
                    Ok(None) => run.reader.fill(&mut self.client).await?,
                    Ok(Some(start)) => break Ok(start),
                    Err(error) => break Err(error),
                }
            };
            match started {
                Ok(start) if !self.is_as_known(index, &start.columns)? => {
                    run.reader.finish(&mut self.client).await?;
                    self.look_up_scanned(index).await?;
                }
                Ok(start) => {
                    self.resolve(&start.snapshot);
                    if let Some(scan) = &mut self.table_mut(index)?.scan {
                        scan.locked = None;
                    }
                    if !self.awaits_commits() && self.table(index)?.initial_wait.is_empty() {
                        run.start = Some(start);
                        return Ok(Some(run));
                    }
                    run.reader.finish(&mut self.client).await?;
                    self.until_visible(changes, index).await?;
                }
                Err(error) => {
                    // Free before it is asked who has locked the table.
                    run.reader.finish(&mut self.client).await?;
                    self.on_scan_error(index, error).await?;
                    if self.is_locked(index)? {
                        self.follow_for(changes, LOCK_SHARE).await?;
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Follows the stream until what a chunk of a table has to contain is visible.
    pub(super) async fn until_visible(
        &mut self,
        changes: &mut ChangeStream,
        index: usize,
    ) -> Result<()> {
        let stream = self.table(index)?.id.to_string();
        let what = format!("the backfill chunk of table \"{stream}\" is read again");
        let mut patience = Patience::new();
        let mut said = false;
        loop {
            let missing = self.missing_from_snapshot(index).await?;
            if missing.is_empty() {
                return Ok(());
            }
            if !said {
                info!(%stream, transactions = missing.len(), "backfill chunk was read too early");
                said = true;
            }
            self.say(&what, &missing, &mut patience).await?;
            self.follow_for(changes, patience.pause()).await?;
            self.take_snapshot().await?;
        }
    }

    /// Follows the stream for a time, with checkpoints where they are due.
    pub(super) async fn follow_for(
        &mut self,
        changes: &mut ChangeStream,
        time: Duration,
    ) -> Result<()> {
        let checkpoints = self.stream_checkpoints();
        self.stream_for(changes, Instant::now() + time, checkpoints)
            .await
    }

    /// The next windows of a scan by physical position, each with whether it is the last.
    pub(super) async fn next_windows(
        &mut self,
        index: usize,
        count: u32,
    ) -> Result<VecDeque<(Window, bool)>> {
        let mut windows = VecDeque::new();
        let table = self.tables.get(index).ok_or_else(unknown)?;
        if table.state.mode != Mode::KeylessBackfill {
            return Ok(windows);
        }
        let (Some(scan), Some(info)) = (&table.scan, &table.info) else {
            return Err(unknown());
        };
        let lock_timeout = self.lock_timeout();
        let pages = measure_pages(&mut self.client, info, lock_timeout).await?;
        let partitions = u32::try_from(info.leaves.len()).unwrap_or(u32::MAX);
        let mut after = scan.physical;
        for _ in 0..count {
            let mut window = Window::next(after, scan.table.chunk_size, partitions);
            if let Some(most) = scan.pages {
                window = window.narrowed(most);
            }
            let is_last = window.is_last(pages.largest);
            windows.push_back((window, is_last));
            if is_last {
                break;
            }
            after = window.until;
        }
        Ok(windows)
    }

    /// What a span asks for, and which columns of its rows are not the table's.
    pub(super) fn rows_of_span(
        &self,
        index: usize,
        after: Option<&RowKey>,
        windows: &VecDeque<(Window, bool)>,
        chunks: u32,
    ) -> Result<(SpanRows, ExtraColumns)> {
        let scan = self.scan(index)?;
        if self.table(index)?.state.mode == Mode::KeylessBackfill {
            let query = |(window, _): &(Window, bool)| scan.table.keyless(*window);
            let rows = SpanRows::Statements(windows.iter().map(query).collect());
            return Ok((rows, ExtraColumns::Position));
        }
        let after = after.map(|key| key.parameters(&scan.codecs));
        let query = scan.table.keyed(after.as_deref(), chunks);
        let extra_columns = query.extra_columns;
        let rows = SpanRows::Batches {
            query,
            rows: scan.table.chunk_size,
            count: chunks,
        };
        Ok((rows, extra_columns))
    }

    /// The statement that locks the table, if that is to be tried.
    pub(super) fn lock(&self, index: usize) -> Result<Option<String>> {
        let scan = self.scan(index)?;
        Ok(scan.may_lock.then(|| scan.table.lock()))
    }

    /// The expression for the columns of the table.
    pub(super) fn columns_expression(&self, index: usize) -> Result<String> {
        let info = self.table(index)?.info.as_ref().ok_or_else(unknown)?;
        Ok(columns_expression(info, self.client.server_version_num()))
    }

    /// Moves the scan on behind a chunk. Returns whether it was the table's last.
    pub(super) fn advance(
        &mut self,
        index: usize,
        run: &mut SpanRun,
        end: ChunkEnd,
        started: Instant,
    ) -> Result<bool> {
        let table = self.table_mut(index)?;
        let Some(scan) = &mut table.scan else {
            return Err(unknown());
        };
        let keyless = table.state.mode == Mode::KeylessBackfill;
        let progress = &mut run.progress;
        let may_stop = keyless && progress.may_stop_amid(table.info.as_deref());
        let has_moved = progress.has_last && scan.position.as_ref() != Some(&progress.last);
        let window = if keyless {
            run.windows.front().copied()
        } else {
            None
        };
        let is_part = matches!(end, ChunkEnd::Part);
        let is_whole = matches!(end, ChunkEnd::Full | ChunkEnd::Complete);
        let complete = match end {
            ChunkEnd::Full => window.is_some_and(|(_, is_last)| is_last),
            ChunkEnd::Complete => true,
            ChunkEnd::Part => false,
            ChunkEnd::Nothing | ChunkEnd::Waiting => return Ok(false),
            ChunkEnd::Failed(error) => {
                let cut_short = error
                    .sqlstate()
                    .is_some_and(|code| CUT_SHORT.contains(&code));
                let narrower = window.and_then(|(window, _)| window.half());
                match (cut_short, narrower) {
                    (true, _) if may_stop && (progress.emitted > 0 || narrower.is_some()) => {
                        warn!(stream = %table.id, rows = progress.emitted,
                            "a backfill chunk was cut short by the statement timeout; the scan goes \
                             on behind its last row, with fewer pages at a time");
                        scan.pages = narrower.or(scan.pages);
                    }
                    (true, _) if progress.has_last => {
                        warn!(stream = %table.id, rows = progress.emitted,
                            "a backfill chunk was cut short by the statement timeout; the scan goes \
                             on behind its last row");
                        if !has_moved {
                            return Ok(false);
                        }
                    }
                    (true, Some(pages)) if progress.emitted == 0 => {
                        warn!(stream = %table.id, pages,
                            "a backfill chunk was cut short by the statement timeout; the next reads \
                             fewer pages");
                        scan.pages = Some(pages);
                        return Ok(false);
                    }
                    _ => return Err(failed(table, error)),
                }
                false
            }
        };
        let scanned = if let (true, Some((window, _))) = (is_whole, window) {
            run.windows.pop_front();
            scan.physical = window.until;
            progress.place = None;
            Some(scan.physical.to_string().into_bytes())
        } else if let (true, Some(place)) = (keyless, progress.place) {
            // The rest of the window is still to come.
            scan.physical = place;
            Some(scan.physical.to_string().into_bytes())
        } else {
            if progress.has_last {
                scan.position = Some(progress.last.clone());
            }
            scan.position.as_ref().map(|key| key.encode(&scan.codecs))
        };
        let emitted = std::mem::take(&mut progress.emitted);
        progress.chunks += u32::from(!is_part);
        progress.has_emitted = true;
        table.update_state(|state| {
            state.scanned = Scanned(scanned);
            state.backfilled += emitted;
        });
        let (milliseconds, backfilled) = (started.elapsed().as_millis(), table.state.backfilled);
        let (binding, stream) = (table.binding, table.id.to_string());
        // Chunks are small: not every one is worth a line.
        if self.housekeeping.is_chunk_news(binding) {
            info!(%stream, rows = emitted, milliseconds, backfilled, "backfill chunk processed");
        } else {
            debug!(%stream, rows = emitted, milliseconds, backfilled, "backfill chunk processed");
        }
        Ok(complete)
    }

    /// Notes that all rows of a table were emitted.
    pub(super) async fn complete_table(
        &mut self,
        changes: &mut ChangeStream,
        index: usize,
    ) -> Result<()> {
        let table = self.table_mut(index)?;
        info!(stream = %table.id, rows = table.state.backfilled, "backfill completed");
        table.complete();
        changes.dispatcher.relations.invalidate(&self.tables);
        self.prepare_all(changes).await
    }

    /// When checkpoints are emitted while the stream is followed amid a backfill.
    pub(super) fn stream_checkpoints(&self) -> Checkpoints {
        if self.stop_when_caught_up {
            Checkpoints::None
        } else {
            Checkpoints::AtCommits
        }
    }

    pub(super) fn scan(&self, index: usize) -> Result<&Scan> {
        self.table(index)?.scan.as_ref().ok_or_else(unknown)
    }

    pub(super) fn table(&self, index: usize) -> Result<&Table> {
        self.tables.get(index).ok_or_else(unknown)
    }

    pub(super) fn table_mut(&mut self, index: usize) -> Result<&mut Table> {
        self.tables.get_mut(index).ok_or_else(unknown)
    }
}

/// What the server reports of a text that is not a value of its type.
const NO_SUCH_VALUE: [&str; 4] = ["22003", "22007", "22008", "22P02"];

pub(super) fn failed(table: &Table, error: Error) -> Error {
    let goes_on = table
        .scan
        .as_ref()
        .is_some_and(|scan| scan.position.is_some());
    let hint = match error.sqlstate() {
        // Not its value is stored but its text, which may be no one's any more.
        Some(code) if goes_on && NO_SUCH_VALUE.contains(&code) => {
            "; if a label of the key's type was renamed meanwhile, or lc_monetary was set otherwise, it \
             has to start anew: increment the backfill counter of the binding"
        }
        _ => "",
    };
    error.context(format!(
        "the backfill of table \"{}\" failed{hint}",
        table.id
    ))
}
