//! Dispatch of the messages of the stream.

use protocol::{LogicalReplicationMessage, Lsn, Oid, TruncateMessage, TupleArena};
use tracing::warn;

use super::change_event::{ChangeEvent, EventWriter, Progress, require_known_key};
use super::deferrable_keys::DeferrableKeys;
use super::position::StreamPosition;
use super::relations::Relations;
use crate::capture::sink::Sink;
use crate::capture::state::Mode;
use crate::capture::table::Tables;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Change, Operation};
use crate::replication::StreamItem;

/// Outcome of a message.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    /// The caller has nothing to do.
    Done,
    /// A transaction has begun; none of its changes was handled yet.
    Begin,
    /// A transaction is complete.
    Commit,
    /// A relation was described: its plan has to be prepared before the next of its changes.
    Described(Oid),
    /// A row with a new key came without all of its values: they have to be fetched, and the row
    /// emitted with [`Dispatcher::emit_fetched`].
    Incomplete(ChangeEvent<'a>),
}

/// Bytes of log between two commits from which on a transaction counts as large.
const LARGE_TRANSACTION: u64 = 1024 * 1024;

/// Dispatcher of the messages of the stream: each change is decided about, and its document
/// written.
#[derive(Debug)]
pub(super) struct Dispatcher {
    writer: EventWriter,
    /// Relations that the stream has described.
    pub(super) relations: Relations,
    /// Keys that the current transaction may have taken from one row and assigned to another.
    deferrable_keys: DeferrableKeys,
    /// Number of changes since they were last reported.
    changes: u64,
    /// Number of source transactions since they were last reported.
    commits: u64,
}

/// Counts of the stream since the last report.
#[derive(Debug, Clone, Copy)]
pub(in crate::capture) struct Counts {
    /// Changes of rows.
    pub(in crate::capture) changes: u64,
    /// Documents that were written for these changes.
    pub(in crate::capture) documents: u64,
    /// Source transactions.
    pub(in crate::capture) commits: u64,
}

impl Dispatcher {
    /// Starts at the position at which the stream starts.
    pub(super) fn new(start: Lsn) -> Self {
        Self {
            writer: EventWriter::new(start),
            relations: Relations::default(),
            deferrable_keys: DeferrableKeys::default(),
            changes: 0,
            commits: 0,
        }
    }

    /// Returns the position of the stream.
    #[inline]
    pub(super) fn position(&self) -> &StreamPosition {
        &self.writer.position
    }

    /// Returns whether the current transaction spans at least [`LARGE_TRANSACTION`] bytes of WAL.
    pub(super) fn is_transaction_large(&self) -> bool {
        let last = self.position().last_commit_end().as_u64();
        self.position()
            .current_transaction()
            .is_ok_and(|transaction| {
                transaction.final_lsn.as_u64().saturating_sub(last) >= LARGE_TRANSACTION
            })
    }

    /// Returns whether a change was deferred since the last call.
    #[inline]
    pub(super) fn take_has_deferred(&mut self) -> bool {
        self.writer.take_has_deferred()
    }

    /// Returns the counts since the last call.
    pub(super) fn take_counts(&mut self) -> Counts {
        Counts {
            changes: std::mem::take(&mut self.changes),
            documents: std::mem::take(&mut self.writer.documents),
            commits: std::mem::take(&mut self.commits),
        }
    }

    /// Returns whether the rows of ambiguous keys are to be fetched before a message is handled:
    /// the transaction ends with it, or the keys are many.
    #[inline]
    pub(super) fn must_resolve_keys(&self, item: &StreamItem<'_>) -> bool {
        let is_commit = || {
            matches!(
                item,
                StreamItem::Message {
                    message: LogicalReplicationMessage::Commit(_),
                    ..
                }
            )
        };
        self.deferrable_keys.has_ambiguous()
            && (self.deferrable_keys.has_many_ambiguous() || is_commit())
    }

    /// Takes the ambiguous keys, each with its relation.
    pub(super) fn take_ambiguous_keys(&mut self) -> Vec<(Oid, Vec<Option<String>>)> {
        self.deferrable_keys.take_ambiguous()
    }

