//! Changes of keys: the document of the old key is deleted, and that of the new key is complete.

use serde_json::{Value, json};

use crate::support::postgres::query;
use crate::support::scene::{Scene, advanced, changes, documents_of, execute};

/// SQL for a value that is stored out of line (TOAST), which an update that leaves it alone does
/// not send.
const BIG: &str = "repeat('wide', 3000)";

fn big() -> String {
    "wide".repeat(3000)
}

/// Returns a scene with a table that has a TOAST column, and a table whose first row marks the end
/// of a test.
fn scene(rows: &str) -> Scene {
    let mut scene = Scene::new(&format!(
        "create table t(id int primary key, n int, big text);
         alter table t alter big set storage external;
         create table marker(id int primary key);
         insert into t {rows}"
    ));
    scene.task.bind(&["public.t", "public.marker"]);
    scene
}

/// Runs `sql`, follows the capture until its changes are captured, and returns the table's changes.
fn captured(scene: &mut Scene, sql: &str) -> Vec<(String, Value)> {
    let mut session = scene.task.open_active();
    execute(&mut scene.client, sql);
    execute(&mut scene.client, "insert into marker values (1)");
    session.until_id("public.marker", 1);
    session.kill();
    scene.assert_captured("public.t", &["id"]);
    let documents = documents_of(&scene.task, "public.t");
    changes(
        documents
            .into_iter()
            .filter(|document| !document.is_snapshot()),
    )
    .into_iter()
    .map(|(op, value)| (op.to_owned(), value))
    .collect()
}

fn change(op: &str, value: Value) -> (String, Value) {
    (op.to_owned(), value)
}

#[test]
fn an_unchanged_toast_value_is_queried_by_the_new_key() {
    let mut scene = scene(&format!("values (1, 1, {BIG})"));
    let found = captured(&mut scene, "update t set id = 2, n = 2 where id = 1");
    assert_eq!(
        found,
        [
            change("d", json!({"id": 1})),
            change("u", json!({"id": 2, "n": 2, "big": big()})),
        ]
    );
}

/// When the values are queried, each column has the other's name. Leaving the values out is better
/// than emitting the wrong ones.
#[test]
fn a_toast_value_whose_column_has_been_renamed_is_left_out() {
    let mut scene = scene(&format!("values (1, 1, {BIG})"));
    scene.execute(
        "alter table t add other text, add last text;
         alter table t alter other set storage external, alter last set storage external;
         update t set other = repeat('other', 3000), last = repeat('last', 3000)",
    );
    let mut session = scene.task.open_active();
    execute(
        &mut scene.client,
        "begin; update t set id = 2 where id = 1;
         alter table t rename big to third; alter table t rename other to big;
         alter table t rename third to other; commit",
    );
    session.until_document("public.t", |document| document.value["id"] == 2);
    session.kill();
    let documents = documents_of(&scene.task, "public.t");
    let last = json!({"id": 2, "n": 1, "last": "last".repeat(3000)});
    assert_eq!(changes(documents.into_iter().rev().take(1)), [("u", last)]);
}

#[test]
fn an_unchanged_toast_value_is_taken_from_the_full_before_image() {
    let mut scene = scene(&format!("values (1, 1, {BIG})"));
    scene.execute("alter table t replica identity full");
    // A later query would return another value.
    let found = captured(
        &mut scene,
        "begin; update t set id = 2 where id = 1; update t set big = 'narrow' where id = 2; commit",
    );
    assert_eq!(
        found,
        [
            change("d", json!({"id": 1, "n": 1, "big": big()})),
            change("u", json!({"id": 2, "n": 1, "big": big()})),
            change("u", json!({"id": 2, "n": 1, "big": "narrow"})),
        ]
    );
}

#[test]
fn a_chain_of_key_changes_in_one_transaction_ends_with_the_last_key() {
    let mut scene = scene(&format!("values (1, 1, {BIG})"));
    let found = captured(
        &mut scene,
        "begin; update t set id = 2 where id = 1; update t set id = 3 where id = 2;
         update t set id = 4, n = 4 where id = 3; commit",
    );
    let kinds: Vec<(&str, &Value)> = found
        .iter()
        .map(|(op, value)| (op.as_str(), &value["id"]))
        .collect();
    let one_to_four = [1, 2, 2, 3, 3, 4].map(Value::from);
    let expected: Vec<(&str, &Value)> = ["d", "u", "d", "u", "d", "u"]
        .into_iter()
        .zip(&one_to_four)
        .collect();
    assert_eq!(kinds, expected);
    assert_eq!(found[5].1["big"], big());
}

