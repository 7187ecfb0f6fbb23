//! Which columns of a relation documents have.

use protocol::Oid;

use crate::catalog::{Generated, TableInfo};
use crate::record::PlanColumn;

/// Returns the columns that documents have, of those that rows come with: their place in the rows,
/// name and type. What the catalogs know as generated or not published is left out; what they do not
/// know is captured.
pub(super) fn captured_columns<'a>(
    info: Option<&TableInfo>,
    columns: impl IntoIterator<Item = (usize, &'a str, Oid)>,
) -> Vec<PlanColumn> {
    let is_left_out = |name: &str| {
        info.and_then(|info| info.column(name))
            .is_some_and(|column| column.generated != Generated::No || !column.published)
    };
    let columns = columns.into_iter();
    streamed_columns(info, columns.filter(|(_, name, _)| !is_left_out(name)))
}

/// Returns the same of columns that are known not to be generated: before version 18 all that is
/// streamed, whatever the catalogs say by then.
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
