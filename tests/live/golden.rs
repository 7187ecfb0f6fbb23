//! Recorded runs of the connector that this one replaces, replayed in both codecs.
//!
//! Each file in `tests/data/golden/` is one scenario: its steps and their recorded results.
//! Documents, discovered bindings, schemas and states must have the recorded values. [`edit`]
//! corrects recorded results that are wrong. If a recorded run was stopped, the connector also
//! continues from the state recorded there ([`take_over`]).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::support::connector::Launch;
use crate::support::json::{difference, merge_patch, without_nulls, without_wording};
use crate::support::messages::Codec;
use crate::support::postgres::{Lease, Version, query, value};
use crate::support::task::{Binding, Document, Run, Task};

/// Declares the tests of each scenario. Scenarios after the semicolon are stopped during a
/// backfill.
macro_rules! scenarios {
    ($($name:ident)*; $($stopped:ident)*) => {
        $(
            mod $name {
                use super::*;

                #[test]
                fn json() {
                    play(stringify!($name), Version::MAIN, Codec::Json);
                }

                #[test]
                fn proto() {
                    play(stringify!($name), Version::MAIN, Codec::Proto);
                }
            }
        )*
        $(
            mod $stopped {
                use super::*;

                #[test]
                fn json() {
                    play(stringify!($stopped), Version::MAIN, Codec::Json);
                }

                #[test]
                fn proto() {
                    play(stringify!($stopped), Version::MAIN, Codec::Proto);
                }

                #[test]
                fn taken_over() {
                    take_over(stringify!($stopped), Version::MAIN, Codec::Proto);
                }
            }
        )*

        const PLAYED: &[&str] = &[$(stringify!($name),)* $(stringify!($stopped),)*];
        const TAKEN_OVER: &[&str] = &[$(stringify!($stopped),)*];
    };
}

scenarios! {
    added_column
    backfill_filter
    discovery_kinds
    fallback_key_refused
    flag_flatten_arrays
    history_and_tag
    insert_update_delete
    keyless
    keyless_full
    missing_table
    modes
    odd_names
    partitions_leaves
    partitions_root
    replica_identity_full
    second_table_later
    skip_and_priority
    transaction_ids
    truncate
    types_arrays
    types_bits_search
    types_geometry
    types_json
    types_network
    types_numbers
    types_ranges
    types_text
    types_time
    types_user_types
    ;
    chunks_composite
    chunks_int
    chunks_keyless
    chunks_text
    chunks_text_normal
    key_bigint
    key_bool
    key_bytea
    key_char
    key_date
    key_double
    key_numeric
    key_oid
    key_override
    key_override_resource
    key_real
    key_smallint
    key_timestamp
    key_timestamptz
    key_timestamptz_zone
    key_uuid
    key_varchar
    numeric_zeros
}

/// Scenarios that run on versions other than the main one: backfills with and without keys,
/// streaming of all kinds of changes and replica identities, continuing during a backfill,
/// discovery.
pub(crate) const SUBSET: &[&str] = &[
    "insert_update_delete",
    "chunks_int",
    "chunks_composite",
    "chunks_text",
    "chunks_keyless",
    "keyless",
    "replica_identity_full",
    "second_table_later",
    "modes",
    "added_column",
    "discovery_kinds",
    "partitions_root",
    "partitions_leaves",
    "types_text",
    "types_json",
    "types_time",
    "types_user_types",
];

/// Returns the oldest version that a scenario can be played on.
pub(crate) fn oldest(name: &str) -> Version {
    match name {
        // Generated columns and the type jsonpath.
        "discovery_kinds" | "types_json" => Version(12),
        // Partitioned tables in publications.
        "partitions_root" | "partitions_leaves" => Version(13),
        _ => Version(10),
    }
}

fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
    folder.join(name.replace('_', "-")).with_extension("json")
}

fn load(name: &str) -> Value {
    let text = fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut scenario =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    edit(name, &mut scenario);
    scenario
}

