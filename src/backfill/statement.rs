//! Messages that run a statement, queued to be sent together with others.

use protocol::{Format, Session};

use super::query::ChunkQuery;
use crate::client::unsendable;
use crate::error::Result;

/// Queues a statement without parameters.
///
/// # Errors
///
/// Fails if the statement does not fit in a message.
pub(super) fn queue_statement(session: &mut Session, sql: &str) -> Result<()> {
    session.parse("", sql, &[]).map_err(unsendable)?;
    session
        .bind("", "", &[], Format::Text)
        .map_err(unsendable)?;
    session.execute("", 0).map_err(unsendable)
}

/// Queues a portal for a statement that returns rows, with a request for its columns if
/// `describe` is set.
///
/// # Errors
///
/// Fails if the statement or its parameters do not fit in a message.
pub(super) fn queue_portal(
    session: &mut Session,
    query: &ChunkQuery,
    portal: &str,
    describe: bool,
) -> Result<()> {
    let parameters: Vec<_> = query
        .parameters
        .iter()
        .map(|value| value.as_deref().map(str::as_bytes))
        .collect();
    session.parse("", &query.sql, &[]).map_err(unsendable)?;
    session
        .bind(portal, "", &parameters, Format::Text)
        .map_err(unsendable)?;
    if describe {
        session.describe_portal(portal).map_err(unsendable)?;
    }
    Ok(())
}
