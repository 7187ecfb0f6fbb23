//! Failures in the life of a capture: it ends with a clear error or continues, and loses nothing.

use std::thread;

use postgres::Client;
use serde_json::json;

use crate::support::connector::Launch;
use crate::support::messages::Codec;
use crate::support::postgres::{Options, Server, Version, query, value};
use crate::support::scene::{
    self, Scene, advanced, assert_captured, changes, documents_of, execute,
};
use crate::support::task::{Session, Task};
use crate::support::wait;

const ROWS: &str = "create table t(id int primary key, n int);
                    insert into t select i, i from generate_series(1, 10) i";

/// Far more rows than the pipe holds, so that a backfill is far from its end when its first rows
/// are committed.
const WIDE: &str = "create table t(id int primary key, n int, wide text);
    alter table t alter wide set storage external;
    insert into t select i, i, repeat('w', 4000) from generate_series(1, 3000) i";

/// Returns a scene with a table of ten rows that was backfilled.
fn backfilled() -> Scene {
    let mut scene = Scene::new(ROWS);
    scene.task.bind(&["public.t"]);
    scene.task.backfill_all();
    scene
}

/// Drops the slot as soon as the server has noticed that it is no longer in use.
fn drop_slot(client: &mut Client) {
    wait::until("the slot to be dropped", || {
        client
            .execute("select pg_drop_replication_slot('flow_slot')", &[])
            .ok()
    });
}

/// Raises the backfill counter, as the connector's errors ask for, and checks that the capture
/// works.
fn backfill_again(scene: &mut Scene) {
    scene.task.binding_mut("public.t").backfill += 1;
    scene.task.publish();
    scene.task.backfill_all();
    scene.assert_captured("public.t", &["id"]);
}

#[test]
fn a_dropped_slot_stops_the_capture_until_it_is_backfilled_again() {
    let mut scene = backfilled();
    drop_slot(&mut scene.client);
    scene.execute("insert into t values (11, 11)");
    scene
        .task
        .run()
        .assert_failed(&["flow_slot", "does not exist", "backfill"]);
    backfill_again(&mut scene);
}

#[test]
fn a_slot_that_another_session_has_created_again_stops_the_capture() {
    let mut scene = backfilled();
    drop_slot(&mut scene.client);
    scene.execute("insert into t values (11, 11)");
    query(
        &mut scene.client,
        "select pg_create_logical_replication_slot('flow_slot', 'pgoutput')",
    );
    scene
        .task
        .run()
        .assert_failed(&["flow_slot", "past the last checkpoint", "backfill"]);
    backfill_again(&mut scene);
}

#[test]
fn a_slot_that_was_invalidated_stops_the_capture() {
    let options = Options::default().setting("max_slot_wal_keep_size = 1MB");
    let server = Server::with(Version::MAIN, &options);
    let (mut client, mut task) = scene::create(&server, ROWS);
    task.bind(&["public.t"]);
    let mut session = task.open_active();
    session.acknowledge = false;
    let status = "select wal_status from pg_replication_slots";
    let mut id = 100;
    wait::until("the slot to be lost", || {
        id += 1;
        execute(&mut client, &format!("insert into t values ({id}, 0)"));
        execute(&mut client, "select pg_switch_wal(); checkpoint");
        (value(&mut client, status) == "lost").then_some(())
    });
    session.finish().assert_failed(&[]);
    task.run()
        .assert_failed(&["flow_slot", "lost", "pg_drop_replication_slot", "backfill"]);

    task.binding_mut("public.t").backfill += 1;
    task.publish();
    task.backfill_all();
    assert_captured(&mut client, &task, "public.t", &["id"]);
}

#[test]
fn a_slot_is_read_by_one_capture_only() {
    let mut scene = Scene::new(ROWS);
    scene.task.bind(&["public.t"]);
    let another = |scene: &Scene| {
        let mut task = Task::new(Launch::new(Codec::Proto), scene.task.config.clone());
        task.bindings = scene.task.bindings.clone();
        task
    };
    let mut new = another(&scene);
    let mut same = another(&scene);
    let mut session = scene.task.open_active();
    same.state = session.task.state.clone();
    // Each capture retries for a while, because the session that uses the slot might be about to
    // end.
    thread::scope(|scope| {
        scope.spawn(|| new.run().assert_failed(&["flow_slot", "active for PID"]));
        scope.spawn(|| same.run().assert_failed(&["flow_slot", "in use"]));
    });

    execute(&mut scene.client, "insert into t values (11, 11)");
    session.until_id("public.t", 11);
    session.kill();
    scene.assert_captured("public.t", &["id"]);
}

