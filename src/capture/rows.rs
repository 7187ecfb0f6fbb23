//! The rows of a span, chunk after chunk, and how far they have come.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use protocol::TupleArena;

use super::chunk_plan::{ChunkPlan, PlanContext};
use super::engine::internal;
use super::sink::Sink;
use super::state::Mode;
use super::table::Table;
use crate::backfill::{ChunkStart, ExtraColumns, Position, RowStep, SpanReader, Window};
use crate::catalog::{TableInfo, TableKind};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::record::RowKey;

/// What is known of a span while its rows arrive.
#[derive(Debug, Default)]
pub(super) struct ScanProgress {
    /// Rows that were emitted of the chunk under way.
    pub(super) emitted: u64,
    /// Rows of the table that the span has come past.
    pub(super) scanned: u64,
    /// The key of the last row.
    pub(super) last: RowKey,
    pub(super) has_last: bool,
    /// The physical position of the last row of the window under way.
    pub(super) place: Option<Position>,
    /// Rows have not come in the order of their positions.
    has_leapt: bool,
    /// Whether the scan has moved on with a chunk or a part of one.
    pub(super) has_emitted: bool,
    /// Chunks that are complete.
    pub(super) chunks: u32,
    /// The key of a row, kept for its memory.
    pub(super) key: RowKey,
    /// All keys, where only their equality can be told and changes are judged by it.
    pub(super) keys: Option<HashSet<RowKey>>,
}

impl ScanProgress {
    /// Notes the physical position of a row.
    #[inline]
    pub(super) fn come_to(&mut self, place: Position) {
        self.has_leapt |= self.place.is_some_and(|last| last >= place);
        self.place = Some(place);
    }

    /// Returns whether a scan by physical position can go on behind the last row: all rows of the table
    /// before it have come. Each partition has positions of its own.
    pub(super) fn may_stop_amid(&self, table: Option<&TableInfo>) -> bool {
        let is_single = table.is_some_and(|table| table.kind == TableKind::Ordinary);
        is_single && self.place.is_some() && !self.has_leapt
    }
}

/// How a chunk has ended.
#[derive(Debug)]
pub(super) enum ChunkEnd {
    /// As many rows have come as a chunk has, or all of its window.
    Full,
    /// The table has no more rows.
    Complete,
    /// The next row has not come for a while; those that have are emitted.
    Part,
    /// There was no row for a while.
    Waiting,
    /// There was no chunk: no more rows were asked for.
    Nothing,
    /// The server has given up; rows that came before are valid.
    Failed(Error),
}

/// The rows of a span, chunk after chunk.
#[derive(Debug)]
pub(super) struct SpanRun {
    pub(super) reader: SpanReader,
    pub(super) start: Option<ChunkStart>,
    pub(super) progress: ScanProgress,
    /// The windows of a scan by physical position, each with whether it is the last of the table.
    pub(super) windows: VecDeque<(Window, bool)>,
    /// The leading columns that are not the table's.
    pub(super) extra_columns: ExtraColumns,
    /// When no more is asked for.
    pub(super) deadline: Instant,
    plan: Option<ChunkPlan>,
    arena: TupleArena,
}

/// Documents of chunks that are asked for behind the one under way: more than comes in some 20 ms from a
/// server nearby, which can be as far away as that and have something to send all the time.
const AHEAD_BYTES: u64 = 32 * 1024 * 1024;
/// The same of a scan by position, with the one under way: so little that the sockets take it. A
/// statement that waits for the output meets its timeout, and then there is no saying which rows of its
/// window have come.
const AHEAD_BYTES_BY_POSITION: u64 = 4 * 1024 * 1024;
/// The most chunks that are asked for at once.
const MOST_AHEAD: u64 = 64;

/// Returns how many chunks of a table are asked for at once, by the size of its last.
pub(super) fn depth(table: &Table) -> u32 {
    let by_position = table.state.mode == Mode::KeylessBackfill;
    let chunks = match table.scan.as_ref().map_or(0, |scan| scan.chunk_bytes) {
        0 => 2,
        bytes if by_position => AHEAD_BYTES_BY_POSITION / bytes,
        bytes => 1 + AHEAD_BYTES.div_ceil(bytes),
    };
    u32::try_from(chunks.clamp(2, MOST_AHEAD)).unwrap_or(2)
}