    /// Handles a message of the stream.
    ///
    /// # Errors
    ///
    /// Fails where the stream contradicts itself, a value cannot be captured, a key cannot be
    /// known, or the output is closed.
    pub(super) fn handle<'a, S: Sink>(
        &mut self,
        item: &StreamItem<'a>,
        arena: &'a TupleArena,
        tables: &mut Tables,
        sink: &mut S,
    ) -> Result<Outcome<'a>> {
        let (wal_start, message) = match item {
            StreamItem::Message { wal_start, message } => (*wal_start, message),
            StreamItem::Keepalive { wal_end } => {
                self.writer.position.keepalive(*wal_end);
                return Ok(Outcome::Done);
            }
            StreamItem::Other => return Ok(Outcome::Done),
        };
        if let Some(change) = Change::from_message(message, arena) {
            self.changes += 1;
            return self.change(ChangeEvent { change, wal_start }, tables, sink);
        }
        match message {
            LogicalReplicationMessage::Begin(begin) => {
                self.writer.position.begin(begin)?;
                return Ok(Outcome::Begin);
            }
            LogicalReplicationMessage::Commit(commit) => {
                let transaction = self.writer.position.commit(commit)?;
                self.deferrable_keys.clear();
                self.commits += 1;
                tables.streamed(transaction.xid);
                return Ok(Outcome::Commit);
            }
            LogicalReplicationMessage::Relation(relation) => {
                self.relations.describe(relation, tables)?;
                return Ok(Outcome::Described(relation.relation));
            }
            LogicalReplicationMessage::Truncate(truncate) => {
                self.truncate(truncate, wal_start, tables);
            }
            // The base types of domains are known from the catalogs.
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
        event: ChangeEvent<'a>,
        tables: &mut Tables,
        sink: &mut S,
    ) -> Result<Outcome<'a>> {
        let change = &event.change;
        let relation = self.relations.get(change.relation).ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                format!(
                    "a change at {} is of a relation that was not described",
                    event.wal_start
                ),
            )
        })?;
        let Some(index) = relation.table else {
            self.relations.note_uncaptured(change.relation);
            return Ok(Outcome::Done);
        };
        let table = &mut tables[index];
        if !table.is_followed() {
            return Ok(Outcome::Done);
        }
        let Some(plan) = &relation.plan else {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("relation \"{}\" has no plan", relation.shape.id),
            ));
        };
        self.writer.position.transaction()?.has_changes = true;
        // Nothing is emitted of a table that waits for its first chunk, so its keys do not matter.
        if change.operation != Operation::Create && table.state.mode != Mode::Pending {
            require_known_key(relation, plan, table)?;
        }
        let keys = &mut self.deferrable_keys;
        let progress = if plan.changes_key(change) {
            self.writer
                .emit_change_of_key(&event, keys, plan, table, sink)?
        } else {
            self.writer.emit_change(&event, keys, plan, table, sink)?
        };
        Ok(match progress {
            Progress::Done => Outcome::Done,
            Progress::Incomplete => Outcome::Incomplete(event),
        })
    }

    /// Emits a change whose values had to be fetched. It is decided about again, since the span
    /// that it was to be deferred for may be gone by now.
    ///
    /// # Errors
    ///
    /// Fails as [`Dispatcher::handle`] does.
    pub(super) fn emit_fetched<S: Sink>(
        &mut self,
        event: &ChangeEvent<'_>,
        tables: &mut Tables,
        sink: &mut S,
    ) -> Result<()> {
        let Some(relation) = self.relations.get(event.change.relation) else {
            return Ok(());
        };
        if let (Some(plan), Some(index)) = (&relation.plan, relation.table) {
            let table = &mut tables[index];
            let image = event.change.document_image();
            let decision = self.writer.decide(&event.change, image, plan, table)?;
            self.writer.write(event, decision, plan, table, sink)?;
        }
        Ok(())
    }

    fn truncate(&self, truncate: &TruncateMessage<'_>, wal_start: Lsn, tables: &Tables) {
        for oid in truncate.relations() {
            let Some(index) = self.relations.get(oid).and_then(|relation| relation.table) else {
                continue;
            };
            let table = &tables[index];
            if table.is_followed() {
                warn!(stream = %table.id, lsn = %wal_start,
                    "table truncated: its collection keeps the documents of the removed rows; to remove \
                     them, backfill the binding again with a reset of its collection");
            }
        }
    }
}
