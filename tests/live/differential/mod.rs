//! Comparison of captured values with the server's own, for every type, every kind of value and
//! every way on which a value arrives.
//!
//! Tables have a column of each type and one of its arrays. Their rows are backfilled; then rows
//! are inserted, updated and deleted while they are streamed, with before-images. Each document
//! must have the values that the oracle derives from the server's values, and be valid under the
//! discovered and the sourced schema. The module `types` has an entry for each type, `generate.sql`
//! makes random values, and `oracle.sql` defines the expected JSON.
//!
//! `DIFFERENTIAL_ROWS` is the number of random values of each type, `DIFFERENTIAL_SEED` their seed.

mod compare;
mod database;
mod keys;
mod kinds;
mod types;
pub(crate) mod validity;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::compare::{Mode, difference};
use self::database::{Column, Group};
use self::kinds::{ARRAY_KINDS, Counts};
use self::types::TYPES;
use self::validity::Schemas;
use crate::support::exact::Exact;
use crate::support::postgres::{Version, query};
use crate::support::scene::{Scene, advanced, documents_of, execute};
use crate::support::task::Document;

/// Differences between runs.
#[derive(Debug, Clone, Copy)]
struct Setting<'a> {
    mode: Mode,
    /// SQL that is run in the database before the capture.
    prepare: &'a str,
    encoding: &'a str,
}

const DEFAULT: Setting<'static> = Setting {
    mode: Mode::Flat,
    prepare: "",
    encoding: "UTF8",
};

/// Returns a number from an environment variable.
fn number(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}

/// Changes of every setting that affects the text of values, for the database and for the role.
const OTHER_SETTINGS: &str = "
    alter database scene set datestyle = 'SQL, DMY';
    alter database scene set intervalstyle = 'sql_standard';
    alter database scene set bytea_output = 'escape';
    alter database scene set extra_float_digits = -15;
    alter database scene set client_encoding = 'LATIN1';
    alter database scene set search_path = public, pg_catalog;
    alter database scene set xmloption = 'document';
    alter database scene set standard_conforming_strings = off;
    alter role postgres set datestyle = 'German';
    alter role postgres set intervalstyle = 'iso_8601';
    alter role postgres set extra_float_digits = 0;
    alter role postgres set client_encoding = 'EUC_JP';";

/// Returns SQL that changes every setting that affects the text of values, and the time zone.
fn other_settings(zone: &str) -> String {
    format!("{OTHER_SETTINGS} alter database scene set timezone = '{zone}'")
}

/// Returns the seed of all random values.
fn seed() -> usize {
    number("DIFFERENTIAL_SEED", 1)
}

#[test]
fn on_the_oldest_server_with_other_settings() {
    // The UTC offset of this zone had seconds until 1972.
    let prepare = &other_settings("Africa/Monrovia");
    compare_all(Version(10), Setting { prepare, ..DEFAULT });
}

#[test]
fn on_debians_server() {
    compare_all(Version(15), DEFAULT);
}

#[test]
fn on_the_newest_server_with_other_settings() {
    let prepare = &other_settings("America/St_Johns");
    compare_all(Version(18), Setting { prepare, ..DEFAULT });
}

#[test]
fn with_arrays_as_objects_and_without_date_and_time_formats() {
    let prepare = &other_settings("Pacific/Kiritimati");
    let mode = Mode::Objects;
    compare_all(
        Version::MAIN,
        Setting {
            mode,
            prepare,
            ..DEFAULT
        },
    );
}

#[test]
fn with_nested_arrays() {
    let mode = Mode::Nested;
    compare_all(Version::MAIN, Setting { mode, ..DEFAULT });
}

#[test]
fn in_a_latin1_database() {
    let encoding = "LATIN1";
    for version in [Version(10), Version(18)] {
        compare_all(
            version,
            Setting {
                encoding,
                ..DEFAULT
            },
        );
    }
}

#[test]
fn in_a_sql_ascii_database() {
    let encoding = "SQL_ASCII";
    for version in [Version(10), Version(18)] {
        compare_all(
            version,
            Setting {
                encoding,
                ..DEFAULT
            },
        );
    }
}

/// First id of the rows that are written while the tables are streamed.
const STREAMED: i64 = 1_000_000;

