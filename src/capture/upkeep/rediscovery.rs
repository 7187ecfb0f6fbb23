//! Rediscovery: the bound tables and the publication are looked up again.

use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::state::Mode;
use crate::capture::stream::ChangeStream;
use crate::capture::task::check;
use crate::catalog::{SlotUse, read_publication};
use crate::error::{Error, ErrorKind, Result};

impl<S: Sink> Session<S> {
    /// Looks up the bound tables again: changes show in their schemas, tables that do not exist any
    /// more are marked, and those that exist again are backfilled.
    pub(super) async fn rediscover(&mut self, changes: &mut ChangeStream) -> Result<()> {
        self.look_up_all().await?;
        self.tables.update_existence();
        if self
            .tables
            .iter()
            .any(|table| table.state.mode == Mode::Pending)
        {
            self.publish_pending().await?;
            self.begin_initial_waits().await?;
        }
        self.check_publication().await?;
        if self.emit_schemas()? {
            self.try_checkpoint().await?;
        }
        self.renew_plans(changes).await?;
        self.activate_tables(changes).await
    }

    /// Makes sure that tables which exist again are published before they are backfilled.
    async fn publish_pending(&mut self) -> Result<()> {
        let pending: Vec<_> = self
            .settings
            .bindings
            .iter()
            .zip(self.tables.iter())
            .filter(|(_, table)| table.state.mode == Mode::Pending)
            .map(|(binding, _)| binding.bound_table(false))
            .collect();
        let client = self.server.client();
        check(client, &self.settings.config, &pending, SlotUse::Resume, []).await?;
        Ok(())
    }

    /// Fails where the changes of a table are not published any more: the capture would miss them
    /// silently.
    async fn check_publication(&mut self) -> Result<()> {
        let config = &self.settings.config;
        let name = &config.publication_name;
        if config.flags.skip_prerequisites || config.flags.skip_table_prerequisites {
            return Ok(());
        }
        let Some(publication) = read_publication(self.server.client(), name).await? else {
            return Err(Error::new(
                ErrorKind::Prerequisite,
                format!(
                    "publication \"{name}\" does not exist any more: backfill all bindings again"
                ),
            ));
        };
        for table in self.tables.iter() {
            if let (true, Some(info)) = (table.state.mode.is_captured(), &table.info)
                && !publication.tables.contains(&info.id)
            {
                return Err(Error::new(
                    ErrorKind::Prerequisite,
                    format!(
                        "table \"{}\" is not in publication \"{name}\" any more, so its changes are \
                         missing: backfill its binding again, which adds it again",
                        info.id
                    ),
                ));
            }
        }
        Ok(())
    }
}
