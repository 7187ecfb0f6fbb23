//! PostgreSQL types: server text to JSON, their JSON schemas, row keys.
//!
//! Everything that is known of a type is one row of one table (`builtin.rs`). From it follow
//! [`Transcoder`] (a value's JSON), [`column_schema`] (the JSON schema of a column) and
//! [`KeyCodec`] (the value as part of a row key). Nothing here knows of tables or connections.
#![doc = include_str!("types.md")]

mod builtin;
mod datetime;
#[cfg(test)]
mod documentation;
mod error;
mod float;
mod interval;
mod key;
mod registry;
mod schema;
mod transcoder;

use protocol::Oid;

pub use error::ValueError;
pub use key::{Comparison, Decimal, KeyCodec, KeyValue, Ranked};
pub use registry::{Operators, PgType, TypeKind, TypeRegistry};
pub use schema::{ColumnType, SourceTypeName, column_schema, source_type_name};
pub use transcoder::Transcoder;

/// The size in bytes up to which a value is captured whole: its text, the binary string that it
/// stands for, or its JSON as received. Key columns, numbers and the like have no limit.
const LARGE_VALUE: usize = 8 << 20;

/// The feature flags that decide how values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueOptions {
    /// A `date` is a date; otherwise a timestamp at midnight.
    pub date_as_date: bool,
    /// A `time` is a time of day; otherwise a number of microseconds.
    pub time_as_time: bool,
    /// An array is a JSON array of all elements; otherwise an object of dimensions and elements.
    pub flatten_arrays: bool,
    /// An array is a JSON array of arrays for each dimension, whatever `flatten_arrays` says.
    pub multidimensional_arrays: bool,
}

impl Default for ValueOptions {
    fn default() -> Self {
        Self {
            date_as_date: true,
            time_as_time: true,
            flatten_arrays: true,
            multidimensional_arrays: false,
        }
    }
}
