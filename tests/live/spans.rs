//! Spans: many chunks are read from one snapshot while the table changes.
//!
//! A test that looks away from the output stops the connector amid a span, with rows that it has read
//! and not emitted, and others that the server has yet to send. What is committed then changes rows
//! that were emitted, rows that are on their way and rows that are still to come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postgres::Client;
use serde_json::json;

use super::visibility::nothing_twice;
use crate::support::connector::Line;
use crate::support::postgres::{Options, Server, Version, query, value};
use crate::support::scene::{self, Scene, advanced, assert_captured, documents_of, execute, says};
use crate::support::task::Session;
use crate::support::wait;

/// Rows of which one span holds all, unless its chunks are small, and the pipe to a test few.
const ROWS: u32 = 3_000;

/// Rows of a chunk with which the table takes more than one span: one has at most 2048 chunks, and 256
/// where several are read at once.
fn small_chunks(connections: u32) -> u32 {
    if connections > 1 { 5 } else { 1 }
}

/// A table whose wide values are not written again with every update. The key is made of the number
/// by an expression.
fn wide_rows(key: &str, expression: &str) -> String {
    format!(
        "create table t(k {key} primary key, n int, wide text);
         alter table t alter wide set storage external;
         insert into t select {expression}, i, repeat('w', 4000) from generate_series(1, {ROWS}) i"
    )
}

/// Changes of rows in all parts of the table, of their keys too, and rows that are new and gone. The
/// function k makes a key of a number.
const CHANGES: [&str; 8] = [
    "update t set n = -n where n % 10 = 0",
    "delete from t where n % 10 = 1",
    "insert into t select k(i + 10000), i, 'new' from generate_series(5, 3000, 10) i",
    "update t set n = n * 2, wide = 'narrow' where n % 10 = 2",
    "update t set k = k(n + 20000) where n % 10 = 3",
    "update t set k = k(-n), wide = 'moved' where n % 10 = 7",
    "begin; update t set n = 1 where k = k(2990); delete from t where k = k(2990);
     insert into t values (k(2990), 2, 'again'); commit",
    "update t set n = n + 1 where n % 10 = 8; update t set n = n + 1 where n % 10 = 9",
];

struct Case {
    key: &'static str,
    expression: &'static str,
    mode: &'static str,
}

const PRECISE: Case = Case {
    key: "int",
    expression: "i",
    mode: "Precise",
};
const NORMAL: Case = Case {
    mode: "Normal",
    ..PRECISE
};
const KEYLESS: Case = Case {
    mode: "Without Primary Key",
    ..PRECISE
};
/// The server sorts these in an order of its own.
const TEXT: Case = Case {
    key: "text collate \"und-x-icu\"",
    expression: "'k' || i",
    mode: "",
};

impl Case {
    /// Changes the table amid a span, perhaps kills the capture after some more chunks, and lets it
    /// end. Chunks of 5 make sections of which the table has three.
    fn play(&self, connections: u32, kill: bool) {
        let Self {
            key,
            expression,
            mode,
        } = self;
        let mut scene = Scene::new(&wide_rows(key, expression));
        let bare = key.split(' ').next().unwrap_or_default();
        scene.execute(&format!(
            "create function k(i int) returns {bare} language sql immutable as $$ select {expression} $$;
             create table other(id int primary key)"
        ));
        let chunk_size = if connections > 1 { 5 } else { 50 };
        advanced(
            &mut scene.task,
            &json!({"backfill_chunk_size": chunk_size, "backfill_connections": connections}),
        );
        scene.task.bind(&["public.t", "public.other"]);
        scene.task.binding_mut("public.t").resource["mode"] = json!(mode);
        scene.task.publish();
        let mut session = scene.task.open();
        until_backfilled(&mut session, 100);
        until_stuck(&mut scene.client);
        for change in CHANGES {
            execute(&mut scene.client, change);
        }
        if kill {
            until_backfilled(&mut session, 600);
            session.kill();
            assert!(scene.task.is_backfilling());
            execute(&mut scene.client, "update t set n = n + 1 where n % 10 = 4");
            session = scene.task.open();
        }
        session.until_active();
        execute(&mut scene.client, "insert into other values (1)");
        session.until_id("public.other", 1);
        session.kill();
        scene.assert_captured("public.t", &["k"]);
        if *mode == "Precise" && !kill {
            let documents = documents_of(&scene.task, "public.t");
            let renamed = documents.into_iter().map(|document| {
                let mut document = document.clone();
                document.value["id"] = document.value["k"].clone();
                document
            });
            nothing_twice(renamed.collect::<Vec<_>>().iter().collect());
        }
    }
}

