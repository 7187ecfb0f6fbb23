//! Changes of definitions while a table is captured.

use serde_json::{Value, json};

use crate::support::postgres::Version;
use crate::support::scene::{Scene, advanced, changes, documents_of, execute};

/// Returns the streamed changes of `public.t`, without `_meta`.
fn streamed(scene: &Scene) -> Vec<(String, Value)> {
    let documents = documents_of(&scene.task, "public.t").into_iter();
    changes(documents.filter(|document| !document.is_snapshot()))
        .into_iter()
        .map(|(op, value)| (op.to_owned(), value))
        .collect()
}

/// Captures `public.t` while the statements run, each in its own transaction or all in one. Returns
/// the changes.
fn capture(
    version: Version,
    setup: &str,
    statements: &[&str],
    at_once: bool,
) -> (Scene, Vec<(String, Value)>) {
    let mut scene = Scene::on(
        version,
        &format!("create table marker(id int primary key); {setup}"),
    );
    scene.task.bind(&["public.t", "public.marker"]);
    let mut session = scene.task.open_active();
    if at_once {
        execute(
            &mut scene.client,
            &format!("begin; {}; commit", statements.join(";")),
        );
    } else {
        statements
            .iter()
            .for_each(|statement| execute(&mut scene.client, statement));
    }
    execute(&mut scene.client, "insert into marker values (1)");
    session.until_id("public.marker", 1);
    session.kill();
    let found = streamed(&scene);
    (scene, found)
}

/// Returns pairs of operation and document from a JSON array of arrays.
fn pairs(expected: Value) -> Vec<(String, Value)> {
    let items = expected.as_array().expect("an array").iter();
    items
        .map(|item| {
            (
                item[0].as_str().expect("a letter").to_owned(),
                item[1].clone(),
            )
        })
        .collect()
}

const VERSIONS: [Version; 3] = [Version(10), Version(15), Version(18)];

#[test]
fn columns_can_be_added_dropped_renamed_and_retyped() {
    let statements = [
        "insert into t values (1, 1, 'one', '2001-01-01')",
        "alter table t add e int[], add f text default 'F'",
        "insert into t values (2, 2, 'two', null, '{2,null}')",
        "alter table t drop a",
        "update t set b = 'eins' where id = 1",
        "alter table t rename b to a",
        "insert into t(id, a) values (3, 'three')",
        "alter table t add b bigint",
        "update t set b = 4 where id = 3",
        "alter table t alter d type timestamp, alter b type text using 'n' || b",
        "insert into t(id, d, b) values (4, '2004-04-04 04:04:04', 'four')",
        "create domain positive as int check (value > 0)",
        "create type mood as enum ('sad', 'happy')",
        "alter table t add h positive, add i mood[], drop f",
        "insert into t(id, h, i) values (5, 5, '{happy}')",
        "delete from t where id = 2",
    ];
    for version in VERSIONS {
        for at_once in [false, true] {
            let (mut scene, found) = capture(
                version,
                "create table t(id int primary key, a int, b text, d date)",
                &statements,
                at_once,
            );
            let expected = json!([
                ["c", {"id": 1, "a": 1, "b": "one", "d": "2001-01-01"}],
                ["c", {"id": 2, "a": 2, "b": "two", "d": null, "e": [2, null], "f": "F"}],
                ["u", {"id": 1, "b": "eins", "d": "2001-01-01", "e": null, "f": "F"}],
                ["c", {"id": 3, "a": "three", "d": null, "e": null, "f": "F"}],
                ["u", {"id": 3, "a": "three", "d": null, "e": null, "f": "F", "b": 4}],
                ["c", {"id": 4, "a": null, "d": "2004-04-04T04:04:04Z", "e": null, "f": "F", "b": "four"}],
                ["c", {"id": 5, "a": null, "d": null, "e": null, "b": null, "h": 5, "i": "{happy}"}],
                ["d", {"id": 2}],
            ]);
            assert_eq!(found, pairs(expected), "{version:?}, at once: {at_once}");
            scene.execute("drop table t");
        }
    }
}

