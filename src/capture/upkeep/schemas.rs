//! Sourced schemas: the schemas that documents have according to the database.

use crate::capture::session::Session;
use crate::capture::sink::Sink;
use crate::capture::state::Mode;
use crate::capture::task::schema_options;
use crate::error::Result;
use crate::schema::{discovered_key, sourced_schema};

impl<S: Sink> Session<S> {
    /// Emits the schemas that are new or have changed. Returns whether there were any.
    pub(in crate::capture) fn emit_schemas(&mut self) -> Result<bool> {
        if !self.settings.config.flags.emit_sourced_schemas {
            return Ok(false);
        }
        let options = schema_options(&self.settings.config);
        let mut any = false;
        for table in self
            .tables
            .iter()
            .filter(|table| table.state.mode != Mode::Ignore)
        {
            let Some(info) = &table.info else { continue };
            let key = discovered_key(info);
            let types = self.server.types();
            let schema = sourced_schema(info, &key.columns, types, &options).to_string();
            if self.schemas.note(table.binding, &schema) {
                self.sink.sourced_schema(table.binding, &schema)?;
                any = true;
            }
        }
        Ok(any)
    }
}
