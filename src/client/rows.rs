//! Results of queries, owned.

use std::ops::Range;
use std::str::FromStr;

use protocol::{DataRow, Oid, RowDescription};

use crate::error::{Error, ErrorKind, Result};

/// The result of one statement.
#[derive(Debug, Default, Clone)]
pub struct Rows {
    /// The columns; empty where the statement returns none.
    pub columns: Vec<FieldInfo>,
    /// The rows, in the server's order.
    pub rows: Vec<Row>,
    /// The command tag, such as `INSERT 0 1`.
    pub tag: String,
}

impl Rows {
    /// Returns the only row.
    ///
    /// # Errors
    ///
    /// Fails where there is not exactly one.
    pub fn one(&self) -> Result<&Row> {
        match self.rows.as_slice() {
            [row] => Ok(row),
            rows => Err(Error::new(
                ErrorKind::Protocol,
                format!("a query returned {} rows where one was due", rows.len()),
            )),
        }
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its name.
    pub name: String,
    /// Its type; of a domain, the type that it is over.
    pub type_oid: Oid,
}

impl FieldInfo {
    /// Returns the columns that a row description names.
    pub fn list(description: &RowDescription<'_>) -> Vec<Self> {
        description
            .iter()
            .map(|field| Self {
                name: field.name.to_owned(),
                type_oid: field.type_oid,
            })
            .collect()
    }
}

/// A row of a result, in text form.
#[derive(Debug, Clone)]
pub struct Row {
    text: String,
    values: Vec<Option<Range<usize>>>,
}

impl Row {
    pub(super) fn new(row: &DataRow<'_>) -> Result<Self> {
        let mut text = String::new();
        let mut values = Vec::with_capacity(row.len());
        for value in row.iter() {
            let Some(bytes) = value else {
                values.push(None);
                continue;
            };
            let value = std::str::from_utf8(bytes).map_err(|error| {
                Error::new(
                    ErrorKind::Protocol,
                    "the server sent text that is not UTF-8",
                )
                .with_source(error)
            })?;
            let start = text.len();
            text.push_str(value);
            values.push(Some(start..text.len()));
        }
        Ok(Self { text, values })
    }

    /// Returns a value; `None` where it is NULL or there is no such column.
    pub fn get(&self, column: usize) -> Option<&str> {
        self.text.get(self.values.get(column)?.clone()?)
    }

    /// Returns a value that is not NULL.
    ///
    /// # Errors
    ///
    /// Fails where it is NULL or there is no such column.
    pub fn text(&self, column: usize) -> Result<&str> {
        self.get(column).ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                format!("column {column} of a catalog query is null where a value was due"),
            )
        })
    }

    /// Returns a value that is not NULL, parsed.
    ///
    /// # Errors
    ///
    /// Fails where it is NULL or does not parse.
    pub fn parse<T>(&self, column: usize) -> Result<T>
    where
        T: FromStr,
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.text(column)?.parse().map_err(|error| {
            Error::new(
                ErrorKind::Protocol,
                format!(
                    "column {column} of a catalog query is not a {}",
                    std::any::type_name::<T>()
                        .rsplit("::")
                        .next()
                        .unwrap_or_default()
                ),
            )
            .with_source(error)
        })
    }

    /// Returns a boolean value that is not NULL.
    ///
    /// # Errors
    ///
    /// Fails where it is neither `t` nor `f`.
    pub fn bool(&self, column: usize) -> Result<bool> {
        match self.text(column)? {
            "t" => Ok(true),
            "f" => Ok(false),
            _ => Err(Error::new(
                ErrorKind::Protocol,
                format!("column {column} of a catalog query is not a boolean"),
            )),
        }
    }
}
