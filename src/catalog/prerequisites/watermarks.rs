//! Whether watermarks can be written.

use protocol::quote_identifier;

use super::server::Facts;
use super::{Report, refusal};
use crate::catalog::table::TableId;
use crate::catalog::tables::TableLookup;
use crate::catalog::watermarks::{EXISTENCE_CHECK, create_statement, write_watermark};
use crate::client::Client;
use crate::error::{Error, Result};

/// Tries to write a watermark, and creates the table for it if there is none. Returns the real name
/// of the table, or the one that it is to have: it has to be published in any case.
pub(super) async fn check_watermarks(
    client: &mut Client,
    configured: &TableId,
    found: Option<TableLookup>,
    slot: &str,
    facts: &Facts,
    report: &mut Report,
) -> Result<Option<TableId>> {
    let table = match found {
        Some(TableLookup::Found(table)) => table.id,
        Some(TableLookup::Ambiguous(candidates)) => {
            let names: Vec<String> = candidates.iter().map(TableId::to_string).collect();
            report.fail(format!(
                "there is no watermarks table {configured}, but several whose names differ from \
                 it in case only: set advanced.watermarksTable to one of {}",
                names.join(", "),
            ));
            return Ok(None);
        }
        Some(TableLookup::Missing) | None => {
            let sql = create_statement(configured);
            if let Err(error) = refusal(client.query(&sql, &[]).await)? {
                report.fail(format!(
                    "the watermarks table {configured} does not exist and could not be created \
                     ({error}): {}",
                    remedy(configured, facts),
                ));
                return Ok(Some(configured.clone()));
            }
            configured.clone()
        }
    };
    match refusal(write_watermark(client, &table, slot, EXISTENCE_CHECK).await)? {
        Ok(()) => {}
        Err(error) => report.fail(unwritable(&table, &error, facts)),
    }
    Ok(Some(table))
}

fn unwritable(table: &TableId, error: &Error, facts: &Facts) -> String {
    // No unique index on `slot`, no such column: the table was made for something else.
    let hint = match error.sqlstate() {
        Some("42P10" | "42703") => {
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

/// The statements that provide a table that the user can write to.
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
