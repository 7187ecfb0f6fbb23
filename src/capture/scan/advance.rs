//! Advance of the scan of a table after a chunk.

use std::time::Instant;

use tracing::{debug, info, warn};

use super::chunk_reader::{ChunkEnd, ChunkReader};
use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::state::Scanned;
use crate::capture::stream::ChangeStream;
use crate::capture::table::{ScannedTable, TableIndex};
use crate::error::{Error, Result, sqlstate};

/// Errors that end a span and leave the rows before them valid: the statement timeout, a cancel
/// request, the timeouts of idle and long transactions, and a standby's conflict with its replay.
const CUT_SHORT: [&str; 4] = [
    sqlstate::QUERY_CANCELED,
    sqlstate::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    sqlstate::TRANSACTION_TIMEOUT,
    sqlstate::SERIALIZATION_FAILURE,
];

/// Errors about a text that is not a value of its type.
const NOT_A_VALUE: [&str; 4] = [
    sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
    sqlstate::INVALID_DATETIME_FORMAT,
    sqlstate::DATETIME_FIELD_OVERFLOW,
    sqlstate::INVALID_TEXT_REPRESENTATION,
];

/// Movement of the scan by a chunk.
enum Movement {
    /// The scan stays where it is.
    None,
    /// Past a part of the chunk.
    Part,
    /// Past the whole chunk.
    Whole {
        /// Whether the chunk was the last of the table.
        is_last: bool,
    },
}

impl<S: Sink> Session<S> {
    /// Advances the scan of a table to the end of a chunk. Returns whether all rows of the table
    /// were emitted.
    pub(super) fn advance(
        &mut self,
        index: TableIndex,
        chunks: &mut ChunkReader,
        end: ChunkEnd,
        started: Instant,
    ) -> Result<bool> {
        let Some(mut table) = self.tables.scanned(index) else {
            return Ok(false);
        };
        let is_part = matches!(end, ChunkEnd::Part);
        let (scanned, complete) = match table.movement(chunks, end)? {
            Movement::None => return Ok(false),
            Movement::Part => (table.advance_position(chunks, false), false),
            Movement::Whole { is_last } => (table.advance_position(chunks, true), is_last),
        };
        let progress = &mut chunks.progress;
        let rows = std::mem::take(&mut progress.emitted);
        progress.chunks += u32::from(!is_part);
        progress.has_emitted = true;
        table.state.update(|state| {
            state.scanned = scanned;
            state.backfilled += rows;
        });
        let (milliseconds, backfilled) = (started.elapsed().as_millis(), table.state.backfilled);
        let stream = table.id;
        // Chunks are small, so most are logged for debugging only.
        if self.upkeep.is_chunk_log_due(table.binding) {
            info!(%stream, rows, milliseconds, backfilled, "backfill chunk processed");
        } else {
            debug!(%stream, rows, milliseconds, backfilled, "backfill chunk processed");
        }
        Ok(complete)
    }

    /// Ends the backfill of a table whose rows were all emitted.
    pub(super) async fn complete_table(
        &mut self,
        changes: &mut ChangeStream,
        index: TableIndex,
    ) -> Result<()> {
        let table = &mut self.tables[index];
        info!(stream = %table.id, rows = table.state.backfilled, "backfill completed");
        table.complete();
        self.renew_plans(changes).await
    }
}

impl ScannedTable<'_> {
    /// Returns the movement of the scan by a chunk that has ended.
    fn movement(&mut self, chunks: &ChunkReader, end: ChunkEnd) -> Result<Movement> {
        let window = chunks.windows.front();
        Ok(match end {
            ChunkEnd::Full => Movement::Whole {
                is_last: window.is_some_and(|(_, is_last)| *is_last),
            },
            ChunkEnd::Complete => Movement::Whole { is_last: true },
            ChunkEnd::Part => Movement::Part,
            ChunkEnd::Nothing | ChunkEnd::Waiting => Movement::None,
            ChunkEnd::Failed(error) => self.movement_after(chunks, error)?,
        })
    }

    /// Returns the movement of the scan by a chunk that an error has cut short, and reads fewer
    /// pages at a time where the statement timeout calls for it.
    ///
    /// # Errors
    ///
    /// Fails with the error unless the scan can go on after it.
    fn movement_after(&mut self, chunks: &ChunkReader, error: Error) -> Result<Movement> {
        let progress = &chunks.progress;
        let is_cut_short = error
            .sqlstate()
            .is_some_and(|code| CUT_SHORT.contains(&code));
        if !is_cut_short {
            return Err(scan_failed(self, error));
        }
        let window = chunks.windows.front();
        let narrower = window.and_then(|(window, _)| window.half_pages());
        let can_end = self.is_by_position() && progress.can_end_within_window(&self.scan.info);
        let has_moved = progress.has_last && self.scan.position.as_ref() != Some(&progress.last);
        if can_end && (progress.emitted > 0 || narrower.is_some()) {
            warn!(stream = %self.id, rows = progress.emitted,
                "a backfill chunk was cut short by the statement timeout; the scan goes on after its \
                 last row, with fewer pages at a time");
            self.scan.pages = narrower.or(self.scan.pages);
            return Ok(Movement::Part);
        }
        if progress.has_last {
            warn!(stream = %self.id, rows = progress.emitted,
                "a backfill chunk was cut short by the statement timeout; the scan goes on after its \
                 last row");
            return Ok(if has_moved {
                Movement::Part
            } else {
                Movement::None
            });
        }
        match narrower {
            Some(pages) if progress.emitted == 0 => {
                warn!(stream = %self.id, pages,
                    "a backfill chunk was cut short by the statement timeout; the next reads fewer \
                     pages");
                self.scan.pages = Some(pages);
                Ok(Movement::None)
            }
            _ => Err(scan_failed(self, error)),
        }
    }

    /// Advances the scan: to the end of the current window if that was read as a whole, else to the
    /// last row. Returns the position for the state.
    fn advance_position(&mut self, chunks: &mut ChunkReader, is_whole: bool) -> Scanned {
        let by_position = self.is_by_position();
        let progress = &mut chunks.progress;
        let window = chunks.windows.front().filter(|_| is_whole);
        let scanned = if let Some((window, _)) = window {
            self.scan.physical = window.until;
            progress.position = None;
            chunks.windows.pop_front();
            Some(self.scan.physical.to_string().into_bytes())
        } else if let (true, Some(position)) = (by_position, progress.position) {
            // The remainder of the window is still to come.
            self.scan.physical = position;
            Some(self.scan.physical.to_string().into_bytes())
        } else {
            if progress.has_last {
                self.scan.position = Some(progress.last.clone());
            }
            let position = self.scan.position.as_ref();
            position.map(|key| key.encode(&self.scan.codecs))
        };
        Scanned(scanned)
    }
}

/// Adds the table to an error of its backfill, and a remedy where the stored position of the scan
/// may be the cause.
pub(super) fn scan_failed(table: &ScannedTable<'_>, error: Error) -> Error {
    let hint = match error.sqlstate() {
        // The position is stored as text, which may not be a value of the key's type any more.
        Some(code) if table.scan.position.is_some() && NOT_A_VALUE.contains(&code) => {
            "; if a label of the key's type was renamed meanwhile, or lc_monetary was set otherwise, it \
             has to start from the beginning: increment the backfill counter of the binding"
        }
        _ => "",
    };
    error.context(format!(
        "the backfill of table \"{}\" failed{hint}",
        table.id
    ))
}
