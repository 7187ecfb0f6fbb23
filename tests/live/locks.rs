//! Tables that somebody else has locked, or that cannot be read for the moment: the others are read
//! meanwhile, and the log says what is the matter.

use postgres::Client;
use serde_json::json;

use super::spans::{until_backfilled, until_stuck};
use crate::support::connector::Line;
use crate::support::postgres::{Version, value};
use crate::support::scene::{Scene, advanced, execute, says};
use crate::support::task::Session;

const LOCK: &str = "begin; lock table locked in access exclusive mode";

fn process(client: &mut Client) -> String {
    value(client, "select pg_backend_pid()")
}

/// Goes on until a table is backfilled.
fn until_read(session: &mut Session<'_>, name: &str) {
    session.until("a table to be read", |session| {
        session.task.binding_state(name)["mode"] == "Active"
    });
}

/// A warning that names a table and a process.
fn names(line: &Line, table: &str, process: &str) -> bool {
    line.level == "warning"
        && says(line, &format!("table \\\"{table}\\\" is locked"))
        && says(line, &format!("process {process} "))
}

/// A table that comes first and was locked before the session, for longer than a statement may take.
fn comes_behind_the_others(key: &str, mode: &str, connections: u32) {
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
    // A new slot would wait for the transaction that holds the lock.
    let bindings = scene.task.bindings.clone();
    scene.task.bindings.truncate(1);
    let mut session = scene.task.open();
    session.until_active();
    session.kill();
    scene.task.bindings = bindings;
    scene.task.publish();

    let mut other = scene.connect();
    let holder = process(&mut other);
    execute(&mut other, LOCK);
    let mut session = scene.task.open();
    until_read(&mut session, "public.free");
    session.until("who holds the lock", |session| {
        let is_said = |line: &Line| names(line, "public.locked", &holder);
        session.log().find(is_said).is_some()
    });
    let held = format!(
        "select xact_start < now() - interval '4 s' from pg_stat_activity where pid = {holder}"
    );
    // The stream is followed meanwhile.
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
fn a_locked_table_comes_behind_the_others() {
    comes_behind_the_others("int", "Precise", 1);
    comes_behind_the_others("int", "Precise", 3);
}

#[test]
fn a_locked_table_that_is_read_by_position_comes_behind_the_others() {
    comes_behind_the_others("int", "Without Primary Key", 2);
}

#[test]
fn a_locked_table_that_is_read_chunk_by_chunk_comes_behind_the_others() {
    comes_behind_the_others("text collate \"und-x-icu\"", "Precise", 2);
}

/// Of a publication's tables some versions tell only when they can be opened.
#[test]
fn the_start_says_which_lock_it_waits_for() {
    let mut scene = Scene::on(
        Version(18),
        "create table locked(id int primary key); create table free(id int primary key)",
    );
    scene.task.bind(&["public.free"]);
    let mut session = scene.task.open();
    session.until_active();
    session.kill();
    let mut other = scene.connect();
    let holder = process(&mut other);
    execute(&mut other, LOCK);
    let mut session = scene.task.open();
    session.until("who holds the lock", |session| {
        let is_said = |line: &Line| names(line, "public.locked", &holder);
        session.log().find(is_said).is_some()
    });
    execute(&mut other, "commit");
    execute(&mut scene.client, "insert into free values (1)");
    session.until_id("public.free", 1);
    session.kill();
}

/// The first table has three sections, so the other is asked for while the last is read, of which the
/// pipe holds less than a half.
#[test]
fn a_table_that_cannot_be_read_ahead_is_no_error_until_its_turn_has_come() {
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
    until_stuck(&mut scene.client);
    session.until_logged("rows cannot be requested ahead");
    execute(&mut scene.client, "alter table hidden rename to other");
    session.until_active();
    session.kill();
    scene.assert_captured("public.t", &["k"]);
    scene.assert_captured("public.other", &["id"]);
}
