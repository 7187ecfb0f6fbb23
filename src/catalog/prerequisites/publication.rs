//! Whether the publication publishes what the capture needs.

use std::collections::HashSet;

use protocol::quote_identifier;
use tracing::info;

use super::report::{Report, refusal};
use super::requirements::Requirements;
use super::server::Facts;
use crate::catalog::publication::{
    Publication, Restriction, add_statement, create_statement, read_members, read_publication,
    read_restrictions,
};
use crate::catalog::table::{TableId, TableInfo, TableKind};
use crate::client::Client;
use crate::error::{Result, sqlstate};

/// The first version that publishes partitioned tables, and under their own name.
const PARTITIONED_TABLES: u32 = 130_000;

/// Checks the publication as it was found, with what it leaves out of the tables. Returns what that is
/// now.
#[expect(
    clippy::too_many_arguments,
    reason = "what was found, and what it is found for"
)]
pub(super) async fn check_publication(
    client: &mut Client,
    requirements: &Requirements<'_>,
    mut found: Option<Publication>,
    mut restrictions: Vec<Restriction>,
    tables: &[&TableInfo],
    established: &HashSet<TableId>,
    watermarks: Option<&TableId>,
    facts: &Facts,
    report: &mut Report,
) -> Result<Vec<Restriction>> {
    let name = requirements.publication;
    if found.is_none() && !established.is_empty() && !requirements.skip_tables {
        report.fail(format!(
            "publication {name:?} does not exist any more, so changes since then are missing: backfill \
             all bindings anew, which creates it again"
        ));
        return Ok(Vec::new());
    }
    let mut ids = tables.iter().map(|table| &table.id).chain(watermarks);
    let lacks = |publication: &Publication| ids.any(|id| !publication.tables.contains(id));
    // What is found missing has joined since, or is to join.
    let is_to_change = found.as_ref().is_none_or(lacks);
    if let Some(publication) = &mut found
        && is_to_change
    {
        // One for all tables, or for those of a schema, has by now what was created since it was
        // read, such as the watermarks table.
        publication.tables = read_members(client, name).await?;
    }
    if found.is_none() {
        found = create(client, requirements, tables, watermarks, facts, report).await?;
    }
    let Some(mut publication) = found else {
        return Ok(Vec::new());
    };
    warn_of_operations(&publication, facts, report);
    let bound = if requirements.skip_tables {
        &[][..]
    } else {
        tables
    };
    let mut addable = Vec::new();
    for table in bound {
        if established.contains(&table.id.key()) && !publication.tables.contains(&table.id) {
            report.fail(format!(
                "table {} is not in publication {name:?} any more, so changes since it has left are \
                 missing: backfill its binding anew, which adds it again",
                table.id
            ));
        } else {
            addable.push(*table);
        }
    }
    add_missing(
        client,
        &mut publication,
        &addable,
        watermarks,
        facts,
        report,
    )
    .await?;
    if is_to_change {
        restrictions = read_restrictions(client, name, tables).await?;
    }
    warn_of_restrictions(&restrictions, name, bound, report);
    Ok(restrictions)
}

/// Creates the publication for exactly what is bound.
async fn create(
    client: &mut Client,
    requirements: &Requirements<'_>,
    tables: &[&TableInfo],
    watermarks: Option<&TableId>,
    facts: &Facts,
    report: &mut Report,
) -> Result<Option<Publication>> {
    let name = requirements.publication;
    let statement = |watermarks: Option<&TableId>| {
        let mut members: Vec<TableId> = tables
            .iter()
            .filter(|table| unpublishable(table, facts).is_none())
            .map(|table| table.id.clone())
            .chain(watermarks.cloned())
            .collect();
        members.sort();
        members.dedup();
        let via_root = !requirements.capture_as_partitions;
        create_statement(name, &members, via_root, facts.version)
    };
    // Who runs it by hand provides the watermarks table first, where it is missing.
    let remedy = statement(watermarks.or(requirements.watermarks));
    if facts.in_recovery {
        report.fail(format!(
            "publication {name:?} does not exist, and can be created on the primary only: \
             {remedy};"
        ));
        return Ok(None);
    }
    // That it exists by now is as good.
    match refusal(client.query(&statement(watermarks), &[]).await)? {
        Ok(_) => info!(publication = name, "created the publication"),
        Err(error) if error.sqlstate() == Some(sqlstate::DUPLICATE_OBJECT) => {}
        Err(error) => {
            report.fail(format!(
                "publication {name:?} does not exist and could not be created ({error}); to be \
                 run by the owner of the tables, with the right to create in the database: {remedy};"
            ));
            return Ok(None);
        }
    }
    read_publication(client, name).await
}

/// Tells why no publication of this server can have the table.
fn unpublishable(table: &TableInfo, facts: &Facts) -> Option<String> {
    let too_old = (1..PARTITIONED_TABLES).contains(&facts.version);
    (table.kind == TableKind::Partitioned && too_old).then(|| {
        format!(
            "table {} is partitioned, and version {} of the server cannot publish it as one \
             table: set advanced.capture_as_partitions and bind its partitions",
            table.id,
            facts.version / 10_000,
        )
    })
}

