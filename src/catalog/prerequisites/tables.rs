//! Check that the bound tables exist and can be read.

use protocol::quote_identifier;

use super::report::{Report, refusal};
use super::requirements::{BoundTable, Requirements};
use super::server::Facts;
use crate::catalog::identity::replica_identity_warning;
use crate::catalog::table::{Persistence, TableId, TableInfo, TableKind};
use crate::catalog::tables::TableLookup;
use crate::client::Client;
use crate::error::Result;

/// Checks the bound tables with the results of looking them up. Returns those that can be published.
pub(super) async fn check_tables<'t>(
    client: &mut Client,
    requirements: &Requirements<'_>,
    bound: impl Iterator<Item = (&BoundTable, &'t TableLookup)>,
    facts: &Facts,
    report: &mut Report,
) -> Result<Vec<&'t TableInfo>> {
    let mut publishable = Vec::new();
    for (bound, found) in bound {
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
            TableLookup::Found(table) => match replication_problem(table, requirements) {
                Some(problem) => Some(problem),
                None => {
                    publishable.push(&**table);
                    warn_of_contents(table, facts, report);
                    read_problem(client, table, facts).await?
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

/// Describes why a relation cannot be replicated.
fn replication_problem(table: &TableInfo, requirements: &Requirements<'_>) -> Option<String> {
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

/// Describes why a table cannot be read. The catalogs tell whether the user has the privilege without
/// waiting for a lock on the table; if they deny it, an attempt to read decides.
async fn read_problem(
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