/// Replaces recorded results that are wrong with the right ones.
fn edit(name: &str, scenario: &mut Value) {
    let steps = scenario["steps"].as_array_mut().expect("steps");
    let mut documents: Vec<&mut Vec<Value>> = steps
        .iter_mut()
        .filter_map(|step| step["documents"].as_array_mut())
        .collect();
    match name {
        // A change of the key is recorded as one update, so that the document of the old key
        // remains. This connector first emits the deletion of the old key, with the before-image
        // and the source of the update.
        "insert_update_delete" | "partitions_root" => {
            for run in documents {
                let is_change = |document: &Value| !document[1]["_meta"]["before"].is_null();
                let at = run.iter().position(is_change);
                if let Some(at) = at {
                    let [table, update] = run[at].as_array().expect("a pair").as_slice() else {
                        panic!("not a pair: {}", run[at]);
                    };
                    let mut deletion = update["_meta"]["before"].clone();
                    let source = &update["_meta"]["source"];
                    deletion["_meta"] = json!({"op": "d", "source": source});
                    let deletion = json!([table, deletion]);
                    run.insert(at, deletion);
                }
            }
        }
        // The key 0.00 is recorded as 0 in the backfill, so that its update has another key.
        "numeric_zeros" => {
            documents[0][1][1]["k"] = json!("0.00");
            let mut update = documents[1][0].clone();
            update[1]["k"] = json!("0.00");
            update[1]["v"] = json!(-2);
            documents[1].insert(1, update);
        }
        _ => {}
    }
}

/// A scenario being played.
struct Player {
    name: String,
    server: Lease,
    task: Task,
    /// Whether chunks may end at other rows than in the recorded run.
    free_windows: bool,
    /// Documents expected in the next run, because this run was stopped at another row than the
    /// recorded one.
    carried: Option<Vec<Value>>,
}

/// Plays all steps of a scenario.
pub(crate) fn play(name: &str, version: Version, codec: Codec) {
    let scenario = load(name);
    let mut player = Player::new(name, &scenario, version, codec);
    for (number, step) in steps(&scenario).iter().enumerate() {
        player.step(number, step);
    }
}

/// Plays a scenario from the step at which its first run was stopped, with the state recorded
/// there.
pub(crate) fn take_over(name: &str, version: Version, codec: Codec) {
    let scenario = load(name);
    let mut player = Player::new(name, &scenario, version, codec);
    let mut client = player.server.connect("golden");
    value(
        &mut client,
        "select pg_create_logical_replication_slot('golden_slot', 'pgoutput') is null",
    );
    let stop = steps(&scenario)
        .iter()
        .position(|step| !step["stop"].is_null());
    let stop = stop.expect("the scenario has a stop");
    for (number, step) in steps(&scenario).iter().enumerate() {
        if number == stop {
            let mut state = step["state"].clone();
            state["cursor"] = value(&mut client, "select pg_current_wal_lsn()::text").into();
            player.task.state = state;
        } else {
            player.step(number, step);
        }
    }
}

fn steps(scenario: &Value) -> &[Value] {
    scenario["steps"].as_array().expect("steps")
}

impl Player {
    fn new(name: &str, scenario: &Value, version: Version, codec: Codec) -> Self {
        let server = Lease::take(version);
        let mut client = server.connect("postgres");
        client
            .batch_execute("create database golden")
            .expect("a new database");
        let mut client = server.connect("golden");
        let root = if version >= Version(13) {
            "with (publish_via_partition_root=true)"
        } else {
            ""
        };
        client
            .batch_execute(&format!(
                "create schema shop; create publication flow_publication for all tables {root}"
            ))
            .expect("a schema and a publication");

        let mut config = Task::config(&server, "golden");
        merge_patch(&mut config, &scenario["config"]);
        config["advanced"] = scenario["advanced"].clone();
        config["advanced"]["slotName"] = json!("golden_slot");
        let task = Task::new(Launch::new(codec).until_caught_up(), config);
        let free_windows = name == "chunks_keyless";
        Self {
            name: name.to_owned(),
            server,
            task,
            free_windows,
            carried: None,
        }
    }

    fn step(&mut self, number: usize, step: &Value) {
        let kind = [
            "sql", "config", "discover", "bind", "validate", "run", "stop",
        ]
        .into_iter()
        .find(|kind| !step[kind].is_null())
        .unwrap_or_else(|| panic!("unknown step: {step}"));
        let at = format!("{}, step {number} ({kind})", self.name);
        match kind {
            "sql" => self.sql(&step["sql"]),
            "config" => merge_patch(&mut self.task.config, &step["config"]),
            "discover" => self.discover(&at, &step["discovered"]),
            "bind" => self.bind(&at, &step["bind"], &step["bindings"]),
            "validate" => self.validate(&at, step),
            _ => self.run(&at, step),
        }
    }

    fn sql(&self, statements: &Value) {
        let mut client = self.server.connect("golden");
        for statement in statements.as_array().expect("statements") {
            let statement = statement.as_str().expect("a statement");
            if let Err(error) = client.batch_execute(statement) {
                panic!("{statement}: {error:?}");
            }
        }
    }

    fn discover(&self, at: &str, expected: &Value) {
        let found = match self.task.discover() {
            Ok(bindings) => Value::Array(bindings),
            Err(failure) if !expected.is_null() => panic!("{at}: {failure}"),
            Err(_) => Value::Null,
        };
        compare(at, &without_wording(expected), &without_wording(&found));
    }

