//! Handling of Validate and Apply requests: checks whether a capture can run as specified.

use std::collections::{HashMap, HashSet};

use crate::capture::{Binding, check};
use crate::catalog::{SlotUse, TableLookup, lookup_tables, prerequisite_error};
use crate::client::Client;
use crate::config::{BackfillMode, Config, Resource};
use crate::error::{Error, ErrorKind, Result};
use crate::flow::{Apply, CaptureSpec, CollectionSpec, Validate, Validated, ValidatedBinding};
use crate::net::{ConnectConfig, Purpose};

/// JSON pointer to the transaction ID in documents.
pub(super) const TRANSACTION_ID: &str = "/_meta/source/txid";

/// Handles a Validate request.
pub(super) async fn validate(request: &Validate) -> Result<Validated> {
    let config = Config::parse(&request.config_json)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let mut bindings = Vec::new();
    let mut validated = Vec::new();
    let mut backfills = Vec::new();
    for bound in &request.bindings {
        let resource = Resource::parse(&bound.resource_config_json)?;
        validated.push(ValidatedBinding {
            resource_path: vec![resource.namespace.clone(), resource.stream.clone()],
        });
        bindings.push(binding(
            resource,
            String::new(),
            request.collection_of(bound)?,
        ));
        backfills.push(bound.backfill);
    }
    let mut problems = binding_problems(&bindings);
    let published = match &request.last_capture {
        Some(last) => published_bindings(last)?,
        None => HashMap::new(),
    };
    problems.extend(changes_without_backfill(&bindings, &backfills, &published));
    let established = established_streams(&bindings, &backfills, &published);
    check_prerequisites(&config, &bindings, &established, &problems).await?;
    Ok(Validated {
        bindings: validated,
    })
}

/// Checks the prerequisites of a capture.
///
/// `established` has the streams whose changes are captured already; `problems` are problems found
/// before.
///
/// # Errors
///
/// Fails if a prerequisite is missing or if `problems` is not empty; one error reports both. If the
/// prerequisites cannot be checked, reports only the cause of that.
pub(super) async fn check_prerequisites(
    config: &Config,
    bindings: &[Binding],
    established: &HashSet<String>,
    problems: &[String],
) -> Result<()> {
    let mut client = Client::connect(&ConnectConfig::new(config)?, Purpose::Query).await?;
    let is_established = |binding: &Binding| established.contains(&binding.resource.stream_id());
    let bound: Vec<_> = bindings
        .iter()
        .map(|binding| binding.bound_table(is_established(binding)))
        .collect();
    let checked = check(&mut client, config, &bound, SlotUse::Undecided, []).await;
    match checked {
        Ok(_) if problems.is_empty() => Ok(()),
        Ok(_) => Err(prerequisite_error(problems.iter().cloned())),
        Err(error) if problems.is_empty() || error.kind() != ErrorKind::Prerequisite => Err(error),
        Err(error) => Err(Error::new(
            ErrorKind::Prerequisite,
            format!("{error}\n - {}", problems.join("\n - ")),
        )),
    }
}

/// Handles an Apply request: checks that the tables of the published task exist.
pub(super) async fn apply(request: &Apply) -> Result<()> {
    let capture = request.capture()?;
    if capture.bindings.is_empty() {
        return Ok(());
    }
    let config = Config::parse(&capture.config_json)?;
    let bindings = bindings_of(capture)?;
    let mut client = Client::connect(&ConnectConfig::new(&config)?, Purpose::Query).await?;
    let ids: Vec<_> = bindings.iter().map(Binding::table_id).collect();
    let found = lookup_tables(&mut client, &ids).await?;
    for (id, found) in ids.iter().zip(found) {
        if !matches!(found, TableLookup::Found(_)) {
            return Err(Error::new(
                ErrorKind::Prerequisite,
                format!("could not find or access table \"{id}\""),
            ));
        }
    }
    Ok(())
}

