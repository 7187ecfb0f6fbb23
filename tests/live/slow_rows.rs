//! Rows that the server returns slowly, because it evaluates a user's filter for each: the stream
//! is read in the meantime, and rows that were read are not read again.

use postgres::Client;
use serde_json::{Value, json};

use super::spans::until_backfilled;
use crate::support::postgres::{Version, query, value};
use crate::support::scene::{Scene, advanced, documents_of, execute};
use crate::support::wait;

/// Returns a scene with a table whose rows after number 1000 wait for a lock that the test holds.
fn gated(version: Version, key: &str, mode: &str) -> Scene {
    let bare = key.split(' ').next().unwrap_or_default();
    let mut scene = Scene::on(
        version,
        &format!(
            "create table other(id int primary key);
             create table t(k {key} primary key, n int, wide text);
             insert into t select lpad(i::text, 4, '0')::{bare}, i, repeat('w', 500) from generate_series(1, 2000) i;
             create function gate(i int) returns bool language plpgsql cost 10000 as $$ begin
                if i > 1000 then perform pg_advisory_xact_lock_shared(1); end if;
                return true;
             end $$"
        ),
    );
    scene.task.bind(&["public.other", "public.t"]);
    let resource = &mut scene.task.binding_mut("public.t").resource;
    resource["mode"] = json!(mode);
    resource["advanced"] = json!({"additional_backfill_filter": "gate(n)"});
    scene.task.publish();
    scene
}

/// Takes the lock that the rows wait for.
fn close_gate(client: &mut Client) {
    query(client, "select pg_advisory_lock(1)");
}

/// Releases the lock that the rows wait for.
fn open_gate(client: &mut Client) {
    query(client, "select pg_advisory_unlock(1)");
}

/// Returns the numbers of the rows that the backfill emitted, in ascending order.
fn numbers(scene: &Scene) -> Vec<u64> {
    let documents = documents_of(&scene.task, "public.t");
    let rows = documents.iter().filter(|document| document.is_snapshot());
    let number = |value: &Value| value.as_i64().expect("a number").unsigned_abs();
    let mut numbers: Vec<_> = rows.map(|row| number(&row.value["n"])).collect();
    numbers.sort_unstable();
    numbers
}

/// Tests that the stream is read while the backfill waits for rows.
fn stream_while_rows_are_awaited(version: Version, key: &str, mode: &str, kill: bool) {
    let mut scene = gated(version, key, mode);
    let mut other = scene.connect();
    close_gate(&mut other);
    let mut session = scene.task.open();
    until_backfilled(&mut session, 500);
    execute(
        &mut scene.client,
        "update t set n = -n where n in (100, 1500); insert into other values (1)",
    );
    session.until_id("public.other", 1);
    if kill {
        session.kill();
        session = scene.task.open();
    }
    open_gate(&mut other);
    session.until_active();
    session.kill();
    scene.assert_captured("public.t", &["k"]);
    let mut once = numbers(&scene);
    let count = once.len();
    once.dedup();
    // A scan by ctid reads a row again if an update has moved it.
    let moved = if mode == "Without Primary Key" { 1 } else { 0 };
    assert!(
        count - once.len() <= moved,
        "{} rows came twice",
        count - once.len()
    );
}

#[test]
fn the_stream_is_read_while_the_backfill_waits_for_rows() {
    let unordered = "text collate \"und-x-icu\"";
    for (key, mode, kill) in [
        ("int", "Normal", true),
        (unordered, "Normal", false),
        ("int", "Without Primary Key", false),
    ] {
        stream_while_rows_are_awaited(Version::MAIN, key, mode, kill);
    }
}

#[test]
fn a_scan_by_ctid_continues_within_a_page_on_versions_that_list_ctids() {
    stream_while_rows_are_awaited(Version(13), "int", "Without Primary Key", true);
}

#[test]
fn a_window_of_pages_that_times_out_continues_after_the_rows_it_has_read() {
    let mut scene = gated(Version::MAIN, "int", "Without Primary Key");
    advanced(&mut scene.task, &json!({"statement_timeout": "2s"}));
    let mut other = scene.connect();
    close_gate(&mut other);
    let mut session = scene.task.open();
    let line = session.until_logged("after its last row");
    assert_eq!(line.level, "warning");
    open_gate(&mut other);
    session.until_active();
    session.kill();
    scene.assert_captured("public.t", &["k"]);
    assert_eq!(numbers(&scene), (1..=2000).collect::<Vec<_>>());
}

/// A deferred change of a row that is still to be read holds the checkpoint back, so the span is
/// given up.
#[test]
fn a_span_that_is_given_up_leaves_no_query_running() {
    let mut scene = gated(Version::MAIN, "int", "Normal");
    let mut other = scene.connect();
    close_gate(&mut other);
    let mut session = scene.task.open();
    until_backfilled(&mut session, 500);
    let waiting = "select pid from pg_locks where locktype = 'advisory' and not granted";
    let process = value(&mut scene.client, waiting);
    execute(&mut scene.client, "update t set n = -n where n = 1500");
    session.until_logged("connection for backfills closed: the server is busy with it");
    wait::until("the query to end", || {
        let rows = query(&mut scene.client, waiting);
        rows.iter().all(|row| row[0] != process).then_some(())
    });
    open_gate(&mut other);
    session.until_active();
    session.kill();
    scene.assert_captured("public.t", &["k"]);
}