/// Adds to the publication what is not in it, all at once if the server takes it so.
async fn add_missing(
    client: &mut Client,
    publication: &mut Publication,
    tables: &[&TableInfo],
    watermarks: Option<&TableId>,
    facts: &Facts,
    report: &mut Report,
) -> Result<()> {
    let mut missing = Vec::new();
    for table in tables
        .iter()
        .filter(|table| !publication.tables.contains(&table.id))
    {
        match unpublishable(table, facts).or_else(|| never_listed(table, publication)) {
            Some(problem) => report.fail(problem),
            None => missing.push(table.id.clone()),
        }
    }
    missing.extend(
        watermarks
            .filter(|id| !publication.tables.contains(*id))
            .cloned(),
    );
    missing.sort();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let refused = add(client, publication, &missing, facts).await?;
    publication.tables = read_members(client, &publication.name).await?;
    for id in missing {
        if publication.tables.contains(&id) {
            continue;
        }
        let name = &publication.name;
        let sql = add_statement(name, std::slice::from_ref(&id));
        report.fail(match refused.iter().find(|(table, _)| *table == id) {
            Some((_, reason)) => format!(
                "table {id} is not in publication {name:?} and could not be added ({reason}); to \
                 be run by the owner of both: {sql};"
            ),
            None if publication.via_partition_root => format!(
                "publication {name:?} publishes the changes of {id} under the name of the \
                 partitioned table that it is part of: {} or unset \
                 advanced.capture_as_partitions and bind that table",
                set_via_root(name, false),
            ),
            None => format!("table {id} is a member of publication {name:?}, but not published"),
        });
    }
    Ok(())
}

/// Tells why a table would not be listed even if it was added.
fn never_listed(table: &TableInfo, publication: &Publication) -> Option<String> {
    if table.kind == TableKind::Partitioned && !publication.via_partition_root {
        return Some(format!(
            "publication {:?} publishes the changes of partitioned table {} under the names of \
             its partitions: {} or set advanced.capture_as_partitions and bind the partitions",
            publication.name,
            table.id,
            set_via_root(&publication.name, true),
        ));
    }
    if !publication.all_tables {
        return None;
    }
    if table.is_partition && publication.via_partition_root {
        return Some(format!(
            "publication {:?} publishes the changes of partition {} under the name of the \
             partitioned table: {} or unset advanced.capture_as_partitions and bind that table",
            publication.name,
            table.id,
            set_via_root(&publication.name, false),
        ));
    }
    Some(format!(
        "table {} is not published by publication {:?}, although it is for all tables",
        table.id, publication.name,
    ))
}

fn set_via_root(publication: &str, via_root: bool) -> String {
    format!(
        "ALTER PUBLICATION {} SET (publish_via_partition_root = {via_root});",
        quote_identifier(publication)
    )
}

/// Adds tables, and returns those that were refused with the reason.
async fn add(
    client: &mut Client,
    publication: &Publication,
    tables: &[TableId],
    facts: &Facts,
) -> Result<Vec<(TableId, String)>> {
    if facts.in_recovery {
        let reason = "the server is a standby: do so on the primary".to_owned();
        return Ok(tables
            .iter()
            .map(|id| (id.clone(), reason.clone()))
            .collect());
    }
    let name = &publication.name;
    let all = client.query(&add_statement(name, tables), &[]).await;
    if refusal(all)?.is_ok() {
        info!(publication = %name, tables = tables.len(), "added tables to the publication");
        return Ok(Vec::new());
    }
    let mut refused = Vec::new();
    for id in tables {
        let one = client
            .query(&add_statement(name, std::slice::from_ref(id)), &[])
            .await;
        match refusal(one)? {
            Ok(_) => info!(publication = %name, table = %id, "added a table to the publication"),
            // It is a member, and is not listed for another reason.
            Err(error) if error.sqlstate() == Some(sqlstate::DUPLICATE_OBJECT) => {}
            Err(error) => refused.push((id.clone(), error.to_string())),
        }
    }
    Ok(refused)
}

fn warn_of_operations(publication: &Publication, facts: &Facts, report: &mut Report) {
    let unpublished: Vec<&str> = [
        (publication.inserts, "inserts"),
        (publication.updates, "updates"),
        (publication.deletes, "deletes"),
    ]
    .into_iter()
    .filter_map(|(published, name)| (!published).then_some(name))
    .collect();
    if !unpublished.is_empty() {
        let truncate = if facts.version >= 110_000 {
            ", truncate"
        } else {
            ""
        };
        report.warn(format!(
            "publication {:?} does not publish {}, so they are not captured: ALTER PUBLICATION {} \
             SET (publish = 'insert, update, delete{truncate}');",
            publication.name,
            unpublished.join(" and "),
            quote_identifier(&publication.name),
        ));
    }
}

fn warn_of_restrictions(
    restrictions: &[Restriction],
    name: &str,
    tables: &[&TableInfo],
    report: &mut Report,
) {
    for restriction in restrictions {
        let id = &restriction.table;
        let Some(table) = tables.iter().find(|table| table.id == *id) else {
            continue;
        };
        if restriction.row_filter.is_some() {
            report.warn(format!(
                "publication {name:?} has a row filter for table {id}: rows that the filter leaves \
                 out are not captured"
            ));
        }
        let columns = table.columns.iter();
        let columns = columns
            .filter(|column| column.is_captured())
            .map(|column| &column.name);
        let hidden: Vec<&str> = columns
            .filter(|column| !restriction.columns.contains(*column))
            .map(String::as_str)
            .collect();
        if !hidden.is_empty() {
            report.warn(format!(
                "publication {name:?} has a column list for table {id}: documents come without {}",
                hidden.join(", "),
            ));
        }
    }
}
