//! The rows of a span, chunk after chunk.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use protocol::TupleArena;

use super::chunk_plan::ChunkPlan;
use super::progress::ScanProgress;
use crate::backfill::{ChunkStart, ExtraColumns, RowStep, SpanReader, Window};
use crate::capture::plan_inputs::PlanInputs;
use crate::capture::sink::Sink;
use crate::capture::table::ScannedTable;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::record::RowKey;

/// Reason for which a chunk has ended.
#[derive(Debug)]
pub(super) enum ChunkEnd {
    /// The rows of a whole chunk, or of a whole window, have been emitted.
    Full,
    /// The table has no more rows.
    Complete,
    /// The next row has not arrived in time; the rows before it have been emitted.
    Part,
    /// No row has arrived in time.
    Waiting,
    /// No more rows were requested.
    Nothing,
    /// The server has reported an error; the rows before it are valid.
    Failed(Error),
}

/// Reader of a span's rows, which emits them chunk after chunk.
#[derive(Debug)]
pub(super) struct ChunkReader {
    pub(super) reader: SpanReader,
    /// Snapshot and fence; `None` until the server has sent them.
    pub(super) start: Option<ChunkStart>,
    pub(super) progress: ScanProgress,
    /// Windows of a scan by position, each with whether it is the last of the table; none for a scan
    /// by key.
    pub(super) windows: VecDeque<(Window, bool)>,
    /// Leading columns that are not the table's.
    pub(super) extra_columns: ExtraColumns,
    /// Time after which no more rows are requested.
    pub(super) deadline: Instant,
    plan: Option<ChunkPlan>,
    arena: TupleArena,
}

impl ChunkReader {
    /// Starts with a span that was requested; `time` is that for which more rows are requested.
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

    /// Collects the keys of all rows from now on.
    pub(super) fn collect_keys(&mut self) {
        self.progress.keys = Some(HashSet::new());
    }

    /// Takes the keys that were collected.
    pub(super) fn take_keys(&mut self) -> Option<HashSet<RowKey>> {
        self.progress.keys.take()
    }

    /// Returns whether the last row was the last of a chunk.
    fn is_between_chunks(&self, chunk_size: u64) -> bool {
        self.progress.scanned.is_multiple_of(chunk_size)
    }

    /// Emits the rows of the next chunk; with a timeout, those that arrive until no row has arrived
    /// for that time.
    ///
    /// # Errors
    ///
    /// Fails where the connection is lost, a value cannot be captured, or the output is closed.
    pub(super) async fn read_chunk<S: Sink>(
        &mut self,
        client: &mut Client,
        table: &mut ScannedTable<'_>,
        inputs: &PlanInputs<'_>,
        sink: &mut S,
        timeout: Option<Duration>,
    ) -> Result<ChunkEnd> {
        let by_position = table.is_by_position();
        let chunk_size = u64::from(table.scan.table.chunk_size);
        let depth = table.depth();
        loop {
            let Some(step) = self.reader.try_step(client)? else {
                if let Some(end) = self.fill(client, table, timeout).await? {
                    return Ok(end);
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
                    plan.emit(&row, table, (&self.arena, &mut self.progress), sink, start)?;
                    self.arena.reset();
                    if !by_position && self.is_between_chunks(chunk_size) {
                        return Ok(ChunkEnd::Full);
                    }
                }
                RowStep::Description(description) => {
                    let plan = ChunkPlan::new(table, &description, self.extra_columns, inputs)?;
                    self.plan = Some(plan);
                }
                RowStep::Complete if !by_position => return Ok(ChunkEnd::Complete),
                step @ (RowStep::Batch | RowStep::Complete) => {
                    let ends_chunk = matches!(step, RowStep::Complete);
                    self.request_more(client, depth, chunk_size).await?;
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

    /// Receives more rows. Returns the end of the chunk if none has arrived in time and the chunk
    /// can end here.
    async fn fill(
        &mut self,
        client: &mut Client,
        table: &ScannedTable<'_>,
        timeout: Option<Duration>,
    ) -> Result<Option<ChunkEnd>> {
        let fill = self.reader.fill_blocking(client);
        let Some(timeout) = timeout else {
            fill.await?;
            return Ok(None);
        };
        match tokio::time::timeout(timeout, fill).await {
            Ok(filled) => filled.map(|()| None),
            Err(_) => Ok(self.end_without_row(table)),
        }
    }

    /// Returns how a chunk ends whose next row has not arrived, if it can end here.
    fn end_without_row(&self, table: &ScannedTable<'_>) -> Option<ChunkEnd> {
        let progress = &self.progress;
        if table.is_by_position() {
            let can_end = progress.can_end_within_window(&table.scan.info);
            return match progress.emitted {
                0 => Some(ChunkEnd::Waiting),
                _ => can_end.then_some(ChunkEnd::Part),
            };
        }
        let position = table.scan.position.as_ref();
        Some(if progress.has_last && position != Some(&progress.last) {
            ChunkEnd::Part
        } else {
            ChunkEnd::Waiting
        })
    }

    /// Requests more rows as long as there is time; then ends the transaction after the rows that
    /// were requested.
    async fn request_more(
        &mut self,
        client: &mut Client,
        depth: u32,
        chunk_size: u64,
    ) -> Result<()> {
        if Instant::now() < self.deadline {
            self.reader.request_more(client, depth).await
        } else if self.extra_columns == ExtraColumns::Count && !self.is_between_chunks(chunk_size) {
            // Where the server leaves rows out, batches end within chunks.
            self.reader.request_more(client, 1).await
        } else {
            self.reader.end_transaction(client).await
        }
    }
}
