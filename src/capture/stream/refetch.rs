//! Rows that are fetched because the stream has not sent all of their values, or not told which row
//! has a key.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::{Lsn, TupleData};
use tracing::{debug, warn};

use super::change_event::ChangeEvent;
use super::column_matching::match_columns;
use super::deferrable_keys::key_texts;
use super::dispatcher::Dispatcher;
use super::position::Transaction;
use super::relations::Relation;
use crate::backfill::{ChunkQuery, KeyColumn, row_by_key};
use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::wait_log::WaitBackoff;
use crate::catalog::TableInfo;
use crate::client::Rows;
use crate::error::{Result, sqlstate};
use crate::record::{Change, Image, Operation, RowKey};
use crate::value::KeyCodec;

/// Time for which a row is waited for before the spans give up their locks.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

impl<S: Sink> Session<S> {
    /// Emits a row with a new key, whose values that were not sent are fetched first: no earlier
    /// document of that key has them.
    pub(super) async fn emit_incomplete_row(
        &mut self,
        dispatcher: &mut Dispatcher,
        event: ChangeEvent<'_>,
    ) -> Result<()> {
        let ChangeEvent { change, wal_start } = event;
        let relation = dispatcher.relations.get(change.relation);
        let (Some(relation), Some(image)) = (relation, change.new) else {
            return Ok(());
        };
        let (Some(plan), Some(index)) = (&relation.plan, relation.table) else {
            return Ok(());
        };
        let missing: Vec<usize> = plan
            .captured
            .iter()
            .copied()
            .filter(|index| matches!(image.get(*index), TupleData::UnchangedToast))
            .collect();
        let key = key_texts(&image, plan.collection_key.as_deref().unwrap_or_default());
        let query = self.query_by_key(relation, &key)?;
        let stream = self.tables[index].id.to_string();
        let position = dispatcher.position();
        let transaction = *position.current_transaction()?;
        let rows = self.fetch_visible(&query, &stream, &transaction).await?;
        let mut values = image.values.to_vec();
        if let Some(fetched) = self.values_of(relation, &rows) {
            for index in missing {
                if let (Some(value), Some(fetched)) = (values.get_mut(index), fetched.get(index)) {
                    *value = *fetched;
                }
                if let (Some(TupleData::UnchangedToast), Some(column)) =
                    (values.get(index), relation.shape.columns.get(index))
                {
                    warn!(%stream, column = column.name, lsn = %wal_start,
                        "value left out of a row with a new key: its column was dropped, renamed or \
                         given another type since");
                }
            }
        } else {
            // A later change of the stream deletes the row or gives it another key.
            debug!(%stream, lsn = %wal_start, "row with a new key not found: it was deleted, or its key has changed again");
        }
        let complete = ChangeEvent {
            change: Change {
                new: Some(Image {
                    values: &values,
                    key_only: false,
                }),
                ..change
            },
            wal_start,
        };
        dispatcher.emit_fetched(&complete, &mut self.tables, &mut self.sink)
    }

    /// Emits the rows whose keys the current transaction has both assigned and released.
    pub(super) async fn emit_ambiguous_rows(&mut self, dispatcher: &mut Dispatcher) -> Result<()> {
        for (oid, key) in dispatcher.take_ambiguous_keys() {
            let transaction = *dispatcher.position().current_transaction()?;
            let Some(relation) = dispatcher.relations.get(oid) else {
                continue;
            };
            let query = self.query_by_key(relation, &key)?;
            let stream = relation.shape.id.to_string();
            let rows = self.fetch_visible(&query, &stream, &transaction).await?;
            let Some(values) = self.values_of(relation, &rows) else {
                continue;
            };
            let event = ChangeEvent {
                change: Change {
                    relation: oid,
                    operation: Operation::Update,
                    old: None,
                    new: Some(Image {
                        values: &values,
                        key_only: false,
                    }),
                },
                wal_start: Lsn::INVALID,
            };
            dispatcher.emit_fetched(&event, &mut self.tables, &mut self.sink)?;
        }
        Ok(())
    }

