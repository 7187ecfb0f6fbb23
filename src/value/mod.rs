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