pub(super) fn until_backfilled(session: &mut Session<'_>, rows: u64) {
    session.until("a part of the backfill", |session| {
        let state = session.task.binding_state("public.t");
        state["backfilled"].as_u64() >= Some(rows)
    });
}

/// Waits until the server has nothing to do, or cannot send the rows that were asked for.
pub(super) fn until_stuck(client: &mut Client) {
    let busy = "select count(*) from pg_stat_activity \
                where application_name = 'estuary_flow' and backend_type = 'client backend' \
                and wait_event is distinct from 'ClientWrite' \
                and wait_event is distinct from 'ClientRead'";
    wait::until("the span to be stuck", || {
        (value(client, busy) == "0").then_some(())
    });
}

macro_rules! cases {
    ($($name:ident: $case:ident;)*) => {
        mod changes_amid_a_span {
            use super::*;
            $(
                mod $name {
                    use super::*;

                    #[test]
                    fn to_the_end() {
                        $case.play(1, false);
                    }

                    #[test]
                    fn killed() {
                        $case.play(1, true);
                    }

                    #[test]
                    fn of_several_to_the_end() {
                        $case.play(3, false);
                    }

                    #[test]
                    fn of_several_killed() {
                        $case.play(3, true);
                    }
                }
            )*
        }
    };
}

cases! {
    precise: PRECISE;
    normal: NORMAL;
    keyless: KEYLESS;
    text: TEXT;
}

/// A row that has left the place from which a span has yet to emit it for one that was passed, by a
/// key that is not the document's.
#[test]
fn a_row_that_leaps_back_over_an_open_span_is_as_it_is_now() {
    let mut scene = Scene::new(
        "create table t(k int primary key, seq int not null, n int, wide text);
         create unique index on t(seq);
         alter table t alter wide set storage external;
         insert into t select i, i * 10, 0, repeat('w', 4000) from generate_series(1, 3000) i",
    );
    advanced(&mut scene.task, &json!({"backfill_chunk_size": 50}));
    scene.task.bind(&["public.t"]);
    let resource = &mut scene.task.binding_mut("public.t").resource;
    resource["primary_key"] = json!(["seq"]);
    resource["mode"] = json!("Precise");
    scene.task.publish();
    let mut session = scene.task.open();
    until_backfilled(&mut session, 100);
    until_stuck(&mut scene.client);
    execute(
        &mut scene.client,
        "update t set seq = 1, n = 1 where k = 2900;
         update t set seq = 29995, n = 1 where k = 1; update t set seq = 2, n = 2 where k = 1",
    );
    session.until_active();
    execute(&mut scene.client, "update t set n = 3 where k = 3000");
    session.until_document("public.t", |document| document.value["n"] == 3);
    session.kill();
    scene.assert_captured("public.t", &["k"]);
}

/// Who waits to change a table keeps all others from reading it, also our own connection for queries.
#[test]
fn a_table_that_somebody_waits_to_alter_can_be_queried_by_ending_the_span() {
    let mut scene = Scene::new(&wide_rows("int", "i"));
    // The most chunks that are asked for ahead are less than the table: of all of it, the sockets could
    // take the rest, and the span would be over.
    advanced(&mut scene.task, &json!({"backfill_chunk_size": 20}));
    scene.task.bind(&["public.t"]);
    let mut other = scene.connect();
    let mut session = scene.task.open();
    until_backfilled(&mut session, 100);
    until_stuck(&mut scene.client);
    // Its wide value has to be queried for.
    execute(&mut scene.client, "update t set k = -1 where k = 1");
    let change =
        thread::spawn(move || execute(&mut other, "alter table t add extra int default 7"));
    wait::until("the change to wait", || {
        let waiting = "select 1 from pg_locks where relation = 't'::regclass and not granted";
        (!query(&mut scene.client, waiting).is_empty()).then_some(())
    });
    session.until_active();
    change.join().expect("it goes through");
    execute(&mut scene.client, "update t set n = 0 where k = 3000");
    session.until_document("public.t", |document| document.value["n"] == 0);
    session.kill();
    // Rows that were read before the change lack the column.
    scene.execute("alter table t drop extra");
    for document in &mut scene.task.documents {
        document
            .value
            .as_object_mut()
            .expect("an object")
            .remove("extra");
    }
    scene.assert_captured("public.t", &["k"]);
}

