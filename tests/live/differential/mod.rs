//! Every type, every kind of value, however it arrives: the server makes the values and says what is
//! right.
//!
//! A table has a column of each type and one of its arrays. Its rows are backfilled, then written,
//! updated and removed again while they are streamed, with before-images. Each document has to be
//! what the oracle makes of the server's value, and valid under both schemas. `types` has a row for
//! each type; `generate.sql` makes random values, `oracle.sql` says what is due.
//!
//! `DIFFERENTIAL_ROWS` is the number of random values of each type, `DIFFERENTIAL_SEED` seeds them.

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

/// What differs between runs.
#[derive(Debug, Clone, Copy)]
struct Setting<'a> {
    mode: Mode,
    /// Statements for the database before it is captured.
    prepare: &'a str,
    encoding: &'a str,
}

const USUAL: Setting<'static> = Setting {
    mode: Mode::Flat,
    prepare: "",
    encoding: "UTF8",
};

/// A number from the environment.
fn number(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}

/// Everything that would write values otherwise, set for the database and for the role.
const ODD_SETTINGS: &str = "
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

/// A setting in which everything is set that would write values otherwise, and a zone.
fn set_otherwise(zone: &str) -> String {
    format!("{ODD_SETTINGS} alter database scene set timezone = '{zone}'")
}

/// The seed of all random values.
fn seed() -> usize {
    number("DIFFERENTIAL_SEED", 1)
}

#[test]
fn on_the_oldest_server_set_otherwise() {
    // Its offset had seconds until 1972.
    let prepare = &set_otherwise("Africa/Monrovia");
    compare_all(Version(10), Setting { prepare, ..USUAL });
}

#[test]
fn on_debians_server() {
    compare_all(Version(15), USUAL);
}

#[test]
fn on_the_newest_server_set_otherwise() {
    let prepare = &set_otherwise("America/St_Johns");
    compare_all(Version(18), Setting { prepare, ..USUAL });
}

#[test]
fn with_arrays_as_objects_and_dates_and_times_that_are_none() {
    let prepare = &set_otherwise("Pacific/Kiritimati");
    let mode = Mode::Objects;
    compare_all(
        Version::MAIN,
        Setting {
            mode,
            prepare,
            ..USUAL
        },
    );
}

#[test]
fn with_arrays_in_arrays() {
    let mode = Mode::Nested;
    compare_all(Version::MAIN, Setting { mode, ..USUAL });
}

#[test]
fn in_a_latin_database() {
    let encoding = "LATIN1";
    for version in [Version(10), Version(18)] {
        compare_all(version, Setting { encoding, ..USUAL });
    }
}

#[test]
fn in_a_database_without_an_encoding() {
    let encoding = "SQL_ASCII";
    for version in [Version(10), Version(18)] {
        compare_all(version, Setting { encoding, ..USUAL });
    }
}

/// How many rows of the captured tables were written while they were streamed: ids from here on.
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
    let mut session = scene.task.open();
    session.until_active();
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
            for (way, image) in images(document) {
                *seen.entry(way).or_insert(0) += 1;
                let id = document.value["id"].as_i64().expect("a number") % STREAMED;
                for (column, due) in group.columns.iter().zip(&due[&id]) {
                    let found = image.member(&column.name).cloned();
                    counts.note(&column.name, column.is_array(), due.shown.as_deref());
                    let problem = difference(column, (version, setting.mode), due, found.as_ref());
                    if let Some(problem) = problem {
                        let problem = format!("{way}, row {id}: {problem}");
                        failures
                            .entry(column.name.clone())
                            .or_default()
                            .push(problem);
                    }
                }
            }
            // The values that are streamed are the same, so that a part of them is enough.
            if document.is_snapshot() || document.value["id"].as_i64().is_some_and(|id| id % 4 == 0)
            {
                for (place, problem) in schemas.problems(document) {
                    failures.entry(place).or_default().push(problem);
                }
            }
        }
        let ways = [
            ("after", group.rows),
            ("backfilled", group.rows),
            ("before", group.rows),
            ("deleted", group.rows),
            ("inserted", group.rows),
        ];
        assert_eq!(seen, BTreeMap::from(ways), "{}", group.name);
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

/// The rows that a document shows, by the way on which they came.
fn images(document: &Document) -> Vec<(&'static str, Exact)> {
    let whole = Exact::parse(&document.text);
    let way = match document.op() {
        "c" if document.is_snapshot() => "backfilled",
        "c" => "inserted",
        "u" => "after",
        _ => "deleted",
    };
    let meta = whole.member("_meta").expect("it is there");
    let before = meta.member("before").cloned();
    let mut found: Vec<_> = before
        .map(|before| ("before", before))
        .into_iter()
        .collect();
    found.push((way, whole));
    found
}

/// Panics if a kind of value that a type has to have has not occurred.
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

/// What the server has and no value can be made of.
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
fn every_type_of_the_server_has_a_row() {
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
                "{name} of {version:?} has no row"
            );
        }
    }
}