/// The before-image of a change depends on the replica identity at the time of the change.
#[test]
fn the_replica_identity_can_change() {
    let statements = [
        "update t set n = 10 where id = 1",
        "alter table t replica identity full",
        "update t set n = 20 where id = 2",
        "delete from t where id = 1",
        "alter table t replica identity nothing",
        "insert into t values (3, 'c', 3)",
        "alter table t replica identity using index by_both",
        "update t set n = 30, code = 'd' where id = 3",
        "delete from t where id = 2",
        "alter table t replica identity default",
        "update t set n = 31 where id = 3",
    ];
    for version in VERSIONS {
        for at_once in [false, true] {
            let (mut scene, found) = capture(
                version,
                "create table t(id int primary key, code text not null, n int);
                 create unique index by_both on t(id, code);
                 insert into t values (1, 'a', 1), (2, 'b', 2)",
                &statements,
                at_once,
            );
            let expected = json!([
                ["u", {"id": 1, "code": "a", "n": 10}],
                ["u", {"id": 2, "code": "b", "n": 20}],
                ["d", {"id": 1, "code": "a", "n": 10}],
                ["c", {"id": 3, "code": "c", "n": 3}],
                ["u", {"id": 3, "code": "d", "n": 30}],
                ["d", {"id": 2, "code": "b"}],
                ["u", {"id": 3, "code": "d", "n": 31}],
            ]);
            assert_eq!(found, pairs(expected), "{version:?}, at once: {at_once}");
            let before: Vec<Value> = documents_of(&scene.task, "public.t")
                .into_iter()
                .filter(|document| document.op() == "u")
                .map(|document| document.value["_meta"]["before"].clone())
                .collect();
            let expected =
                json!([null, {"id": 2, "code": "b", "n": 2}, {"id": 3, "code": "c"}, null]);
            assert_eq!(json!(before), expected, "{version:?}, at once: {at_once}");
            scene.assert_captured("public.t", &["id"]);
        }
    }
}

#[test]
fn a_replica_identity_that_loses_the_key_stops_the_capture_with_the_remedy() {
    let mut scene = Scene::new(
        "create table t(id int primary key, code text not null, n int);
         create unique index by_code on t(code);
         insert into t values (1, 'a', 1)",
    );
    scene.task.bind(&["public.t"]);
    let session = scene.task.open_active();
    execute(
        &mut scene.client,
        "alter table t replica identity using index by_code; update t set n = 2",
    );
    session
        .finish()
        .assert_failed(&["REPLICA IDENTITY DEFAULT", "backfill"]);
}

/// Changes made while the table has another name are missing in the collection, so they stop the
/// capture.
#[test]
fn a_table_can_be_renamed_and_renamed_back_without_changes_in_between() {
    let (mut scene, found) = capture(
        Version::MAIN,
        "create table t(id int primary key, n int); create table u(id int primary key, n int)",
        &[
            "insert into t values (1, 1)",
            "alter table t rename to other",
            "alter table other rename to t",
            "insert into t values (2, 2)",
        ],
        false,
    );
    let expected = json!([["c", {"id": 1, "n": 1}], ["c", {"id": 2, "n": 2}]]);
    assert_eq!(found, pairs(expected));

    scene.execute(
        "alter table t rename to other; insert into other values (3, 3);
         alter table other rename to another; insert into u values (1, 1);
         alter table another rename to t; insert into t values (4, 4)",
    );
    let words = [r#"table \"public.t\" had another name"#, "backfilled again"];
    scene.task.run().assert_failed(&words);
    scene.task.run().assert_failed(&words);

    scene.task.binding_mut("public.t").backfill = 1;
    scene.task.publish();
    let mut session = scene.task.open_active();
    execute(&mut scene.client, "insert into t values (5, 5)");
    session.until_id("public.t", 5);
    session.kill();
    scene.assert_captured("public.t", &["id"]);
}

#[test]
fn a_table_can_take_the_name_of_another_with_other_columns() {
    let (_scene, found) = capture(
        Version::MAIN,
        "create table t(id int primary key, n int); create table u(id int primary key, word text, at date)",
        &[
            "insert into t values (1, 1)",
            "alter table t rename to gone",
            "alter table u rename to t",
            "insert into t values (2, 'two', '2002-02-02')",
            "drop table gone",
            "insert into t values (3, 'three', null)",
            "drop table t",
            "create table t(word date, id bigint primary key)",
            "insert into t values ('2004-04-04', 4)",
        ],
        false,
    );
    let expected = json!([
        ["c", {"id": 1, "n": 1}],
        ["c", {"id": 2, "word": "two", "at": "2002-02-02"}],
        ["c", {"id": 3, "word": "three", "at": null}],
        ["c", {"id": 4, "word": "2004-04-04"}],
    ]);
    assert_eq!(found, pairs(expected));
}

/// Generated columns are left out of the backfill, and of the stream even if the server publishes
/// them.
#[test]
fn generated_columns_are_left_out() {
    let stored = "double int generated always as (n * 2) stored";
    let both = "double int generated always as (n * 2) stored,
        triple int generated always as (n * 3) virtual";
    let publish = "alter publication flow_publication set (publish_generated_columns = stored)";
    for (version, columns, identity, publication) in [
        (12, stored, "full", ""),
        (15, stored, "full", ""),
        (18, both, "default", ""),
        (18, both, "default", publish),
        // The server refuses this replica identity if a generated column is not published.
        (18, stored, "full", publish),
    ] {
        let version = Version(version);
        let mut scene = Scene::on(
            version,
            &format!(
                "create table t(id int primary key, n int, {columns});
                 alter table t replica identity {identity}; insert into t values (1, 1)"
            ),
        );
        scene.execute(publication);
        scene.task.bind(&["public.t"]);
        let properties = &scene.task.bindings[0].schema["$defs"]["PublicT"]["properties"];
        let names: Vec<&String> = properties.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["id", "n"]);
        let mut session = scene.task.open_active();
        execute(
            &mut scene.client,
            "insert into t values (2, 2); update t set n = 3 where id = 2; delete from t where id = 2",
        );
        session.until_document("public.t", |document| document.op() == "d");
        session.kill();
        let documents = documents_of(&scene.task, "public.t");
        let mut found = changes(documents.clone());
        let (op, deleted) = found.pop().expect("a deletion was captured");
        let whole = identity == "full";
        assert_eq!(op, "d");
        assert_eq!(
            deleted,
            if whole {
                json!({"id": 2, "n": 3})
            } else {
                json!({"id": 2})
            }
        );
        let expected =
            json!([["c", {"id": 1, "n": 1}], ["c", {"id": 2, "n": 2}], ["u", {"id": 2, "n": 3}]]);
        assert_eq!(json!(found), expected, "{version:?}");
        let before = &documents[2].value["_meta"]["before"];
        assert_eq!(
            *before,
            if whole {
                json!({"id": 2, "n": 2})
            } else {
                Value::Null
            }
        );
    }
}