impl SpanRun {
    pub(super) fn new(
        reader: SpanReader,
        windows: VecDeque<(Window, bool)>,
        extra_columns: ExtraColumns,
        time: Duration,
    ) -> Self {
        Self {
            reader,
            start: None,
            progress: ScanProgress::default(),
            windows,
            extra_columns,
            deadline: Instant::now() + time,
            plan: None,
            arena: TupleArena::default(),
        }
    }

    /// Returns whether the last row was the last of a chunk.
    fn is_between_chunks(&self, chunk_size: u64) -> bool {
        self.progress.scanned.is_multiple_of(chunk_size)
    }

    /// Emits the rows of the next chunk; where patience is limited, those that have come until no row
    /// has come for so long.
    ///
    /// # Errors
    ///
    /// Fails where the connection is lost, a value cannot be captured, or the output is gone.
    pub(super) async fn read_chunk<S: Sink>(
        &mut self,
        client: &mut Client,
        table: &mut Table,
        context: &PlanContext<'_>,
        sink: &mut S,
        patience: Option<Duration>,
    ) -> Result<ChunkEnd> {
        let keyless = table.state.mode == Mode::KeylessBackfill;
        let scan = table.scan.as_ref().ok_or_else(unknown)?;
        let chunk_size = u64::from(scan.table.chunk_size);
        let depth = depth(table);
        loop {
            let Some(step) = self.reader.try_step(client)? else {
                let fill = self.reader.fill_alone(client);
                let Some(patience) = patience else {
                    fill.await?;
                    continue;
                };
                match tokio::time::timeout(patience, fill).await {
                    Ok(filled) => filled?,
                    Err(_) => {
                        if let Some(end) = self.pause(table, keyless) {
                            return Ok(end);
                        }
                    }
                }
                continue;
            };
            match step {
                RowStep::Row(row) => {
                    let (Some(plan), Some(start)) = (&self.plan, &self.start) else {
                        return Err(Error::new(
                            ErrorKind::Protocol,
                            "rows came without their description",
                        ));
                    };
                    plan.emit(&row, table, &self.arena, &mut self.progress, sink, start)?;
                    self.arena.reset();
                    if !keyless && self.is_between_chunks(chunk_size) {
                        return Ok(ChunkEnd::Full);
                    }
                }
                RowStep::Description(description) => {
                    let extra_columns = self.extra_columns;
                    self.plan = Some(ChunkPlan::new(table, &description, extra_columns, context)?);
                }
                RowStep::Complete if !keyless => return Ok(ChunkEnd::Complete),
                step @ (RowStep::Batch | RowStep::Complete) => {
                    let ends_chunk = matches!(step, RowStep::Complete);
                    self.ask(client, depth, chunk_size).await?;
                    if ends_chunk {
                        return Ok(ChunkEnd::Full);
                    }
                    if self.reader.is_exhausted() && self.is_between_chunks(chunk_size) {
                        return Ok(ChunkEnd::Nothing);
                    }
                }
                RowStep::Failed(error) => return Ok(ChunkEnd::Failed(error)),
                RowStep::Other => {}
            }
        }
    }

    /// How a chunk ends whose next row is not there, if it can end here.
    fn pause(&self, table: &Table, keyless: bool) -> Option<ChunkEnd> {
        let ScanProgress {
            emitted,
            has_last,
            last,
            ..
        } = &self.progress;
        if keyless {
            let may_stop = self.progress.may_stop_amid(table.info.as_deref());
            return match emitted {
                0 => Some(ChunkEnd::Waiting),
                _ => may_stop.then_some(ChunkEnd::Part),
            };
        }
        let position = table.scan.as_ref().and_then(|scan| scan.position.as_ref());
        Some(if *has_last && position != Some(last) {
            ChunkEnd::Part
        } else {
            ChunkEnd::Waiting
        })
    }

    /// Asks for more as long as there is time; then ends the transaction behind what was asked for.
    async fn ask(&mut self, client: &mut Client, depth: u32, chunk_size: u64) -> Result<()> {
        if Instant::now() < self.deadline {
            self.reader.ask(client, depth).await
        } else if self.extra_columns == ExtraColumns::Count && !self.is_between_chunks(chunk_size) {
            // Rows that the server leaves out make batches end amid chunks.
            self.reader.ask(client, 1).await
        } else {
            self.reader.close(client).await
        }
    }
}

/// A table is scanned that is not known, which the engine never does.
pub(super) fn unknown() -> Error {
    internal("a table is scanned that is not known")
}
