//! Lookups of the bound tables in the catalogs, and the types of their columns.

use std::sync::Arc;

use protocol::Oid;
use tracing::warn;

use super::session::Session;
use super::sink::Sink;
use super::table::TableIndex;
use crate::catalog::{TableInfo, TableLookup, lookup_tables, note_restrictions};
use crate::error::Result;

impl<S: Sink> Session<S> {
    /// Looks up all bound tables again.
    pub(super) async fn look_up_all(&mut self) -> Result<()> {
        let ids: Vec<_> = self.tables.iter().map(|table| table.id.clone()).collect();
        let infos = lookup_tables(self.server.client(), &ids).await?;
        let before: Vec<_> = self.tables.iter().map(|table| table.info.clone()).collect();
        self.tables.set_infos(infos);
        let infos = self.tables.iter_mut();
        let infos = infos.filter_map(|table| table.info.as_mut().map(Arc::make_mut));
        let publication = &self.settings.config.publication_name;
        note_restrictions(self.server.client(), publication, infos).await?;
        self.complete_types().await?;
        let mut starts_over = false;
        for (index, before) in self.tables.indices().zip(before) {
            starts_over |= self.renew_scan(index, before.as_deref())?;
        }
        if starts_over {
            self.begin_initial_waits().await?;
        }
        Ok(())
    }

    /// Looks up one of the bound tables again. Returns whether it exists; if it does not, its
    /// known description is not changed.
    pub(super) async fn look_up_one(&mut self, index: TableIndex) -> Result<bool> {
        let table = &mut self.tables[index];
        let id = table.info.as_ref().map_or(&table.id, |info| &info.id);
        let found = lookup_tables(self.server.client(), std::slice::from_ref(id)).await?;
        let Some(TableLookup::Found(mut info)) = found.into_iter().next() else {
            return Ok(false);
        };
        let publication = &self.settings.config.publication_name;
        note_restrictions(self.server.client(), publication, [&mut *info]).await?;
        let types = info.columns.iter().map(|column| column.type_oid);
        self.server.complete_types(types).await?;
        let before = table.info.replace(Arc::new(*info));
        if self.renew_scan(index, before.as_deref())? {
            self.begin_initial_waits().await?;
        }
        Ok(true)
    }

    /// Adapts the scan of a table to the table's description that was just read. Returns whether
    /// the scan starts over.
    fn renew_scan(&mut self, index: TableIndex, before: Option<&TableInfo>) -> Result<bool> {
        let version = self.server.version();
        let table = &mut self.tables[index];
        let starts_over = table.renew_scan(before, &self.settings, self.server.types(), version)?;
        if starts_over {
            warn!(stream = %table.id,
                "backfill starts over: a key column has another type or collation now, so that keys \
                 have another order");
        }
        Ok(starts_over)
    }

    /// Looks up the types of all columns that are not known yet.
    pub(super) async fn complete_types(&mut self) -> Result<()> {
        let types: Vec<Oid> = self
            .tables
            .iter()
            .filter_map(|table| table.info.as_ref())
            .flat_map(|info| info.columns.iter().map(|column| column.type_oid))
            .collect();
        self.server.complete_types(types).await
    }
}
