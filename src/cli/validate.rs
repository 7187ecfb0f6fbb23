//! Validate and Apply: whether a capture can run as it is specified.

use std::collections::{HashMap, HashSet};

use crate::capture::{Binding, check};
use crate::catalog::{SlotUse, TableLookup, lookup_tables};
use crate::client::Client;
use crate::config::{BackfillMode, Config, Resource};
use crate::error::{Error, ErrorKind, Result};
use crate::flow::{Apply, CaptureSpec, CollectionSpec, Validate, Validated, ValidatedBinding};
use crate::net::{ConnectConfig, Purpose};

/// The member of documents that holds the transaction's id.
const TRANSACTION_ID: &str = "/_meta/source/txid";

/// Answers a request to validate.
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
    if let Some(last) = &request.last_capture {
        problems.extend(changes_without_backfill(&bindings, &backfills, last)?);
    }
    let established = match &request.last_capture {
        Some(last) => established_streams(&bindings, &backfills, last)?,
        None => HashSet::new(),
    };
    check_prerequisites(&config, &bindings, &established, &problems).await?;
    Ok(Validated {
        bindings: validated,
    })
}

/// Checks the prerequisites, and fails with what they lack and with the problems found before, at
/// once. The established are those whose changes are captured already.
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
    let problems = problems.join("\n - ");
    let text = match checked {
        Ok(_) if problems.is_empty() => return Ok(()),
        Ok(_) => {
            format!("the capture cannot run due to the following error(s):\n - {problems}")
        }
        Err(error) if problems.is_empty() || error.kind() != ErrorKind::Prerequisite => {
            return Err(error);
        }
        Err(error) => format!("{error}\n - {problems}"),
    };
    Err(Error::new(ErrorKind::Prerequisite, text))
}

/// Checks that the tables of a published task are there.
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

/// Returns the bindings of a task.
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

/// Bindings that contradict themselves, or each other.
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
                "table \"{}\" cannot be backfilled by key, since its collection is keyed by \
                 /_meta/source/loc: give the collection the table's key, or use the backfill mode \
                 \"Without Primary Key\" or \"Only Changes\"",
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

/// The tables that were bound when the task was last published, and are not backfilled anew.
fn established_streams(
    bindings: &[Binding],
    backfills: &[u32],
    last: &CaptureSpec,
) -> Result<HashSet<String>> {
    let published = published_bindings(last)?;
    let is_established = |stream: &String, backfill: u32| {
        published
            .get(stream)
            .is_some_and(|(_, last)| backfill <= *last)
    };
    Ok(bindings
        .iter()
        .map(|binding| binding.resource.stream_id())
        .zip(backfills)
        .filter(|(stream, backfill)| is_established(stream, **backfill))
        .map(|(stream, _)| stream)
        .collect())
}

/// The bindings of a task, by the names of their tables in lower case, with their backfill counters.
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

/// What has changed since the task was last published and cannot change without a backfill.
fn changes_without_backfill(
    bindings: &[Binding],
    backfills: &[u32],
    last: &CaptureSpec,
) -> Result<Vec<String>> {
    let published = published_bindings(last)?;
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
                "the backfill mode of table \"{}\" has changed from \"{}\" to \"{}\": it must be \
                 backfilled anew",
                binding.table_id(),
                last.mode.as_str(),
                resource.mode.as_str()
            ));
        }
        let filter = &resource.additional_backfill_filter;
        if filter.is_some() && *filter != last.additional_backfill_filter {
            problems.push(format!(
                "the backfill filter of table \"{}\" has changed: it must be backfilled anew",
                binding.table_id()
            ));
        }
    }
    Ok(problems)
}
