//! Task of a standalone capture: the configuration with table keys and state keys, checked.

use std::collections::HashSet;

use std::path::Path;

use tracing::warn;

use super::super::{discover, validate};
use super::catalog::{Capture, CatalogBinding, Source};
use super::resume::emit_all_changes;
use crate::capture::{Binding, State, Task};
use crate::catalog::{TableId, TableLookup, lookup_tables, prerequisite_error};
use crate::client::Client;
use crate::config::{Config, Resource};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{ConnectConfig, Purpose};
use crate::schema::{discovered_key, key_pointers};

/// Task, with the name of the collection of each binding.
pub(super) struct PreparedTask {
    pub(super) task: Task,
    pub(super) collections: Vec<String>,
}

/// Completes the configured capture with facts from the database, and checks it like Validate.
///
/// # Errors
///
/// Fails if the capture cannot run; the error says why.
pub(super) async fn prepare(
    source: Source,
    file: &Path,
    mut state: State,
    stop_when_caught_up: bool,
) -> Result<PreparedTask> {
    let (name, config, bindings, collections) = match source {
        Source::Endpoint(config) => {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            let (bindings, collections) = bind_discovered_tables(&config).await?;
            (name.into_owned(), *config, bindings, collections)
        }
        Source::Capture(capture) => {
            let Capture {
                name,
                config,
                bindings,
            } = *capture;
            for warning in config.warnings() {
                warn!("{warning}");
            }
            let (bindings, collections) = complete_bindings(&config, bindings).await?;
            (name, config, bindings, collections)
        }
    };
    // The session begins with the checks of prerequisites, and creates missing objects. If the
    // bindings have problems, there is no session: runs those checks here to report all problems at
    // once.
    let problems = validate::binding_problems(&bindings);
    if !problems.is_empty() {
        validate::check_prerequisites(&config, &bindings, &HashSet::new(), &problems).await?;
    }
    emit_all_changes(&mut state, &config, &bindings);
    Ok(PreparedTask {
        task: Task {
            name,
            config,
            bindings,
            state,
            stop_when_caught_up,
        },
        collections,
    })
}

/// Returns bindings of all discovered tables, and the names of their collections.
async fn bind_discovered_tables(config: &Config) -> Result<(Vec<Binding>, Vec<String>)> {
    let discovered = discover::discover_with(config).await?;
    if discovered.is_empty() {
        return Err(Error::new(
            ErrorKind::Prerequisite,
            format!(
                "no tables discovered: check that publication \"{}\" has tables, that they are \
                 visible to user \"{}\", and that the discovery filters include them",
                config.publication_name, config.user
            ),
        ));
    }
    let mut bindings = Vec::new();
    let mut collections = Vec::new();
    for binding in discovered {
        let resource = Resource::from_json(&binding.resource_config)?;
        bindings.push(Binding {
            state_key: state_key(&resource, 0),
            resource,
            key: binding.key,
            transaction_ids: true,
        });
        collections.push(binding.recommended_name);
    }
    Ok((bindings, collections))
}

/// Returns the bindings, with the key of the table for each collection without a definition, and
/// the names of their collections.
async fn complete_bindings(
    config: &Config,
    bound: Vec<CatalogBinding>,
) -> Result<(Vec<Binding>, Vec<String>)> {
    let table_keys = lookup_keys(config, &bound).await?;
    Ok(bound
        .into_iter()
        .zip(table_keys)
        .map(|(bound, table_key)| {
            let binding = Binding {
                state_key: state_key(&bound.resource, bound.backfill),
                resource: bound.resource,
                key: bound.key.unwrap_or(table_key),
                transaction_ids: bound.transaction_ids,
            };
            (binding, bound.collection)
        })
        .unzip())
}

/// Looks up the keys of tables whose collections have no key. Returns an empty key for the others.
async fn lookup_keys(config: &Config, bound: &[CatalogBinding]) -> Result<Vec<Vec<String>>> {
    let mut keys = vec![Vec::new(); bound.len()];
    let without_key: Vec<_> = bound
        .iter()
        .zip(&mut keys)
        .filter(|(bound, _)| bound.key.is_none())
        .collect();
    if without_key.is_empty() {
        return Ok(keys);
    }
    let ids: Vec<_> = without_key
        .iter()
        .map(|(bound, _)| TableId::new(&bound.resource.namespace, &bound.resource.stream))
        .collect();
    let mut client = Client::connect(&ConnectConfig::new(config)?, Purpose::Query).await?;
    let found = lookup_tables(&mut client, &ids).await?;
    let mut problems = Vec::new();
    for (((bound, key), id), found) in without_key.into_iter().zip(&ids).zip(found) {
        match found {
            TableLookup::Found(table) => *key = key_pointers(&discovered_key(&table).columns),
            TableLookup::Missing => problems.push(format!(
                "{}: table \"{id}\" does not exist or is not visible to user \"{}\"",
                bound.location, config.user
            )),
            TableLookup::Ambiguous(ids) => {
                let names: Vec<_> = ids.iter().map(|id| format!("\"{id}\"")).collect();
                problems.push(format!(
                    "{}: table \"{id}\" does not exist, but several tables differ only in case: {}",
                    bound.location,
                    names.join(", ")
                ));
            }
        }
    }
    if problems.is_empty() {
        return Ok(keys);
    }
    Err(prerequisite_error(problems))
}

/// Returns the key of a binding's state in the form of the Flow runtime, so that a state can move
/// between the runtime and a standalone capture.
fn state_key(resource: &Resource, backfill: u32) -> String {
    let mut key = String::new();
    for c in format!("{}/{}", resource.namespace, resource.stream).chars() {
        if c.is_alphanumeric() || "-_+.=".contains(c) {
            key.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                key.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    if backfill > 0 {
        key.push_str(&format!(".v{backfill}"));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_keys_equal_those_of_the_runtime() {
        let key = |namespace: &str, stream: &str, backfill| {
            let resource = Resource {
                namespace: namespace.to_owned(),
                stream: stream.to_owned(),
                ..Resource::default()
            };
            state_key(&resource, backfill)
        };
        assert_eq!(key("public", "table", 0), "public%2Ftable");
        assert_eq!(key("public", "table", 3), "public%2Ftable.v3");
        assert_eq!(key("a-b", "c d+é%", 0), "a-b%2Fc%20d+é%25");
        assert_eq!(key("_=.", "\u{1f600}\"", 0), "_=.%2F%F0%9F%98%80%22");
    }
}
