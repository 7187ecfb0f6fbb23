//! Whether the bound tables are there and can be read.

use protocol::quote_identifier;

use super::report::{Report, refusal};
use super::requirements::{BoundTable, Requirements};
use super::server::Facts;
use crate::catalog::identity::replica_identity_warning;
use crate::catalog::table::{Persistence, TableId, TableInfo, TableKind};
use crate::catalog::tables::TableLookup;
use crate::client::Client;
use crate::error::Result;

/// Checks the tables one by one, and returns those that can be published.
pub(super) async fn check_tables<'t>(
    client: &mut Client,
    requirements: &Requirements<'_>,
    bound: &[BoundTable],
    found: &'t [TableLookup],
    facts: &Facts,
    report: &mut Report,
) -> Result<Vec<&'t TableInfo>> {
    let mut publishable = Vec::with_capacity(found.len());
    for (bound, found) in bound.iter().zip(found) {
        if let Some(warning) = found
            .table()
            .and_then(|table| replica_identity_warning(table, &bound.key_columns))
        {
            report.warn(warning);
        }
        if requirements.skip_tables {
            publishable.extend(found.table().filter(|table| table.is_replicable()));
            continue;
        }
        let problem = match found {
            TableLookup::Missing => Some("it does not exist".to_owned()),
            TableLookup::Ambiguous(names) => Some(ambiguous(names)),
            TableLookup::Found(table) => match unfit(table, requirements) {
                Some(problem) => Some(problem),
                None => {
                    publishable.push(&**table);
                    warn_of_contents(table, facts, report);
                    unreadable(client, table, facts).await?
                }
            },
        };
        if let Some(problem) = problem {
            report.fail(format!(
                "user {:?} cannot read from table \"{}\": {problem}",
                facts.user, bound.id,
            ));
        }
    }
    Ok(publishable)
}

fn ambiguous(names: &[TableId]) -> String {
    let names: Vec<String> = names.iter().map(TableId::to_string).collect();
    format!(
        "there is none of that spelling, but several that differ from it in case only: {}",
        names.join(", "),
    )
}

/// Tells why a relation cannot be replicated.
fn unfit(table: &TableInfo, requirements: &Requirements<'_>) -> Option<String> {
    match (table.kind, table.persistence) {
        (TableKind::Other(kind), _) => {
            let kind = match kind {
                'v' => "a view",
                'm' => "a materialized view",
                'f' => "a foreign table",
                _ => "no table",
            };
            Some(format!("it is {kind}, of which no changes can be captured"))
        }
        (_, Persistence::Temporary) => Some("it is a temporary table".to_owned()),
        (_, Persistence::Unlogged) => Some(format!(
            "it is an unlogged table, whose changes are not in the WAL: ALTER TABLE {} SET LOGGED;",
            table.id.quoted(),
        )),
        (TableKind::Partitioned, _) if requirements.capture_as_partitions => Some(
            "it is partitioned, and its changes come under the names of its partitions: bind \
             these, or unset advanced.capture_as_partitions"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Tells why a table cannot be read. The catalogs say whether the user may, without waiting for
/// whoever locks the table; where they say no, the server has the last word.
async fn unreadable(
    client: &mut Client,
    table: &TableInfo,
    facts: &Facts,
) -> Result<Option<String>> {
    if table.selectable {
        return Ok(None);
    }
    let sql = format!("SELECT * FROM {} LIMIT 0", table.id.quoted());
    Ok(refusal(client.query(&sql, &[]).await)?.err().map(|error| {
        let role = quote_identifier(&facts.user);
        format!(
            "{error}: GRANT USAGE ON SCHEMA {} TO {role}; GRANT SELECT ON TABLE {} TO {role};",
            quote_identifier(&table.id.schema),
            table.id.quoted(),
        )
    }))
}

fn warn_of_contents(table: &TableInfo, facts: &Facts, report: &mut Report) {
    if table.row_security {
        report.warn(format!(
            "row-level security may hide rows of table {} from user {:?}: the backfill leaves \
             them out, while their changes are captured: ALTER ROLE {} BYPASSRLS;",
            table.id,
            facts.user,
            quote_identifier(&facts.user),
        ));
    }
    if table.column("_meta").is_some() {
        report.warn(format!(
            "column \"_meta\" of table {} is left out: the documents have a member of that name",
            table.id,
        ));
    }
}