/// Changes from before a column becomes ordinary or generated are captured by its earlier
/// definition.
#[test]
fn a_generated_column_can_become_ordinary() {
    let (_scene, found) = capture(
        Version(15),
        "create table t(id int primary key, n int, m int generated always as (n * 2) stored)",
        &[
            "insert into t values (1, 1)",
            "alter table t alter m drop expression",
            "insert into t values (2, 2, 2)",
            "alter table t drop m",
            "insert into t values (3, 3)",
            "alter table t add m int generated always as (n * 3) stored",
            "insert into t values (4, 4)",
        ],
        false,
    );
    let expected = json!([
        ["c", {"id": 1, "n": 1}],
        ["c", {"id": 2, "n": 2, "m": 2}],
        ["c", {"id": 3, "n": 3}],
        ["c", {"id": 4, "n": 4}],
    ]);
    assert_eq!(found, pairs(expected));
}

mod publications {
    use super::*;

    const ROWS: &str = "create table t(id int primary key, n int, secret text);
        insert into t select i, i, 'secret' from generate_series(1, 20) i;
        create table marker(id int primary key)";

    /// Returns a scene with the given publication in which `public.t` is bound.
    fn scene(version: Version, setup: &str, publication: &str) -> Scene {
        let mut scene = Scene::on(version, setup);
        scene.execute("drop publication flow_publication");
        scene.execute(&format!(
            "create publication flow_publication {publication}"
        ));
        scene.task.bind(&["public.t", "public.marker"]);
        scene
    }

    /// Returns the names of the members of each document, without `_meta` and consecutive
    /// duplicates.
    fn members(scene: &Scene) -> Vec<String> {
        let documents = documents_of(&scene.task, "public.t");
        let names = changes(documents).into_iter().map(|(_, value)| {
            let members = value.as_object().expect("an object").keys();
            members.map(String::as_str).collect::<Vec<_>>().join(",")
        });
        let mut names: Vec<String> = names.collect();
        names.dedup();
        names
    }

    #[test]
    fn columns_outside_a_list_are_neither_discovered_nor_backfilled() {
        for version in [Version(15), Version(18)] {
            let list = "for table t(id, n), marker";
            let mut scene = scene(version, ROWS, list);
            let properties = &scene.task.bindings[0].schema["$defs"]["PublicT"]["properties"];
            let names: Vec<&String> = properties.as_object().expect("an object").keys().collect();
            assert_eq!(names, ["id", "n"]);
            let mut session = scene.task.open_active();
            execute(
                &mut scene.client,
                "insert into t values (21, 21, 'x'); update t set n = 0 where id = 1",
            );
            session.until_document("public.t", |document| document.op() == "u");
            // The column list changes while changes are streamed.
            for (list, id) in [("t", 31), ("t(id, secret)", 32), ("t(id, n)", 33)] {
                execute(
                    &mut scene.client,
                    &format!(
                        "alter publication flow_publication set table {list}, marker; insert into t values ({id}, 1, 'y')"
                    ),
                );
                session.until_id("public.t", id);
            }
            session.kill();
            assert_eq!(
                members(&scene),
                ["id,n", "id,n,secret", "id,secret", "id,n"]
            );
        }
    }

