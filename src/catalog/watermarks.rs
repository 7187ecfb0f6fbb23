//! The watermarks table: one row for each slot, written so that the WAL advances.

use crate::catalog::table::TableId;
use crate::client::{Client, Statement};
use crate::error::Result;

/// Writes a watermark.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn write_watermark(
    client: &mut Client,
    table: &TableId,
    slot: &str,
    watermark: &str,
) -> Result<()> {
    client
        .run(&watermark_statement(table, slot, watermark))
        .await
        .map(drop)
}

/// Returns the statement that writes a watermark.
pub(super) fn watermark_statement(table: &TableId, slot: &str, watermark: &str) -> Statement {
    let sql = format!(
        "INSERT INTO {} AS w (slot, watermark) VALUES ($1::text, $2::text) \
         ON CONFLICT (slot) DO UPDATE SET watermark = excluded.watermark",
        table.quoted(),
    );
    Statement::new(sql, &[Some(slot), Some(watermark)])
}

/// Returns the statement that creates the table if it does not exist.
pub(super) fn create_statement(table: &TableId) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (slot TEXT PRIMARY KEY, watermark TEXT)",
        table.quoted()
    )
}

/// Watermark written to check that watermarks can be written.
pub(super) const EXISTENCE_CHECK: &str = "existence-check";