/// The server would start the stream after the position that the other capture has confirmed,
/// without an error.
#[test]
fn a_slot_that_advances_while_it_is_waited_for_stops_the_capture() {
    let mut scene = Scene::new(ROWS);
    scene.task.bind(&["public.t"]);
    let mut late = Task::new(Launch::new(Codec::Proto), scene.task.config.clone());
    late.bindings = scene.task.bindings.clone();
    let mut session = scene.task.open_active();
    late.state = session.task.state.clone();
    let cursor = late.state["cursor"].as_str().expect("a position");
    let has_advanced = format!("select confirmed_flush_lsn > '{cursor}' from pg_replication_slots");
    let mut waiting = late.open();
    waiting.until_logged("replication slot is in use");
    execute(&mut scene.client, "insert into t values (11, 11)");
    session.until_id("public.t", 11);
    session.until("the slot to advance", |_| {
        value(&mut scene.client, &has_advanced) == "t"
    });
    session.kill();
    waiting
        .finish()
        .assert_failed(&["flow_slot", "past the last checkpoint", "backfill"]);
}

#[test]
fn a_checkpoint_ahead_of_the_server_stops_the_capture() {
    let mut scene = backfilled();
    scene.task.state["cursor"] = json!("FF/0");
    let run = scene.task.run();
    run.assert_failed(&["FF/0", "ahead of the server", "backfill"]);
}

#[test]
fn an_invalid_state_stops_the_capture() {
    let mut scene = backfilled();
    let cursor = scene.task.state["cursor"].clone();
    let backfill = |key: &str, scanned: &str| {
        let table = json!({"mode": "Backfill", "key_columns": [key], "scanned": scanned});
        json!({"cursor": cursor, "bindingStateV1": {"public%2Ft": table}})
    };
    for (state, text) in [
        (json!({"cursor": 5}), "state"),
        (json!({"cursor": "here"}), "state"),
        (json!({"cursor": cursor, "later": true}), "later"),
        (json!({"cursor": cursor, "bindingStateV1": []}), "state"),
        (backfill("id", "*"), "base64"),
        (backfill("id", "AkIA"), "position of a backfill"),
        (backfill("id", "FQMVAw=="), "position of a backfill"),
        (backfill("gone", "FQM="), "gone"),
    ] {
        scene.task.state = state;
        scene.task.run().assert_failed(&[text]);
    }
    scene.task.state = backfill("id", "FQM=");
    let session = scene.task.open_active();
    let rows = changes(session.documents()).len();
    assert_eq!(rows, 7, "it continues after row 3");
}

#[test]
fn a_server_that_crashes_during_a_backfill_and_during_a_transaction() {
    let mut server = Server::start(Version::MAIN);
    let (client, mut task) = scene::create(&server, WIDE);
    task.bind(&["public.t"]);
    advanced(&mut task, &json!({"backfill_chunk_size": 5}));
    let mut session = task.open();
    until_backfilled(&mut session, 20);
    server.crash();
    session.finish().assert_failed(&[]);
    assert!(task.is_backfilling());
    drop(client);

    server.resume();
    task.config["address"] = json!(server.address());
    advanced(&mut task, &json!({"backfill_chunk_size": 1000}));
    let mut client = scene::connect(&server);
    execute(&mut client, "update t set n = -n where id % 7 = 0");
    let mut session = task.open_active();
    execute(
        &mut client,
        "insert into t select i, i from generate_series(10001, 40000) i",
    );
    session.until("a part of the transaction", |session| {
        session.pending.len() > 100
    });
    server.crash();
    session.finish().assert_failed(&[]);

    server.resume();
    task.config["address"] = json!(server.address());
    let mut client = scene::connect(&server);
    execute(&mut client, "insert into t values (0, 0)");
    let mut session = task.open();
    session.until_id("public.t", 0);
    session.kill();
    assert_captured(&mut client, &task, "public.t", &["id"]);
}

/// Follows the capture until the state shows that a number of rows was backfilled.
fn until_backfilled(session: &mut Session<'_>, rows: u64) {
    session.until("a part of the backfill", |session| {
        let state = session.task.binding_state("public.t");
        state["backfilled"].as_u64() >= Some(rows)
    });
}

/// Changes the table during its backfill, while the query for a chunk waits for the table's lock.
fn change_during_backfill<'s>(scene: &'s mut Scene, change: &str) -> Session<'s> {
    let mut session = scene.task.open();
    until_backfilled(&mut session, 10);
    session.kill();
    assert!(scene.task.is_backfilling());
    execute(&mut scene.client, "begin; lock table t");
    let mut session = scene.task.open();
    let client = &mut scene.client;
    session.until("the chunk to wait", |_| {
        let waiting = "select 1 from pg_locks where relation = 't'::regclass and not granted";
        !query(client, waiting).is_empty()
    });
    execute(client, &format!("{change}; commit"));
    session
}

