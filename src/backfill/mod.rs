//! Reading the rows that a table has: chunk queries, their snapshots, the position of the scan.
//!
//! A chunk is read in a transaction of its own, at REPEATABLE READ: its first statement tells which
//! transactions the rows contain ([`View`]) and where the log's end was, and the rows follow in the
//! same round trip. What is made of that is decided by `capture`.

mod position;
mod query;
mod reader;
mod view;

pub use position::{Position, Window};
pub use query::{ChunkQuery, TableScan, row_by_key};
pub use reader::{ChunkStart, RowStep, SpanReader, SpanRows, read_view};
pub use view::{Snapshot, View};
