//! From what a file asks for to a task: keys that it leaves to the tables, state keys, checks.

use std::collections::HashSet;

use std::path::Path;

use tracing::warn;

use super::super::{discover, validate};
use super::catalog::{Bound, Capture, Source};
use super::resume::emit_all_changes;
use crate::capture::{Binding, State, Task};
use crate::catalog::{TableId, TableLookup, lookup_tables};
use crate::client::Client;
use crate::config::{Config, Resource};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{ConnectConfig, Purpose};
use crate::schema::{discovered_key, key_pointers};

/// A task, and the name of each binding's collection.
pub(super) struct PreparedTask {
    pub(super) task: Task,
    pub(super) collections: Vec<String>,
}

/// Completes what a file asks for with what the database says, and checks it as Validate does.
///
/// # Errors
///
/// Fails with what keeps the capture from running.
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
    // The session begins with the rest of the checks, and creates what is missing. Only where it
    // would not come to that they are made here, so that everything is reported at once.
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

/// Binds all tables that are discovered.
async fn bind_discovered_tables(config: &Config) -> Result<(Vec<Binding>, Vec<String>)> {
    let discovered = discover::discover_with(config).await?;
    if discovered.is_empty() {
        return Err(Error::new(
            ErrorKind::Prerequisite,
            format!(
                "no table was discovered that could be captured: see that publication \"{}\" has \
                 tables, that user \"{}\" may see them, and the discovery filters",
                config.publication_name, config.user
            ),
        ));
    }
    let mut bindings = Vec::new();
    let mut collections = Vec::new();
    for binding in discovered {
        let resource = Resource::parse(&binding.resource_config.to_string())?;
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

/// Gives the tables' own keys to the collections that are not defined.
async fn complete_bindings(
    config: &Config,
    bound: Vec<Bound>,
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

/// Looks up the keys of the tables whose collections have none; the others' stay empty.
async fn lookup_keys(config: &Config, bound: &[Bound]) -> Result<Vec<Vec<String>>> {
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
                "{}: table \"{id}\" does not exist, or user \"{}\" may not see it",
                bound.place, config.user
            )),
            TableLookup::Ambiguous(ids) => {
                let names: Vec<_> = ids.iter().map(|id| format!("\"{id}\"")).collect();
                problems.push(format!(
                    "{}: table \"{id}\" does not exist in that spelling, but {}",
                    bound.place,
                    names.join(", ")
                ));
            }
        }
    }
    if problems.is_empty() {
        return Ok(keys);
    }
    Err(Error::new(
        ErrorKind::Prerequisite,
        format!(
            "the capture cannot run due to the following error(s):\n - {}",
            problems.join("\n - ")
        ),
    ))
}

/// Returns the key of a binding's state as the Flow runtime builds it, so that a state can go from
/// one to the other.
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
