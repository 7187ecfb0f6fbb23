//! Definitions that change while a table is captured.

use serde_json::{Value, json};

use crate::support::postgres::Version;
use crate::support::scene::{Scene, changes, documents_of, execute};

/// The changes of `public.t` that were streamed, without `_meta`.
fn streamed(scene: &Scene) -> Vec<(String, Value)> {
    let documents = documents_of(&scene.task, "public.t").into_iter();
    changes(documents.filter(|document| !document.is_snapshot()))
        .into_iter()
        .map(|(op, value)| (op.to_owned(), value))
        .collect()
}

/// Captures `public.t` while these statements run one by one, each committed by itself, or all of
/// them in one transaction; returns the changes.
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
    let mut session = scene.task.open();
    session.until_active();
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
fn columns_come_go_and_change_their_names_and_types() {
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

/// What a change shows of the row before it follows the identity at the time of the change.
#[test]
fn the_replica_identity_changes() {
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
fn an_identity_that_loses_the_key_stops_the_capture_with_the_remedy() {
    let mut scene = Scene::new(
        "create table t(id int primary key, code text not null, n int);
         create unique index by_code on t(code);
         insert into t values (1, 'a', 1)",
    );
    scene.task.bind(&["public.t"]);
    let mut session = scene.task.open();
    session.until_active();
    execute(
        &mut scene.client,
        "alter table t replica identity using index by_code; update t set n = 2",
    );
    session
        .finish()
        .assert_failed(&["REPLICA IDENTITY DEFAULT", "backfill"]);
}

/// Under another name changes are not those of the binding; what came meanwhile is warned of.
#[test]
fn a_table_is_renamed_and_named_back() {
    let (scene, found) = capture(
        Version::MAIN,
        "create table t(id int primary key, n int); create table u(id int primary key, n int)",
        &[
            "insert into t values (1, 1)",
            "alter table t rename to other",
            "insert into other values (2, 2)",
            "alter table other rename to t",
            "insert into t values (3, 3)",
        ],
        false,
    );
    let expected = json!([["c", {"id": 1, "n": 1}], ["c", {"id": 3, "n": 3}]]);
    assert_eq!(found, pairs(expected));
    drop(scene);
}

#[test]
fn a_table_takes_the_name_of_another_without_its_columns() {
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

/// The server computes them; what a version publishes of them is left out as in the backfill.
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
        // The server refuses this identity where a generated column is not published.
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
        let mut session = scene.task.open();
        session.until_active();
        execute(
            &mut scene.client,
            "insert into t values (2, 2); update t set n = 3 where id = 2; delete from t where id = 2",
        );
        session.until_document("public.t", |document| document.op() == "d");
        session.kill();
        let documents = documents_of(&scene.task, "public.t");
        let mut found = changes(documents.clone());
        let (op, deleted) = found.pop().expect("it was deleted");
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

/// A column that becomes generated, or ordinary, keeps what it was until then.
#[test]
fn a_column_becomes_ordinary() {
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