/// Returns the bindings of a task with their parsed resource configurations.
pub(super) fn bindings_of(capture: &CaptureSpec) -> Result<Vec<Binding>> {
    capture
        .bindings
        .iter()
        .map(|bound| {
            let resource = Resource::parse(&bound.resource_config_json)?;
            Ok(binding(
                resource,
                bound.state_key.clone(),
                capture.collection_of(bound)?,
            ))
        })
        .collect()
}

fn binding(resource: Resource, state_key: String, collection: &CollectionSpec) -> Binding {
    Binding {
        resource,
        state_key,
        key: collection.key.clone(),
        transaction_ids: collection
            .projections
            .iter()
            .any(|projection| projection.ptr == TRANSACTION_ID),
    }
}

/// Returns the problems of bindings that are invalid by themselves or conflict with each other.
pub(super) fn binding_problems(bindings: &[Binding]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen = HashMap::new();
    for binding in bindings {
        let resource = &binding.resource;
        let is_keyed = matches!(
            resource.mode,
            BackfillMode::Automatic | BackfillMode::Normal | BackfillMode::Precise
        );
        if is_keyed && resource.primary_key.is_empty() && binding.key_columns().is_none() {
            problems.push(format!(
                "table \"{}\" cannot be backfilled by key, because the key of its collection is \
                 /_meta/source/loc: change the key of the collection to the key of the table, or \
                 use the backfill mode \"Without Primary Key\" or \"Only Changes\"",
                binding.table_id()
            ));
        }
        if seen.insert(binding.table_id(), ()).is_some() {
            problems.push(format!(
                "table \"{}\" is bound twice: remove one of the bindings",
                binding.table_id()
            ));
        }
    }
    problems
}

/// Returns the streams that were bound when the task was last published and whose backfill counter
/// has not been incremented since.
fn established_streams(
    bindings: &[Binding],
    backfills: &[u32],
    published: &HashMap<String, (Resource, u32)>,
) -> HashSet<String> {
    let is_established = |stream: &String, backfill: u32| {
        published
            .get(stream)
            .is_some_and(|(_, last)| backfill <= *last)
    };
    bindings
        .iter()
        .map(|binding| binding.resource.stream_id())
        .zip(backfills)
        .filter(|(stream, backfill)| is_established(stream, **backfill))
        .map(|(stream, _)| stream)
        .collect()
}

/// Returns the resources and backfill counters of a task's bindings by stream ID, which is the
/// table name in lower case.
fn published_bindings(capture: &CaptureSpec) -> Result<HashMap<String, (Resource, u32)>> {
    capture
        .bindings
        .iter()
        .map(|bound| {
            let resource = Resource::parse(&bound.resource_config_json)?;
            Ok((resource.stream_id(), (resource, bound.backfill)))
        })
        .collect()
}

/// Returns the problems of bindings with changes since the task was last published that require a
/// backfill, but without a request for one.
fn changes_without_backfill(
    bindings: &[Binding],
    backfills: &[u32],
    published: &HashMap<String, (Resource, u32)>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (binding, backfill) in bindings.iter().zip(backfills) {
        let resource = &binding.resource;
        let Some((last, last_backfill)) = published.get(&resource.stream_id()) else {
            continue;
        };
        if backfill > last_backfill {
            continue;
        }
        if resource.mode != last.mode {
            problems.push(format!(
                "the backfill mode of table \"{}\" has changed from \"{}\" to \"{}\": the table \
                 must be backfilled again",
                binding.table_id(),
                last.mode.as_str(),
                resource.mode.as_str()
            ));
        }
        let filter = &resource.additional_backfill_filter;
        if filter.is_some() && *filter != last.additional_backfill_filter {
            problems.push(format!(
                "the backfill filter of table \"{}\" has changed: the table must be backfilled \
                 again",
                binding.table_id()
            ));
        }
    }
    problems
}