    fn bind(&mut self, at: &str, wanted: &Value, expected: &Value) {
        let discovered = self
            .task
            .discover()
            .unwrap_or_else(|failure| panic!("{at}: {failure}"));
        let mut bindings = Vec::new();
        for found in &discovered {
            let mut binding = Binding::discovered(found);
            let Some(change) = wanted.get(&binding.table) else {
                continue;
            };
            if !change["resource"].is_null() {
                merge_patch(&mut binding.resource, &change["resource"]);
            }
            if let Some(key) = change["key"].as_array() {
                let text = |pointer: &Value| pointer.as_str().expect("a pointer").to_owned();
                binding.key = key.iter().map(text).collect();
            }
            if change["txid"] == true {
                binding.projections.push("/_meta/source/txid".to_owned());
            }
            if let Some(backfill) = change["backfill"].as_u64() {
                binding.backfill = u32::try_from(backfill).expect("a counter");
            }
            bindings.push(binding);
        }
        let sent = bindings.iter().map(|binding| {
            json!({
                "resourceConfig": binding.resource,
                "resourcePath": binding.resource_path(),
                "backfill": binding.backfill,
                "stateKey": binding.state_key(),
                "key": binding.key,
                "projections": binding.projections,
            })
        });
        compare(at, expected, &sent.collect());
        self.task.bindings = bindings;
    }

    fn validate(&self, at: &str, step: &Value) {
        match self.task.validate() {
            Ok(paths) => {
                let bindings = paths.iter().map(|path| json!({"resourcePath": path}));
                compare(
                    at,
                    &step["validated"],
                    &json!({"bindings": bindings.collect::<Value>()}),
                );
            }
            Err(failure) => assert_eq!(step["exit"], "failure", "{at}: {failure}"),
        }
    }

    fn run(&mut self, at: &str, step: &Value) {
        let stop = step["stop"]["after_checkpoints"].as_u64();
        let mut session = self.task.open();
        let run = match stop {
            Some(count) => {
                session.until_checkpoints(usize::try_from(count).expect("few"));
                session.kill()
            }
            None => session.finish(),
        };
        if let Some(status) = run.status {
            let due = step["exit"] == 0;
            assert_eq!(
                status.success(),
                due,
                "{at}: ended with {status}\n{}",
                run.log
            );
        }
        let mut step = step.clone();
        if self.free_windows {
            self.fit_windows(&mut step, &run);
        } else {
            let found = u64::try_from(run.checkpoints).expect("few");
            assert_eq!(
                Some(found),
                step["checkpoints"].as_u64(),
                "{at}: checkpoints\n{}",
                run.log
            );
        }

        let expected = by_table(step["documents"].as_array().expect("documents"));
        let found: Vec<Value> = run.documents.iter().map(redacted).collect();
        compare(
            &format!("{at}: documents\n{}", run.log),
            &expected,
            &by_table(&found),
        );

        compare(
            &format!("{at}: state"),
            &redacted_state(&step["state"]),
            &redacted_state(&self.task.state),
        );
        if step["run"]["schemas"] == true {
            // Compared in the order of the bindings, because the recorded order is arbitrary.
            let mut found = run.sourced_schemas.clone();
            found.sort_by_key(|(binding, _)| *binding);
            let found: Value = found.iter().map(|(i, schema)| json!([i, schema])).collect();
            let mut recorded = step["sourcedSchemas"].clone();
            let pairs = recorded.as_array_mut().expect("schemas");
            pairs.sort_by_key(|pair| pair[0].as_u64());
            compare(
                &format!("{at}: sourced schemas"),
                &without_wording(&recorded),
                &without_wording(&found),
            );
        }
        if self.name == "truncate" && at.contains("step 4") {
            let names = run.log.find(|line| {
                line.level == "warning" && line.fields.to_string().contains("shop.orders")
            });
            assert!(
                names.is_some(),
                "{at}: no warning names the table\n{}",
                run.log
            );
        }
    }