/// Waits until a change of the table is made, or waits for a span to end, which it does not while the
/// output is not read.
fn until_it_waits(client: &mut Client, changing: &thread::JoinHandle<()>) {
    let waiting = "select 1 from pg_locks where relation = 't'::regclass and not granted";
    wait::until("the change to wait, or to be made", || {
        let waits = !query(client, waiting).is_empty();
        (waits || changing.is_finished()).then_some(())
    });
}

/// Columns that come or become ordinary while nothing else changes are not in the stream, which
/// describes a table with its next change only.
#[test]
fn columns_that_change_between_two_spans_are_in_the_rows_of_the_next() {
    let change = "alter table t alter double drop expression,
        add triple int generated always as (n * 3) stored, add extra int default 7";
    let all = "double,extra,";
    for (key, mode, connections, publication, added) in [
        ("int", "Precise", 1, "for all tables", all),
        ("int", "Precise", 2, "for all tables", all),
        // Chunk by chunk.
        (
            "text collate \"und-x-icu\"",
            "Precise",
            1,
            "for all tables",
            all,
        ),
        ("int", "Precise", 1, "for table t (k, n, wide)", ""),
    ] {
        let mut scene = Scene::new(&wide_rows(key, "i"));
        scene.execute(&format!(
            "alter table t add double int generated always as (n * 2) stored;
             drop publication flow_publication; create publication flow_publication {publication}"
        ));
        let chunk_size = small_chunks(connections);
        advanced(
            &mut scene.task,
            &json!({"backfill_chunk_size": chunk_size, "backfill_connections": connections}),
        );
        scene.task.bind(&["public.t"]);
        scene.task.binding_mut("public.t").resource["mode"] = json!(mode);
        scene.task.publish();
        let mut other = scene.connect();
        let mut session = scene.task.open();
        until_backfilled(&mut session, 100);
        until_stuck(&mut scene.client);
        let changing = thread::spawn(move || execute(&mut other, change));
        until_it_waits(&mut scene.client, &changing);
        session.until_active();
        changing.join().expect("it goes through");
        session.kill();
        let documents = documents_of(&scene.task, "public.t");
        let mut columns: Vec<String> = documents
            .iter()
            .map(|document| {
                let members = document.value.as_object().expect("an object").keys();
                let others =
                    members.filter(|name| !["_meta", "k", "n", "wide"].contains(&name.as_str()));
                others.map(|name| format!("{name},")).collect()
            })
            .collect();
        columns.dedup();
        let expected = if added.is_empty() {
            vec![""]
        } else {
            vec!["", added]
        };
        assert_eq!(
            columns, expected,
            "{key} {mode} {connections} {publication}"
        );
        let mut rows: Vec<_> = documents
            .iter()
            .map(|document| document.value["n"].clone())
            .collect();
        rows.sort_by_key(|n| n.as_u64());
        rows.dedup();
        assert_eq!(rows.len(), usize::try_from(ROWS).expect("a few"));
    }
}

#[test]
fn a_span_that_is_not_taken_outlives_the_timeout_of_idle_transactions() {
    let mut scene = Scene::new(
        "create table t(k int primary key, n int);
         insert into t select i, i from generate_series(1, 40000) i;
         alter database scene set idle_in_transaction_session_timeout = '100ms'",
    );
    advanced(&mut scene.task, &json!({"backfill_chunk_size": 200}));
    scene.task.bind(&["public.t"]);
    let mut session = scene.task.open();
    until_backfilled(&mut session, 200);
    let idle = "select count(*) from pg_stat_activity \
                where application_name = 'estuary_flow' and backend_type = 'client backend' \
                and state = 'active' and wait_event = 'ClientRead' and state_change < now() - interval '500 ms'";
    wait::until("a transaction that has been idle for long", || {
        (value(&mut scene.client, idle) == "1").then_some(())
    });
    session.until_active();
    assert!(
        session.log().find(|line| line.level == "warning").is_none(),
        "{}",
        session.log()
    );
    session.kill();
    scene.assert_captured("public.t", &["k"]);
}

