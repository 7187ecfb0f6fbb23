//! Creation of the watermarks table, and check that watermarks can be written.

use protocol::quote_identifier;

use super::report::{Report, refusal};
use super::server::Facts;
use crate::catalog::table::TableId;
use crate::catalog::tables::TableLookup;
use crate::catalog::watermarks::{EXISTENCE_CHECK, create_statement, watermark_statement};
use crate::client::{Client, Rows, Statement};
use crate::error::{Error, Result, sqlstate};

/// The watermarks table.
#[derive(Debug)]
pub(super) struct Watermarks {
    /// Exact name; if the table does not exist, the configured one. It must be published in both
    /// cases.
    pub(super) id: TableId,
    /// Whether the table exists.
    pub(super) exists: bool,
}

/// Creates the watermarks table if it does not exist.
pub(super) async fn provide_watermarks(
    client: &mut Client,
    configured: &TableId,
    found: Option<TableLookup>,
    facts: &Facts,
    report: &mut Report,
) -> Result<Option<Watermarks>> {
    let existing = |id| Some(Watermarks { id, exists: true });
    Ok(match found {
        Some(TableLookup::Found(table)) => existing(table.id),
        Some(TableLookup::Ambiguous(candidates)) => {
            let names: Vec<String> = candidates.iter().map(TableId::to_string).collect();
            report.fail(format!(
                "there is no watermarks table {configured}, but several whose names differ from \
                 it in case only: set advanced.watermarksTable to one of {}",
                names.join(", "),
            ));
            None
        }
        Some(TableLookup::Missing) | None => {
            let sql = create_statement(configured);
            if let Err(error) = refusal(client.query(&sql, &[]).await)? {
                report.fail(format!(
                    "the watermarks table {configured} does not exist and could not be created \
                     ({error}): {}",
                    remedy(configured, facts),
                ));
                let id = configured.clone();
                return Ok(Some(Watermarks { id, exists: false }));
            }
            existing(configured.clone())
        }
    })
}

/// Returns the statement that writes a watermark, whose result [`check_writing`] reads.
pub(super) fn trial_statement(table: &TableId, slot: &str) -> Statement {
    watermark_statement(table, slot, EXISTENCE_CHECK)
}

/// Checks that a watermark was written.
pub(super) fn check_writing(
    table: &TableId,
    written: Result<Rows>,
    facts: &Facts,
    report: &mut Report,
) -> Result<()> {
    if let Err(error) = refusal(written)? {
        report.fail(unwritable(table, &error, facts));
    }
    Ok(())
}

fn unwritable(table: &TableId, error: &Error, facts: &Facts) -> String {
    // No unique index on `slot`, or a column is missing: the table has another purpose.
    let hint = match error.sqlstate() {
        Some(sqlstate::INVALID_COLUMN_REFERENCE | sqlstate::UNDEFINED_COLUMN) => {
            "; it has to have the columns slot TEXT PRIMARY KEY and \
                                    watermark TEXT"
        }
        _ => "",
    };
    format!(
        "user {:?} cannot write to the watermarks table {table} ({error}){hint}: {}",
        facts.user,
        remedy(table, facts),
    )
}

/// Returns the statements that create the table and let the user write to it.
fn remedy(table: &TableId, facts: &Facts) -> String {
    let (schema, role) = (
        quote_identifier(&table.schema),
        quote_identifier(&facts.user),
    );
    format!(
        "CREATE SCHEMA IF NOT EXISTS {schema}; {}; GRANT USAGE ON SCHEMA {schema} TO {role}; \
         GRANT ALL PRIVILEGES ON TABLE {} TO {role};",
        create_statement(table),
        table.quoted(),
    )
}
