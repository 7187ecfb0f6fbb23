//! Plans for the relations that the stream has described.

use std::sync::Arc;

use protocol::{Oid, quote_identifier};
use tracing::warn;

use super::change_stream::ChangeStream;
use super::relation_plan::RelationPlan;
use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::table::Table;
use crate::catalog::{Namesake, TableId, TableInfo, TableKind, find_namesake};
use crate::error::{Error, ErrorKind, Result};

impl<S: Sink> Session<S> {
    /// Prepares the plans of all relations that the stream has described once more, because tables
    /// have changed.
    pub(in crate::capture) async fn renew_plans(
        &mut self,
        changes: &mut ChangeStream,
    ) -> Result<()> {
        changes.dispatcher.relations.invalidate(&self.tables);
        for oid in changes.dispatcher.relations.oids() {
            self.prepare_plan(changes, oid).await?;
        }
        Ok(())
    }

    /// Prepares the plan of a relation that the stream has described.
    pub(super) async fn prepare_plan(
        &mut self,
        changes: &mut ChangeStream,
        oid: Oid,
    ) -> Result<()> {
        let Some(relation) = changes.dispatcher.relations.get_mut(oid) else {
            return Ok(());
        };
        let Some(index) = relation.table else {
            let id = relation.shape.id.clone();
            return self.check_unbound_name(&id, oid).await;
        };
        if relation.shape.has_unknown_types(self.server.types()) {
            let types = relation.shape.columns.iter().map(|column| column.type_oid);
            self.server.complete_types(types).await?;
        }
        if relation
            .shape
            .differs_from(self.tables[index].info.as_deref())
        {
            // The lookup may lock the table: it would queue after a session that waits for a span.
            self.end_spans().await?;
            self.look_up_one(index).await?;
        }
        let inputs = self.settings.plan_inputs(self.server.types());
        let (table, version) = (&self.tables[index], self.server.version());
        relation.plan = Some(RelationPlan::new(&relation.shape, table, &inputs, version));
        Ok(())
    }

    /// Fails where the changes of a bound partitioned table are streamed under the names of its
    /// partitions, or those of a bound partition under the name of its root: the capture would
    /// miss them silently.
    async fn check_unbound_name(&mut self, id: &TableId, relation: Oid) -> Result<()> {
        let captured = |table: &&Table| table.state.mode.is_captured();
        let is_partitioned =
            |info: &&Arc<TableInfo>| info.is_partition || info.kind == TableKind::Partitioned;
        let infos = self.tables.iter().filter(captured);
        let infos = infos.filter_map(|table| table.info.as_ref());
        let bound: Vec<Oid> = infos.filter(is_partitioned).map(|info| info.oid).collect();
        let publication = &self.settings.config.publication_name;
        let found = find_namesake(self.server.client(), publication, relation, &bound).await?;
        let Some(namesake) = found else {
            return Ok(());
        };
        let is_namesake = |table: &Table| {
            let info = table.info.as_ref();
            info.is_some_and(|info| info.oid == namesake.table)
        };
        let Some(index) = self.tables.find(is_namesake) else {
            return Ok(());
        };
        let table = &self.tables[index];
        if namesake.is_root == namesake.via_partition_root {
            warn!(stream = %table.id, name = %id,
                "changes under another name are not captured: they were written before a partition was \
                 attached, or while the publication was set differently; in the latter case the binding \
                 has to be backfilled again");
            return Ok(());
        }
        Err(changed_name(&table.id, id, publication, &namesake))
    }
}

fn changed_name(table: &TableId, name: &TableId, publication: &str, namesake: &Namesake) -> Error {
    Error::new(
        ErrorKind::Prerequisite,
        format!(
            "changes of table \"{table}\" are streamed under the name of \"{name}\" now, and are \
             missing: ALTER PUBLICATION {} SET (publish_via_partition_root = {}); and backfill the \
             binding again",
            quote_identifier(publication),
            namesake.is_root,
        ),
    )
}
