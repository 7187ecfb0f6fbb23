//! How the rows of a chunk are written, and what is learnt of them as they pass.

use std::str::FromStr;

use protocol::{DataRow, Oid, RowDescription, TupleArena, TupleData};

use super::columns::captured_columns;
use super::rows::{ScanProgress, unknown};
use super::sink::Sink;
use super::state::Mode;
use super::table::Table;
use crate::backfill::{ChunkStart, ExtraColumns, Snapshot};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Change, Image, MetaTemplate, Plan, PlanOptions, Source};
use crate::value::{KeyCodec, TypeRegistry};

/// How the rows of a chunk are written, and their keys read.
#[derive(Debug)]
pub(super) struct ChunkPlan {
    plan: Plan,
    /// The key columns as places in the rows.
    key: Vec<(usize, KeyCodec)>,
    extra_columns: ExtraColumns,
}

/// What plans are made with.
pub(super) struct PlanContext<'a> {
    pub(super) tag: Option<&'a str>,
    pub(super) types: &'a TypeRegistry,
    pub(super) options: &'a PlanOptions,
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
        extra_columns: ExtraColumns,
        context: &PlanContext<'_>,
    ) -> Result<Self> {
        let info = table.info.as_ref().ok_or_else(unknown)?;
        let fields = description.iter().enumerate().skip(extra_columns.columns());
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
            key: key_places(table, description, extra_columns.columns())?,
            extra_columns,
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
        arena: &TupleArena,
        progress: &mut ScanProgress,
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
        match self.extra_columns {
            ExtraColumns::None => {}
            ExtraColumns::Count => {
                progress.scanned = extra_column(&image, 0)?;
                if !is_new_enough(
                    extra_column(&image, 1)?,
                    scan.table.min_xid,
                    &start.snapshot,
                ) {
                    return Ok(());
                }
            }
            ExtraColumns::Position => progress.come_to(extra_column(&image, 0)?),
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
fn extra_column<T: FromStr>(image: &Image<'_>, index: usize) -> Result<T> {
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
fn key_places(
    table: &Table,
    description: &RowDescription<'_>,
    extra_column_count: usize,
) -> Result<Vec<(usize, KeyCodec)>> {
    let Some(scan) = &table.scan else {
        return Err(unknown());
    };
    let mut places = Vec::new();
    for ((name, _), codec) in scan.table.key_columns.iter().zip(&scan.codecs) {
        let mut fields = description.iter().skip(extra_column_count);
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
        places.push((place + extra_column_count, codec.clone()));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_new_enough_in_a_circle_up_to_now() {
        let snapshot = |next: u64| Snapshot::Primary(format!("{next}:{next}:").parse().unwrap());
        for (xmin, next, new) in [
            (100, 200, true),
            (99, 200, false),
            (2, 200, false),
            (199, 200, true),
            // Of the round before: a row from the future is one from long ago.
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
