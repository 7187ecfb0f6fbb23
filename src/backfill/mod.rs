//! Reading the rows of a table: chunk queries, their snapshots, positions of the scan.
//!
//! Rows are read in spans. A span is a transaction at REPEATABLE READ that reads many chunks. Its
//! first statement returns which transactions the rows contain ([`Snapshot`]) and the end of the
//! log ([`ChunkStart`]); the rows of the chunks follow, some of them requested ahead
//! ([`SpanReader`]). `capture` decides how the rows are joined with the changes of the stream.
//!
//! Messages of a span between [`SpanRequest::send`] and [`SpanReader::finish`], with the rows of
//! one statement in batches ([`SpanRows::Batches`]):
//!
//! ```text
//! sent                                          answered
//! [replay position, Sync]  on a standby         -> replay position
//! BEGIN, SET LOCAL lock_timeout, [LOCK TABLE]
//! snapshot, [last key]                          -> ChunkStart, last key
//! Bind, SET LOCAL lock_timeout TO DEFAULT       -> columns of the rows
//! Execute, Execute, ...    depth at a time      -> Batch, Batch, ..., Complete
//! COMMIT, Sync             after the last       -> ReadyForQuery
//! ```

mod position;
mod query;
mod reader;
mod request;
mod row_requests;
mod snapshot;
mod snapshot_query;
mod start;
mod statement;

pub use position::{Position, Window};
pub use query::{ChunkQuery, ExtraColumns, KeyColumn, TableScan, row_by_key};
pub use reader::{RowStep, SpanReader};
pub use request::SpanRequest;
pub use row_requests::SpanRows;
pub use snapshot::{PgSnapshot, Snapshot};
pub use snapshot_query::{commit_and_read_snapshot, read_snapshot};
pub use start::ChunkStart;
