//! The SQL of a chunk.

use std::borrow::Cow;
use std::fmt::Write;

use protocol::quote_identifier;

use super::position::{Position, Window};
use crate::value::{Comparison, Operators};

/// What of a table is scanned, and how: the same for all of its chunks.
#[derive(Debug, Clone)]
pub struct TableScan {
    /// What rows are read from: a quoted table, with ONLY in front where rows of tables that
    /// inherit from it do not belong to it.
    pub target: String,
    /// Key columns in order, each with whether it may be NULL; empty for a scan by physical
    /// position.
    pub key_columns: Vec<(String, bool)>,
    /// How each of them is compared with a parameter; none of them in a special way where it is
    /// empty.
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
    pub extra_columns: ExtraColumns,
}

/// Leading columns of rows that are not the table's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtraColumns {
    /// None.
    None,
    /// The number of the row among those of the table that the scan has come past, also those that
    /// are left out, and the transaction that has written it.
    Count,
    /// The physical position of the row.
    Position,
}

impl ExtraColumns {
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
    /// Returns the statement for the rows of so many chunks in the order of their keys, behind a
    /// key or from the start.
    pub fn rows_after(&self, after: Option<&[Option<String>]>, chunks: u32) -> ChunkQuery {
        let (condition, parameters) = self.remaining(after);
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
                extra_columns: ExtraColumns::None,
            };
        };
        // A chunk is so many rows of the table whether or not they are old; the old ones stay on
        // the server, but for the last of each chunk, whose key is where the scan goes on.
        let sql = format!(
            "SELECT * FROM (SELECT row_number() OVER () AS \"flow row\", s.* FROM \
             (SELECT xmin::text AS \"flow xmin\", t.* FROM {} t{tail}) s) q \
             WHERE {} OR \"flow row\" % {} = 0",
            self.target,
            is_recent(min_xid, "\"flow xmin\"::bigint"),
            self.chunk_size
        );
        ChunkQuery {
            sql,
            parameters,
            extra_columns: ExtraColumns::Count,
        }
    }

    /// Returns the statement for the key of the last of so many rows behind a key; no row where
    /// there are fewer.
    pub fn last_key(&self, after: Option<&[Option<String>]>, rows: u64) -> ChunkQuery {
        let (condition, parameters) = self.remaining(after);
        let key = self.quoted_key();
        let sql = format!(
            "SELECT {key} FROM {}{condition} ORDER BY {key} OFFSET {} LIMIT 1",
            self.target,
            rows.saturating_sub(1)
        );
        ChunkQuery {
            sql,
            parameters,
            extra_columns: ExtraColumns::None,
        }
    }

    /// Returns the statement for the rows of a window.
    pub fn rows_in(&self, window: Window) -> ChunkQuery {
        let (after, until) = (window.after, window.until);
        let (in_window, parameters) = if self.server_version >= TID_RANGE_SCAN {
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
        let mut conditions = vec![in_window.to_owned()];
        if let Some(min_xid) = self.min_xid {
            conditions.push(is_recent(min_xid, "xmin::text::bigint"));
        }
        if let Some(filter) = &self.filter {
            conditions.push(format!("({filter})"));
        }
        let sql = format!(
            "SELECT ctid, * FROM {}{}",
            self.target,
            where_clause(&conditions)
        );
        ChunkQuery {
            sql,
            parameters,
            extra_columns: ExtraColumns::Position,
        }
    }

    /// Returns the statement that keeps the table from being rewritten, to be run before the
    /// snapshot is taken: a snapshot from before a rewrite (ALTER COLUMN TYPE) sees an empty table
    /// behind it. Partitions cannot be rewritten without the table that they are part of.
    pub fn lock_statement(&self) -> String {
        let table = self.target.strip_prefix("ONLY ").unwrap_or(&self.target);
        format!("LOCK TABLE ONLY {table} IN ACCESS SHARE MODE")
    }

    /// The condition for the rows that are left behind a key, with its parameters.
    fn remaining(&self, after: Option<&[Option<String>]>) -> (String, Vec<Option<String>>) {
        let mut conditions = Vec::new();
        let mut parameters = Vec::new();
        if let Some(values) = after {
            conditions.push(self.after_key(values, &mut parameters));
        }
        if let Some(filter) = &self.filter {
            conditions.push(format!("({filter})"));
        }
        (where_clause(&conditions), parameters)
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
    fn after_key(&self, values: &[Option<String>], parameters: &mut Vec<Option<String>>) -> String {
        let usual = Operators::default();
        let is_usual = |comparison: &Comparison| comparison.operators == usual;
        let is_nullable = self.key_columns.iter().any(|(_, nullable)| *nullable);
        if !is_nullable && self.comparisons.iter().all(is_usual) {
            parameters.extend_from_slice(values);
            let columns = self.key_columns.iter().enumerate();
            let (columns, placeholders): (Vec<_>, Vec<_>) = columns
                .map(|(index, (name, _))| self.comparison(index).operands(name, index + 1))
                .unzip();
            return format!("({}) > ({})", columns.join(", "), placeholders.join(", "));
        }
        // A comparison of rows is NULL as soon as a NULL decides it, and has one operator for all,
        // so each column is compared by itself: behind in the first, or equal in the first and
        // behind in the second, and so on.
        let mut alternatives = Vec::new();
        let mut equal = String::new();
        let mut first = String::new();
        for (index, ((name, nullable), value)) in self.key_columns.iter().zip(values).enumerate() {
            let quoted = quote_identifier(name);
            if value.is_some() {
                parameters.push(value.clone());
                let comparison = self.comparison(index);
                let (column, placeholder) = comparison.operands(name, parameters.len());
                let operators = &comparison.operators;
                let null = if *nullable {
                    format!(" OR {quoted} IS NULL")
                } else {
                    String::new()
                };
                if index == 0 && !*nullable && values.len() > 1 {
                    // The alternatives alone would have an index read from its start.
                    first = format!("{column} {} {placeholder} AND ", operators.at_least);
                }
                let greater = &operators.greater;
                alternatives.push(format!("({equal}({column} {greater} {placeholder}{null}))"));
                let _ = write!(equal, "{column} {} {placeholder} AND ", operators.equal);
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
    fn operands(&self, name: &str, number: usize) -> (String, String) {
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
            let (column, placeholder) = comparison.operands(key_column.name, parameters.len());
            conditions.push(format!(
                "{column} {} {placeholder}",
                comparison.operators.equal
            ));
        } else {
            conditions.push(format!("{} IS NULL", quote_identifier(key_column.name)));
        }
    }
    let sql = format!(
        "SELECT * FROM {target}{} LIMIT 1",
        where_clause(&conditions)
    );
    ChunkQuery {
        sql,
        parameters,
        extra_columns: ExtraColumns::None,
    }
}

fn where_clause(conditions: &[String]) -> String {
    if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    }
}

/// Whether a row was written by the transaction or a later one, and before now: 32-bit ids compare
/// in a circle, and those below 3 are not of transactions.
fn is_recent(min_xid: u32, xmin: &str) -> String {
    format!(
        "({xmin} >= 3 AND (({xmin} - {min_xid}) & 4294967295) < 2147483648 \
         AND ((txid_snapshot_xmax(txid_current_snapshot()) - {xmin}) & 4294967295) < 2147483648)"
    )
}

#[cfg(test)]
mod tests;
