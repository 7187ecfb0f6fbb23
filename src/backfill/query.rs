//! The SQL of a chunk.

use std::borrow::Cow;
use std::fmt::Write;

use protocol::quote_identifier;

use super::{Position, Window};
use crate::value::{Comparison, Operators};

/// What of a table is scanned, and how: the same for all of its chunks.
#[derive(Debug, Clone)]
pub struct TableScan {
    /// What rows are read from: a quoted table, with ONLY in front where rows of tables that inherit
    /// from it do not belong to it.
    pub target: String,
    /// Key columns in order, each with whether it may be NULL; empty for a scan by physical
    /// position.
    pub key_columns: Vec<(String, bool)>,
    /// How each of them is compared with a parameter; none of them in a special way where it is empty.
    pub comparisons: Vec<Comparison>,
    /// A condition of the user's.
    pub filter: Option<String>,
    /// Leave out rows that were written before this transaction, in circular comparison.
    pub min_xid: Option<u32>,
    /// The number of rows of a chunk.
    pub chunk_size: u32,
    /// The server's version, as server_version_num.
    pub server_version: u32,
}

/// A chunk's statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkQuery {
    /// The statement.
    pub sql: String,
    /// Its parameters in text form.
    pub parameters: Vec<Option<String>>,
    /// The leading columns that are not the table's.
    pub helpers: Helpers,
}

/// Leading columns of rows that are not the table's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helpers {
    /// None.
    None,
    /// The number of the row among those of the table that the scan has come past, also those that are
    /// left out, and the transaction that has written it.
    Count,
    /// The physical position of the row.
    Position,
}

impl Helpers {
    /// Returns how many columns they are.
    pub fn columns(self) -> usize {
        match self {
            Self::None => 0,
            Self::Count => 2,
            Self::Position => 1,
        }
    }
}

/// The first version that scans a range of physical positions without reading the whole table.
const TID_RANGE_SCAN: u32 = 140_000;

impl TableScan {
    /// Returns the statement for the rows of so many chunks in the order of their keys, behind a key or
    /// from the start.
    pub fn keyed(&self, after: Option<&[Option<String>]>, chunks: u32) -> ChunkQuery {
        let (condition, parameters) = self.left(after);
        let order = self.quoted_key();
        let tail = format!(
            "{condition} ORDER BY {order} LIMIT {}",
            u64::from(self.chunk_size) * u64::from(chunks)
        );
        let Some(min_xid) = self.min_xid else {
            let sql = format!("SELECT * FROM {}{tail}", self.target);
            return ChunkQuery {
                sql,
                parameters,
                helpers: Helpers::None,
            };
        };
        // A chunk is so many rows of the table whether or not they are old; the old ones stay on the
        // server, but for the last of each chunk, whose key is where the scan goes on.
        let sql = format!(
            "SELECT * FROM (SELECT row_number() OVER () AS \"flow row\", s.* FROM \
             (SELECT xmin::text AS \"flow xmin\", t.* FROM {} t{tail}) s) q \
             WHERE {} OR \"flow row\" % {} = 0",
            self.target,
            newer(min_xid, "\"flow xmin\"::bigint"),
            self.chunk_size
        );
        ChunkQuery {
            sql,
            parameters,
            helpers: Helpers::Count,
        }
    }

    /// Returns the statement for the key of the last of so many rows behind a key; no row where there
    /// are fewer.
    pub fn last_key(&self, after: Option<&[Option<String>]>, rows: u64) -> ChunkQuery {
        let (condition, parameters) = self.left(after);
        let key = self.quoted_key();
        let sql = format!(
            "SELECT {key} FROM {}{condition} ORDER BY {key} OFFSET {} LIMIT 1",
            self.target,
            rows.saturating_sub(1)
        );
        ChunkQuery {
            sql,
            parameters,
            helpers: Helpers::None,
        }
    }

