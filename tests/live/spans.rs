//! Spans: many chunks are read from one snapshot while the table changes.
//!
//! A test that does not read the output blocks the connector within a span: some rows are read but
//! not emitted, and others have not been sent by the server. Commits at that point change rows that
//! were emitted, rows that were read, and rows that are still to be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postgres::Client;
use serde_json::json;

use super::visibility::assert_no_change_repeats_a_row;
use crate::support::connector::Line;
use crate::support::postgres::{Options, Server, Version, query, value};
use crate::support::scene::{self, Scene, advanced, assert_captured, documents_of, execute, says};
use crate::support::task::Session;
use crate::support::wait;

/// Number of rows of the table. One span covers all of them unless the chunks are small; the pipe
/// holds only a few.
const ROWS: u32 = 3_000;

/// Returns a chunk size with which the table takes more than one span. A span has at most 2048
/// chunks, or 256 if several ranges are read in parallel.
fn small_chunks(connections: u32) -> u32 {
    if connections > 1 { 5 } else { 1 }
}

/// Returns SQL for a table with TOASTed values, which an update that leaves them alone does not
/// send. The key of row `i` is given by `expression`.
fn wide_rows(key: &str, expression: &str) -> String {
    format!(
        "create table t(k {key} primary key, n int, wide text);
         alter table t alter wide set storage external;
         insert into t select {expression}, i, repeat('w', 4000) from generate_series(1, {ROWS}) i"
    )
}

/// Changes in all parts of the table: updates, changes of keys, insertions and deletions. The SQL
/// function `k` returns the key for a number.
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
/// Keys whose order only the server knows.
const TEXT: Case = Case {
    key: "text collate \"und-x-icu\"",
    expression: "'k' || i",
    mode: "",
};

impl Case {
    /// Changes the table during a span, optionally kills the capture after more chunks, and lets
    /// the backfill end. With several connections and chunks of 5 rows the table has three ranges.
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
        until_blocked(&mut scene.client);
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
            assert_no_change_repeats_a_row(renamed.collect::<Vec<_>>().iter().collect());
        }
    }
}

pub(super) fn until_backfilled(session: &mut Session<'_>, rows: u64) {
    session.until("a part of the backfill", |session| {
        let state = session.task.binding_state("public.t");
        state["backfilled"].as_u64() >= Some(rows)
    });
}

/// Waits until the connector's sessions on the server are idle or cannot send the requested rows.
pub(super) fn until_blocked(client: &mut Client) {
    let busy = "select count(*) from pg_stat_activity \
                where application_name = 'estuary_flow' and backend_type = 'client backend' \
                and wait_event is distinct from 'ClientWrite' \
                and wait_event is distinct from 'ClientRead'";
    wait::until("the span to be blocked", || {
        (value(client, busy) == "0").then_some(())
    });
}

