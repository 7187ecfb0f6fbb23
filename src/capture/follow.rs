//! ChangeStream the stream: what each message leads to.

use protocol::{LogicalReplicationMessage, Lsn, Oid, TruncateMessage, TupleArena};
use tracing::warn;

use super::deferrable_keys::DeferrableKeys;
use super::event::{ChangeEvent, judge, require_known_key};
use super::relations::Relations;
use super::sink::Sink;
use super::state::Mode;
use super::table::{Decision, Table};
use super::transaction::StreamPosition;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Change, Operation, RowKey};
use crate::replication::StreamItem;

/// What the stream has brought.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    /// Nothing that the caller has to act upon.
    Done,
    /// A transaction has begun; none of its changes was seen yet.
    Begin,
    /// A transaction is complete.
    Commit,
    /// A relation was described whose plan has to be prepared before the next of its changes.
    Described(Oid),
    /// A row with a new key came without all of its values: they have to be fetched before it is
    /// emitted with [`Dispatcher::complete`].
    Incomplete(Change<'a>, Lsn),
}

/// So much of the log between two commits is a large transaction.
const LARGE_TRANSACTION: u64 = 1024 * 1024;

/// Follows the stream.
#[derive(Debug)]
pub(super) struct Dispatcher {
    /// Where the stream is.
    pub(super) position: StreamPosition,
    /// Its relations.
    pub(super) relations: Relations,
    /// Changes seen and documents emitted, for the log.
    pub(super) counts: Counts,
    /// Keys that the transaction under way may have taken from one row and given to another.
    pub(super) deferrable_keys: DeferrableKeys,
    /// Whether a change was kept since this was looked at last.
    pub(super) has_deferred: bool,
    /// A key, kept for its memory.
    key: RowKey,
}

/// What has passed since the counts were last reported.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    /// Changes of rows.
    pub(super) changes: u64,
    /// Documents that were emitted for them.
    pub(super) documents: u64,
    /// Source transactions.
    pub(super) commits: u64,
}

impl Dispatcher {
    /// Starts where the stream starts.
    pub(super) fn new(start: Lsn) -> Self {
        Self {
            position: StreamPosition::new(start),
            relations: Relations::default(),
            counts: Counts::default(),
            deferrable_keys: DeferrableKeys::default(),
            has_deferred: false,
            key: RowKey::default(),
        }
    }

    /// Returns whether the transaction under way spans much of the log.
    pub(super) fn is_large(&mut self) -> bool {
        let last = self.position.last_commit_end().as_u64();
        self.position.transaction().is_ok_and(|transaction| {
            transaction.final_lsn.as_u64().saturating_sub(last) >= LARGE_TRANSACTION
        })
    }

