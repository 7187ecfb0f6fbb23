//! Prerequisites of a capture: one pass checks all of them, and creates missing objects if the user
//! may.

mod publication;
mod report;
mod requirements;
mod server;
mod slot;
mod tables;
mod watermarks;

pub use requirements::{BoundTable, Requirements, SlotUse};

use publication::PublicationCheck;
use report::Report;
pub use report::prerequisite_error;
use server::Facts;
use watermarks::Watermarks;

use crate::catalog::publication::{
    Publication, Restriction, apply_restrictions, note_restrictions, parse_publication,
    parse_restrictions, publication_statements, restrictions_statement,
};
use crate::catalog::slot::{
    SlotCapacity, SlotInfo, capacity_statement, parse_capacity, parse_slot, read_slot,
    slot_statement,
};
use crate::catalog::table::{TableId, TableInfo};
use crate::catalog::tables::{TableLookup, complete_lookup, lookup_statement, lookup_tables};
use crate::client::{Client, Rows, Statement};
use crate::error::Result;

/// Facts about the database, returned if no prerequisite is missing.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Bound tables in their order, with the publication's column lists and row filters. All of
    /// them were found, unless the checks were skipped.
    pub tables: Vec<TableLookup>,
    /// Exact name of the watermarks table.
    pub watermarks: Option<TableId>,
    /// State of the replication slot; `None` if it does not exist.
    pub slot: Option<SlotInfo>,
    /// Findings that do not stop the capture, for the log.
    pub warnings: Vec<String>,
}

/// Checks the prerequisites of a capture of the bound tables. Creates the publication and the
/// watermarks table, and adds tables to the publication, where that is missing and the user may.
/// The statements in `besides` run in the round trip of the first queries, if there are any; their
/// results are returned.
///
/// # Errors
///
/// Fails with one [`ErrorKind::Prerequisite`](crate::error::ErrorKind::Prerequisite) error that
/// lists everything that is missing with the SQL that provides it, and with the error of the
/// connection if it is lost.
pub async fn check_prerequisites<const N: usize>(
    client: &mut Client,
    requirements: &Requirements<'_>,
    bound: &[BoundTable],
    besides: [Statement; N],
) -> Result<(Checked, [Result<Rows>; N])> {
    if requirements.skip {
        return skip_checks(client, requirements, bound, besides).await;
    }
    let mut report = Report::default();
    let version = client.server_version_num();
    server::check_version(version, &mut report);
    // The queries below do not run on a server that is too old.
    report.stop_if_failed()?;
    let ids = bound.iter().map(|table| &table.id);
    let ids: Vec<TableId> = ids.chain(requirements.watermarks).cloned().collect();
    let (answers, besides) = ask(client, requirements, &ids, besides).await?;
    let (facts, slot, capacity) = (answers.facts, answers.slot, answers.capacity);
    server::check_server(&facts, requirements.watermarks.is_some(), &mut report);
    slot::check_slot(requirements, slot.as_ref(), &capacity, &facts, &mut report);
    let mut tables = complete_lookup(client, &ids, &answers.described).await?;
    let found = requirements.watermarks.and_then(|_| tables.pop());
    let watermarks = match requirements.watermarks.filter(|_| !facts.in_recovery) {
        Some(table) => {
            watermarks::provide_watermarks(client, table, found, &facts, &mut report).await?
        }
        None => None,
    };
    let writable = watermarks.as_ref().filter(|table| table.exists);
    let (restrictions, written) =
        read_restrictions_and_write(client, requirements, &tables, writable).await?;
    if let (Some(table), Some(written)) = (writable, written) {
        watermarks::check_writing(&table.id, written, &facts, &mut report)?;
    }
    let lookups = bound.iter().zip(&tables);
    let publishable =
        tables::check_tables(client, requirements, lookups, &facts, &mut report).await?;
    let established = bound.iter().filter(|table| table.is_established);
    let check = PublicationCheck {
        requirements,
        facts: &facts,
        tables: &publishable,
        established: &established.map(|table| table.id.key()).collect(),
        watermarks: watermarks.as_ref().map(|table| &table.id),
    };
    let restrictions = check
        .run(client, answers.publication, restrictions, &mut report)
        .await?;
    report.stop_if_failed()?;
    let infos = tables.iter_mut().filter_map(TableLookup::table_mut);
    apply_restrictions(restrictions, &mut infos.collect::<Vec<&mut TableInfo>>());
    let checked = Checked {
        tables,
        watermarks: watermarks.map(|table| table.id),
        slot,
        warnings: report.warnings,
    };
    Ok((checked, besides))
}