fn compare_all(version: Version, setting: Setting<'_>) {
    let rows = number("DIFFERENTIAL_ROWS", 20);
    let seed = seed();
    eprintln!("DIFFERENTIAL_ROWS={rows} DIFFERENTIAL_SEED={seed}");
    let mut scene = Scene::on_encoded(version, setting.encoding, "");
    if !setting.prepare.is_empty() {
        scene.execute(setting.prepare);
    }
    let groups = database::fill(&mut scene, version, setting.mode, rows, seed);
    let mut expected = database::connect(&scene);

    let flags = match setting.mode {
        Mode::Flat => "",
        Mode::Objects => "no_flatten_arrays,no_date_as_date,no_time_as_time",
        Mode::Nested => "multidimensional_arrays",
    };
    advanced(
        &mut scene.task,
        &json!({"feature_flags": flags, "backfill_chunk_size": 25}),
    );
    let names: Vec<String> = groups
        .iter()
        .map(|group| format!("public.{}", group.name))
        .collect();
    let mut bound: Vec<&str> = names.iter().map(String::as_str).collect();
    bound.push("public.marker");
    scene.task.bind(&bound);
    let mut session = scene.task.open_active();
    for group in &groups {
        let name = &group.name;
        let columns = group
            .columns
            .iter()
            .map(|column| format!(", {}", column.quoted()));
        let columns: String = columns.collect();
        execute(
            &mut scene.client,
            &format!(
                "insert into {name} select id + {STREAMED}{columns} from {name};
                 update {name} set id = id where id >= {STREAMED};
                 delete from {name} where id >= {STREAMED}"
            ),
        );
    }
    execute(&mut scene.client, "insert into marker values (1)");
    session.until_id("public.marker", 1);
    let sourced: BTreeMap<usize, Value> = session.run.sourced_schemas.iter().cloned().collect();
    session.kill();

    let mut counts = Counts::default();
    let mut failures: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (index, group) in groups.iter().enumerate() {
        let due = group.expected(&mut expected, setting.mode);
        let discovered = &scene.task.bindings[index].schema;
        let schemas = Schemas::new(discovered, &sourced[&index]);
        let mut seen = BTreeMap::new();
        for document in documents_of(&scene.task, &names[index]) {
            for (origin, image) in images(document) {
                *seen.entry(origin).or_insert(0) += 1;
                let id = document.value["id"].as_i64().expect("a number") % STREAMED;
                for (column, due) in group.columns.iter().zip(&due[&id]) {
                    let found = image.member(&column.name).cloned();
                    counts.count(&column.name, column.is_array(), due.shown.as_deref());
                    let problem = difference(column, (version, setting.mode), due, found.as_ref());
                    if let Some(problem) = problem {
                        let problem = format!("{origin}, row {id}: {problem}");
                        failures
                            .entry(column.name.clone())
                            .or_default()
                            .push(problem);
                    }
                }
            }
            // Streamed rows have the same values as backfilled ones, so a part of them is
            // validated.
            if document.is_snapshot() || document.value["id"].as_i64().is_some_and(|id| id % 4 == 0)
            {
                for (place, problem) in schemas.problems(document) {
                    failures.entry(place).or_default().push(problem);
                }
            }
        }
        let origins = [
            ("after", group.rows),
            ("backfilled", group.rows),
            ("before", group.rows),
            ("deleted", group.rows),
            ("inserted", group.rows),
        ];
        assert_eq!(seen, BTreeMap::from(origins), "{}", group.name);
    }
    let examples: Vec<String> = failures
        .iter()
        .map(|(name, problems)| format!("{name}, {} values: {}", problems.len(), problems[0]))
        .collect();
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        examples.join("\n")
    );
    eprintln!(
        "{counts}{} values of {} columns compared",
        counts.total(),
        groups
            .iter()
            .map(|group| group.columns.len())
            .sum::<usize>()
    );
    assert_complete(&counts, &groups, setting);
}

/// Returns the rows in a document, each with its origin.
fn images(document: &Document) -> Vec<(&'static str, Exact)> {
    let whole = Exact::parse(&document.text);
    let origin = match document.op() {
        "c" if document.is_snapshot() => "backfilled",
        "c" => "inserted",
        "u" => "after",
        _ => "deleted",
    };
    let meta = whole.member("_meta").expect("the member is present");
    let before = meta.member("before").cloned();
    let mut found: Vec<_> = before
        .map(|before| ("before", before))
        .into_iter()
        .collect();
    found.push((origin, whole));
    found
}

/// Panics if a kind of value that is required for a type did not occur.
fn assert_complete(counts: &Counts, groups: &[Group], setting: Setting<'_>) {
    let columns: Vec<&Column> = groups.iter().flat_map(|group| &group.columns).collect();
    let mut missing = Vec::new();
    let mut need = |column: &str, kind: &str| {
        if counts.of(column, kind) == 0 {
            missing.push(format!("{column}: {kind}"));
        }
    };
    for column in &columns {
        need(&column.name, "values");
        need(&column.name, "NULL");
        if column.is_made_array {
            ARRAY_KINDS
                .iter()
                .for_each(|(kind, _)| need(&column.name, kind));
        } else if setting.encoding == "UTF8" {
            column
                .of
                .kinds
                .iter()
                .for_each(|kind| need(&column.name, kind));
        }
    }
    assert!(missing.is_empty(), "did not occur: {missing:#?}");
}

/// Types of the server that have no values.
const WITHOUT_VALUES: &[&str] = &[
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
];

#[test]
fn every_type_of_the_server_is_tested() {
    for version in [Version(10), Version(15), Version(18)] {
        let mut scene = Scene::on(version, "");
        let found = query(
            &mut scene.client,
            "select typname from pg_type t
             where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm')
             and not exists (select from pg_type e where e.typarray = t.oid) order by 1",
        );
        assert!(found.len() > 50, "{found:?}");
        for row in found {
            let name = row[0].as_str();
            let is_tested = TYPES
                .iter()
                .any(|of| of.declared_as().trim_matches('"') == name);
            assert!(
                is_tested || WITHOUT_VALUES.contains(&name),
                "{name} of {version:?} has no entry"
            );
        }
    }
}