    /// Handles what the stream has brought.
    ///
    /// # Errors
    ///
    /// Fails where the stream contradicts itself, a value cannot be captured, a key cannot be known,
    /// or the output is gone.
    pub(super) fn handle<'a, S: Sink>(
        &mut self,
        item: &StreamItem<'a>,
        arena: &'a TupleArena,
        tables: &mut [Table],
        sink: &mut S,
    ) -> Result<Outcome<'a>> {
        let (wal_start, message) = match item {
            StreamItem::Message { wal_start, message } => (*wal_start, message),
            StreamItem::Keepalive { wal_end } => {
                self.position.keepalive(*wal_end);
                return Ok(Outcome::Done);
            }
            StreamItem::Other => return Ok(Outcome::Done),
        };
        if let Some(change) = Change::from_message(message, arena) {
            self.counts.changes += 1;
            return self.change(change, wal_start, tables, sink);
        }
        match message {
            LogicalReplicationMessage::Begin(begin) => {
                self.position.begin(begin)?;
                return Ok(Outcome::Begin);
            }
            LogicalReplicationMessage::Commit(commit) => {
                let transaction = self.position.commit(commit)?;
                self.deferrable_keys.clear();
                self.counts.commits += 1;
                for table in tables.iter_mut() {
                    table.initial_wait.streamed(transaction.xid);
                }
                return Ok(Outcome::Commit);
            }
            LogicalReplicationMessage::Relation(relation) => {
                return Ok(Outcome::Described(
                    self.relations.describe(relation, tables)?,
                ));
            }
            LogicalReplicationMessage::Truncate(truncate) => {
                self.truncate(truncate, wal_start, tables);
            }
            // Which types are domains of which is known from the catalogs.
            LogicalReplicationMessage::Type(_)
            | LogicalReplicationMessage::Origin(_)
            | LogicalReplicationMessage::Message(_) => {}
            _ => {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    "the server sent a kind of message that was not asked for",
                ));
            }
        }
        Ok(Outcome::Done)
    }

    fn change<'a, S: Sink>(
        &mut self,
        change: Change<'a>,
        wal_start: Lsn,
        tables: &mut [Table],
        sink: &mut S,
    ) -> Result<Outcome<'a>> {
        let relation = self.relations.get(change.relation).ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                format!("a change at {wal_start} is of a relation that was not described"),
            )
        })?;
        let Some(table) = relation.table.and_then(|index| tables.get_mut(index)) else {
            self.relations.pass(change.relation);
            return Ok(Outcome::Done);
        };
        if !table.is_followed() {
            return Ok(Outcome::Done);
        }
        let Some(plan) = &relation.plan else {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("relation \"{}\" has no plan", relation.id),
            ));
        };
        let transaction = self.position.transaction()?;
        transaction.has_changes = true;
        // Of a table that waits for its first chunk nothing is emitted, whatever the key.
        if change.operation != Operation::Create && table.state.mode != Mode::Pending {
            require_known_key(relation, plan, table)?;
        }
        let changed_key = plan.changes_key(&change);
        if !changed_key {
            let image = change.document_image();
            let decision = judge(table, plan, &mut self.key, &change, image, transaction)?;
            if decision == Decision::Drop {
                return Ok(Outcome::Done);
            }
            if change.operation == Operation::Update
                && table.scan_may_miss_rows()
                && plan.is_incomplete(&change)
            {
                // The row may have left what is still to be scanned for what was scanned already: no
                // chunk will have its values then.
                return Ok(Outcome::Incomplete(change, wal_start));
            }
            if let (true, Some(key)) = (plan.keys_checked_late, &plan.collection_key) {
                match change.operation {
                    Operation::Create => {
                        self.deferrable_keys
                            .assigned(change.relation, change.new, key);
                    }
                    Operation::Delete => {
                        self.deferrable_keys
                            .released(change.relation, change.old, key);
                    }
                    Operation::Update => {}
                }
            }
            let event = ChangeEvent {
                change: &change,
                wal_start,
                decision,
            };
            event.put(plan, table, &self.key, &mut self.position, sink)?;
            self.counts.documents += 1;
            self.has_deferred |= event.decision.is_deferred();
            return Ok(Outcome::Done);
        }

        // The row under the old key is gone, and there is one under the new key.
        let deletion = Change {
            operation: Operation::Delete,
            new: None,
            ..change
        };
        let key = &mut self.key;
        let deleted = judge(table, plan, key, &deletion, deletion.old, transaction)?;
        if deleted != Decision::Drop {
            let event = ChangeEvent {
                change: &deletion,
                wal_start,
                decision: deleted,
            };
            event.put(plan, table, key, &mut self.position, sink)?;
            self.counts.documents += 1;
            self.has_deferred |= event.decision.is_deferred();
        }
        if let (true, Some(key)) = (plan.keys_checked_late, &plan.collection_key) {
            if deleted != Decision::Drop {
                self.deferrable_keys
                    .released(change.relation, change.old, key);
            }
            self.deferrable_keys
                .assigned(change.relation, change.new, key);
        }
        let transaction = self.position.transaction()?;
        let decision = judge(table, plan, key, &change, change.new, transaction)?;
        if decision == Decision::Drop {
            return Ok(Outcome::Done);
        }
        if plan.is_incomplete(&change) {
            return Ok(Outcome::Incomplete(change, wal_start));
        }
        let event = ChangeEvent {
            change: &change,
            wal_start,
            decision,
        };
        event.put(plan, table, key, &mut self.position, sink)?;
        self.counts.documents += 1;
        self.has_deferred |= event.decision.is_deferred();
        Ok(Outcome::Done)
    }

    /// Emits a change whose values had to be fetched, if it is worth it still: it is judged anew, since
    /// the span that it was to be kept for may be gone by now.
    ///
    /// # Errors
    ///
    /// Fails as [`Dispatcher::handle`] does.
    pub(super) fn complete<S: Sink>(
        &mut self,
        change: &Change<'_>,
        wal_start: Lsn,
        tables: &mut [Table],
        sink: &mut S,
    ) -> Result<()> {
        let Some(relation) = self.relations.get(change.relation) else {
            return Ok(());
        };
        if let Some(plan) = &relation.plan
            && let Some(table) = relation.table.and_then(|index| tables.get_mut(index))
        {
            let image = change.document_image();
            let transaction = self.position.transaction()?;
            let decision = judge(table, plan, &mut self.key, change, image, transaction)?;
            if decision != Decision::Drop {
                let event = ChangeEvent {
                    change,
                    wal_start,
                    decision,
                };
                event.put(plan, table, &self.key, &mut self.position, sink)?;
                self.counts.documents += 1;
                self.has_deferred |= event.decision.is_deferred();
            }
        }
        Ok(())
    }

    fn truncate(&self, truncate: &TruncateMessage<'_>, wal_start: Lsn, tables: &[Table]) {
        for oid in truncate.relations() {
            let table = self
                .relations
                .get(oid)
                .and_then(|relation| relation.table)
                .and_then(|index| tables.get(index));
            if let Some(table) = table
                && table.is_followed()
            {
                warn!(stream = %table.id, lsn = %wal_start,
                    "the table was truncated; its collection keeps the documents of the rows that \
                     were removed: backfill the binding anew, with a reset of its collection, if \
                     they are to go");
            }
        }
    }
}