/// The first row waits for a lock of the test's, for longer than a statement may take.
#[test]
fn a_window_that_takes_too_long_is_made_smaller() {
    let mut scene = Scene::new(
        "create table t(n int, wide text);
         insert into t select i, repeat('w', 500) from generate_series(1, 1000) i;
         create function gate(i int) returns bool language plpgsql as $$ begin
            perform pg_advisory_xact_lock_shared(1);
            return true;
         end $$",
    );
    scene.task.bind(&["public.t"]);
    scene.task.binding_mut("public.t").resource["advanced"] =
        json!({"additional_backfill_filter": "gate(n)"});
    advanced(&mut scene.task, &json!({"statement_timeout": "2s"}));
    scene.task.publish();
    query(&mut scene.client, "select pg_advisory_lock(1)");
    let mut session = scene.task.open();
    let line = session.until_logged("fewer pages");
    assert_eq!(line.level, "warning");
    query(&mut scene.client, "select pg_advisory_unlock(1)");
    session.until_active();
    session.kill();
    scene.assert_captured("public.t", &[]);
}

#[test]
fn without_a_connection_to_spare_chunks_are_read_one_by_one() {
    limited(1);
}

/// One of two connections that are made ahead is refused, and the other is of use.
#[test]
fn one_connection_to_spare_is_used() {
    limited(2);
}

/// Backfills over so many connections, besides the stream's, which counts for itself.
fn limited(connections: u32) {
    let server = Server::with(Version::MAIN, &Options::default());
    let (mut client, mut task) = scene::set(
        &server,
        "create table t(k int primary key, n int);
         create table other(id int primary key);
         create table flow_watermarks(slot text primary key, watermark text);
         insert into t select i, i from generate_series(1, 1000) i;
         create role capture login replication;
         grant pg_read_all_data, pg_read_all_stats to capture;
         grant all on flow_watermarks to capture;
         revoke execute on function pg_logical_emit_message(boolean, text, text) from public",
    );
    task.config["user"] = json!("capture");
    advanced(&mut task, &json!({"backfill_chunk_size": 100}));
    task.bind(&["public.other"]);
    let mut session = task.open();
    session.until_active();
    session.kill();
    task.bind(&["public.t", "public.other"]);
    let connected = "select count(*) from pg_stat_activity where usename = 'capture'";
    wait::until("its connections to be gone", || {
        (value(&mut client, connected) == "0").then_some(())
    });
    let limit = format!("alter role capture connection limit {connections}");
    execute(&mut client, &limit);
    let mut session = task.open();
    session.until_active();
    let is_told = |line: &Line| line.message.contains("chunks are read one by one");
    if connections == 1 {
        session.until_logged("chunks are read one by one");
    } else {
        assert!(session.log().find(is_told).is_none(), "{}", session.log());
    }
    execute(&mut client, "update t set n = 0 where k = 1000");
    session.until_document("public.t", |document| document.value["n"] == 0);
    // The server takes a moment to notice that the one for rows is closed.
    wait::until("two connections to be left", || {
        (value(&mut client, connected) == "2").then_some(())
    });
    session.kill();
    assert_captured(&mut client, &task, "public.t", &["k"]);
}

