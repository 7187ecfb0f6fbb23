//! One change of the stream: what it is of its row, what becomes of it, and its document.

use protocol::{Lsn, TupleData};

use super::relations::{Relation, RelationPlan};
use super::sink::Sink;
use super::table::{Decision, Table};
use super::transaction::{StreamPosition, Transaction};
use crate::buffer::Buffer;
use crate::catalog::{identity_remedy, replica_identity_warning};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Change, Image, RowKey, Source};

/// A change that was found worth a document.
pub(super) struct ChangeEvent<'c, 'a> {
    pub(super) change: &'c Change<'a>,
    pub(super) wal_start: Lsn,
    pub(super) decision: Decision,
}

impl ChangeEvent<'_, '_> {
    /// Emits the document, or keeps it behind the row of this key.
    #[inline]
    pub(super) fn put<S: Sink>(
        &self,
        plan: &RelationPlan,
        table: &mut Table,
        key: &RowKey,
        position: &mut StreamPosition,
        sink: &mut S,
    ) -> Result<()> {
        let Self {
            change,
            wal_start,
            decision,
        } = self;
        let last_commit_end = position.last_commit_end();
        let transaction = position.transaction()?;
        let source = Source::Stream {
            ts_ms: transaction.ts_ms,
            loc: [
                last_commit_end.as_u64(),
                transaction.place(*wal_start),
                transaction.final_lsn.as_u64(),
            ],
            xid: transaction.xid.as_u32(),
        };
        let failed = |error: Error| {
            error.context(format!("a change of table \"{}\" at {wal_start}", table.id))
        };
        if let Decision::Defer {
            range,
            placed,
            deferral,
        } = *decision
        {
            let mut document = Buffer::new();
            plan.plan
                .write(change, source, &mut document)
                .map_err(failed)?;
            table.keep(range, placed.then(|| key.clone()), deferral, &document);
            return Ok(());
        }
        sink.begin_document(table.binding);
        plan.plan
            .write(change, source, sink.buffer())
            .map_err(failed)?;
        sink.end_document()
    }
}

#[inline]
pub(super) fn judge(
    table: &mut Table,
    plan: &RelationPlan,
    key: &mut RowKey,
    change: &Change<'_>,
    image: Option<Image<'_>>,
    transaction: &Transaction,
) -> Result<Decision> {
    // Without a scan the key does not matter, and is not read.
    let known = match (&table.scan, &plan.scan_key, image) {
        (Some(scan), Some(columns), Some(image)) if scan.compares_keys() => {
            key.read(&image, columns).map_err(|error| {
                error.context(format!(
                    "reading the key of a row of table \"{}\"",
                    table.id
                ))
            })?
        }
        _ => false,
    };
    Ok(table.judge(
        change.operation,
        known.then_some(&*key),
        transaction.xid,
        transaction.final_lsn,
    ))
}

impl RelationPlan {
    /// Returns whether an update changes the key of its document.
    #[inline]
    pub(super) fn changes_key(&self, change: &Change<'_>) -> bool {
        let (Some(old), Some(new), Some(key)) = (change.old, change.new, &self.collection_key)
        else {
            return false;
        };
        key.iter()
            .any(|index| !same(old.get(*index), new.get(*index)))
    }

    /// Returns whether a row lacks values that documents have.
    pub(super) fn is_incomplete(&self, change: &Change<'_>) -> bool {
        change.new.is_some_and(|image| {
            self.captured
                .iter()
                .any(|index| matches!(image.get(*index), TupleData::UnchangedToast))
        })
    }
}

fn same(old: TupleData<'_>, new: TupleData<'_>) -> bool {
    match (old, new) {
        (TupleData::Text(old), TupleData::Text(new)) => old == new,
        (TupleData::Null, TupleData::Null) | (_, TupleData::UnchangedToast) => true,
        _ => false,
    }
}

/// Stops before a change of a row whose key before it is not known: a document would stay behind, or
/// another would be changed in its place.
pub(super) fn require_known_key(
    relation: &Relation,
    plan: &RelationPlan,
    table: &Table,
) -> Result<()> {
    if plan.identity_has_key {
        return Ok(());
    }
    let key = table.collection_key.as_deref().unwrap_or_default();
    let info = table.info.as_deref();
    // What the stream tells of may not be visible yet, or not be so any more.
    let remedy = info
        .and_then(|info| replica_identity_warning(info, key))
        .unwrap_or_else(|| {
            let statement = match info {
                Some(info) => identity_remedy(info, key),
                None => format!("ALTER TABLE {} REPLICA IDENTITY FULL", relation.id.quoted()),
            };
            format!(
                "the replica identity of table \"{}\" does not hold the collection's key: {statement}",
                relation.id
            )
        });
    Err(Error::new(
        ErrorKind::Prerequisite,
        format!(
            "a row of table \"{}\" was updated or deleted, and the key of its document cannot be \
             known: {remedy}. Changes that were written before that cannot be understood even then, so \
             the binding has to be backfilled anew",
            relation.id
        ),
    ))
}
