//! The rows of a chunk: how they are written, and what is learnt of them as they pass.

use std::collections::{HashSet, VecDeque};
use std::str::FromStr;
use std::time::{Duration, Instant};

use protocol::{DataRow, Oid, RowDescription, TupleData};

use super::columns::captured_columns;
use super::engine::internal;
use super::sink::Sink;
use super::state::Mode;
use super::table::Table;
use crate::backfill::{ChunkStart, Helpers, Position, RowStep, SpanReader, View, Window};
use crate::catalog::{TableInfo, TableKind};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Change, Image, MetaTemplate, Plan, PlanOptions, RecordArena, RowKey, Source};
use crate::value::{KeyCodec, TypeRegistry};

/// How the rows of a chunk are written, and their keys read.
#[derive(Debug)]
pub(super) struct ChunkPlan {
    plan: Plan,
    /// The key columns as places in the rows.
    key: Vec<(usize, KeyCodec)>,
    helpers: Helpers,
}

/// What is known of a span while its rows arrive.
#[derive(Debug, Default)]
pub(super) struct Progress {
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
    key: RowKey,
    /// All keys, where only their equality can be told and changes are judged by it.
    pub(super) keys: Option<HashSet<RowKey>>,
}

impl Progress {
    /// Notes the physical position of a row.
    #[inline]
    fn come_to(&mut self, place: Position) {
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
    pub(super) progress: Progress,
    /// The windows of a scan by physical position, each with whether it is the last of the table.
    pub(super) windows: VecDeque<(Window, bool)>,
    /// The leading columns that are not the table's.
    pub(super) helpers: Helpers,
    /// When no more is asked for.
    pub(super) deadline: Instant,
    plan: Option<ChunkPlan>,
    arena: RecordArena,
}

/// What plans are made with.
pub(super) struct PlanContext<'a> {
    pub(super) tag: Option<&'a str>,
    pub(super) types: &'a TypeRegistry,
    pub(super) options: &'a PlanOptions,
}

/// Documents of chunks that are asked for ahead.
const AHEAD_BYTES: u64 = 16 * 1024 * 1024;
/// The same of a scan by position: so little that the sockets take it. A statement that waits for
/// the output meets its timeout, and then there is no saying which rows of its window have come.
const AHEAD_BYTES_BY_POSITION: u64 = 4 * 1024 * 1024;
/// The most chunks that are asked for ahead.
const MOST_AHEAD: u64 = 64;

/// Returns how many chunks of a table are asked for ahead, by the size of its last.
pub(super) fn depth(table: &Table) -> u32 {
    let ahead = if table.state.mode == Mode::KeylessBackfill {
        AHEAD_BYTES_BY_POSITION
    } else {
        AHEAD_BYTES
    };
    let chunks = match table.scan.as_ref().map_or(0, |scan| scan.chunk_bytes) {
        0 => 2,
        bytes => (ahead / bytes).clamp(2, MOST_AHEAD),
    };
    u32::try_from(chunks).unwrap_or(2)
}

impl SpanRun {
    pub(super) fn new(
        reader: SpanReader,
        windows: VecDeque<(Window, bool)>,
        helpers: Helpers,
        time: Duration,
    ) -> Self {
        Self {
            reader,
            start: None,
            progress: Progress::default(),
            windows,
            helpers,
            deadline: Instant::now() + time,
            plan: None,
            arena: RecordArena::default(),
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
                let fill = self.reader.fill(client);
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
                    let helpers = self.helpers;
                    self.plan = Some(ChunkPlan::new(table, &description, helpers, context)?);
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
        let Progress {
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
        } else if self.helpers == Helpers::Count && !self.is_between_chunks(chunk_size) {
            // Rows that the server leaves out make batches end amid chunks.
            self.reader.ask(client, 1).await
        } else {
            self.reader.close(client).await
        }
    }
}

impl ChunkPlan {
    /// Makes the plan for the rows of a chunk.
    ///
    /// # Errors
    ///
    /// Fails where a key column is not among those of the rows.
    pub(super) fn new(
        table: &Table,
        description: &RowDescription<'_>,
        helpers: Helpers,
        context: &PlanContext<'_>,
    ) -> Result<Self> {
        let info = table.info.as_ref().ok_or_else(unknown)?;
        let fields = description.iter().enumerate().skip(helpers.columns());
        let columns = captured_columns(
            Some(info),
            fields.map(|(index, field)| (index, field.name, field.type_oid)),
        );
        let meta = MetaTemplate::new(
            &info.id.schema,
            &info.id.name,
            context.tag,
            table.transaction_ids,
        );
        Ok(Self {
            plan: Plan::new(&columns, meta, context.types, context.options),
            key: key_places(table, description, helpers.columns())?,
            helpers,
        })
    }

