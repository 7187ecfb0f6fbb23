//! Sourced schemas: what the database says that documents look like.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::engine::Engine;
use super::sink::Sink;
use super::state::Mode;
use crate::config::Config;
use crate::error::Result;
use crate::schema::{SchemaOptions, discovered_key, sourced_schema};
use crate::value::ValueOptions;

/// The schemas that were emitted in this session, by binding: an unchanged one is not repeated.
#[derive(Debug, Default)]
pub(super) struct SentSchemas {
    digests: HashMap<u32, [u8; 32]>,
}

impl SentSchemas {
    /// Notes a schema. Returns whether it differs from the last.
    fn note(&mut self, binding: u32, schema: &str) -> bool {
        let digest = Sha256::digest(schema.as_bytes()).into();
        self.digests.insert(binding, digest) != Some(digest)
    }
}

impl<S: Sink> Engine<S> {
    /// Emits the schemas that are new or have changed. Returns whether there were any.
    pub(super) fn emit_schemas(&mut self) -> Result<bool> {
        if !self.config.flags.emit_sourced_schemas {
            return Ok(false);
        }
        let options = schema_options(&self.config);
        let mut any = false;
        for table in self
            .tables
            .iter()
            .filter(|table| table.state.mode != Mode::Ignore)
        {
            let Some(info) = &table.info else { continue };
            let key = discovered_key(info);
            let schema = sourced_schema(info, &key.columns, &self.types, &options).to_string();
            if self.sent_schemas.note(table.binding, &schema) {
                self.sink.sourced_schema(table.binding, &schema)?;
                any = true;
            }
        }
        Ok(any)
    }
}

/// Returns what the configuration says of schemas and values.
pub fn schema_options(config: &Config) -> SchemaOptions {
    SchemaOptions {
        values: ValueOptions {
            date_as_date: config.flags.date_as_date,
            time_as_time: config.flags.time_as_time,
            flatten_arrays: config.flags.flatten_arrays,
            multidimensional_arrays: config.flags.multidimensional_arrays,
        },
        infer_schema: config.flags.use_schema_inference,
        history_mode: config.history_mode,
        source_tag: config.source_tag.is_some(),
    }
}
