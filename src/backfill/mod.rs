//! Reading the rows that a table has: chunk queries, their snapshots, the position of the scan.
//!
//! Chunks are read in spans, each a transaction at REPEATABLE READ: its first statement tells which
//! transactions the rows contain ([`Snapshot`]) and where the log's end was, and the rows of many chunks
//! follow, asked for ahead ([`SpanReader`]). What is made of that is decided by `capture`.

mod position;
mod query;
mod reader;
mod request;
mod snapshot;

pub use position::{Position, Window};
pub use query::{ChunkQuery, ExtraColumns, KeyColumn, TableScan, row_by_key};
pub use reader::{ChunkStart, RowStep, SpanReader};
pub use request::{SpanRequest, SpanRows, read_snapshot, read_snapshot_after_own_commit};
pub use snapshot::{PgSnapshot, Snapshot};
