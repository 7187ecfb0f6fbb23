//! Columns of a relation or of fetched rows that documents have.

use protocol::Oid;

use crate::catalog::{Generated, TableInfo};
use crate::record::PlanColumn;

/// Returns the columns that documents have, of those that rows have: index in the rows, name and
/// type. Columns that the catalogs know as generated or not published are left out; columns that
/// they do not know are captured.
pub(in crate::capture) fn captured_columns<'a>(
    info: Option<&TableInfo>,
    columns: impl IntoIterator<Item = (usize, &'a str, Oid)>,
) -> Vec<PlanColumn> {
    let columns = columns.into_iter();
    streamed_columns(
        info,
        columns.filter(|(_, name, _)| !is_left_out(info, name)),
    )
}

/// Returns whether the catalogs know a column as one that the stream does not send.
pub(super) fn is_left_out(info: Option<&TableInfo>, name: &str) -> bool {
    info.and_then(|info| info.column(name))
        .is_some_and(|column| column.generated != Generated::No || !column.published)
}

/// Returns the columns that documents have, of columns that are known not to be generated. Before
/// version 18 every column that is streamed is one, whatever the catalogs say by now.
pub(super) fn streamed_columns<'a>(
    info: Option<&TableInfo>,
    columns: impl IntoIterator<Item = (usize, &'a str, Oid)>,
) -> Vec<PlanColumn> {
    let own_key = info.and_then(TableInfo::own_key).unwrap_or_default();
    columns
        .into_iter()
        .map(|(index, name, type_oid)| PlanColumn {
            name: name.to_owned(),
            type_oid,
            index,
            is_key: own_key.iter().any(|key| key == name),
        })
        .collect()
}
