//! Tables that another session has locked, or that cannot be read temporarily: other tables are
//! read in the meantime, and the log names the cause.

use postgres::Client;
use serde_json::json;

use super::spans::{until_backfilled, until_blocked};
use crate::support::connector::Line;
use crate::support::postgres::{Version, value};
use crate::support::scene::{Scene, advanced, execute, says};
use crate::support::task::Session;

const LOCK: &str = "begin; lock table locked in access exclusive mode";

/// Returns the process ID of a session.
fn process(client: &mut Client) -> String {
    value(client, "select pg_backend_pid()")
}

/// Follows the capture until the backfill of a table has ended.
fn until_active(session: &mut Session<'_>, name: &str) {
    session.until("the end of a backfill", |session| {
        session.task.binding_state(name)["mode"] == "Active"
    });
}

/// Returns whether a line is a warning that names the locked table and the process that holds the
/// lock.
fn warns_of_lock(line: &Line, table: &str, process: &str) -> bool {
    line.level == "warning"
        && says(line, &format!("table \\\"{table}\\\" is locked"))
        && says(line, &format!("process {process} "))
}

/// Tests a table that is first in order and was locked before the session, for longer than the
/// statement timeout.
fn read_locked_table_last(key: &str, mode: &str, connections: u32) {
    let mut scene = Scene::new(&format!(
        "create table locked(id {key} primary key, v text);
         create table free(id int primary key, v text);
         create table before(id int primary key);
         insert into locked select i, 'l' from generate_series(1, 1000) i;
         insert into free select i, 'f' from generate_series(1, 1000) i"
    ));
    advanced(
        &mut scene.task,
        &json!({"backfill_chunk_size": 100, "backfill_connections": connections,
            "statement_timeout": "1s"}),
    );
    scene
        .task
        .bind(&["public.before", "public.locked", "public.free"]);
    scene.task.binding_mut("public.locked").resource["mode"] = json!(mode);
    // The slot is created first, because its creation would wait for the transaction that holds the
    // lock.
    let bindings = scene.task.bindings.clone();
    scene.task.bindings.truncate(1);
    scene.task.backfill_all();
    scene.task.bindings = bindings;
    scene.task.publish();

    let mut other = scene.connect();
    let holder = process(&mut other);
    execute(&mut other, LOCK);
    let mut session = scene.task.open();
    until_active(&mut session, "public.free");
    session.until("the process that holds the lock", |session| {
        let is_warning = |line: &Line| warns_of_lock(line, "public.locked", &holder);
        session.log().find(is_warning).is_some()
    });
    let held = format!(
        "select xact_start < now() - interval '4 s' from pg_stat_activity where pid = {holder}"
    );
    // The stream is read in the meantime.
    for id in 1.. {
        execute(
            &mut scene.client,
            &format!("insert into before values ({id})"),
        );
        session.until_id("public.before", id);
        if value(&mut scene.client, &held) == "t" {
            break;
        }
    }
    assert_ne!(
        session.task.binding_state("public.locked")["mode"],
        "Active"
    );
    execute(&mut other, "commit");
    session.until_active();
    session.kill();
    for table in ["public.locked", "public.free", "public.before"] {
        scene.assert_captured(table, &["id"]);
    }
}

#[test]
fn a_locked_table_is_read_after_the_others() {
    read_locked_table_last("int", "Precise", 1);
    read_locked_table_last("int", "Precise", 3);
}

#[test]
fn a_locked_table_that_is_read_by_ctid_is_read_after_the_others() {
    read_locked_table_last("int", "Without Primary Key", 2);
}

#[test]
fn a_locked_table_that_is_read_chunk_by_chunk_is_read_after_the_others() {
    read_locked_table_last("text collate \"und-x-icu\"", "Precise", 2);
}

/// Some versions open the tables of a publication in order to list them, and so wait for locks on
/// them.
#[test]
fn a_start_that_waits_for_a_lock_names_it() {
    let mut scene = Scene::on(
        Version(18),
        "create table locked(id int primary key); create table free(id int primary key)",
    );
    scene.task.bind(&["public.free"]);
    scene.task.backfill_all();
    let mut other = scene.connect();
    let holder = process(&mut other);
    execute(&mut other, LOCK);
    let mut session = scene.task.open();
    session.until("the process that holds the lock", |session| {
        let is_warning = |line: &Line| warns_of_lock(line, "public.locked", &holder);
        session.log().find(is_warning).is_some()
    });
    execute(&mut other, "commit");
    execute(&mut scene.client, "insert into free values (1)");
    session.until_id("public.free", 1);
    session.kill();
}

/// The first table has three ranges, and the second table is requested while the last of them is
/// read. The pipe holds less than half of that range.
#[test]
fn a_table_that_cannot_be_read_ahead_is_not_an_error_before_its_turn() {
    let mut scene = Scene::new(
        "create table t(k int primary key, wide text);
         create table other(id int primary key);
         alter table t alter wide set storage external;
         insert into t select i, repeat('w', 8000) from generate_series(1, 3000) i;
         insert into other values (1)",
    );
    advanced(
        &mut scene.task,
        &json!({"backfill_chunk_size": 5, "backfill_connections": 2}),
    );
    scene.task.bind(&["public.t", "public.other"]);
    let mut session = scene.task.open();
    until_backfilled(&mut session, 100);
    execute(&mut scene.client, "alter table other rename to hidden");
    until_backfilled(&mut session, 2570);
    until_blocked(&mut scene.client);
    session.until_logged("rows cannot be requested ahead");
    execute(&mut scene.client, "alter table hidden rename to other");
    session.until_active();
    session.kill();
    scene.assert_captured("public.t", &["k"]);
    scene.assert_captured("public.other", &["id"]);
}
