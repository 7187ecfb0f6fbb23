//! What the catalogs say of bound tables and their types, and the plans that follow from it.

use std::sync::Arc;

use protocol::{Oid, quote_identifier};
use tracing::{debug, info, warn};

use super::chunk::failed;
use super::engine::{ChangeStream, Engine};
use super::rows::unknown;
use super::sink::Sink;
use super::state::{Mode, TableState};
use super::table::Table;
use crate::catalog::{
    TableId, TableInfo, TableKind, TableLookup, complete_types, find_namesake, has_columns,
    lookup_tables, note_restrictions,
};
use crate::error::{Error, ErrorKind, Result};

impl<S: Sink> Engine<S> {
    /// Takes over what the catalogs say of the bound tables.
    pub(super) fn learn(&mut self, infos: Vec<TableLookup>) {
        for (table, info) in self.tables.iter_mut().zip(infos) {
            table.info = match info {
                TableLookup::Found(info) => Some(Arc::new(*info)),
                TableLookup::Missing | TableLookup::Ambiguous(_) => None,
            };
        }
    }

    /// Looks the bound tables up again.
    pub(super) async fn look_up(&mut self) -> Result<()> {
        let ids: Vec<_> = self.tables.iter().map(|table| table.id.clone()).collect();
        let infos = lookup_tables(&mut self.client, &ids).await?;
        let before: Vec<_> = self.tables.iter().map(|table| table.info.clone()).collect();
        self.learn(infos);
        let infos = self.tables.iter_mut();
        let infos = infos.filter_map(|table| table.info.as_mut().map(Arc::make_mut));
        note_restrictions(&mut self.client, &self.config.publication_name, infos).await?;
        self.complete_types().await?;
        let mut begin_anew = false;
        for (index, before) in before.into_iter().enumerate() {
            begin_anew |= self.renew_scan(index, before.as_deref())?;
        }
        if begin_anew {
            self.begin_initial_waits().await?;
        }
        Ok(())
    }

    /// Makes the scan of a table go by what the catalogs say of it now: its condition, and how its key
    /// is compared. Returns whether it has to begin anew.
    fn renew_scan(&mut self, index: usize, before: Option<&TableInfo>) -> Result<bool> {
        let version = self.client.server_version_num();
        let table = self.tables.get_mut(index).ok_or_else(unknown)?;
        let begins_anew = table.renew_scan(before, &self.config, &self.types, version)?;
        if begins_anew {
            warn!(stream = %table.id,
                "a key column has another type or collation now, so that keys have another order: the \
                 table is backfilled from its start");
        }
        Ok(begins_anew)
    }

    /// Looks one of the bound tables up again. Returns whether it is there; what was known stays if it
    /// is not.
    async fn look_up_one(&mut self, index: usize) -> Result<bool> {
        let Some(table) = self.tables.get_mut(index) else {
            return Ok(false);
        };
        let id = table.info.as_ref().map_or(&table.id, |info| &info.id);
        let found = lookup_tables(&mut self.client, std::slice::from_ref(id)).await?;
        let Some(TableLookup::Found(mut info)) = found.into_iter().next() else {
            return Ok(false);
        };
        let publication = &self.config.publication_name;
        note_restrictions(&mut self.client, publication, [&mut *info]).await?;
        let types = info.columns.iter().map(|column| column.type_oid);
        complete_types(&mut self.client, &mut self.types, types).await?;
        let before = table.info.replace(Arc::new(*info));
        if self.renew_scan(index, before.as_deref())? {
            self.begin_initial_waits().await?;
        }
        Ok(true)
    }

    /// Returns whether a table has the columns, as a span has found it, that it was looked up with.
    /// The stream tells of others with the next change only.
    pub(super) fn is_as_known(&self, index: usize, columns: &str) -> Result<bool> {
        let info = self.table(index)?.info.as_ref();
        info.map_or(Ok(true), |info| has_columns(info, columns))
    }

    /// Looks a table up again that a span has found with other columns. No span may be open: what the
    /// publication has of the table may be told behind who waits for its lock.
    pub(super) async fn look_up_scanned(&mut self, index: usize) -> Result<()> {
        if self.look_up_one(index).await? {
            let table = self.table(index)?;
            debug!(stream = %table.id, "the columns of a table have changed amid its backfill");
            return Ok(());
        }
        let error = Error::new(ErrorKind::Prerequisite, "it does not exist any more");
        Err(failed(self.table(index)?, error))
    }

