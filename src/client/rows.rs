//! Results of queries, in text form and owned.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use protocol::{DataRow, Oid, RowDescription};
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};

/// Result of one statement.
#[derive(Debug, Default, Clone)]
pub struct Rows {
    /// Columns of the result; empty for a statement that returns no rows.
    pub columns: Vec<FieldInfo>,
    /// Rows in the order in which the server sent them.
    pub rows: Vec<Row>,
    /// Command tag, such as `INSERT 0 1`.
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
                format!("a query returned {} rows instead of one", rows.len()),
            )),
        }
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldInfo {
    /// Name of the column.
    pub name: String,
    /// Type of the column; for a domain, its base type.
    pub type_oid: Oid,
}

impl FieldInfo {
    /// Returns the columns that a row description lists.
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

/// A row of a result. Columns are numbered from 0.
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

    /// Returns the text of a value; `None` if it is NULL or there is no such column.
    pub fn get(&self, column: usize) -> Option<&str> {
        self.text.get(self.values.get(column)?.clone()?)
    }

    /// Returns the text of a value that must not be NULL.
    ///
    /// # Errors
    ///
    /// Fails if it is NULL or there is no such column.
    pub fn text(&self, column: usize) -> Result<&str> {
        self.get(column).ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                format!("column {column} of a catalog query is NULL, expected a value"),
            )
        })
    }

    /// Parses a value that must not be NULL.
    ///
    /// # Errors
    ///
    /// Fails if it is NULL, there is no such column, or the text is no `T`.
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

    /// Parses a boolean that must not be NULL.
    ///
    /// # Errors
    ///
    /// Fails if it is neither `t` nor `f`, or there is no such column.
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

    /// Parses a JSON value, by [`parse_json`]; `None` if it is NULL or there is no such column.
    ///
    /// # Errors
    ///
    /// Fails if the text is not JSON, or not that of a `T`.
    pub fn json<T: DeserializeOwned>(
        &self,
        column: usize,
        content: impl fmt::Display,
    ) -> Result<Option<T>> {
        self.get(column)
            .map(|text| parse_json(text, content))
            .transpose()
    }
}

/// Parses JSON that the server has built of catalog rows. `content` names it in an error text, such
/// as "the columns of table shop.orders".
///
/// The error says where parsing failed but leaves out the parser's own text, which can quote the
/// values.
///
/// # Errors
///
/// Fails if the text is not JSON, or not that of a `T`.
pub fn parse_json<T: DeserializeOwned>(text: &str, content: impl fmt::Display) -> Result<T> {
    // The parser unescapes strings in place.
    let mut bytes = text.as_bytes().to_vec();
    simd_json::serde::from_slice(&mut bytes).map_err(|error| {
        let problem = if error.is_data() {
            "a member is missing or not of the expected type".to_owned()
        } else {
            format!("malformed JSON at byte {}", error.index())
        };
        Error::new(
            ErrorKind::Protocol,
            format!("the server's description of {content} cannot be read: {problem}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Column {
        name: String,
        position: i16,
        comment: Option<String>,
    }

    fn parse(text: &str) -> Result<Vec<Column>> {
        parse_json(text, "the columns of table t")
    }

    fn row(values: &[Option<&str>]) -> Row {
        let mut text = String::new();
        let values = values
            .iter()
            .map(|value| {
                let start = text.len();
                text.push_str((*value)?);
                Some(start..text.len())
            })
            .collect();
        Row { text, values }
    }

    #[test]
    fn json_is_parsed_into_the_requested_type() {
        let text = r#"[{"name" : "a\"\u00e9\ud83d\ude00", "position" : -1, "comment" : null},
                       {"name" : "b", "position" : 2, "comment" : "B", "type_oid" : 4294967295}]"#;
        let columns = parse(text).unwrap();
        assert_eq!(columns[0].name, "a\"\u{e9}\u{1f600}");
        assert_eq!(columns[0].comment, None);
        assert_eq!(columns[1].position, 2);
        let row = row(&[Some("x"), None, Some(text)]);
        assert_eq!(row.json::<Vec<Column>>(2, "x").unwrap(), Some(columns));
        assert_eq!(row.json::<Vec<Column>>(1, "x").unwrap(), None);
        assert_eq!(row.json::<Vec<Column>>(3, "x").unwrap(), None);
        assert!(row.json::<Vec<Column>>(0, "x").is_err());
    }

    #[test]
    fn an_error_names_the_content_and_repeats_no_value() {
        for (text, problem) in [
            (r#"[{"name":"secret","position":1"#, "malformed JSON"),
            (r#"[{"name":"secret" "position":1}]"#, "malformed JSON"),
            (r#"["secret\x"]"#, "malformed JSON"),
            ("", "cannot be read"),
            (r#"[{"name":"secret"}]"#, "not of the expected type"),
            (
                r#"[{"name":1,"position":"secret"}]"#,
                "not of the expected type",
            ),
            (
                r#"[{"name":"n","position":70000}]"#,
                "not of the expected type",
            ),
            (r#""secret""#, "not of the expected type"),
        ] {
            let error = parse(text).unwrap_err();
            let message = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(message.contains("the columns of table t"), "{message}");
            assert!(message.contains(problem), "{text}: {message}");
            let all = format!("{error:?}{:?}", error.causes());
            assert!(!all.contains("secret") && !all.contains("70000"), "{all}");
        }
    }
}
