//! One chunk of a backfill: read, emitted, and the stream followed past what it contains.

use std::collections::HashSet;
use std::time::Instant;

use tracing::{debug, info, warn};

use super::engine::{Engine, Following};
use super::fence::Checkpoints;
use super::rows::{ChunkPlan, Progress, unknown};
use super::sink::Sink;
use super::state::{Mode, Scanned};
use super::table::{LastChunk, Scan, Table};
use super::waiting::Patience;
use crate::backfill::{ChunkEnd, ChunkQuery, ChunkReader, ChunkStart, RowStep, View, Window};
use crate::catalog::measure_pages;
use crate::error::{Error, ErrorKind, Result};
use crate::record::RecordArena;

/// SQLSTATE query_canceled: the statement timeout, or somebody's pg_cancel_backend.
const QUERY_CANCELED: &str = "57014";

impl<S: Sink> Engine<S> {
    /// Reads a chunk of a table and follows the stream past it.
    pub(super) async fn backfill(&mut self, following: &mut Following, index: usize) -> Result<()> {
        self.report_status("Backfilling Tables");
        let window = self.next_window(index).await?;
        let query = {
            let scan = self.scan(index)?;
            match &window {
                Some((window, _)) => scan.table.keyless(*window),
                None => scan.table.keyed(
                    scan.position
                        .as_ref()
                        .map(|key| key.parameters(&scan.codecs))
                        .as_deref(),
                ),
            }
        };
        let started = Instant::now();
        let (mut reader, start) = self.start_chunk(following, index, &query).await?;
        if self.owed {
            // It was held back for commits that this chunk contains; its rows come after.
            self.checkpoint()?;
        }
        let (fence, flushed) = (start.fence, start.flushed);
        let (mut progress, end) = self.read_rows(index, &query, &start, &mut reader).await?;
        reader.finish(&mut self.client).await?;
        self.advance(index, window, start.view, &mut progress, end)?;
        let table = self.tables.get(index).ok_or_else(unknown)?;
        let milliseconds = started.elapsed().as_millis();
        let backfilled = table.state.backfilled;
        // Chunks are small: not every one is worth a line.
        if self.housekeeping.is_chunk_news(table.binding) {
            info!(stream = %table.id, rows = progress.emitted, milliseconds, backfilled,
                "backfill chunk processed");
        } else {
            debug!(stream = %table.id, rows = progress.emitted, milliseconds, backfilled,
                "backfill chunk processed");
        }
        if fence > flushed && !self.standby {
            self.nudge().await?;
        }
        self.stream_to(following, fence, Checkpoints::None).await?;
        let table = self.table_mut(index)?;
        let complete = match &mut table.scan {
            Some(scan) => scan.chunk.take().is_some_and(|chunk| chunk.complete),
            None => false,
        };
        if complete {
            info!(stream = %table.id, rows = table.state.backfilled, "backfill completed");
            table.complete();
            following.follower.relations.invalidate(&self.tables);
            self.prepare_all(following).await?;
        }
        self.owed = true;
        self.try_settle().await
    }

    /// The next window of a scan by physical position, and whether it is the last.
    async fn next_window(&mut self, index: usize) -> Result<Option<(Window, bool)>> {
        let table = self.tables.get(index).ok_or_else(unknown)?;
        if table.state.mode != Mode::KeylessBackfill {
            return Ok(None);
        }
        let (Some(scan), Some(info)) = (&table.scan, &table.info) else {
            return Err(unknown());
        };
        let pages = measure_pages(&mut self.client, info).await?;
        let partitions = u32::try_from(info.leaves.len()).unwrap_or(u32::MAX);
        let window = Window::next(scan.physical, scan.table.chunk_size, partitions);
        Ok(Some((window, window.is_last(pages.largest))))
    }

    /// Starts reading a chunk whose view contains what it has to. As long as it does not, the stream is
    /// followed.
    async fn start_chunk(
        &mut self,
        following: &mut Following,
        index: usize,
        query: &ChunkQuery,
    ) -> Result<(ChunkReader, ChunkStart)> {
        let mut patience = Patience::new();
        loop {
            let started = ChunkReader::start(&mut self.client, query, self.standby).await;
            let (reader, start) = match started {
                Ok(started) => started,
                Err(error) => return Err(failed(self.table(index)?, error)),
            };
            self.resolve(&start.view);
            if !self.awaits_commits() && self.table(index)?.barrier.is_empty() {
                return Ok((reader, start));
            }
            reader.discard(&mut self.client).await?;
            let stream = self.table(index)?.id.to_string();
            let what = format!("the backfill chunk of table \"{stream}\" is read again");
            let mut said = false;
            loop {
                let missing = self.missing_from_view(index).await?;
                if missing.is_empty() {
                    break;
                }
                if !said {
                    info!(%stream, transactions = missing.len(), "backfill chunk was read too early");
                    said = true;
                }
                self.say(&what, &missing, &mut patience).await?;
                let end = Instant::now() + patience.pause();
                if self.stop_when_caught_up {
                    self.stream_for(following, end, Checkpoints::None).await?;
                } else {
                    self.stream_for(following, end, Checkpoints::AtCommits)
                        .await?;
                }
                self.take_view().await?;
            }
        }
    }