/// Condition for the session that streams. The session that created the slot is a walsender as
/// well, and may not have ended yet.
const STREAMING: &str = "pid = (select active_pid from pg_replication_slots)";
const QUERYING: &str = "backend_type = 'client backend' and application_name = 'estuary_flow'";

/// Terminates the connector's sessions that satisfy a condition.
fn terminate(client: &mut Client, which: &str) {
    let ended = query(
        client,
        &format!("select pg_terminate_backend(pid) from pg_stat_activity where {which}"),
    );
    // There may be several, because the rows of a backfill are read over connections of their own.
    let all = !ended.is_empty() && ended.iter().all(|row| row == &["t"]);
    assert!(all, "{which}: {ended:?}");
}

#[test]
fn a_connection_that_is_terminated_during_a_backfill() {
    for which in [STREAMING, QUERYING] {
        // So few rows are requested ahead that the socket buffers hold them. A server process that
        // is blocked while it sends rows could not send the error that names the reason of its end.
        let mut scene = Scene::new(
            "create table t(id int primary key, n int, wide text);
             alter table t alter wide set storage external;
             insert into t select i, i, repeat('w', 1000) from generate_series(1, 12000) i",
        );
        scene.task.bind(&["public.t"]);
        advanced(&mut scene.task, &json!({"backfill_chunk_size": 1}));
        let mut session = scene.task.open();
        until_backfilled(&mut session, 20);
        terminate(&mut scene.client, which);
        // A lost stream is only noticed when there are changes to be streamed.
        execute(&mut scene.client, "delete from t where id % 7 = 0");
        session.finish().assert_failed(&["57P01"]);
        assert!(scene.task.is_backfilling());
        advanced(&mut scene.task, &json!({"backfill_chunk_size": 4096}));
        scene.task.backfill_all();
        scene.assert_captured("public.t", &["id"]);
    }
}

#[test]
fn a_connection_that_is_terminated_while_streaming() {
    for which in [STREAMING, QUERYING] {
        let mut scene = Scene::new(
            "create table t(id int primary key, wide text);
             alter table t alter wide set storage external;
             insert into t values (1, repeat('wide', 3000))",
        );
        scene.task.bind(&["public.t"]);
        let session = scene.task.open_active();
        terminate(&mut scene.client, which);
        // The row's TOAST value has to be queried.
        execute(&mut scene.client, "update t set id = 2");
        session.finish().assert_failed(&["57P01"]);
        let mut session = scene.task.open();
        session.until_id("public.t", 2);
        session.kill();
        scene.assert_captured("public.t", &["id"]);
    }
}

#[test]
fn a_runtime_that_stops_reading_does_not_end_the_replication_connection() {
    let options = Options::default().setting("wal_sender_timeout = 1s");
    let server = Server::with(Version::MAIN, &options);
    let (mut client, mut task) = scene::create(
        &server,
        "create table t(id int primary key, n int, wide text);
         alter table t alter wide set storage external",
    );
    task.bind(&["public.t"]);
    let mut session = task.open_active();
    let walsender = "select active_pid from pg_replication_slots";
    let pid = value(&mut client, walsender);
    // Far more rows than the pipe holds.
    execute(
        &mut client,
        "insert into t select i, i, repeat('x', 2000) from generate_series(1, 20000) i",
    );
    let start = value(&mut client, "select now()");
    let answered = format!(
        "select reply_time > '{start}'::timestamptz + interval '4 s' \
                            from pg_stat_replication where pid = {pid}"
    );
    wait::until("status updates long after wal_sender_timeout", || {
        (query(&mut client, &answered) == [["t"]]).then_some(())
    });
    assert!(session.documents().next().is_none(), "a document was read");
    session.until_id("public.t", 20_000);
    assert_eq!(
        value(&mut client, walsender),
        pid,
        "the walsender is another one"
    );
    session.kill();
    assert_captured(&mut client, &task, "public.t", &["id"]);
}

