//! The request for a span: its snapshot and its first rows in one round trip.

use std::time::Duration;

use super::query::ChunkQuery;
use super::reader::SpanReader;
use super::row_requests::{RowRequests, SpanRows};
use super::snapshot_query::{REPLAY_POSITION, snapshot_statement};
use super::statement::{queue_portal, queue_statement};
use crate::client::{Client, unsendable};
use crate::error::Result;

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Request for a span.
#[derive(Debug)]
pub struct SpanRequest {
    /// Rows of the span.
    pub rows: SpanRows,
    /// Statement that locks the table; `None` if the role may not lock it.
    pub lock: Option<String>,
    /// Lock timeout of all statements before the rows.
    pub lock_timeout: Duration,
    /// Expression for the columns of the table.
    pub columns: String,
    /// Statement for the key of the last row, if the key is required.
    pub last_key: Option<ChunkQuery>,
    /// Whether the server is a standby.
    pub standby: bool,
    /// Number of batches or statements that are requested at once.
    pub depth: u32,
}

impl SpanRequest {
    /// Requests the snapshot, the columns of the table, the key of the last row if it is required,
    /// and the first batches or statements. Returns the reader of the answers.
    ///
    /// # Errors
    ///
    /// Fails when the connection is lost.
    pub async fn send(self, client: &mut Client) -> Result<SpanReader> {
        let snapshot = snapshot_statement(client, self.standby, &format!(", {}", self.columns));
        let rows = RowRequests::new(self.rows);
        let session = client.connection().session();
        if self.standby {
            // The snapshot that is taken next contains every transaction that was replayed before.
            queue_statement(session, REPLAY_POSITION)?;
            session.sync().map_err(unsendable)?;
        }
        queue_statement(session, BEGIN)?;
        let lock_timeout = self.lock_timeout.as_millis();
        queue_statement(session, &format!("SET LOCAL lock_timeout = {lock_timeout}"))?;
        if let Some(lock) = &self.lock {
            queue_statement(session, lock)?;
        }
        queue_statement(session, &snapshot)?;
        if let Some(query) = &self.last_key {
            queue_portal(session, query, "", false)?;
            session.execute("", 0).map_err(unsendable)?;
        }
        // A portal locks the partitions as well, so it is made under the lock timeout.
        rows.queue_portal(session)?;
        queue_statement(session, "SET LOCAL lock_timeout TO DEFAULT")?;
        rows.queue_describe(session)?;
        let mut reader = SpanReader::new(self.standby, self.last_key.is_some(), rows);
        reader.request_more(client, self.depth).await?;
        Ok(reader)
    }
}