    /// Emits a row, unless it is one that only tells where the chunk ends.
    ///
    /// # Errors
    ///
    /// Fails where rows do not come in the order of their keys, a value cannot be captured, or the
    /// output is gone.
    #[inline]
    pub(super) fn emit<S: Sink>(
        &self,
        row: &DataRow<'_>,
        table: &Table,
        arena: &RecordArena,
        progress: &mut Progress,
        sink: &mut S,
        start: &ChunkStart,
    ) -> Result<()> {
        let oid = table.info.as_ref().map_or(Oid::from(0), |info| info.oid);
        let change = Change::from_row(oid, row, arena);
        let Some(image) = change.new else {
            return Err(unknown());
        };
        let Some(scan) = &table.scan else {
            return Err(unknown());
        };
        progress.scanned += 1;
        if !self.key.is_empty() {
            let known = progress.key.read(&image, &self.key).map_err(|error| {
                error.context(format!("a backfilled row of table \"{}\"", table.id))
            })?;
            if !known {
                return Err(unknown());
            }
            let before = if progress.has_last {
                Some(&progress.last)
            } else {
                scan.position.as_ref()
            };
            if scan.comparable
                && table.state.mode == Mode::Backfill
                && before.is_some_and(|before| progress.key.compare(before).is_lt())
            {
                return Err(Error::new(
                    ErrorKind::Internal,
                    format!(
                        "rows of table \"{}\" do not come in the order of their keys: use the \
                         backfill mode \"Normal\" for its binding",
                        table.id
                    ),
                ));
            }
            std::mem::swap(&mut progress.last, &mut progress.key);
            progress.has_last = true;
            if let Some(keys) = &mut progress.keys {
                keys.insert(progress.last.clone());
            }
        }
        match self.helpers {
            Helpers::None => {}
            Helpers::Count => {
                progress.scanned = helper(&image, 0)?;
                if !is_new_enough(helper(&image, 1)?, scan.table.min_xid, &start.view) {
                    return Ok(());
                }
            }
            Helpers::Position => progress.come_to(helper(&image, 0)?),
        }
        sink.begin_document(table.binding);
        let source = Source::Backfill {
            row: table.state.backfilled + progress.emitted,
        };
        self.plan
            .write(&change, source, sink.buffer())
            .map_err(|error| {
                error.context(format!("a backfilled row of table \"{}\"", table.id))
            })?;
        progress.emitted += 1;
        sink.end_document()
    }
}

/// Reads what the chunk's query has added to the row.
fn helper<T: FromStr>(image: &Image<'_>, index: usize) -> Result<T> {
    let text = match image.get(index) {
        TupleData::Text(text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::new(
            ErrorKind::Protocol,
            "a helper column of a chunk is not what was asked for",
        )
    })
}

/// Whether a row was written by the transaction that is asked for or a later one. The server has
/// decided that for all rows but the last of a chunk, which comes in any case.
fn is_new_enough(xmin: u64, min_xid: Option<u32>, view: &View) -> bool {
    let Some(min_xid) = min_xid else { return true };
    let Ok(xmin) = u32::try_from(xmin) else {
        return false;
    };
    let not_before = |a: u32, b: u32| a.wrapping_sub(b) < 1 << 31;
    let not_future = match view {
        View::Snapshot(snapshot) => not_before(snapshot.next_xid(), xmin),
        View::Replayed { .. } => true,
    };
    xmin >= 3 && not_before(xmin, min_xid) && not_future
}

/// Finds the key columns in the rows of a chunk.
fn key_places(
    table: &Table,
    description: &RowDescription<'_>,
    helper_columns: usize,
) -> Result<Vec<(usize, KeyCodec)>> {
    let Some(scan) = &table.scan else {
        return Err(unknown());
    };
    let mut places = Vec::new();
    for ((name, _), codec) in scan.table.key_columns.iter().zip(&scan.codecs) {
        let mut fields = description.iter().skip(helper_columns);
        let place = fields.position(|field| field.name == *name);
        let place = place.ok_or_else(|| {
            Error::new(
                ErrorKind::Prerequisite,
                format!(
                    "column \"{name}\" of table \"{}\", by which it is backfilled, is not there any \
                     more, or the user has no right to read it",
                    table.id
                ),
            )
        })?;
        places.push((place + helper_columns, codec.clone()));
    }
    Ok(places)
}

/// A table is scanned that is not known, which the engine never does.
pub(super) fn unknown() -> Error {
    internal("a table is scanned that is not known")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_new_enough_in_a_circle_up_to_now() {
        let view = |next: u64| View::Snapshot(format!("{next}:{next}:").parse().unwrap());
        for (xmin, next, new) in [
            (100, 200, true),
            (99, 200, false),
            (2, 200, false),
            (199, 200, true),
            // Of the round before: a row from the future is one from long ago.
            (300, 200, false),
            (u64::from(u32::MAX), 200, false),
        ] {
            assert_eq!(is_new_enough(xmin, Some(100), &view(next)), new, "{xmin}");
        }
        let wrapped = (1 << 32) + 50;
        for (xmin, new) in [(u64::from(u32::MAX), true), (40, true), (60, false)] {
            let min = Some(u32::MAX - 10);
            assert_eq!(is_new_enough(xmin, min, &view(wrapped)), new, "{xmin}");
        }
        assert!(is_new_enough(0, None, &view(1)));
    }
}