/// The filter waits at row 5 for a lock that the test holds for longer than the statement timeout.
#[test]
fn a_chunk_cut_short_by_the_statement_timeout_continues_after_its_rows() {
    let mut scene = Scene::new(&format!(
        "{ROWS};
         create function gate(i int) returns bool language plpgsql as $$ begin
            if i = 5 then perform pg_advisory_xact_lock_shared(1); end if;
            return true;
         end $$;
         alter database scene set enable_sort = off"
    ));
    scene.task.bind(&["public.t"]);
    scene.task.binding_mut("public.t").resource["advanced"] =
        json!({"additional_backfill_filter": "gate(id)"});
    advanced(&mut scene.task, &json!({"statement_timeout": "2s"}));
    scene.task.publish();
    query(&mut scene.client, "select pg_advisory_lock(1)");
    let mut session = scene.task.open();
    session.until_logged("cut short");
    query(&mut scene.client, "select pg_advisory_unlock(1)");
    session.until_active();
    session.kill();
    let rows = documents_of(&scene.task, "public.t");
    let ids: Vec<_> = rows.iter().map(|row| row.value["id"].as_i64()).collect();
    assert_eq!(ids, (1..=10).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_chunk_without_a_row_within_the_statement_timeout_stops_the_capture() {
    let mut scene = Scene::new(ROWS);
    scene.task.bind(&["public.t"]);
    scene.task.binding_mut("public.t").resource["advanced"] =
        json!({"additional_backfill_filter": "pg_sleep(10) is not null"});
    advanced(&mut scene.task, &json!({"statement_timeout": "500ms"}));
    let run = scene.task.run();
    run.assert_failed(&["public.t", "statement timeout"]);
}

#[test]
fn a_dropped_table_stops_its_backfill_and_the_next_start_until_it_is_unbound() {
    let mut scene = Scene::new(
        "create table t(id int primary key, n int);
         create table other(id int primary key);
         insert into t select i, i from generate_series(1, 400) i",
    );
    scene.task.bind(&["public.t", "public.other"]);
    advanced(&mut scene.task, &json!({"backfill_chunk_size": 2}));
    let session = change_during_backfill(&mut scene, "drop table t");
    session.finish().assert_failed(&["public.t"]);
    scene
        .task
        .run()
        .assert_failed(&["public.t", "does not exist"]);
    scene.task.bindings.remove(0);
    scene.task.publish();
    let mut session = scene.task.open_active();
    execute(&mut scene.client, "insert into other values (1)");
    session.until_id("public.other", 1);
}

#[test]
fn a_table_that_is_dropped_and_created_again_is_still_captured() {
    let mut scene = Scene::new(ROWS);
    scene.task.bind(&["public.t"]);
    let mut session = scene.task.open_active();
    execute(
        &mut scene.client,
        "drop table t; create table t(note text, id bigint primary key);
         insert into t values ('new', 11)",
    );
    session.until_id("public.t", 11);
    let documents = documents_of(session.task, "public.t");
    let last = changes(documents).pop();
    assert_eq!(last, Some(("c", json!({"id": 11, "note": "new"}))));
}

#[test]
fn a_truncation_causes_a_warning_and_removes_no_documents() {
    let mut scene = Scene::new(ROWS);
    scene.task.bind(&["public.t"]);
    let mut session = scene.task.open_active();
    execute(
        &mut scene.client,
        "truncate t; insert into t values (11, 11)",
    );
    session.until_id("public.t", 11);
    let warning = session.until_logged("truncated");
    assert_eq!(warning.level, "warning");
    assert_eq!(warning.field("stream").as_deref(), Some("public.t"));
    assert_eq!(session.run.documents.len(), 11);
}

#[test]
fn columns_can_change_while_the_table_is_streamed() {
    let mut scene = Scene::new(
        "create table t(id int primary key, a int, b text, c int, d date);
         insert into t values (0, 0, 'b', 0, '2000-01-01')",
    );
    scene.task.bind(&["public.t"]);
    let mut session = scene.task.open_active();
    execute(
        &mut scene.client,
        "insert into t values (1, 1, 'one', 1, '2001-01-01');
         alter table t add e int[], add f timestamptz default '2002-02-02 02:02:02Z';
         insert into t values (2, 2, 'two', 2, null, '{2,null}');
         alter table t drop a;
         insert into t(id, b) values (3, 'three');
         alter table t rename b to g;
         insert into t(id, g) values (4, 'four');
         alter table t alter c type text using 'number ' || c, alter d type timestamp;
         insert into t(id, c, d) values (5, 'five', '2005-05-05 05:05:05');
         create domain positive as int check (value > 0);
         create type mood as enum ('sad', 'happy');
         alter table t add h positive default 7, add i mood[];
         insert into t(id, i) values (6, '{happy}');
         update t set g = 'last' where id = 4;",
    );
    session.until_document("public.t", |document| document.op() == "u");
    let documents = documents_of(session.task, "public.t");
    let f = "2002-02-02T02:02:02Z";
    assert_eq!(
        json!(changes(
            documents.into_iter().filter(|row| !row.is_snapshot())
        )),
        json!([
            ["c", {"id": 1, "a": 1, "b": "one", "c": 1, "d": "2001-01-01"}],
            ["c", {"id": 2, "a": 2, "b": "two", "c": 2, "d": null, "e": [2, null], "f": f}],
            ["c", {"id": 3, "b": "three", "c": null, "d": null, "e": null, "f": f}],
            ["c", {"id": 4, "g": "four", "c": null, "d": null, "e": null, "f": f}],
            ["c", {"id": 5, "g": null, "c": "five", "d": "2005-05-05T05:05:05Z", "e": null,
                   "f": f}],
            ["c", {"id": 6, "g": null, "c": null, "d": null, "e": null, "f": f, "h": 7,
                   "i": "{happy}"}],
            ["u", {"id": 4, "g": "last", "c": null, "d": null, "e": null, "f": f, "h": 7,
                   "i": null}],
        ])
    );
}

#[test]
fn columns_can_change_during_a_backfill() {
    for (change, last) in [
        (
            "alter table t add c int[] default '{1}'",
            json!({"id": 400, "a": 400, "b": "b", "c": [1]}),
        ),
        ("alter table t drop a", json!({"id": 400, "b": "b"})),
        (
            "alter table t rename a to c",
            json!({"id": 400, "b": "b", "c": 400}),
        ),
        (
            "alter table t alter a type text using 'a' || a",
            json!({"id": 400, "a": "a400", "b": "b"}),
        ),
        (
            "alter table t alter b type date using '2001-01-01'",
            json!({"id": 400, "a": 400, "b": "2001-01-01"}),
        ),
        (
            "alter table t alter id type bigint",
            json!({"id": 400, "a": 400, "b": "b"}),
        ),
    ] {
        let mut scene = Scene::new(
            "create table t(id int primary key, a int, b text);
             insert into t select i, i, 'b' from generate_series(1, 400) i",
        );
        scene.task.bind(&["public.t"]);
        advanced(&mut scene.task, &json!({"backfill_chunk_size": 2}));
        let change = format!("{change}; update t set id = id where id in (1, 399)");
        let mut session = change_during_backfill(&mut scene, &change);
        session.until_active();
        session.kill();
        let documents = documents_of(&scene.task, "public.t");
        let rows: Vec<_> = documents
            .into_iter()
            .filter(|row| row.is_snapshot())
            .collect();
        assert_eq!(rows.len(), 400, "{change}");
        assert_eq!(changes(rows).pop(), Some(("c", last)), "{change}");
    }
}

#[test]
fn renaming_a_key_column_stops_the_capture() {
    let mut scene = Scene::new(ROWS);
    scene.task.bind(&["public.t"]);
    let session = scene.task.open_active();
    execute(
        &mut scene.client,
        "alter table t rename id to number; update t set n = 5",
    );
    let run = session.finish();
    run.assert_failed(&["public.t"]);
}

#[test]
fn a_large_transaction_takes_little_memory() {
    let mut scene = Scene::new("create table t(id int primary key, n int, text text)");
    scene.task.bind(&["public.t"]);
    let mut session = scene.task.open_active();
    execute(
        &mut scene.client,
        "insert into t select i, i, 'row ' || i from generate_series(1, 300000) i",
    );
    let mut count = 0;
    session.until("the last row", |session| {
        count = session.documents().count();
        count == 300_000
    });
    let peak = session.connector.peak_memory();
    assert!(peak < 100_000, "{peak} kB");
}

#[test]
fn many_small_transactions_are_captured() {
    let mut scene = Scene::new("create table t(id int primary key, n int)");
    scene.task.bind(&["public.t"]);
    let mut session = scene.task.open_active();
    execute(
        &mut scene.client,
        "do $$ begin for i in 1..3000 loop insert into t values (i, 0); commit; end loop; end $$",
    );
    session.until_id("public.t", 3000);
    session.kill();
    scene.assert_captured("public.t", &["id"]);
}

/// Changes from before the creation of a publication can never be read through it.
#[test]
fn a_dropped_publication_stops_the_capture_until_it_is_backfilled_again() {
    let mut scene = Scene::new(ROWS);
    scene.task.bind(&["public.t"]);
    let session = scene.task.open_active();
    execute(&mut scene.client, "drop publication flow_publication");
    execute(&mut scene.client, "insert into t values (11, 11)");
    session.finish().assert_failed(&["flow_publication"]);
    // The connector creates it again, but after changes that are still to be read.
    scene
        .task
        .run()
        .assert_failed(&["flow_publication", "backfill"]);
    backfill_again(&mut scene);
}
