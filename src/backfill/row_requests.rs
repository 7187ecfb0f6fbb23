//! The rows of a span, and the requests for them.

use std::collections::VecDeque;

use protocol::Session;

use super::query::ChunkQuery;
use super::statement::queue_portal;
use crate::client::unsendable;
use crate::error::Result;

/// Name of the portal of a statement that is read in batches.
const PORTAL: &str = "span";

/// Rows of a span.
#[derive(Debug)]
pub enum SpanRows {
    /// The rows of one statement, in batches.
    Batches {
        /// The statement.
        query: ChunkQuery,
        /// Limit of the rows of a batch.
        rows: u32,
        /// Limit of the batches.
        count: u32,
    },
    /// The rows of several statements, one after the other, which differ in their parameters only.
    Statements(VecDeque<ChunkQuery>),
}

/// Requests for the rows of a span.
#[derive(Debug)]
pub(super) struct RowRequests {
    rows: SpanRows,
    /// Whether the columns of the rows were requested.
    is_described: bool,
    /// Number of requests that are not answered yet.
    outstanding: u32,
    /// Number of requests.
    requested: u32,
    /// Whether the statement of the batches has no more rows.
    is_complete: bool,
}

impl RowRequests {
    /// Starts without a request.
    pub(super) fn new(rows: SpanRows) -> Self {
        Self {
            rows,
            is_described: false,
            outstanding: 0,
            requested: 0,
            is_complete: false,
        }
    }

    /// Queues the portal of batches.
    ///
    /// # Errors
    ///
    /// Fails if the statement or its parameters do not fit in a message.
    pub(super) fn queue_portal(&self, session: &mut Session) -> Result<()> {
        match &self.rows {
            SpanRows::Batches { query, .. } => queue_portal(session, query, PORTAL, false),
            SpanRows::Statements(_) => Ok(()),
        }
    }

    /// Queues a request for the columns of batches.
    ///
    /// # Errors
    ///
    /// Fails as [`RowRequests::queue_portal`] does.
    pub(super) fn queue_describe(&self, session: &mut Session) -> Result<()> {
        match &self.rows {
            SpanRows::Batches { .. } => session.describe_portal(PORTAL).map_err(unsendable),
            SpanRows::Statements(_) => Ok(()),
        }
    }

    /// Queues requests until `depth` of them are outstanding. Returns whether no more rows remain
    /// to be requested.
    ///
    /// # Errors
    ///
    /// Fails as [`RowRequests::queue_portal`] does.
    pub(super) fn queue_more(&mut self, session: &mut Session, depth: u32) -> Result<bool> {
        while self.outstanding < depth {
            match &mut self.rows {
                SpanRows::Batches { rows, count, .. } => {
                    if self.requested >= *count || self.is_complete {
                        break;
                    }
                    session.execute(PORTAL, *rows).map_err(unsendable)?;
                }
                SpanRows::Statements(queries) => {
                    let Some(query) = queries.pop_front() else {
                        break;
                    };
                    queue_portal(session, &query, "", !self.is_described)?;
                    session.execute("", 0).map_err(unsendable)?;
                }
            }
            self.is_described = true;
            self.outstanding += 1;
            self.requested += 1;
        }
        Ok(match &self.rows {
            SpanRows::Batches { count, .. } => self.requested >= *count || self.is_complete,
            SpanRows::Statements(queries) => queries.is_empty(),
        })
    }

    /// Returns whether every request was answered.
    pub(super) fn are_answered(&self) -> bool {
        self.outstanding == 0
    }

    /// Records the end of a batch after which the statement has more rows.
    pub(super) fn end_batch(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Records that a statement has no more rows. Returns whether that is new: batches that were
    /// requested after the last row are answered in the same way.
    pub(super) fn end_statement(&mut self) -> bool {
        if self.outstanding == 0 {
            return false;
        }
        self.outstanding -= 1;
        let in_batches = matches!(self.rows, SpanRows::Batches { .. });
        !std::mem::replace(&mut self.is_complete, in_batches)
    }

    /// Records that the server has reported an error, so that it skips the outstanding requests.
    pub(super) fn fail(&mut self) {
        self.outstanding = 0;
    }
}
