//! The plan by which the rows of a chunk are written.

use std::str::FromStr;

use protocol::{DataRow, RowDescription, TupleArena, TupleData};

use super::progress::ScanProgress;
use crate::backfill::{ChunkStart, ExtraColumns, Snapshot};
use crate::capture::plan_inputs::PlanInputs;
use crate::capture::sink::Sink;
use crate::capture::state::Mode;
use crate::capture::stream::captured_columns;
use crate::capture::table::ScannedTable;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Change, Image, Plan, Source};
use crate::value::KeyCodec;

/// Plan for the rows of a chunk.
#[derive(Debug)]
pub(super) struct ChunkPlan {
    /// Writer of documents.
    plan: Plan,
    /// Key columns, as indices into the rows.
    key: Vec<(usize, KeyCodec)>,
    extra_columns: ExtraColumns,
}

impl ChunkPlan {
    /// Makes the plan for the rows of a chunk.
    ///
    /// # Errors
    ///
    /// Fails where a key column is not among those of the rows.
    pub(super) fn new(
        table: &ScannedTable<'_>,
        description: &RowDescription<'_>,
        extra_columns: ExtraColumns,
        inputs: &PlanInputs<'_>,
    ) -> Result<Self> {
        let info = &table.scan.info;
        let fields = description.iter().enumerate().skip(extra_columns.columns());
        let columns = captured_columns(
            Some(info),
            fields.map(|(index, field)| (index, field.name, field.type_oid)),
        );
        Ok(Self {
            plan: inputs.plan(&info.id, &columns, table.transaction_ids),
            key: key_columns(table, description, extra_columns.columns())?,
            extra_columns,
        })
    }

    /// Emits a row, unless it only marks where the chunk ends.
    ///
    /// # Errors
    ///
    /// Fails where rows do not arrive in the order of their keys, a value cannot be captured, or
    /// the output is closed.
    #[inline]
    pub(super) fn emit<S: Sink>(
        &self,
        row: &DataRow<'_>,
        table: &ScannedTable<'_>,
        (arena, progress): (&TupleArena, &mut ScanProgress),
        sink: &mut S,
        start: &ChunkStart,
    ) -> Result<()> {
        let scan = &*table.scan;
        let change = Change::from_row(scan.info.oid, row, arena);
        let Some(image) = change.new else {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("a backfilled row of table \"{}\" has no values", table.id),
            ));
        };
        progress.scanned += 1;
        if !self.key.is_empty() {
            self.note_key(&image, table, progress)?;
        }
        match self.extra_columns {
            ExtraColumns::None => {}
            ExtraColumns::Count => {
                progress.scanned = extra_column(&image, 0)?;
                let xmin = extra_column(&image, 1)?;
                if !is_new_enough(xmin, scan.table.min_xid, &start.snapshot) {
                    return Ok(());
                }
            }
            ExtraColumns::Position => progress.note_position(extra_column(&image, 0)?),
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

    /// Notes the key of a row, after a check that it is not before that of the last row.
    #[inline(always)]
    fn note_key(
        &self,
        image: &Image<'_>,
        table: &ScannedTable<'_>,
        progress: &mut ScanProgress,
    ) -> Result<()> {
        let known = progress.key.read(image, &self.key).map_err(|error| {
            error.context(format!("a backfilled row of table \"{}\"", table.id))
        })?;
        if !known {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("a row of table \"{}\" came without its key", table.id),
            ));
        }
        let before = if progress.has_last {
            Some(&progress.last)
        } else {
            table.scan.position.as_ref()
        };
        if table.scan.comparable
            && table.state.mode == Mode::Backfill
            && before.is_some_and(|before| progress.key.compare(before).is_lt())
        {
            return Err(Error::new(
                ErrorKind::Internal,
                format!(
                    "rows of table \"{}\" do not come in the order of their keys: use the backfill \
                     mode \"Normal\" for its binding",
                    table.id
                ),
            ));
        }
        std::mem::swap(&mut progress.last, &mut progress.key);
        progress.has_last = true;
        if let Some(keys) = &mut progress.keys {
            keys.insert(progress.last.clone());
        }
        Ok(())
    }
}

/// Reads a column that the chunk's query has added to the row.
fn extra_column<T: FromStr>(image: &Image<'_>, index: usize) -> Result<T> {
    let text = match image.get(index) {
        TupleData::Text(text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::new(
            ErrorKind::Protocol,
            format!("column {index} of a chunk is not what its query asks for"),
        )
    })
}

/// Returns whether a row was written by the configured transaction or a later one. The server has
/// decided that for all rows but the last of a chunk, which it always sends.
fn is_new_enough(xmin: u64, min_xid: Option<u32>, snapshot: &Snapshot) -> bool {
    let Some(min_xid) = min_xid else { return true };
    let Ok(xmin) = u32::try_from(xmin) else {
        return false;
    };
    let not_before = |a: u32, b: u32| a.wrapping_sub(b) < 1 << 31;
    let not_future = match snapshot {
        Snapshot::Primary(snapshot) => not_before(snapshot.next_xid(), xmin),
        Snapshot::Standby { .. } => true,
    };
    xmin >= 3 && not_before(xmin, min_xid) && not_future
}

/// Finds the key columns in the rows of a chunk.
fn key_columns(
    table: &ScannedTable<'_>,
    description: &RowDescription<'_>,
    extra_columns: usize,
) -> Result<Vec<(usize, KeyCodec)>> {
    let scan = &table.scan;
    let mut columns = Vec::new();
    for ((name, _), codec) in scan.table.key_columns.iter().zip(&scan.codecs) {
        let mut fields = description.iter().skip(extra_columns);
        let index = fields.position(|field| field.name == *name);
        let index = index.ok_or_else(|| {
            Error::new(
                ErrorKind::Prerequisite,
                format!(
                    "column \"{name}\" of table \"{}\", by which it is backfilled, is not there any \
                     more, or the user has no right to read it",
                    table.id
                ),
            )
        })?;
        columns.push((index + extra_columns, codec.clone()));
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xmin_is_compared_modulo_2_32_up_to_the_next_xid() {
        let snapshot = |next: u64| Snapshot::Primary(format!("{next}:{next}:").parse().unwrap());
        for (xmin, next, new) in [
            (100, 200, true),
            (99, 200, false),
            (2, 200, false),
            (199, 200, true),
            // An xmin beyond the next xid is from before the last wraparound, so the row is old.
            (300, 200, false),
            (u64::from(u32::MAX), 200, false),
        ] {
            assert_eq!(
                is_new_enough(xmin, Some(100), &snapshot(next)),
                new,
                "{xmin}"
            );
        }
        let wrapped = (1 << 32) + 50;
        for (xmin, new) in [(u64::from(u32::MAX), true), (40, true), (60, false)] {
            let min = Some(u32::MAX - 10);
            assert_eq!(is_new_enough(xmin, min, &snapshot(wrapped)), new, "{xmin}");
        }
        assert!(is_new_enough(0, None, &snapshot(1)));
    }
}
