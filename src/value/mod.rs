//! PostgreSQL types: JSON values, JSON schemas and row keys, from the server's text form.
//!
//! All that the connector knows about a type is one row of the table in `builtin.rs`. It determines
//! [`Transcoder`] (the JSON of a value), [`column_schema`] (the JSON schema of a column) and
//! [`KeyCodec`] (the value as part of a row key). Nothing here depends on tables or connections.
#![doc = include_str!("types.md")]

mod builtin;
mod datetime;
#[cfg(test)]
mod documentation;
mod error;
mod float;
mod interval;
mod key;
mod options;
mod pg_type;
mod registry;
mod schema;
mod transcoder;

pub use error::ValueError;
pub use key::{Comparison, Decimal, KeyCodec, KeyValue, Ranked};
pub use options::ValueOptions;
pub use pg_type::{PgType, TypeKind};
pub use registry::{Operators, TypeRegistry};
pub use schema::{ColumnType, SourceTypeName, column_schema, source_type_name};
pub use transcoder::Transcoder;