    /// Adapts the recorded results to a run whose chunks end at other rows: the same rows in the
    /// same order are split at another row between the run that was stopped and the next.
    fn fit_windows(&mut self, step: &mut Value, run: &Run) {
        let recorded = || step["documents"].as_array().expect("documents").clone();
        let mut due = self.carried.take().unwrap_or_else(recorded);
        if step["stop"].is_null() {
            step["documents"] = due.into();
            return;
        }
        // The recorded documents of the next run are added, in case this run has read more rows.
        let scenario = load(&self.name);
        let next = steps(&scenario)
            .iter()
            .rev()
            .find(|step| !step["documents"].is_null());
        due.extend_from_slice(
            next.expect("a run")["documents"]
                .as_array()
                .expect("documents"),
        );
        let split = run.documents.len().min(due.len());
        assert!(split > 0, "the chunks held nothing");
        self.carried = Some(due.split_off(split));
        step["documents"] = due.into();

        let table = &self.task.bindings[0].table.clone();
        let found = self.task.binding_state(table);
        let scanned = BASE64.decode(found["scanned"].as_str().expect("a position"));
        let position = String::from_utf8(scanned.expect("base64")).expect("text");
        let (block, offset) = position
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|pair| pair.split_once(','))
            .unwrap_or_else(|| panic!("not a position: {position}"));
        assert!(
            block.parse::<u32>().is_ok() && offset == "0",
            "not a window's end: {position}"
        );
        let key = self.task.bindings[0].state_key();
        let state = &mut step["state"]["bindingStateV1"][key];
        state["scanned"] = found["scanned"].clone();
        state["backfilled"] = json!(split);
    }
}

fn compare(at: &str, expected: &Value, found: &Value) {
    if let Some(difference) = difference(expected, found) {
        panic!("{difference}\nin {at}");
    }
}

/// Groups pairs of table and document by table, because their order is defined only within a table.
fn by_table(documents: &[Value]) -> Value {
    let mut tables: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for pair in documents {
        let table = pair[0].as_str().expect("a table").to_owned();
        tables.entry(table).or_default().push(pair[1].clone());
    }
    tables
        .into_iter()
        .map(|(table, documents)| (table, Value::from(documents)))
        .collect()
}

/// Replaces the members of a change that differ from run to run, after checking their form.
fn redacted(document: &Document) -> Value {
    let mut value = document.value.clone();
    if !document.is_snapshot() {
        let loc = document.loc();
        assert!(loc.iter().all(|position| *position > 0), "loc {loc:?}");
        let source = &mut value["_meta"]["source"];
        source["loc"] = json!("REDACTED");
        for (name, least) in [("ts_ms", 1_500_000_000_000), ("txid", 3)] {
            if let Some(number) = source.get_mut(name) {
                let plausible = number.as_u64().is_some_and(|number| number >= least);
                assert!(plausible, "{name} is {number}");
                *number = json!("REDACTED");
            }
        }
    }
    json!([document.table, value])
}

fn redacted_state(state: &Value) -> Value {
    let mut state = without_nulls(state);
    if let Some(cursor) = state.get_mut("cursor") {
        assert!(cursor.is_string(), "cursor {cursor}");
        *cursor = json!("REDACTED");
    }
    let tables = state
        .get_mut("bindingStateV1")
        .and_then(Value::as_object_mut);
    for table in tables.into_iter().flat_map(|tables| tables.values_mut()) {
        table
            .as_object_mut()
            .expect("a table's state")
            .remove("metadata");
    }
    state
}

#[test]
fn every_recorded_scenario_is_played() {
    let mut recorded = Vec::new();
    let mut stopped = Vec::new();
    for entry in fs::read_dir(path("x").parent().expect("a folder")).expect("the recorded runs") {
        let file = entry.expect("a file").path();
        let name = file
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .replace('-', "_");
        if steps(&load(&name))
            .iter()
            .any(|step| !step["stop"].is_null())
        {
            stopped.push(name.clone());
        }
        recorded.push(name);
    }
    recorded.sort();
    stopped.sort();
    let mut played = PLAYED.to_vec();
    played.sort_unstable();
    assert_eq!(played, recorded);
    let mut taken_over = TAKEN_OVER.to_vec();
    taken_over.sort_unstable();
    assert_eq!(taken_over, stopped);
    assert!(SUBSET.iter().all(|name| played.contains(name)));
}

/// Runs only the SQL of the scenarios, so that a scenario that a version cannot play is recognized.
#[test]
fn every_version_can_play_the_statements_of_its_scenarios() {
    for version in Version::ALL {
        for name in SUBSET
            .iter()
            .copied()
            .filter(|name| oldest(name) <= version)
        {
            let scenario = load(name);
            let player = Player::new(name, &scenario, version, Codec::Json);
            for step in steps(&scenario) {
                if !step["sql"].is_null() {
                    player.sql(&step["sql"]);
                }
            }
            let mut client = player.server.connect("golden");
            let tables = query(
                &mut client,
                "select 1 from pg_tables where schemaname = 'shop'",
            );
            assert!(!tables.is_empty(), "{name} on {version:?} made no table");
        }
    }
}
