//! Matching of a relation's columns with those that the table has later.

use protocol::Oid;

use super::columns::is_left_out;
use crate::catalog::TableInfo;

/// Finds the columns of a relation among those that the table has now, by name and type. Returns
/// their indices there; `None` for a column that is gone, or whose name may be that of another
/// column now.
///
/// The columns of a table keep their order for good, and new ones are added at the end. So two
/// columns that are found in another order have exchanged their names. Where a name is gone, its
/// column may have the name of any neighbour of its type; where a name between the others is new,
/// it may be that of any neighbour.
pub(super) fn match_columns(
    columns: &[(&str, Oid)],
    found: &[(&str, Oid)],
    info: Option<&TableInfo>,
) -> Vec<Option<usize>> {
    let is_among = |name: &str, columns: &[(&str, Oid)]| columns.iter().any(|(it, _)| *it == name);
    let by_name: Vec<_> = columns
        .iter()
        .map(|column| found.iter().position(|it| it == column))
        .collect();
    let mut matches = in_order(&by_name);
    let mut of_relation: Vec<Candidate> = columns
        .iter()
        .zip(&matches)
        .map(|((name, type_oid), index)| Candidate {
            type_oid: *type_oid,
            is_certain: index.is_some(),
            is_ambiguous: !is_among(name, found),
        })
        .collect();
    let mut of_table: Vec<Candidate> = found
        .iter()
        .enumerate()
        .map(|(index, (name, type_oid))| Candidate {
            type_oid: *type_oid,
            is_certain: matches.contains(&Some(index)),
            is_ambiguous: !is_among(name, columns) && !is_left_out(info, name),
        })
        .collect();
    loop {
        // Columns after the last certain one may be new.
        let last = of_table.iter().rposition(|column| column.is_certain);
        of_table.truncate(last.map_or(0, |last| last + 1));
        let is_ambiguous = |column: usize, index: usize| {
            is_beside_ambiguous(&of_relation, column) || is_beside_ambiguous(&of_table, index)
        };
        let ambiguous: Vec<(usize, usize)> = matches
            .iter()
            .enumerate()
            .filter_map(|(column, index)| Some((column, (*index)?)))
            .filter(|(column, index)| is_ambiguous(*column, *index))
            .collect();
        if ambiguous.is_empty() {
            return matches;
        }
        for (column, index) in ambiguous {
            if let Some(matched) = matches.get_mut(column) {
                *matched = None;
            }
            let both = [of_relation.get_mut(column), of_table.get_mut(index)];
            for candidate in both.into_iter().flatten() {
                (candidate.is_certain, candidate.is_ambiguous) = (false, true);
            }
        }
    }
}

/// A column on either side of the matching.
struct Candidate {
    type_oid: Oid,
    /// Whether the match by name is right as far as is known.
    is_certain: bool,
    /// Whether the column may match one of another name.
    is_ambiguous: bool,
}

/// Returns whether a column may be an ambiguous one of its type: no certain column is between them.
fn is_beside_ambiguous(columns: &[Candidate], index: usize) -> bool {
    let Some((before, [column, after @ ..])) = columns.split_at_checked(index) else {
        return false;
    };
    let before = before.iter().rev().take_while(|other| !other.is_certain);
    let after = after.iter().take_while(|other| !other.is_certain);
    let mut beside = before.chain(after);
    beside.any(|other| other.is_ambiguous && other.type_oid == column.type_oid)
}

/// Removes the matches that are in another order than the columns.
fn in_order(matches: &[Option<usize>]) -> Vec<Option<usize>> {
    let is_in_order = |column: usize, index: usize| {
        let others = matches.iter().enumerate();
        others
            .filter_map(|(other, found)| Some((other, (*found)?)))
            .all(|(other, found)| other.cmp(&column) == found.cmp(&index))
    };
    let matches = matches.iter().enumerate();
    matches
        .map(|(column, index)| index.filter(|index| is_in_order(column, *index)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Generated;

    /// Columns by their names: those with `#` are numbers, the others texts.
    fn columns(names: &'static str) -> Vec<(&'static str, Oid)> {
        let type_of = |name: &str| Oid::from(if name.starts_with('#') { 23 } else { 25 });
        let names = names.split_whitespace();
        names.map(|name| (name, type_of(name))).collect()
    }

    #[test]
    fn columns_match_where_no_name_can_have_passed_to_another() {
        for (relation, table, expected) in [
            ("#id a b", "#id a b", "0 1 2"),
            ("#id a b", "#id a b new newer", "0 1 2"),
            // Dropped, beside no other column of its type.
            ("a #n b", "a b", "0 - 1"),
            ("a #n b", "a #n", "0 1 -"),
            // Generated, so not streamed.
            ("#id a", "#id (generated) a", "0 2"),
            // Two names exchanged, and three.
            ("#id a b c", "#id b a c", "0 - - 3"),
            ("#id a b c d", "#id c a b d", "0 - - - 4"),
            // Replaced by another column, which was kept or dropped.
            ("#id a a_new", "#id a_old a", "0 - -"),
            ("#id a a_new", "#id a", "0 - -"),
            ("#id a a_new #n b", "#id a #n b", "0 - - 2 3"),
            ("#id a", "#id a_old a", "0 -"),
            // Each has the name of its predecessor.
            ("#id a b c", "#id x a b", "0 - - -"),
            ("#id a b", "", "- - -"),
        ] {
            let mut info = TableInfo::sample("s", "t", &[("(generated)", 25)]);
            info.columns[0].generated = Generated::Stored;
            let found = match_columns(&columns(relation), &columns(table), Some(&info));
            let found = found.into_iter();
            let found: Vec<_> = found
                .map(|index| index.map_or("-".to_owned(), |index| index.to_string()))
                .collect();
            assert_eq!(found.join(" "), expected, "{relation} in {table}");
        }
        // Retyped under its name.
        let found = [("a", Oid::from(1043)), ("b", Oid::from(25))];
        assert_eq!(
            match_columns(&columns("a b"), &found, None),
            [None, Some(1)]
        );
    }
}