    /// Makes sure that the types of all columns are known.
    pub(super) async fn complete_types(&mut self) -> Result<()> {
        let types: Vec<Oid> = self
            .tables
            .iter()
            .filter_map(|table| table.info.as_ref())
            .flat_map(|info| info.columns.iter().map(|column| column.type_oid))
            .collect();
        complete_types(&mut self.client, &mut self.types, types).await
    }

    /// Prepares the plans of all relations that the stream has described.
    pub(super) async fn prepare_all(&mut self, changes: &mut ChangeStream) -> Result<()> {
        for oid in changes.dispatcher.relations.oids() {
            self.prepare_relation(changes, oid).await?;
        }
        Ok(())
    }

    /// Prepares the plan of a relation that the stream has described.
    pub(super) async fn prepare_relation(
        &mut self,
        changes: &mut ChangeStream,
        oid: Oid,
    ) -> Result<()> {
        let relations = &mut changes.dispatcher.relations;
        let Some(relation) = relations.get_mut(oid) else {
            return Ok(());
        };
        let Some(index) = relation.table else {
            let (id, oid) = (relation.id.clone(), relation.oid);
            return self.check_name(&id, oid).await;
        };
        if relation.has_unknown_types(&self.types) {
            let types: Vec<_> = relation
                .columns
                .iter()
                .map(|column| column.type_oid)
                .collect();
            complete_types(&mut self.client, &mut self.types, types).await?;
        }
        if relation.differs_from(self.table(index)?.info.as_deref()) {
            // The server may open the table for it, behind who waits for a span of ours.
            self.end_spans().await?;
            self.look_up_one(index).await?;
        }
        let table = self.table(index)?;
        let tag = self.config.source_tag.as_deref();
        let version = self.client.server_version_num();
        let plan = relation.make_plan(table, &self.types, &self.plan_options, tag, version);
        relation.plan = Some(plan);
        Ok(())
    }

    /// Stops where the changes of a partitioned table that is bound come under the names of its
    /// partitions, or those of a partition under the name of its root: nobody would notice that they
    /// are missing.
    async fn check_name(&mut self, id: &TableId, relation: Oid) -> Result<()> {
        let followed = |table: &&Table| table.is_followed() && table.state.mode != Mode::Pending;
        let is_parted =
            |info: &&Arc<TableInfo>| info.is_partition || info.kind == TableKind::Partitioned;
        let infos = self.tables.iter().filter(followed);
        let infos = infos.filter_map(|table| table.info.as_ref());
        let bound: Vec<Oid> = infos.filter(is_parted).map(|info| info.oid).collect();
        let name = &self.config.publication_name;
        let found = find_namesake(&mut self.client, name, relation, &bound).await?;
        let Some(namesake) = found else {
            return Ok(());
        };
        let is_bound = |table: &&Table| {
            let info = table.info.as_ref();
            info.is_some_and(|info| info.oid == namesake.table)
        };
        let Some(table) = self.tables.iter().find(is_bound) else {
            return Ok(());
        };
        if namesake.is_root == namesake.via_partition_root {
            warn!(stream = %table.id, name = %id,
                "changes have come under another name, and are not captured: they were written before \
                 a partition was attached, or while the publication was set otherwise; in that case \
                 the binding has to be backfilled anew");
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Prerequisite,
            format!(
                "changes of table \"{}\" come under the name of \"{id}\" now, and are missing: ALTER \
                 PUBLICATION {} SET (publish_via_partition_root = {}); and backfill the binding anew",
                table.id,
                quote_identifier(name),
                namesake.is_root,
            ),
        ))
    }

    /// Marks the tables that do not exist any more, and makes pending those that do again.
    pub(super) fn mark_missing(&mut self) {
        for table in &mut self.tables {
            let exists = table.info.is_some();
            match table.state.mode {
                Mode::Pending | Mode::Ignore => {}
                Mode::Missing if exists => {
                    info!(stream = %table.id, "the table is there again: it is backfilled anew");
                    table.update_state(|state| *state = TableState::default());
                }
                _ if !exists => {
                    warn!(stream = %table.id,
                        "the table does not exist any more; its documents are kept");
                    table.scan = None;
                    table.unseen.clear();
                    table.update_state(|state| {
                        *state = TableState {
                            mode: Mode::Missing,
                            ..TableState::default()
                        };
                    });
                }
                _ => {}
            }
        }
    }
}
