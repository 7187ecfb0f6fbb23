//! One change of the stream: the decision about it, and its document.

use protocol::Lsn;

use super::deferrable_keys::DeferrableKeys;
use super::position::StreamPosition;
use super::relation_plan::RelationPlan;
use super::relations::Relation;
use crate::buffer::Buffer;
use crate::capture::sink::Sink;
use crate::capture::table::{Decision, Table};
use crate::catalog::{identity_remedy, replica_identity_warning};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Change, Image, Operation, RowKey, Source};

/// A change, and the position of its record.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChangeEvent<'a> {
    pub(super) change: Change<'a>,
    pub(super) wal_start: Lsn,
}

/// Progress of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The change was handled.
    Done,
    /// Values of the new row were not sent: they have to be fetched before the row is emitted.
    Incomplete,
}

/// Writer of the documents of changes, which gives each its position in the order of all events.
#[derive(Debug)]
pub(super) struct EventWriter {
    pub(super) position: StreamPosition,
    /// Number of documents since they were last reported.
    pub(super) documents: u64,
    /// Whether a change was deferred since the last call of [`EventWriter::take_has_deferred`].
    has_deferred: bool,
    /// Key of the last row that was decided about; it keeps its memory.
    key: RowKey,
}

impl EventWriter {
    /// Starts at the position at which the stream starts.
    pub(super) fn new(start: Lsn) -> Self {
        Self {
            position: StreamPosition::new(start),
            documents: 0,
            has_deferred: false,
            key: RowKey::default(),
        }
    }

    /// Decides about a change that leaves the key of its row as it is, and writes its document,
    /// unless values have to be fetched first.
    ///
    /// # Errors
    ///
    /// Fails as [`EventWriter::decide`] and [`EventWriter::write`] do.
    #[inline(always)]
    pub(super) fn emit_change<S: Sink>(
        &mut self,
        event: &ChangeEvent<'_>,
        keys: &mut DeferrableKeys,
        plan: &RelationPlan,
        table: &mut Table,
        sink: &mut S,
    ) -> Result<Progress> {
        let change = &event.change;
        let decision = self.decide(change, change.document_image(), plan, table)?;
        if decision == Decision::Drop {
            return Ok(Progress::Done);
        }
        if change.operation == Operation::Update
            && table.scan_may_miss_rows()
            && plan.lacks_values(change)
        {
            // The row may have moved from the part that is still to be scanned into the part that
            // was scanned already: no chunk will have its values then.
            return Ok(Progress::Incomplete);
        }
        if let Some(columns) = plan.deferrable_key() {
            match change.operation {
                Operation::Create => keys.assigned(change.relation, change.new, columns),
                Operation::Delete => keys.released(change.relation, change.old, columns),
                Operation::Update => {}
            }
        }
        self.write(event, decision, plan, table, sink)?;
        Ok(Progress::Done)
    }

    /// Decides about a change of a row's key, as a deletion of the row of the old key and a row of
    /// the new key, and writes their documents; that of the new row unless values have to be fetched
    /// first.
    ///
    /// # Errors
    ///
    /// Fails as [`EventWriter::decide`] and [`EventWriter::write`] do.
    pub(super) fn emit_change_of_key<S: Sink>(
        &mut self,
        event: &ChangeEvent<'_>,
        keys: &mut DeferrableKeys,
        plan: &RelationPlan,
        table: &mut Table,
        sink: &mut S,
    ) -> Result<Progress> {
        let change = &event.change;
        let deletion = ChangeEvent {
            change: Change {
                operation: Operation::Delete,
                new: None,
                ..*change
            },
            ..*event
        };
        let deleted = self.decide(&deletion.change, change.old, plan, table)?;
        self.write(&deletion, deleted, plan, table, sink)?;
        if let Some(columns) = plan.deferrable_key() {
            if deleted != Decision::Drop {
                keys.released(change.relation, change.old, columns);
            }
            keys.assigned(change.relation, change.new, columns);
        }
        let decision = self.decide(change, change.new, plan, table)?;
        if decision != Decision::Drop && plan.lacks_values(change) {
            return Ok(Progress::Incomplete);
        }
        self.write(event, decision, plan, table, sink)?;
        Ok(Progress::Done)
    }

    /// Decides about a change, by the key of `image`.
    ///
    /// # Errors
    ///
    /// Fails where the key cannot be read.
    #[inline]
    pub(super) fn decide(
        &mut self,
        change: &Change<'_>,
        image: Option<Image<'_>>,
        plan: &RelationPlan,
        table: &mut Table,
    ) -> Result<Decision> {
        let known = table.read_key(image, plan.scan_key.as_deref(), &mut self.key)?;
        let transaction = self.position.transaction()?;
        let key = known.then_some(&self.key);
        Ok(table.decide(
            change.operation,
            key,
            transaction.xid,
            transaction.final_lsn,
        ))
    }

    /// Writes the document of a change that was just decided about: to the output, or to the
    /// deferred changes of its table. Nothing is written of a change that is dropped.
    ///
    /// # Errors
    ///
    /// Fails where a value cannot be captured, or the output is closed.
    #[inline]
    pub(super) fn write<S: Sink>(
        &mut self,
        event: &ChangeEvent<'_>,
        decision: Decision,
        plan: &RelationPlan,
        table: &mut Table,
        sink: &mut S,
    ) -> Result<()> {
        if decision == Decision::Drop {
            return Ok(());
        }
        let ChangeEvent { change, wal_start } = event;
        let last_commit_end = self.position.last_commit_end();
        let transaction = self.position.transaction()?;
        let source = Source::Stream {
            ts_ms: transaction.ts_ms,
            loc: [
                last_commit_end.as_u64(),
                transaction.next_event(*wal_start),
                transaction.final_lsn.as_u64(),
            ],
            xid: transaction.xid.as_u32(),
        };
        let failed = |error: Error| {
            error.context(format!("a change of table \"{}\" at {wal_start}", table.id))
        };
        self.documents += 1;
        if let Decision::Defer {
            range,
            follows_row,
            deferral,
        } = decision
        {
            self.has_deferred = true;
            let mut document = Buffer::new();
            plan.plan
                .write(change, source, &mut document)
                .map_err(failed)?;
            let key = follows_row.then(|| self.key.clone());
            table.defer(range, key, deferral, &document);
            return Ok(());
        }
        sink.begin_document(table.binding);
        plan.plan
            .write(change, source, sink.buffer())
            .map_err(failed)?;
        sink.end_document()
    }

    /// Returns whether a change was deferred since the last call.
    #[inline]
    pub(super) fn take_has_deferred(&mut self) -> bool {
        std::mem::take(&mut self.has_deferred)
    }
}

/// Refuses a change of a row whose key before the change is not known: a document without a row
/// would remain, or the document of another row would be changed.
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
    // The replica identity in the stream can be older or newer than that in the catalogs.
    let remedy = info
        .and_then(|info| replica_identity_warning(info, key))
        .unwrap_or_else(|| {
            let statement = match info {
                Some(info) => identity_remedy(info, key),
                None => format!("ALTER TABLE {} REPLICA IDENTITY FULL", relation.shape.id.quoted()),
            };
            format!(
                "the replica identity of table \"{}\" does not hold the collection's key: {statement}",
                relation.shape.id
            )
        });
    Err(Error::new(
        ErrorKind::Prerequisite,
        format!(
            "a row of table \"{}\" was updated or deleted, and the key of its document cannot be \
             known: {remedy}. Changes that were written before that cannot be understood even then, so \
             the binding has to be backfilled again",
            relation.shape.id
        ),
    ))
}