/// Reads the same facts as the checks, for a capture that is configured to skip them.
async fn skip_checks<const N: usize>(
    client: &mut Client,
    requirements: &Requirements<'_>,
    bound: &[BoundTable],
    besides: [Statement; N],
) -> Result<(Checked, [Result<Rows>; N])> {
    let besides = client.query_each(besides).await?;
    let ids: Vec<TableId> = bound.iter().map(|table| table.id.clone()).collect();
    let mut tables = lookup_tables(client, &ids).await?;
    let infos = tables.iter_mut().filter_map(TableLookup::table_mut);
    note_restrictions(client, requirements.publication, infos).await?;
    let warning = "the prerequisites are not checked, since skip_prerequisites is set";
    let checked = Checked {
        tables,
        watermarks: requirements.watermarks.cloned(),
        slot: read_slot(client, requirements.slot).await?,
        warnings: vec![warning.to_owned()],
    };
    Ok((checked, besides))
}

/// Answers to the first queries of the checks.
#[derive(Debug)]
struct Answers {
    facts: Facts,
    slot: Option<SlotInfo>,
    capacity: SlotCapacity,
    publication: Option<Publication>,
    /// Result of [`lookup_statement`].
    described: Rows,
}

/// Runs the first queries of the checks, and other statements, in one round trip.
async fn ask<const N: usize>(
    client: &mut Client,
    requirements: &Requirements<'_>,
    ids: &[TableId],
    besides: [Statement; N],
) -> Result<(Answers, [Result<Rows>; N])> {
    let version = client.server_version_num();
    let name = requirements.publication;
    let [publication, members] = publication_statements(name, version);
    let statements = [
        server::facts_statement(),
        slot_statement(requirements.slot, version),
        capacity_statement(),
        publication,
        members,
        lookup_statement(ids, version),
    ];
    let (answers, besides) = query_both(client, statements, besides).await?;
    let [facts, slot, capacity, publication, members, described] = answers;
    let answers = Answers {
        facts: server::parse_facts(&facts?, version)?,
        slot: parse_slot(&slot?)?,
        publication: parse_publication(name, &publication?, &members?)?,
        capacity: parse_capacity(&capacity?)?,
        described: described?,
    };
    Ok((answers, besides))
}

/// Runs two lists of statements in one round trip.
async fn query_both<const M: usize, const N: usize>(
    client: &mut Client,
    statements: [Statement; M],
    others: [Statement; N],
) -> Result<([Result<Rows>; M], [Result<Rows>; N])> {
    let all: Vec<Statement> = statements.into_iter().chain(others).collect();
    let mut answers = client.query_all(&all).await?.into_iter();
    let mut next = || answers.next().unwrap_or_else(|| Ok(Rows::default()));
    let first = std::array::from_fn(|_| next());
    Ok((first, std::array::from_fn(|_| next())))
}

/// Reads the publication's restrictions of `tables` and writes a watermark in one round trip.
/// Returns the restrictions, and the result of writing if there is a watermarks table.
async fn read_restrictions_and_write(
    client: &mut Client,
    requirements: &Requirements<'_>,
    tables: &[TableLookup],
    watermarks: Option<&Watermarks>,
) -> Result<(Vec<Restriction>, Option<Result<Rows>>)> {
    let infos: Vec<&TableInfo> = tables.iter().filter_map(TableLookup::table).collect();
    let version = client.server_version_num();
    let restrictions = restrictions_statement(requirements.publication, &infos, version);
    let reads = restrictions.is_some();
    let write = watermarks.map(|table| watermarks::trial_statement(&table.id, requirements.slot));
    let statements: Vec<_> = restrictions.into_iter().chain(write).collect();
    let mut answers = client.query_all(&statements).await?.into_iter();
    let restrictions = if reads { answers.next() } else { None };
    let restrictions = match restrictions {
        Some(rows) => parse_restrictions(&rows?)?,
        None => Vec::new(),
    };
    Ok((restrictions, answers.next()))
}
