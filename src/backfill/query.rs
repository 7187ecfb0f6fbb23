//! The SQL statements for the rows of chunks.

use std::borrow::Cow;
use std::fmt::Write;

use protocol::quote_identifier;

use super::position::{Position, Window};
use crate::value::{Comparison, Operators};

/// Parameters of the scan of a table, which are the same for all of its chunks.
#[derive(Debug, Clone)]
pub struct TableScan {
    /// Quoted name of the table, after `ONLY` if rows of tables that inherit from it do not belong
    /// to it.
    pub target: String,
    /// Key columns in order, each with whether it can be NULL; empty for a scan by physical
    /// position.
    pub key_columns: Vec<(String, bool)>,
    /// Comparison of each key column with a parameter; empty if all have the default comparison.
    pub comparisons: Vec<Comparison>,
    /// Condition on the rows that the user has configured.
    pub filter: Option<String>,
    /// Transaction id, compared modulo 2^32: rows that an earlier transaction has written are left
    /// out.
    pub min_xid: Option<u32>,
    /// Number of rows of a chunk.
    pub chunk_size: u32,
    /// Version of the server, as `server_version_num`.
    pub server_version: u32,
}

/// Statement that returns rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkQuery {
    /// Text of the statement.
    pub sql: String,
    /// Parameters in text form; `None` is NULL.
    pub parameters: Vec<Option<String>>,
    /// Leading columns that are not columns of the table.
    pub extra_columns: ExtraColumns,
}

/// Leading columns of a statement's rows that are not columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtraColumns {
    /// None.
    None,
    /// The number of the row within the statement, counting also rows that are left out, and the id
    /// of the transaction that has written it (`xmin`).
    Count,
    /// The physical position of the row (`ctid`).
    Position,
}

impl ExtraColumns {
    /// Returns the number of these columns.
    pub fn columns(self) -> usize {
        match self {
            Self::None => 0,
            Self::Count => 2,
            Self::Position => 1,
        }
    }
}

/// First version that scans a range of physical positions without reading the whole table.
const TID_RANGE_SCAN: u32 = 140_000;

impl TableScan {
    /// Returns the statement for the rows of `chunks` chunks in key order, after a key or from the
    /// first row.
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
        // A chunk counts rows of the table whether they are old or not. The server leaves out old
        // rows except the last of each chunk, whose key is the position of the scan.
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

    /// Returns the statement for the key of the last of `rows` rows after a key, or from the first
    /// row. It returns no row if there are fewer rows.
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

    /// Returns the statement for the rows in a window of a scan by physical position.
    pub fn rows_in(&self, window: Window) -> ChunkQuery {
        let (after, until) = (window.after, window.until);
        let (in_window, parameters) = if self.server_version >= TID_RANGE_SCAN {
            let bounds = vec![after.to_string(), until.to_string()];
            ("ctid > $1::tid AND ctid <= $2::tid", bounds)
        } else {
            // A server without range scans reads only the pages of the window if the statement
            // lists every position in it. A row takes at least 28 bytes of its page.
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

    /// Returns the statement that locks the table against a rewrite, such as by ALTER COLUMN TYPE.
    /// It has to run before the snapshot is taken: a snapshot from before a rewrite sees an empty
    /// table after it. Partitions cannot be rewritten without their partitioned table.
    pub fn lock_statement(&self) -> String {
        let table = self.target.strip_prefix("ONLY ").unwrap_or(&self.target);
        format!("LOCK TABLE ONLY {table} IN ACCESS SHARE MODE")
    }

    /// Returns the WHERE clause for the remaining rows after a key, with its parameters.
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

    /// Returns the key columns as a list in SQL.
    fn quoted_key(&self) -> String {
        let quoted: Vec<_> = self
            .key_columns
            .iter()
            .map(|(name, _)| quote_identifier(name))
            .collect();
        quoted.join(", ")
    }

    /// Returns the comparison of a key column with a parameter.
    fn comparison(&self, index: usize) -> Cow<'_, Comparison> {
        self.comparisons
            .get(index)
            .map_or_else(Cow::default, Cow::Borrowed)
    }

    /// Returns the condition that a row comes after a key in the order of the server, where NULL
    /// comes last.
    fn after_key(&self, values: &[Option<String>], parameters: &mut Vec<Option<String>>) -> String {
        let default = Operators::default();
        let is_default = |comparison: &Comparison| comparison.operators == default;
        let is_nullable = self.key_columns.iter().any(|(_, nullable)| *nullable);
        if is_nullable || !self.comparisons.iter().all(is_default) {
            return self.after_key_by_column(values, parameters);
        }
        parameters.extend_from_slice(values);
        let columns = self.key_columns.iter().enumerate();
        let (columns, placeholders): (Vec<_>, Vec<_>) = columns
            .map(|(index, (name, _))| self.comparison(index).operands(name, index + 1))
            .unzip();
        format!("({}) > ({})", columns.join(", "), placeholders.join(", "))
    }

    /// Returns the condition that a row comes after a key, with a comparison for each column:
    /// greater in the first column, or equal in the first and greater in the second, and so on. A
    /// row comparison has one operator for all columns, and is NULL if it is decided by a NULL.
    fn after_key_by_column(
        &self,
        values: &[Option<String>],
        parameters: &mut Vec<Option<String>>,
    ) -> String {
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
                    // With the alternatives alone the server would read an index from its start.
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
    /// Returns the SQL of a column and of the parameter with this number, with the casts that their
    /// comparison requires.
    fn operands(&self, name: &str, number: usize) -> (String, String) {
        let column = quote_identifier(name) + &self.column;
        (column, format!("${number}{}", self.parameter))
    }
}

/// Key column with its value in a row.
#[derive(Debug, Clone)]
pub struct KeyColumn<'a> {
    /// Name of the column.
    pub name: &'a str,
    /// Comparison of the column with a parameter.
    pub comparison: &'a Comparison,
    /// Value in text form; `None` is NULL.
    pub value: Option<String>,
}

/// Returns the statement for the row with a key.
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

/// Returns the condition that a row was written by the transaction `min_xid` or a later one that is
/// not in the future. 32-bit transaction ids are compared modulo 2^32; ids below 3 are reserved.
fn is_recent(min_xid: u32, xmin: &str) -> String {
    format!(
        "({xmin} >= 3 AND (({xmin} - {min_xid}) & 4294967295) < 2147483648 \
         AND ((txid_snapshot_xmax(txid_current_snapshot()) - {xmin}) & 4294967295) < 2147483648)"
    )
}

#[cfg(test)]
mod tests;