    #[test]
    fn rows_outside_a_filter_are_not_backfilled() {
        for (version, mode) in [(15, ""), (15, "Normal"), (18, "Without Primary Key")] {
            let mut scene = scene(
                Version(version),
                ROWS,
                "for table t where (id % 2 = 0 or id > 18), marker",
            );
            scene.task.binding_mut("public.t").resource["mode"] = json!(mode);
            if mode == "Normal" {
                scene.task.binding_mut("public.t").resource["advanced"] =
                    json!({"additional_backfill_filter": "id < 15 or id > 19"});
            }
            advanced(&mut scene.task, &json!({"backfill_chunk_size": 3}));
            scene.task.publish();
            let mut session = scene.task.open_active();
            execute(
                &mut scene.client,
                "alter table t replica identity full;
                 insert into t values (100, 0, ''), (-1, 0, '');
                 update t set n = -1 where id in (1, 2);
                 insert into marker values (1)",
            );
            session.until_id("public.marker", 1);
            session.kill();
            let found: Vec<i64> = documents_of(&scene.task, "public.t")
                .into_iter()
                .map(|document| document.value["id"].as_i64().expect("a number"))
                .collect();
            let expected: &[i64] = match mode {
                "Normal" => &[2, 4, 6, 8, 10, 12, 14, 20, 100, 2],
                _ => &[2, 4, 6, 8, 10, 12, 14, 16, 18, 19, 20, 100, 2],
            };
            assert_eq!(found, expected, "{version} {mode}");
        }
    }

    /// For a subscriber, a row that no longer matches the row filter is deleted.
    #[test]
    fn rows_that_enter_or_leave_a_row_filter_are_inserted_or_deleted() {
        let mut scene = scene(Version(15), ROWS, "for table t where (n < 10), marker");
        scene.execute("alter table t replica identity full");
        let mut session = scene.task.open_active();
        execute(
            &mut scene.client,
            "update t set n = 50 where id = 3; update t set n = 5 where id = 15;
             insert into marker values (1)",
        );
        session.until_id("public.marker", 1);
        session.kill();
        let changes = streamed(&scene)
            .into_iter()
            .map(|(op, value)| (op, value["id"].clone()));
        let expected = [("d".to_owned(), json!(3)), ("c".to_owned(), json!(15))];
        assert_eq!(changes.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn tables_that_join_or_leave_a_published_schema_are_followed() {
        let mut scene = scene(Version(15), ROWS, "for tables in schema public");
        let mut session = scene.task.open_active();
        execute(
            &mut scene.client,
            "create schema other; alter table t set schema other; insert into other.t values (30, 0, '')",
        );
        execute(
            &mut scene.client,
            "alter table other.t set schema public; insert into t values (31, 0, '')",
        );
        session.until_id("public.t", 31);
        session.kill();
        // A change made while the table was in an unpublished schema is not in the stream.
        assert_eq!(
            streamed(&scene),
            [("c".to_owned(), json!({"id": 31, "n": 0, "secret": ""}))]
        );
        scene.execute("alter publication flow_publication drop tables in schema public");
        let failed = scene.task.run();
        failed.assert_failed(&["is not in publication", "backfill"]);
    }

    const TREE: &str = "create table t(id int primary key, n int) partition by range (id);
        create table t_1 partition of t for values from (0) to (100);
        create table t_2 partition of t for values from (100) to (200);
        insert into t select i, i from generate_series(90, 110) i;
        create table marker(id int primary key)";

    fn via_root(value: bool) -> String {
        format!("alter publication flow_publication set (publish_via_partition_root = {value})")
    }

    /// Changes published under other names would be missing without a message.
    #[test]
    fn a_change_of_publish_via_partition_root_stops_the_capture() {
        for (as_partitions, table) in [(false, "public.t"), (true, "public.t_1")] {
            let mut scene = Scene::new(TREE);
            scene.execute(&via_root(!as_partitions));
            advanced(
                &mut scene.task,
                &json!({"capture_as_partitions": as_partitions}),
            );
            scene.task.bind(&[table, "public.marker"]);
            let session = scene.task.open_active();
            execute(&mut scene.client, &via_root(as_partitions));
            execute(&mut scene.client, "update t set n = 0 where id = 95");
            let remedy = format!("publish_via_partition_root = {}", !as_partitions);
            session
                .finish()
                .assert_failed(&[table, &remedy, "backfill"]);
            // After the setting is corrected, a warning reports the missed changes; after a new
            // backfill they are captured.
            execute(&mut scene.client, &via_root(!as_partitions));
            let mut session = scene.task.open();
            session.until_logged("changes under another name are not captured");
            session.kill();
            scene.task.binding_mut(table).backfill = 1;
            scene.task.publish();
            let mut session = scene.task.open_active();
            execute(&mut scene.client, "update t set n = -1 where id = 96");
            session.until_document(table, |document| document.value["n"] == -1);
            session.kill();
            scene.assert_captured(table, &["id"]);
        }
    }
}