macro_rules! cases {
    ($($name:ident: $case:ident;)*) => {
        mod changes_during_a_span {
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
                    fn with_several_connections_to_the_end() {
                        $case.play(3, false);
                    }

                    #[test]
                    fn with_several_connections_killed() {
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

/// A row moves from a part of the table that is still to be emitted to one that was emitted. The
/// key of the scan is not the key of the collection.
#[test]
fn a_row_that_moves_back_across_an_open_span_has_its_latest_values() {
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
    until_blocked(&mut scene.client);
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

/// A session that waits to alter a table blocks all others from reading it, the connector's own
/// connection for queries included.
#[test]
fn a_span_ends_so_that_a_table_another_session_waits_to_alter_can_be_queried() {
    let mut scene = Scene::new(&wide_rows("int", "i"));
    // The chunks that are requested ahead must be less than the table. Otherwise the socket buffers
    // could take the remaining rows, and the span would end.
    advanced(&mut scene.task, &json!({"backfill_chunk_size": 20}));
    scene.task.bind(&["public.t"]);
    let mut other = scene.connect();
    let mut session = scene.task.open();
    until_backfilled(&mut session, 100);
    until_blocked(&mut scene.client);
    // The row's TOAST value has to be queried.
    execute(&mut scene.client, "update t set k = -1 where k = 1");
    let change =
        thread::spawn(move || execute(&mut other, "alter table t add extra int default 7"));
    wait::until("the change to wait", || {
        let waiting = "select 1 from pg_locks where relation = 't'::regclass and not granted";
        (!query(&mut scene.client, waiting).is_empty()).then_some(())
    });
    session.until_active();
    change.join().expect("the change succeeds");
    execute(&mut scene.client, "update t set n = 0 where k = 3000");
    session.until_document("public.t", |document| document.value["n"] == 0);
    session.kill();
    // Rows that were read before the column was added lack it.
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

/// Waits until the thread that alters the table has ended or waits for a lock. It waits if a span
/// is open, which does not end while the output is not read.
fn until_altered_or_waiting(client: &mut Client, changing: &thread::JoinHandle<()>) {
    let waiting = "select 1 from pg_locks where relation = 't'::regclass and not granted";
    wait::until("the change to wait, or to be made", || {
        let waits = !query(client, waiting).is_empty();
        (waits || changing.is_finished()).then_some(())
    });
}

/// The stream describes a table only before its next change, so columns that are added or become
/// ordinary without a change of a row are not in the stream.
#[test]
fn columns_that_change_between_two_spans_are_in_the_rows_of_the_second() {
    let change = "alter table t alter double drop expression,
        add triple int generated always as (n * 3) stored, add extra int default 7";
    let all = "double,extra,";
    for (key, mode, connections, publication, added) in [
        ("int", "Precise", 1, "for all tables", all),
        ("int", "Precise", 2, "for all tables", all),
        // A key with which chunks are read one by one.
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
        until_blocked(&mut scene.client);
        let changing = thread::spawn(move || execute(&mut other, change));
        until_altered_or_waiting(&mut scene.client, &changing);
        session.until_active();
        changing.join().expect("the change succeeds");
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
        assert_eq!(rows.len(), usize::try_from(ROWS).expect("64 bits"));
    }
}

#[test]
fn a_blocked_span_outlives_idle_in_transaction_session_timeout() {
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

/// The first row waits for a lock that the test holds for longer than the statement timeout.
#[test]
fn a_window_of_pages_that_times_out_is_made_smaller() {
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
fn without_a_free_connection_chunks_are_read_one_by_one() {
    limited(1);
}

/// One of two connections that are opened ahead is refused, and the other is used.
#[test]
fn one_free_connection_is_used() {
    limited(2);
}

/// Backfills with a limit of `connections` for the role. Replication connections are not counted.
fn limited(connections: u32) {
    let server = Server::with(Version::MAIN, &Options::default());
    let (mut client, mut task) = scene::create(
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
    task.backfill_all();
    task.bind(&["public.t", "public.other"]);
    let connected = "select count(*) from pg_stat_activity where usename = 'capture'";
    wait::until("its connections to be gone", || {
        (value(&mut client, connected) == "0").then_some(())
    });
    let limit = format!("alter role capture connection limit {connections}");
    execute(&mut client, &limit);
    let mut session = task.open_active();
    let is_told = |line: &Line| line.message.contains("chunks are read one by one");
    if connections == 1 {
        session.until_logged("chunks are read one by one");
    } else {
        assert!(session.log().find(is_told).is_none(), "{}", session.log());
    }
    execute(&mut client, "update t set n = 0 where k = 1000");
    session.until_document("public.t", |document| document.value["n"] == 0);
    // The server may notice with a delay that the connection for rows is closed.
    wait::until("two connections to be left", || {
        (value(&mut client, connected) == "2").then_some(())
    });
    session.kill();
    assert_captured(&mut client, &task, "public.t", &["k"]);
}

/// Each transaction changes so many rows that a span is given up. When a span is requested, one
/// transaction is being streamed and another is waiting, because a capture with an existing slot
/// catches up with the first of them before it requests rows.
#[test]
fn a_backfill_ends_in_spite_of_large_transactions_without_pause() {
    const MAX_TRANSACTIONS: u32 = 30;
    let mut scene = Scene::new(
        "create table other(id int primary key);
         create table t(k int primary key, n int, wide text);
         insert into t select i, i, repeat('w', 6000) from generate_series(1, 4000) i",
    );
    advanced(&mut scene.task, &json!({"backfill_chunk_size": 1000}));
    scene.task.bind(&["public.other"]);
    scene.task.backfill_all();
    scene.task.bind(&["public.t", "public.other"]);
    let done = Arc::new(AtomicBool::new(false));
    let mut other = scene.connect();
    let is_done = Arc::clone(&done);
    let writing = thread::spawn(move || {
        let mut last = "0/0".to_owned();
        // Bounded, so that a capture that does not make progress does not fill the memory with
        // documents.
        for _ in 0..MAX_TRANSACTIONS {
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
    let mut session = scene.task.open_active();
    session.until_logged("too many of their rows are changing");
    done.store(true, Ordering::Relaxed);
    writing.join().expect("the thread ends");
    execute(&mut scene.client, "update t set n = -1 where k = 1");
    session.until_document("public.t", |document| document.value["n"] == -1);
    session.kill();
    scene.assert_captured("public.t", &["k"]);
}

/// The server continues in the order of the new type or collation, in which unread keys can precede
/// the last key that was read.
#[test]
fn a_scan_by_a_key_whose_order_changes_starts_again() {
    let number = ("int", "i");
    let text = (
        "text collate \"C\"",
        "case i % 2 when 0 then 'a' else 'B' end || lpad(i::text, 5, '0')",
    );
    for ((key, expression), new_type, starts_again) in [
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
            until_blocked(&mut scene.client);
            let first = if is_streamed {
                "update t set n = 5 where n = 20"
            } else {
                "select 1"
            };
            let sql = format!("{change}; {first}");
            let changing = thread::spawn(move || execute(&mut other, &sql));
            until_altered_or_waiting(&mut scene.client, &changing);
            session.until_active();
            changing.join().expect("the change succeeds");
            execute(&mut scene.client, "update t set n = -1 where n = 2999");
            session.until_document("public.t", |document| document.value["n"] == -1);
            assert_eq!(
                session
                    .log()
                    .find(|line| says(line, "another order"))
                    .is_some(),
                starts_again,
                "{change}"
            );
            session.kill();
            // Documents from before the change have keys of the earlier type.
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
fn a_scan_uses_the_current_row_filter() {
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
    until_blocked(&mut scene.client);
    // A change of the columns makes the connector look the table up again.
    let changing = thread::spawn(move || {
        execute(
            &mut other,
            "begin; alter publication flow_publication set table t where (n is not null);
             alter table t add extra int default 7; commit",
        );
    });
    until_altered_or_waiting(&mut scene.client, &changing);
    session.until_active();
    changing.join().expect("the change succeeds");
    session.kill();
    let documents = documents_of(&scene.task, "public.t");
    let last = documents
        .iter()
        .filter_map(|document| document.value["k"].as_i64())
        .max();
    assert_eq!(last, Some(3000));
}
