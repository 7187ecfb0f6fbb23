//! What a capture needs of its database: checked all at once, and provided where the user may.

mod publication;
mod server;
mod slot;
mod tables;
mod watermarks;

use std::collections::HashSet;

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
use crate::error::{Error, ErrorKind, Result};

/// How many failures are shown.
const FAILURES_SHOWN: usize = 20;

/// What the capture is going to do with its replication slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotUse {
    /// Go on from where it stopped, so the slot has to be there and in order.
    Resume,
    /// Start anew: the slot is dropped, if it is there, and created.
    Create,
    /// Not known yet.
    Undecided,
}

/// What the configuration asks for.
#[derive(Debug, Clone)]
pub struct Requirements<'a> {
    /// The name of the replication slot.
    pub slot: &'a str,
    /// Whether the capture may create it.
    pub create_slot: bool,
    /// What the capture is going to do with it.
    pub slot_use: SlotUse,
    /// The name of the publication.
    pub publication: &'a str,
    /// The watermarks table; `None` in a read-only capture.
    pub watermarks: Option<&'a TableId>,
    /// Whether partitions are captured one by one.
    pub capture_as_partitions: bool,
    /// Whether nothing is checked, and nothing created.
    pub skip: bool,
    /// Whether the bound tables are not checked, and not added to the publication.
    pub skip_tables: bool,
}

/// A table that is bound to a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundTable {
    /// The name as configured.
    pub id: TableId,
    /// The columns of the collection's key; none where it is keyed by position.
    pub key_columns: Vec<String>,
    /// Whether its changes were captured before: it has to be published already then, since those
    /// that were made while it was not are missing.
    pub is_established: bool,
}

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
/// Fails with one [`ErrorKind::Prerequisite`] error that lists whatever is missing, with the SQL
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

/// What the checks have found so far.
#[derive(Debug, Default)]
struct Report {
    failures: Vec<String>,
    warnings: Vec<String>,
}

impl Report {
    fn fail(&mut self, text: impl Into<String>) {
        self.failures.push(text.into());
    }

    /// Notes a warning, unless it is there already: a table may be bound twice.
    fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    fn stop_if_failed(&self) -> Result<()> {
        if self.failures.is_empty() {
            return Ok(());
        }
        let mut text = "the capture cannot run due to the following error(s):".to_owned();
        for failure in self.failures.iter().take(FAILURES_SHOWN) {
            text.push_str("\n - ");
            text.push_str(failure);
        }
        let omitted = self.failures.len().saturating_sub(FAILURES_SHOWN);
        if omitted > 0 {
            text.push_str(&format!("\n - additional {omitted} errors omitted"));
        }
        Err(Error::new(ErrorKind::Prerequisite, text))
    }
}

/// Tells apart what the server refuses, which is a finding, from a failure of the attempt itself.
fn refusal<T>(result: Result<T>) -> Result<Result<T, Error>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.kind() == ErrorKind::Server && !error.is_retryable() => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::sqlstate;

    #[test]
    fn all_failures_are_in_one_error_and_the_twentieth_is_the_last() {
        let mut report = Report::default();
        assert!(report.stop_if_failed().is_ok());
        report.fail("one");
        report.fail("two");
        let error = report.stop_if_failed().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Prerequisite);
        assert_eq!(
            error.to_string(),
            "the capture cannot run due to the following error(s):\n - one\n - two"
        );
        for number in 0..21 {
            report.fail(number.to_string());
        }
        let text = report.stop_if_failed().unwrap_err().to_string();
        assert!(
            text.ends_with("\n - 17\n - additional 3 errors omitted"),
            "{text}"
        );
    }

    #[test]
    fn a_refusal_is_a_finding_and_a_lost_connection_is_not() {
        let refused = Error::new(ErrorKind::Server, "permission denied")
            .with_sqlstate(sqlstate::INSUFFICIENT_PRIVILEGE);
        assert!(matches!(refusal::<()>(Err(refused)), Ok(Err(_))));
        let down =
            Error::new(ErrorKind::Server, "terminating").with_sqlstate(sqlstate::ADMIN_SHUTDOWN);
        assert!(refusal::<()>(Err(down)).is_err());
        assert!(refusal::<()>(Err(Error::new(ErrorKind::Connection, "reset"))).is_err());
    }
}