/// Includes key types for which the server cannot infer the type of a parameter that is compared
/// with the column.
#[test]
fn a_toast_value_is_queried_by_a_key_of_any_type() {
    let mood = "create type mood as enum ('sad', 'happy'); create domain d as mood;";
    let pair = "create type pair as (a int, b text);";
    for (setup, declared, [one, two]) in [
        ("", "regclass", ["pg_class", "pg_type"]),
        ("", "\"char\"", ["a", "\\377"]),
        (mood, "d", ["happy", "sad"]),
        (pair, "pair", ["(1,\"x y\")", "(2,)"]),
    ] {
        let mut scene = Scene::new(&format!(
            "{setup}
             create function k(s text) returns {declared} language sql as 'select s::{declared}';
             create table t(k {declared} primary key, n int, big text);
             alter table t alter big set storage external;
             create table marker(id int primary key);
             insert into t values (k('{one}'), 1, {BIG}), (k('{two}'), 2, 'narrow')"
        ));
        scene.task.bind(&["public.t", "public.marker"]);
        let mut session = scene.task.open_active();
        // A later query would return the values of another row.
        execute(
            &mut scene.client,
            &format!("delete from t where n = 2; update t set k = k('{two}')"),
        );
        session.until_document("public.t", |document| document.op() == "u");
        for sql in [
            format!("insert into t values (k('{one}'), 2, 'narrow')"),
            "alter table t drop constraint t_pkey, add primary key (k) deferrable,
                replica identity full"
                .to_owned(),
            // Two rows swap their keys.
            format!("update t set k = case n when 1 then k('{one}') else k('{two}') end"),
            "insert into marker values (1)".to_owned(),
        ] {
            execute(&mut scene.client, &sql);
        }
        session.until_id("public.marker", 1);
        session.kill();
        let documents = documents_of(&scene.task, "public.t");
        let found = changes(
            documents
                .into_iter()
                .filter(|document| !document.is_snapshot()),
        );
        let last = |n: i64| found.iter().rfind(|(_, value)| value["n"] == n);
        let (moved, (_, returned)) = (&found[2], last(1).expect("an update was captured"));
        assert_eq!(
            (moved.0, &moved.1["big"]),
            ("u", &json!(big())),
            "{declared}"
        );
        assert_eq!(returned["big"], big(), "{declared}");
        assert_ne!(moved.1["k"], returned["k"], "{declared}");
        // The last document of each key is its row, not the deletion of the row that had the key
        // before.
        for (_, row) in [last(1), last(2)].into_iter().flatten() {
            let of_key = found.iter().rfind(|(_, value)| value["k"] == row["k"]);
            assert_eq!(
                of_key.map(|(op, value)| (*op, value)),
                Some(("u", row)),
                "{declared}"
            );
        }
    }
}

#[test]
fn a_row_that_has_been_deleted_again_is_not_waited_for() {
    let mut scene = scene(&format!("select i, i, {BIG} from generate_series(1, 3) i"));
    scene.task.open().until_active();
    scene.execute("update t set id = 11 where id = 1");
    scene.execute("delete from t where id = 11");
    // Another row is inserted with the same key and another value.
    scene.execute("update t set id = 12 where id = 2; delete from t where id = 12");
    scene.execute("insert into t values (12, 12, 'other')");
    captured(&mut scene, "update t set n = 5 where id = 3");
}

#[test]
fn keys_can_be_swapped_through_a_third_one() {
    let mut scene = scene(&format!(
        "select i, i, {BIG} || i from generate_series(1, 2) i"
    ));
    captured(
        &mut scene,
        "begin; update t set id = 0 where id = 1; update t set id = 1 where id = 2;
         update t set id = 2 where id = 0; commit",
    );
}

#[test]
fn keys_can_be_swapped_by_one_statement_with_a_deferrable_constraint() {
    let mut scene = scene(&format!(
        "select i, i, {BIG} || i from generate_series(1, 4) i"
    ));
    scene.execute(
        "alter table t drop constraint t_pkey, add primary key (id) deferrable initially deferred,
            replica identity full",
    );
    captured(
        &mut scene,
        "update t set id = 3 - id where id < 3;
         begin; update t set id = 4 where id = 3; update t set id = 3 where id = 4 and n = 4; commit",
    );
}

#[test]
fn keys_can_be_shifted_by_one_with_a_deferrable_constraint() {
    let mut scene = scene("select i, i, '' from generate_series(1, 20) i");
    scene.execute(
        "alter table t drop constraint t_pkey, add primary key (id) deferrable,
            replica identity full",
    );
    captured(&mut scene, "update t set id = id + 1");
}

/// The keys are queried before the end of the transaction, and some change again until its end.
#[test]
fn more_ambiguous_keys_than_are_collected_before_a_query() {
    let mut scene = scene("select i, i, '' from generate_series(1, 1500) i");
    scene.execute(
        "alter table t drop constraint t_pkey, add primary key (id) deferrable,
            replica identity full",
    );
    captured(
        &mut scene,
        "begin; update t set id = id + 1; delete from t where id % 7 = 0;
         update t set n = -n where id % 5 = 0; update t set id = id - 1; commit",
    );
}

