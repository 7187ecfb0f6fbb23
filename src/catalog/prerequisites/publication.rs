//! Check that the publication publishes the bound tables, and changes of it where it does not.

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

/// First version that can publish partitioned tables, under their own name.
const PARTITIONED_TABLES: u32 = 130_000;

/// Check of the publication, with the facts that it depends on.
#[derive(Debug)]
pub(super) struct PublicationCheck<'a> {
    pub(super) requirements: &'a Requirements<'a>,
    pub(super) facts: &'a Facts,
    /// Bound tables that can be published.
    pub(super) tables: &'a [&'a TableInfo],
    /// Names, in lower case, of tables whose changes were captured before.
    pub(super) established: &'a HashSet<TableId>,
    /// Watermarks table; `None` in a read-only capture.
    pub(super) watermarks: Option<&'a TableId>,
}

impl PublicationCheck<'_> {
    /// Checks the publication, creates it if it is missing, and adds tables to it. `found` and
    /// `restrictions` are its state as read before. Returns the restrictions after the changes.
    pub(super) async fn run(
        &self,
        client: &mut Client,
        mut found: Option<Publication>,
        mut restrictions: Vec<Restriction>,
        report: &mut Report,
    ) -> Result<Vec<Restriction>> {
        let name = self.requirements.publication;
        let skip_tables = self.requirements.skip_tables;
        if found.is_none() && !self.established.is_empty() && !skip_tables {
            report.fail(format!(
                "publication {name:?} does not exist any more, so changes since then are missing: \
                 backfill all bindings again, which creates it"
            ));
            return Ok(Vec::new());
        }
        let ids = self.tables.iter().map(|table| &table.id);
        let mut ids = ids.chain(self.watermarks);
        let lacks = |publication: &Publication| ids.any(|id| !publication.tables.contains(id));
        // A missing table was added since the publication was read, or is added below.
        let is_to_change = found.as_ref().is_none_or(lacks);
        if let Some(publication) = &mut found
            && is_to_change
        {
            // A publication for all tables, or for those of a schema, by now includes tables created
            // since it was read, such as the watermarks table.
            publication.tables = read_members(client, name).await?;
        }
        if found.is_none() {
            found = self.create(client, report).await?;
        }
        let Some(mut publication) = found else {
            return Ok(Vec::new());
        };
        warn_of_operations(&publication, self.facts, report);
        let bound = if skip_tables { &[] } else { self.tables };
        let addable = self.addable(bound, &publication, report);
        self.add_missing(client, &mut publication, &addable, report)
            .await?;
        if is_to_change {
            restrictions = read_restrictions(client, name, self.tables).await?;
        }
        warn_of_restrictions(&restrictions, name, bound, report);
        Ok(restrictions)
    }

    /// Creates the publication for exactly the bound tables and the watermarks table.
    async fn create(
        &self,
        client: &mut Client,
        report: &mut Report,
    ) -> Result<Option<Publication>> {
        let name = self.requirements.publication;
        // A user who runs the statement by hand creates a missing watermarks table first.
        let remedy = self.create_statement(self.watermarks.or(self.requirements.watermarks));
        if self.facts.in_recovery {
            report.fail(format!(
                "publication {name:?} does not exist, and can be created on the primary only: \
                 {remedy};"
            ));
            return Ok(None);
        }
        let statement = self.create_statement(self.watermarks);
        match refusal(client.query(&statement, &[]).await)? {
            Ok(_) => info!(publication = name, "publication created"),
            // Another session has created it meanwhile.
            Err(error) if error.sqlstate() == Some(sqlstate::DUPLICATE_OBJECT) => {}
            Err(error) => {
                report.fail(format!(
                    "publication {name:?} does not exist and could not be created ({error}); to be \
                     run by the owner of the tables, with the right to create in the database: \
                     {remedy};"
                ));
                return Ok(None);
            }
        }
        read_publication(client, name).await
    }

    fn create_statement(&self, watermarks: Option<&TableId>) -> String {
        let publishable = self.tables.iter();
        let mut members: Vec<TableId> = publishable
            .filter(|table| unpublishable(table, self.facts).is_none())
            .map(|table| table.id.clone())
            .chain(watermarks.cloned())
            .collect();
        members.sort();
        members.dedup();
        let via_root = !self.requirements.capture_as_partitions;
        let name = self.requirements.publication;
        create_statement(name, &members, via_root, self.facts.version)
    }

    /// Returns the bound tables that may be added: not those captured before, whose changes are
    /// missing since they left the publication.
    fn addable<'t>(
        &self,
        bound: &[&'t TableInfo],
        publication: &Publication,
        report: &mut Report,
    ) -> Vec<&'t TableInfo> {
        let mut addable = Vec::new();
        for table in bound {
            let is_established = self.established.contains(&table.id.key());
            if is_established && !publication.tables.contains(&table.id) {
                report.fail(format!(
                    "table {} is not in publication {:?} any more, so changes since it has left \
                     are missing: backfill its binding again, which adds it",
                    table.id, publication.name,
                ));
            } else {
                addable.push(*table);
            }
        }
        addable
    }

    /// Adds tables that the publication lacks: by one statement, or one by one if the server refuses
    /// that.
    async fn add_missing(
        &self,
        client: &mut Client,
        publication: &mut Publication,
        addable: &[&TableInfo],
        report: &mut Report,
    ) -> Result<()> {
        let mut missing = Vec::new();
        for table in addable {
            if publication.tables.contains(&table.id) {
                continue;
            }
            match unpublishable(table, self.facts).or_else(|| never_listed(table, publication)) {
                Some(problem) => report.fail(problem),
                None => missing.push(table.id.clone()),
            }
        }
        let watermarks = self.watermarks;
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
        let refused = self.add(client, &publication.name, &missing).await?;
        publication.tables = read_members(client, &publication.name).await?;
        for id in missing {
            if !publication.tables.contains(&id) {
                let reason = refused.iter().find(|(table, _)| *table == id);
                let reason = reason.map(|(_, reason)| reason.as_str());
                report.fail(still_missing(&id, publication, reason));
            }
        }
        Ok(())
    }

    /// Adds tables. Returns those that the server refused, with the reason.
    async fn add(
        &self,
        client: &mut Client,
        publication: &str,
        tables: &[TableId],
    ) -> Result<Vec<(TableId, String)>> {
        if self.facts.in_recovery {
            let reason = "the server is a standby: do so on the primary".to_owned();
            return Ok(tables
                .iter()
                .map(|id| (id.clone(), reason.clone()))
                .collect());
        }
        let sql = add_statement(publication, tables);
        if refusal(client.query(&sql, &[]).await)?.is_ok() {
            info!(
                %publication,
                tables = tables.len(),
                "tables added to the publication"
            );
            return Ok(Vec::new());
        }
        let mut refused = Vec::new();
        for id in tables {
            let sql = add_statement(publication, std::slice::from_ref(id));
            match refusal(client.query(&sql, &[]).await)? {
                Ok(_) => info!(%publication, table = %id, "table added to the publication"),
                // The table is a member and is not listed for another reason.
                Err(error) if error.sqlstate() == Some(sqlstate::DUPLICATE_OBJECT) => {}
                Err(error) => refused.push((id.clone(), error.to_string())),
            }
        }
        Ok(refused)
    }
}

/// Describes why no publication of this server can include the table.
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

/// Describes why a table would not be published even if it was added.
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

/// Describes why a table is not published after the attempt to add it, which the server may have
/// refused with a reason.
fn still_missing(id: &TableId, publication: &Publication, refused: Option<&str>) -> String {
    let name = &publication.name;
    match refused {
        Some(reason) => format!(
            "table {id} is not in publication {name:?} and could not be added ({reason}); to be \
             run by the owner of both: {};",
            add_statement(name, std::slice::from_ref(id)),
        ),
        None if publication.via_partition_root => format!(
            "publication {name:?} publishes the changes of {id} under the name of the partitioned \
             table that it is part of: {} or unset advanced.capture_as_partitions and bind that \
             table",
            set_via_root(name, false),
        ),
        None => format!("table {id} is a member of publication {name:?}, but not published"),
    }
}

fn set_via_root(publication: &str, via_root: bool) -> String {
    format!(
        "ALTER PUBLICATION {} SET (publish_via_partition_root = {via_root});",
        quote_identifier(publication)
    )
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