    /// Returns the statement for the rows of a window.
    pub fn keyless(&self, window: Window) -> ChunkQuery {
        let (after, until) = (window.after, window.until);
        let (places, parameters) = if self.server_version >= TID_RANGE_SCAN {
            let bounds = vec![after.to_string(), until.to_string()];
            ("ctid > $1::tid AND ctid <= $2::tid", bounds)
        } else {
            // Every position that the window can hold, one by one, makes a server that knows no
            // range scan visit just these pages. A row takes at least 28 bytes of its page.
            let Position { block, offset } = after;
            let bounds = [block, until.block, u32::from(offset)];
            (
                "ctid = ANY (ARRAY(SELECT ('(' || b || ',' || o || ')')::tid \
                 FROM generate_series($1::bigint, $2::bigint - 1) b, \
                 generate_series(1, current_setting('block_size')::int / 28) o \
                 WHERE b > $1::bigint OR o > $3::int))",
                bounds.map(|number| number.to_string()).to_vec(),
            )
        };
        let parameters = parameters.into_iter().map(Some).collect();
        let mut conditions = vec![places.to_owned()];
        if let Some(min_xid) = self.min_xid {
            conditions.push(newer(min_xid, "xmin::text::bigint"));
        }
        if let Some(filter) = &self.filter {
            conditions.push(format!("({filter})"));
        }
        let sql = format!(
            "SELECT ctid, * FROM {}{}",
            self.target,
            condition(&conditions)
        );
        ChunkQuery {
            sql,
            parameters,
            helpers: Helpers::Position,
        }
    }

    /// Returns the statement that keeps the table from being rewritten, to be run before the snapshot
    /// is taken: a snapshot from before a rewrite (ALTER COLUMN TYPE) sees an empty table behind it.
    /// Partitions cannot be rewritten without the table that they are part of.
    pub fn lock(&self) -> String {
        let table = self.target.strip_prefix("ONLY ").unwrap_or(&self.target);
        format!("LOCK TABLE ONLY {table} IN ACCESS SHARE MODE")
    }

    /// The condition for the rows that are left behind a key, with its parameters.
    fn left(&self, after: Option<&[Option<String>]>) -> (String, Vec<Option<String>>) {
        let mut conditions = Vec::new();
        let mut parameters = Vec::new();
        if let Some(values) = after {
            conditions.push(self.behind(values, &mut parameters));
        }
        if let Some(filter) = &self.filter {
            conditions.push(format!("({filter})"));
        }
        (condition(&conditions), parameters)
    }

    fn quoted_key(&self) -> String {
        let quoted: Vec<_> = self
            .key_columns
            .iter()
            .map(|(name, _)| quote_identifier(name))
            .collect();
        quoted.join(", ")
    }

    /// How a key column is compared.
    fn comparison(&self, index: usize) -> Cow<'_, Comparison> {
        self.comparisons
            .get(index)
            .map_or_else(Cow::default, Cow::Borrowed)
    }

    /// The condition of being behind a key, in the server's order, where NULL is last.
    fn behind(&self, values: &[Option<String>], parameters: &mut Vec<Option<String>>) -> String {
        let usual = Operators::default();
        let is_usual = |comparison: &Comparison| comparison.operators == usual;
        let is_nullable = self.key_columns.iter().any(|(_, nullable)| *nullable);
        if !is_nullable && self.comparisons.iter().all(is_usual) {
            parameters.extend_from_slice(values);
            let columns = self.key_columns.iter().enumerate();
            let (columns, places): (Vec<_>, Vec<_>) = columns
                .map(|(index, (name, _))| self.comparison(index).sides(name, index + 1))
                .unzip();
            return format!("({}) > ({})", columns.join(", "), places.join(", "));
        }
        // A comparison of rows is NULL as soon as a NULL decides it, and has one operator for all, so
        // each column is compared by itself: behind in the first, or equal in the first and behind in
        // the second, and so on.
        let mut alternatives = Vec::new();
        let mut equal = String::new();
        let mut first = String::new();
        for (index, ((name, nullable), value)) in self.key_columns.iter().zip(values).enumerate() {
            let quoted = quote_identifier(name);
            if value.is_some() {
                parameters.push(value.clone());
                let comparison = self.comparison(index);
                let (column, place) = comparison.sides(name, parameters.len());
                let operators = &comparison.operators;
                let null = if *nullable {
                    format!(" OR {quoted} IS NULL")
                } else {
                    String::new()
                };
                if index == 0 && !*nullable && values.len() > 1 {
                    // The alternatives alone would have an index read from its start.
                    first = format!("{column} {} {place} AND ", operators.at_least);
                }
                let greater = &operators.greater;
                alternatives.push(format!("({equal}({column} {greater} {place}{null}))"));
                let _ = write!(equal, "{column} {} {place} AND ", operators.equal);
            } else {
                let _ = write!(equal, "{quoted} IS NULL AND ");
            }
        }
        if alternatives.is_empty() {
            "false".to_owned()
        } else {
            format!("{first}({})", alternatives.join(" OR "))
        }
    }
}

impl Comparison {
    /// Returns a column and the parameter of this number, each as it is compared with the other.
    fn sides(&self, name: &str, number: usize) -> (String, String) {
        let column = quote_identifier(name) + &self.column;
        (column, format!("${number}{}", self.parameter))
    }
}