/// Each of the transactions changes so many rows that a span is given up for them. One is always
/// under way when a span is asked for, and another waits behind it: a capture that has a slot already
/// catches up with the first of them before it asks.
#[test]
fn large_transactions_without_end_leave_room_for_chunks() {
    const MOST: u32 = 30;
    let mut scene = Scene::new(
        "create table other(id int primary key);
         create table t(k int primary key, n int, wide text);
         insert into t select i, i, repeat('w', 6000) from generate_series(1, 4000) i",
    );
    advanced(&mut scene.task, &json!({"backfill_chunk_size": 1000}));
    scene.task.bind(&["public.other"]);
    let mut session = scene.task.open();
    session.until_active();
    session.kill();
    scene.task.bind(&["public.t", "public.other"]);
    let done = Arc::new(AtomicBool::new(false));
    let mut other = scene.connect();
    let is_done = Arc::clone(&done);
    let writing = thread::spawn(move || {
        let mut last = "0/0".to_owned();
        // A capture that has none of what is waited for is not to fill the memory with documents.
        for _ in 0..MOST {
            if is_done.load(Ordering::Relaxed) {
                break;
            }
            execute(&mut other, "update t set n = n + 1");
            let sent = format!("select 1 from pg_stat_replication where sent_lsn >= '{last}'");
            wait::until("the transaction before to be sent", || {
                let is_sent = !query(&mut other, &sent).is_empty();
                (is_sent || is_done.load(Ordering::Relaxed)).then_some(())
            });
            last = value(&mut other, "select pg_current_wal_insert_lsn()");
        }
    });
    let mut session = scene.task.open();
    session.until_active();
    session.until_logged("too many of their rows are changing");
    done.store(true, Ordering::Relaxed);
    writing.join().expect("it ends");
    execute(&mut scene.client, "update t set n = -1 where k = 1");
    session.until_document("public.t", |document| document.value["n"] == -1);
    session.kill();
    scene.assert_captured("public.t", &["k"]);
}

/// The server reads on in the order of the new type or collation, in which keys that are not read yet
/// can be before the last one.
#[test]
fn a_scan_by_a_key_that_gets_another_order_begins_anew() {
    let number = ("int", "i");
    let text = (
        "text collate \"C\"",
        "case i % 2 when 0 then 'a' else 'B' end || lpad(i::text, 5, '0')",
    );
    for ((key, expression), new_type, begins_anew) in [
        (number, "text using k::text", true),
        (number, "bigint", false),
        (text, "text collate \"en-x-icu\"", true),
    ] {
        let change = format!("alter table t alter k type {new_type}");
        for is_streamed in [false, true] {
            let mut scene = Scene::new(&wide_rows(key, expression));
            advanced(
                &mut scene.task,
                &json!({"backfill_chunk_size": small_chunks(1)}),
            );
            scene.task.bind(&["public.t"]);
            let mut other = scene.connect();
            let mut session = scene.task.open();
            until_backfilled(&mut session, 900);
            until_stuck(&mut scene.client);
            let first = if is_streamed {
                "update t set n = 5 where n = 20"
            } else {
                "select 1"
            };
            let sql = format!("{change}; {first}");
            let changing = thread::spawn(move || execute(&mut other, &sql));
            until_it_waits(&mut scene.client, &changing);
            session.until_active();
            changing.join().expect("it goes through");
            execute(&mut scene.client, "update t set n = -1 where n = 2999");
            session.until_document("public.t", |document| document.value["n"] == -1);
            assert_eq!(
                session
                    .log()
                    .find(|line| says(line, "another order"))
                    .is_some(),
                begins_anew,
                "{change}"
            );
            session.kill();
            // Documents of earlier rows have keys of the earlier type.
            for document in &mut scene.task.documents {
                let text = document.value["k"].to_string();
                document.value["k"] = json!(text.trim_matches('"'));
            }
            scene.execute("alter table t alter k type text using k::text");
            scene.assert_captured("public.t", &["k"]);
        }
    }
}

#[test]
fn a_scan_goes_by_the_row_filter_as_it_is() {
    let mut scene = Scene::new(&wide_rows("int", "i"));
    scene.execute(
        "drop publication flow_publication; alter table t replica identity full;
         create publication flow_publication for table t where (n < 0)",
    );
    advanced(
        &mut scene.task,
        &json!({"backfill_chunk_size": small_chunks(1)}),
    );
    scene.execute("update t set n = -n where k <= 2500");
    scene.task.bind(&["public.t"]);
    let mut other = scene.connect();
    let mut session = scene.task.open();
    until_backfilled(&mut session, 100);
    until_stuck(&mut scene.client);
    // A table with other columns is looked up again.
    let changing = thread::spawn(move || {
        execute(
            &mut other,
            "begin; alter publication flow_publication set table t where (n is not null);
             alter table t add extra int default 7; commit",
        );
    });
    until_it_waits(&mut scene.client, &changing);
    session.until_active();
    changing.join().expect("it goes through");
    session.kill();
    let documents = documents_of(&scene.task, "public.t");
    let last = documents
        .iter()
        .filter_map(|document| document.value["k"].as_i64())
        .max();
    assert_eq!(last, Some(3000));
}
