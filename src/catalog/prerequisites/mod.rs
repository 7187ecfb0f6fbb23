//! What a capture needs of its database: checked all at once, and provided where the user may.

mod publication;
mod report;
mod requirements;
mod server;
mod slot;
mod tables;
mod watermarks;

use std::collections::HashSet;

pub use requirements::{BoundTable, Requirements, SlotUse};

use report::Report;

use crate::catalog::publication::{
    apply_restrictions, note_restrictions, parse_publication, parse_restrictions,
    publication_statements, restrictions_statement,
};
use crate::catalog::slot::{
    SlotInfo, capacity_statement, parse_capacity, parse_slot, read_slot, slot_statement,
};
use crate::catalog::table::{TableId, TableInfo};
use crate::catalog::tables::{TableLookup, complete_lookup, lookup_statement, lookup_tables};
use crate::client::{Client, Rows, Statement};
use crate::error::Result;

/// What was found where nothing stands in the way.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What the bound tables are, in their order, with what the publication leaves out of them. The
    /// checks have let through only what was found, unless they were skipped.
    pub tables: Vec<TableLookup>,
    /// The real name of the watermarks table.
    pub watermarks: Option<TableId>,
    /// The replication slot, as it was found; `None` if there was none.
    pub slot: Option<SlotInfo>,
    /// What does not stop the capture, but should be known.
    pub warnings: Vec<String>,
}

/// Checks what a capture of these tables needs, and creates publication, watermarks table and
/// membership in the publication where they are missing and the user may. What else is to be asked of
/// the server is asked in the same round trip, and its answers are returned.
///
/// # Errors
///
/// Fails with one [`ErrorKind::Prerequisite`](crate::error::ErrorKind::Prerequisite) error that lists whatever is missing, with the SQL
/// that provides it; and as such when the connection is lost.
pub async fn check_prerequisites<const N: usize>(
    client: &mut Client,
    requirements: &Requirements<'_>,
    bound: &[BoundTable],
    besides: [Statement; N],
) -> Result<(Checked, [Result<Rows>; N])> {
    let mut report = Report::default();
    if requirements.skip {
        report.warn("the prerequisites are not checked, since skip_prerequisites is set");
        let besides = client.query_each(besides).await?;
        let ids: Vec<TableId> = bound.iter().map(|table| table.id.clone()).collect();
        let mut tables = lookup_tables(client, &ids).await?;
        let infos = tables.iter_mut().filter_map(TableLookup::table_mut);
        note_restrictions(client, requirements.publication, infos).await?;
        let checked = Checked {
            tables,
            watermarks: requirements.watermarks.cloned(),
            slot: read_slot(client, requirements.slot).await?,
            warnings: report.warnings,
        };
        return Ok((checked, besides));
    }
    server::check_version(client.server_version_num(), &mut report);
    // None of the queries below is meant for a server that is too old.
    report.stop_if_failed()?;
    let version = client.server_version_num();
    let [publication, members] = publication_statements(requirements.publication, version);
    let ids = bound.iter().map(|table| &table.id);
    let ids: Vec<TableId> = ids.chain(requirements.watermarks).cloned().collect();
    let (answers, besides) = query_both(
        client,
        [
            server::facts_statement(),
            slot_statement(requirements.slot, version),
            capacity_statement(),
            publication,
            members,
            lookup_statement(&ids, version),
        ],
        besides,
    )
    .await?;
    let [facts, slot, capacity, publication, members, described] = answers;
    let facts = server::parse_facts(&facts?, version)?;
    let slot = parse_slot(&slot?)?;
    let name = requirements.publication;
    let publication = parse_publication(name, &publication?, &members?)?;
    server::check_server(&facts, requirements.watermarks.is_some(), &mut report);
    let capacity = parse_capacity(&capacity?)?;
    slot::check_slot(requirements, slot.as_ref(), &capacity, &facts, &mut report);
    let mut tables = complete_lookup(client, &ids, &described?).await?;
    let found = requirements.watermarks.and_then(|_| tables.pop());
    let watermarks = match requirements.watermarks.filter(|_| !facts.in_recovery) {
        Some(table) => {
            watermarks::provide_watermarks(client, table, found, &facts, &mut report).await?
        }
        None => None,
    };
    let infos: Vec<&TableInfo> = tables.iter().filter_map(TableLookup::table).collect();
    let restrictions = restrictions_statement(name, &infos, version);
    let written = watermarks.as_ref().filter(|table| table.exists);
    let trial = written.map(|table| watermarks::trial_statement(&table.id, requirements.slot));
    let may_restrict = restrictions.is_some();
    let statements: Vec<_> = restrictions.into_iter().chain(trial).collect();
    let mut answers = client.query_all(&statements).await?.into_iter();
    let restrictions = if may_restrict { answers.next() } else { None };
    let restrictions = match restrictions {
        Some(rows) => parse_restrictions(&rows?)?,
        None => Vec::new(),
    };
    if let (Some(table), Some(answer)) = (written, answers.next()) {
        watermarks::check_writing(&table.id, answer, &facts, &mut report)?;
    }
    let watermarks = watermarks.map(|table| table.id);
    let publishable =
        tables::check_tables(client, requirements, bound, &tables, &facts, &mut report).await?;
    let established: HashSet<TableId> = bound
        .iter()
        .filter(|table| table.is_established)
        .map(|table| table.id.key())
        .collect();
    let restrictions = publication::check_publication(
        client,
        requirements,
        publication,
        restrictions,
        &publishable,
        &established,
        watermarks.as_ref(),
        &facts,
        &mut report,
    )
    .await?;
    report.stop_if_failed()?;
    let infos = tables.iter_mut().filter_map(TableLookup::table_mut);
    apply_restrictions(restrictions, &mut infos.collect::<Vec<&mut TableInfo>>());
    let checked = Checked {
        tables,
        watermarks,
        slot,
        warnings: report.warnings,
    };
    Ok((checked, besides))
}

/// Runs statements, and others, in one round trip.
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