/// A column of a key, and its value in a row.
#[derive(Debug, Clone)]
pub struct KeyColumn<'a> {
    /// Its name.
    pub name: &'a str,
    /// How it is compared with a parameter.
    pub comparison: &'a Comparison,
    /// The value as a parameter; `None` for NULL.
    pub value: Option<String>,
}

/// Returns the statement for one row, by the values of its key.
pub fn row_by_key(target: &str, key: &[KeyColumn<'_>]) -> ChunkQuery {
    let mut conditions = Vec::new();
    let mut parameters = Vec::new();
    for key_column in key {
        if key_column.value.is_some() {
            parameters.push(key_column.value.clone());
            let comparison = key_column.comparison;
            let (column, place) = comparison.sides(key_column.name, parameters.len());
            conditions.push(format!("{column} {} {place}", comparison.operators.equal));
        } else {
            conditions.push(format!("{} IS NULL", quote_identifier(key_column.name)));
        }
    }
    let sql = format!("SELECT * FROM {target}{} LIMIT 1", condition(&conditions));
    ChunkQuery {
        sql,
        parameters,
        helpers: Helpers::None,
    }
}

fn condition(conditions: &[String]) -> String {
    if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    }
}

/// Whether a row was written by the transaction or a later one, and before now: 32-bit ids compare
/// in a circle, and those below 3 are not of transactions.
fn newer(min_xid: u32, xmin: &str) -> String {
    format!(
        "({xmin} >= 3 AND (({xmin} - {min_xid}) & 4294967295) < 2147483648 \
         AND ((txid_snapshot_xmax(txid_current_snapshot()) - {xmin}) & 4294967295) < 2147483648)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(keys: &[(&str, bool)]) -> TableScan {
        TableScan {
            target: r#"ONLY "shop"."od""d""#.into(),
            key_columns: keys
                .iter()
                .map(|(name, null)| ((*name).to_owned(), *null))
                .collect(),
            comparisons: Vec::new(),
            filter: None,
            min_xid: None,
            chunk_size: 100,
            server_version: 150_000,
        }
    }

    fn values(texts: &[Option<&str>]) -> Vec<Option<String>> {
        texts.iter().map(|text| text.map(str::to_owned)).collect()
    }

    fn cast(column: &str, parameter: &str) -> Comparison {
        Comparison {
            column: column.to_owned(),
            parameter: parameter.to_owned(),
            operators: Operators::default(),
        }
    }

    #[test]
    fn a_scan_starts_anywhere_and_goes_on_behind_a_key() {
        let scan = scan(&[("a", false), ("B", false)]);
        assert_eq!(
            scan.keyed(None, 1).sql,
            r#"SELECT * FROM ONLY "shop"."od""d" ORDER BY "a", "B" LIMIT 100"#
        );
        let query = scan.keyed(Some(&values(&[Some("1"), Some("x")])), 3);
        assert_eq!(
            query.sql,
            r#"SELECT * FROM ONLY "shop"."od""d" WHERE ("a", "B") > ($1, $2) ORDER BY "a", "B" LIMIT 300"#
        );
        assert_eq!(query.parameters, values(&[Some("1"), Some("x")]));
        assert_eq!(
            scan.lock(),
            r#"LOCK TABLE ONLY "shop"."od""d" IN ACCESS SHARE MODE"#
        );
    }

    #[test]
    fn columns_and_parameters_are_cast_where_no_operator_would() {
        let mut scan = scan(&[("a", false), ("b", false)]);
        scan.comparisons = vec![cast("", "::int4::char"), cast("::mood", "::mood")];
        let key = values(&[Some("-1"), Some("sad")]);
        let query = scan.keyed(Some(&key), 1);
        let expected = r#"WHERE ("a", "b"::mood) > ($1::int4::char, $2::mood) ORDER BY "a", "b""#;
        assert!(query.sql.contains(expected), "{}", query.sql);
        scan.key_columns[1].1 = true;
        let query = scan.keyed(Some(&key), 1);
        let expected = r#"("a" = $1::int4::char AND ("b"::mood > $2::mood OR "b" IS NULL))) ORDER"#;
        assert!(query.sql.contains(expected), "{}", query.sql);
    }

    #[test]
    fn columns_are_compared_by_the_operators_of_their_order() {
        let mut scan = scan(&[("a", false)]);
        let operator = |name: &str| format!("OPERATOR(s.{name})");
        let odd = Comparison {
            parameter: "::t".to_owned(),
            operators: Operators {
                equal: operator("="),
                at_least: operator("#>=#"),
                greater: operator("#>#"),
            },
            ..Comparison::default()
        };
        scan.comparisons = vec![odd.clone()];
        let one = scan.keyed(Some(&values(&[Some("1")])), 1);
        let expected = r#"WHERE ((("a" OPERATOR(s.#>#) $1::t))) ORDER BY "a" LIMIT"#;
        assert!(one.sql.contains(expected), "{}", one.sql);

        scan.key_columns.push(("b".to_owned(), false));
        scan.comparisons.push(Comparison::default());
        let both = scan.keyed(Some(&values(&[Some("1"), Some("2")])), 1);
        let expected = r#"WHERE "a" OPERATOR(s.#>=#) $1::t AND ((("a" OPERATOR(s.#>#) $1::t)) OR ("a" OPERATOR(s.=) $1::t AND ("b" > $2))) ORDER BY "a", "b" LIMIT"#;
        assert!(both.sql.contains(expected), "{}", both.sql);

        let key = [KeyColumn {
            name: "a",
            comparison: &odd,
            value: Some("1".to_owned()),
        }];
        let expected = r#"WHERE "a" OPERATOR(s.=) $1::t LIMIT 1"#;
        assert!(row_by_key("t", &key).sql.contains(expected));
    }

    #[test]
    fn the_end_of_a_section_is_a_key() {
        let mut scan = scan(&[("a", false), ("B", false)]);
        scan.filter = Some("x".into());
        let query = scan.last_key(Some(&values(&[Some("1"), Some("2")])), 300);
        assert_eq!(
            query.sql,
            r#"SELECT "a", "B" FROM ONLY "shop"."od""d" WHERE ("a", "B") > ($1, $2) AND (x) ORDER BY "a", "B" OFFSET 299 LIMIT 1"#
        );
    }

    #[test]
    fn null_is_behind_every_value_of_a_nullable_key_column() {
        let scan = scan(&[("a", true), ("b", false)]);
        let query = scan.keyed(Some(&values(&[Some("1"), Some("2")])), 1);
        assert!(
            query.sql.contains(
                r#"WHERE ((("a" > $1 OR "a" IS NULL)) OR ("a" = $1 AND ("b" > $2))) ORDER"#
            )
        );
        let query = scan.keyed(Some(&values(&[None, Some("2")])), 1);
        assert!(
            query
                .sql
                .contains(r#"WHERE (("a" IS NULL AND ("b" > $1))) ORDER"#)
        );
        assert_eq!(query.parameters, values(&[Some("2")]));
    }

    #[test]
    fn filters_are_added_and_old_rows_left_out_on_the_server() {
        let mut scan = scan(&[("a", false)]);
        scan.filter = Some("qty > 3 OR x".into());
        assert!(
            scan.keyed(None, 1)
                .sql
                .contains("WHERE (qty > 3 OR x) ORDER")
        );
        scan.min_xid = Some(700);
        let query = scan.keyed(None, 1);
        assert_eq!(query.helpers, Helpers::Count);
        assert!(query.sql.ends_with("OR \"flow row\" % 100 = 0"));
    }

    #[test]
    fn a_row_is_found_by_its_key() {
        let (none, mood) = (Comparison::default(), cast("::mood", "::mood"));
        let column = |name, comparison, value: Option<&str>| KeyColumn {
            name,
            comparison,
            value: value.map(str::to_owned),
        };
        let key = [
            column("a\"b", &none, Some("1")),
            column("b", &mood, None),
            column("c", &mood, Some("sad")),
        ];
        let query = row_by_key("t", &key);
        assert_eq!(
            query.sql,
            r#"SELECT * FROM t WHERE "a""b" = $1 AND "b" IS NULL AND "c"::mood = $2::mood LIMIT 1"#
        );
        assert_eq!(query.parameters, values(&[Some("1"), Some("sad")]));
    }

    #[test]
    fn windows_are_read_by_range_where_the_server_can() {
        let window = Window::next(Position::default(), 100, 0);
        let mut scan = scan(&[]);
        assert_eq!(
            scan.keyless(window).sql,
            r#"SELECT ctid, * FROM ONLY "shop"."od""d" WHERE ctid > $1::tid AND ctid <= $2::tid"#
        );
        scan.server_version = 130_000;
        assert!(scan.keyless(window).sql.contains("ctid = ANY"));
        assert_eq!(
            scan.keyless(window).parameters,
            values(&[Some("0"), Some("2"), Some("0")])
        );
        let after = Position {
            block: 7,
            offset: 3,
        };
        let parameters = scan.keyless(Window::next(after, 100, 0)).parameters;
        assert_eq!(parameters, values(&[Some("7"), Some("9"), Some("3")]));
    }
}