    /// Emits the rows of a chunk.
    async fn read_rows(
        &mut self,
        index: usize,
        query: &ChunkQuery,
        start: &ChunkStart,
        reader: &mut ChunkReader,
    ) -> Result<(Progress, ChunkEnd)> {
        let mut arena = RecordArena::default();
        let mut progress = Progress::default();
        let table = self.table(index)?;
        if table.state.mode == Mode::Backfill && !self.scan(index)?.comparable {
            progress.keys = Some(HashSet::new());
        }
        let mut plan = None;
        loop {
            let Some(step) = reader.try_step(&mut self.client)? else {
                reader.fill(&mut self.client).await?;
                continue;
            };
            match step {
                RowStep::Description(description) => {
                    let table = self.tables.get(index).ok_or_else(unknown)?;
                    let tag = self.config.source_tag.as_deref();
                    plan = Some(ChunkPlan::new(
                        table,
                        &description,
                        query.helper_columns,
                        tag,
                        &self.types,
                        &self.plan_options,
                    )?);
                }
                RowStep::Row(row) => {
                    let table = self.tables.get_mut(index).ok_or_else(unknown)?;
                    let plan = plan.as_ref().ok_or_else(|| {
                        Error::new(ErrorKind::Protocol, "rows came without their description")
                    })?;
                    plan.emit(&row, table, &arena, &mut progress, &mut self.sink, start)?;
                    arena.reset();
                }
                RowStep::End(end) => return Ok((progress, end)),
                RowStep::Other => {}
            }
        }
    }

    /// Moves the scan on.
    fn advance(
        &mut self,
        index: usize,
        window: Option<(Window, bool)>,
        view: View,
        progress: &mut Progress,
        end: ChunkEnd,
    ) -> Result<()> {
        let table = self.table_mut(index)?;
        let Some(scan) = &mut table.scan else {
            return Err(unknown());
        };
        let chunk_size = u64::from(scan.table.chunk_size);
        let mut complete = match window {
            Some((_, is_last)) => is_last,
            None => progress.scanned < chunk_size,
        };
        if let ChunkEnd::Failed(error) = end {
            let partial = window.is_none() && progress.has_last;
            if error.sqlstate() != Some(QUERY_CANCELED) || !partial {
                return Err(failed(table, error));
            }
            warn!(stream = %table.id, rows = progress.emitted,
                "a backfill chunk was cut short by the statement timeout; the scan goes on behind \
                 its last row");
            complete = false;
        }
        let after = scan.position.take();
        if let Some((window, _)) = window {
            scan.physical = window.until;
        } else if progress.has_last {
            scan.position = Some(progress.last.clone());
        } else {
            scan.position.clone_from(&after);
        }
        let scanned = match (&window, &scan.position) {
            (Some((window, _)), _) => Some(window.until.to_string().into_bytes()),
            (None, Some(position)) => Some(position.encode(&scan.codecs)),
            (None, None) => None,
        };
        scan.chunk = Some(LastChunk {
            after,
            view,
            keys: progress.keys.take(),
            complete,
        });
        let emitted = progress.emitted;
        table.update_state(|state| {
            state.scanned = Scanned(scanned);
            state.backfilled += emitted;
        });
        Ok(())
    }

    fn scan(&self, index: usize) -> Result<&Scan> {
        self.table(index)?.scan.as_ref().ok_or_else(unknown)
    }

    fn table(&self, index: usize) -> Result<&Table> {
        self.tables.get(index).ok_or_else(unknown)
    }

    fn table_mut(&mut self, index: usize) -> Result<&mut Table> {
        self.tables.get_mut(index).ok_or_else(unknown)
    }
}

fn failed(table: &Table, error: Error) -> Error {
    error.context(format!("the backfill of table \"{}\" failed", table.id))
}
