//! Which columns of a relation documents have, and which they are among those that a table has later.

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
    let columns = columns.into_iter();
    streamed_columns(
        info,
        columns.filter(|(_, name, _)| !is_left_out(info, name)),
    )
}

/// Returns whether the catalogs know a column as one that changes come without.
fn is_left_out(info: Option<&TableInfo>, name: &str) -> bool {
    info.and_then(|info| info.column(name))
        .is_some_and(|column| column.generated != Generated::No || !column.published)
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

/// Finds columns of a relation among those that the table has by now, by name and type. Returns their
/// places there, `None` for one that is not there, or may be another one under its name.
///
/// A table's columns stay in their order for good, and new ones come last. So two that are found in
/// another order have given their names away. Where a name is gone, its column may have any name of its
/// type that is next to it; where one is new amid the others, it may be that of any column next to it.
pub(super) fn find_again(
    columns: &[(&str, Oid)],
    found: &[(&str, Oid)],
    info: Option<&TableInfo>,
) -> Vec<Option<usize>> {
    let is_among = |name: &str, columns: &[(&str, Oid)]| columns.iter().any(|(it, _)| *it == name);
    let places: Vec<_> = columns
        .iter()
        .map(|column| found.iter().position(|it| it == column))
        .collect();
    let mut places = in_order(&places);
    let mut of_relation: Vec<Known> = columns
        .iter()
        .zip(&places)
        .map(|((name, type_oid), place)| Known {
            type_oid: *type_oid,
            is_certain: place.is_some(),
            is_doubtful: !is_among(name, found),
        })
        .collect();
    let mut of_table: Vec<Known> = found
        .iter()
        .enumerate()
        .map(|(place, (name, type_oid))| Known {
            type_oid: *type_oid,
            is_certain: places.contains(&Some(place)),
            is_doubtful: !is_among(name, columns) && !is_left_out(info, name),
        })
        .collect();
    loop {
        // What comes behind them all may be new.
        let last = of_table.iter().rposition(|column| column.is_certain);
        of_table.truncate(last.map_or(0, |last| last + 1));
        let is_doubtful = |index: usize, place: usize| {
            is_beside_doubtful(&of_relation, index) || is_beside_doubtful(&of_table, place)
        };
        let doubtful: Vec<(usize, usize)> = places
            .iter()
            .enumerate()
            .filter_map(|(index, place)| Some((index, (*place)?)))
            .filter(|(index, place)| is_doubtful(*index, *place))
            .collect();
        if doubtful.is_empty() {
            return places;
        }
        for (index, place) in doubtful {
            if let Some(place) = places.get_mut(index) {
                *place = None;
            }
            let both = [of_relation.get_mut(index), of_table.get_mut(place)];
            for column in both.into_iter().flatten() {
                (column.is_certain, column.is_doubtful) = (false, true);
            }
        }
    }
}

/// What is known of a column that is looked for, or found.
struct Known {
    type_oid: Oid,
    /// It is the one that it is taken for.
    is_certain: bool,
    /// It may be another.
    is_doubtful: bool,
}

/// Returns whether a column may be a doubtful one of its type: between the two is none that is certain.
fn is_beside_doubtful(columns: &[Known], index: usize) -> bool {
    let Some((before, [column, behind @ ..])) = columns.split_at_checked(index) else {
        return false;
    };
    let before = before.iter().rev().take_while(|other| !other.is_certain);
    let behind = behind.iter().take_while(|other| !other.is_certain);
    let mut beside = before.chain(behind);
    beside.any(|other| other.is_doubtful && other.type_oid == column.type_oid)
}

/// Leaves out of the places at which columns were found those that are in another order than the
/// columns.
fn in_order(places: &[Option<usize>]) -> Vec<Option<usize>> {
    let is_in_order = |index: usize, place: usize| {
        let others = places.iter().enumerate();
        others
            .filter_map(|(other, found)| Some((other, (*found)?)))
            .all(|(other, found)| other.cmp(&index) == found.cmp(&place))
    };
    let places = places.iter().enumerate();
    places
        .map(|(index, place)| place.filter(|place| is_in_order(index, *place)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns by their names; `#` is before that of a number, the others are texts.
    fn columns(names: &'static str) -> Vec<(&'static str, Oid)> {
        let type_of = |name: &str| Oid::from(if name.starts_with('#') { 23 } else { 25 });
        let names = names.split_whitespace();
        names.map(|name| (name, type_of(name))).collect()
    }

    #[test]
    fn columns_are_found_where_no_name_can_have_changed_hands() {
        for (relation, table, expected) in [
            ("#id a b", "#id a b", "0 1 2"),
            ("#id a b", "#id a b new newer", "0 1 2"),
            // Dropped, and what it was is beside no other of its type.
            ("a #n b", "a b", "0 - 1"),
            ("a #n b", "a #n", "0 1 -"),
            // Not streamed, as generated columns.
            ("#id a", "#id (generated) a", "0 2"),
            // Swapped, and in turn.
            ("#id a b c", "#id b a c", "0 - - 3"),
            ("#id a b c d", "#id c a b d", "0 - - - 4"),
            // Replaced by another, which was kept or not.
            ("#id a a_new", "#id a_old a", "0 - -"),
            ("#id a a_new", "#id a", "0 - -"),
            ("#id a a_new #n b", "#id a #n b", "0 - - 2 3"),
            ("#id a", "#id a_old a", "0 -"),
            // Each has the name of the one before.
            ("#id a b c", "#id x a b", "0 - - -"),
            ("#id a b", "", "- - -"),
        ] {
            let mut info = TableInfo::sample("s", "t", &[("(generated)", 25)]);
            info.columns[0].generated = Generated::Stored;
            let found = find_again(&columns(relation), &columns(table), Some(&info));
            let found = found.into_iter();
            let found: Vec<_> = found
                .map(|place| place.map_or("-".to_owned(), |place| place.to_string()))
                .collect();
            assert_eq!(found.join(" "), expected, "{relation} in {table}");
        }
        // Of another type, it still has its name.
        let found = [("a", Oid::from(1043)), ("b", Oid::from(25))];
        assert_eq!(find_again(&columns("a b"), &found, None), [None, Some(1)]);
    }
}