    /// Returns the query for the row that has a key of the collection, by the texts of its columns.
    fn query_by_key(&self, relation: &Relation, key: &[Option<String>]) -> Result<ChunkQuery> {
        let plan = relation.plan.as_ref();
        let columns = plan.and_then(|plan| plan.collection_key.as_deref());
        let (names, codecs): (Vec<_>, Vec<_>) = columns
            .unwrap_or_default()
            .iter()
            .filter_map(|index| relation.shape.columns.get(*index))
            .map(|column| {
                // Only equality is asked for, whatever the collation.
                let codec = KeyCodec::new(column.type_oid, self.server.types(), true);
                (column.name.as_str(), codec)
            })
            .unzip();
        let values = RowKey::of_texts(key, &codecs)
            .map_err(|error| error.context(format!("a key of table \"{}\"", relation.shape.id)))?
            .parameters(&codecs);
        let columns: Vec<_> = names
            .into_iter()
            .zip(&codecs)
            .zip(values)
            .map(|((name, codec), value)| KeyColumn {
                name,
                comparison: codec.comparison(),
                value,
            })
            .collect();
        let target = self
            .info_of(relation)
            .map_or_else(|| relation.shape.id.quoted(), TableInfo::scan_target);
        Ok(row_by_key(&target, &columns))
    }

    /// Returns the catalogs' description of the table that a relation is.
    fn info_of(&self, relation: &Relation) -> Option<&TableInfo> {
        relation
            .table
            .and_then(|index| self.tables[index].info.as_deref())
    }

    /// Returns the values of the fetched row in the order of a relation's columns, if there is a
    /// row. A column has no value that is gone by now, has another type, or has a name that may be
    /// that of another column by now.
    fn values_of<'r>(&self, relation: &Relation, rows: &'r Rows) -> Option<Vec<TupleData<'r>>> {
        let row = rows.rows.first()?;
        let types = self.server.types();
        let columns: Vec<_> = relation
            .shape
            .columns
            .iter()
            .map(|column| (column.name.as_str(), types.ultimate(column.type_oid)))
            .collect();
        let found: Vec<_> = rows
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.type_oid))
            .collect();
        let matches = match_columns(&columns, &found, self.info_of(relation));
        let value = |index: Option<usize>| match index.map(|index| row.get(index)) {
            Some(Some(text)) => TupleData::Text(text.as_bytes()),
            Some(None) => TupleData::Null,
            None => TupleData::UnchangedToast,
        };
        Some(matches.into_iter().map(value).collect())
    }

    /// Fetches a row that a streamed transaction has written, from a snapshot that contains the
    /// transaction. Returns no row if it is gone by then.
    async fn fetch_visible(
        &mut self,
        query: &ChunkQuery,
        stream: &str,
        transaction: &Transaction,
    ) -> Result<Rows> {
        let mut backoff = WaitBackoff::new();
        loop {
            // The snapshot is taken before the row is read, so the row's snapshot contains whatever
            // this one contains.
            let snapshot = self.server.snapshot().await?;
            let rows = match self.fetch(query).await {
                // The table is gone by now, or its key has other columns.
                Err(error)
                    if matches!(
                        error.sqlstate(),
                        Some(sqlstate::UNDEFINED_TABLE | sqlstate::UNDEFINED_COLUMN)
                    ) =>
                {
                    Rows::default()
                }
                other => other?,
            };
            let contained = snapshot.contains(transaction.xid, transaction.final_lsn)
                || cfg!(unchecked_visibility);
            if contained {
                return Ok(rows);
            }
            self.end_spans().await?;
            let xids = BTreeSet::from([transaction.xid.as_u32()]);
            let what = format!("a row of table \"{stream}\" is fetched");
            self.wait(&what, &xids, &mut backoff).await?;
        }
    }

    /// Fetches rows. If the query waits for a lock, its holder may itself wait for a span: the
    /// spans are given up then.
    async fn fetch(&mut self, query: &ChunkQuery) -> Result<Rows> {
        let parameters: Vec<_> = query.parameters.iter().map(Option::as_deref).collect();
        let fetched = {
            let Self { server, spans, .. } = self;
            let fetching = server.client().query(&query.sql, &parameters);
            tokio::pin!(fetching);
            match tokio::time::timeout(LOCK_TIMEOUT, &mut fetching).await {
                Ok(fetched) => return fetched,
                Err(_) => {
                    spans.release().await;
                    fetching.await
                }
            }
        };
        self.close_ranges()?;
        fetched
    }
}
