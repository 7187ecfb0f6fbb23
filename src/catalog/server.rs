//! The server: facts that a session reads once, whether it is a standby, and its log moved on.

use std::time::Duration;

use crate::client::{Client, Rows, Statement};
use crate::error::Result;

/// The timeout in milliseconds.
const SELECT_SERVER: &str = "\
SELECT pg_is_in_recovery(), current_setting('wal_block_size'), current_setting('statement_timeout'),
       (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'wal_sender_timeout')";

/// Facts about the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Whether the server is a standby: nothing can be written, and snapshots list no running
    /// transactions.
    pub standby: bool,
    /// Size of the pages of the write-ahead log, in bytes.
    pub wal_block_size: u64,
    /// `statement_timeout` of the session, as the server displays it.
    pub statement_timeout: String,
    /// Time after which the server ends a replication connection that is silent; zero for never.
    pub wal_sender_timeout: Duration,
}

/// Returns the statement whose answer [`parse_server`] reads.
pub fn server_statement() -> Statement {
    Statement::new(SELECT_SERVER, &[])
}

/// Reads the answer to [`server_statement`].
///
/// # Errors
///
/// Fails where it is not an answer to that statement.
pub fn parse_server(rows: &Rows) -> Result<ServerFacts> {
    let row = rows.one()?;
    Ok(ServerFacts {
        standby: row.bool(0)?,
        wal_block_size: row.parse(1)?,
        statement_timeout: row.text(2)?.to_owned(),
        wal_sender_timeout: Duration::from_millis(row.get(3).map_or(Ok(0), |_| row.parse(3))?),
    })
}

/// Returns whether the server is a standby now, which a promotion ends.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn is_standby(client: &mut Client) -> Result<bool> {
    client
        .query("SELECT pg_is_in_recovery()", &[])
        .await?
        .one()?
        .bool(0)
}

/// Commits a transaction that writes nothing but its own commit record, so that the log
/// advances. The server flushes the record a moment later.
///
/// # Errors
///
/// Fails where the server refuses to assign a transaction id, and when the connection is lost.
pub async fn commit_empty_transaction(client: &mut Client) -> Result<()> {
    client.query("SELECT txid_current()", &[]).await?;
    Ok(())
}