#[test]
fn a_toast_value_whose_column_was_dropped_is_left_out() {
    let mut scene = scene(&format!("values (1, 1, {BIG}), (2, 2, {BIG})"));
    scene.task.open().until_active();
    scene.execute("update t set id = 11 where id = 1");
    scene.execute("alter table t drop big");
    let mut session = scene.task.open();
    session.until_id("public.t", 11);
    session.kill();
    scene.execute("alter table t add big text");
    captured(
        &mut scene,
        "update t set n = 3, big = '' where id = 2; update t set big = ''",
    );
}

#[test]
fn a_toast_value_whose_table_was_renamed_is_left_out() {
    let mut scene = scene(&format!("values (1, 1, {BIG})"));
    scene.task.open().until_active();
    scene.execute("update t set id = 11 where id = 1; alter table t rename to old");
    scene.execute("create table t(id int primary key, n int)");
    captured(&mut scene, "insert into t values (11, 5)");
}

#[test]
fn the_row_of_a_key_that_becomes_null_is_found() {
    let mut scene = Scene::new(&format!(
        "create table t(id int primary key, code text, big text);
         alter table t alter big set storage external;
         create unique index by_code on t(code);
         alter table t replica identity full;
         insert into t values (1, 'a', 'not this'), (2, 'b', {BIG})"
    ));
    scene.task.bind(&["public.t"]);
    scene.task.binding_mut("public.t").key = vec!["/code".to_owned()];
    scene.task.publish();
    let mut session = scene.task.open_active();
    execute(&mut scene.client, "update t set code = null where id = 2");
    session.until_document("public.t", |document| document.op() == "u");
    session.kill();
    scene.assert_captured("public.t", &["code"]);
}

/// The keys change while the connector is not running.
#[test]
fn keys_can_move_across_the_position_of_a_scan() {
    for mode in ["Precise", "Normal"] {
        let mut scene = scene("select i * 10, i, 'row' from generate_series(1, 40) i");
        scene.task.binding_mut("public.t").resource["mode"] = json!(mode);
        advanced(&mut scene.task, &json!({"backfill_chunk_size": 4}));
        let mut session = scene.task.open();
        session.until("some chunks", |session| {
            session.task.binding_state("public.t")["backfilled"]
                .as_u64()
                .is_some_and(|rows| (12..40).contains(&rows))
        });
        session.kill();
        assert!(scene.task.is_backfilling());
        // From the scanned part to the unscanned one, the reverse, there and back in one or two
        // transactions, and to the key of a deleted row.
        scene.execute("update t set id = 395, n = -1 where id = 10");
        scene.execute("update t set id = 15, n = -2 where id = 390");
        scene.execute("begin; update t set id = 385 where id = 20; update t set id = 25 where id = 385; commit");
        scene.execute("update t set id = 375 where id = 380; update t set id = 35 where id = 375");
        scene.execute("delete from t where id = 30; update t set id = 30 where id = 370");
        scene.execute("delete from t where id = 360; update t set id = 360 where id = 40");
        captured(
            &mut scene,
            "update t set id = 399 - id where id in (50, 340)",
        );
    }
}

/// The keys change after the chunk's snapshot was taken. A row security policy that waits for a
/// lock of the test delays the chunk's rows.
#[test]
fn keys_can_change_while_a_chunk_is_being_read() {
    for mode in ["Precise", "Normal"] {
        let mut scene = scene("select i * 10, i, 'row' from generate_series(1, 40) i");
        scene.execute(
            "create role reader login replication;
             grant all on schema public to reader;
             grant select on t, marker to reader;
             grant all on flow_watermarks to reader;
             create function gate(i int) returns bool language plpgsql as $$ begin
                if i = 90 then perform pg_advisory_xact_lock_shared(1); end if;
                return true;
             end $$;
             create policy gate on t using (gate(id));
             alter table t enable row level security",
        );
        scene.task.config["user"] = json!("reader");
        scene.task.binding_mut("public.t").resource["mode"] = json!(mode);
        advanced(&mut scene.task, &json!({"backfill_chunk_size": 4}));
        query(&mut scene.client, "select pg_advisory_lock(1)");
        let mut session = scene.task.open();
        let client = &mut scene.client;
        session.until("the chunk to wait", |_| {
            let waiting = "select 1 from pg_locks where locktype = 'advisory' and not granted";
            !query(client, waiting).is_empty()
        });
        for sql in [
            // Within the chunk, out of it in both directions, and into it from both.
            "update t set id = 115, n = -1 where id = 110",
            "update t set id = 15, n = -2 where id = 100",
            "update t set id = 315, n = -3 where id = 90",
            "update t set id = 85, n = -4 where id = 20",
            "update t set id = 95, n = -5 where id = 300",
            "begin; update t set id = 325 where id = 30; update t set id = 125 where id = 325; commit",
        ] {
            execute(client, sql);
        }
        query(client, "select pg_advisory_unlock(1)");
        session.until_active();
        execute(client, "insert into marker values (1)");
        session.until_id("public.marker", 1);
        session.kill();
        scene.assert_captured("public.t", &["id"]);
        scene.execute("drop owned by reader; drop role reader");
    }
}
