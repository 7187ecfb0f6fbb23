//! Joining of backfill and stream: tables that are bound while other sessions write to them, rows
//! that move during a scan, and cases that are refused because the two could not be joined.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};

use super::visibility::{hold_commits, position, set_standby};
use crate::support::connector::Line;
use crate::support::postgres::{Options, Server, Version, query, value};
use crate::support::scene::{self, Scene, advanced, assert_captured, execute};
use crate::support::task::Session;
use crate::support::wait;

/// Begins a transaction, runs `sql` in it, and returns its id.
fn begin(client: &mut Client, sql: &str) -> String {
    execute(client, &format!("begin; {sql}"));
    value(client, "select txid_current()")
}

/// Follows the capture until the log shows that it waits for one of these transactions.
fn until_waiting_for(session: &mut Session<'_>, transactions: &[String]) -> Line {
    let says = |line: &Line| {
        line.message.contains("waiting for transaction")
            && line
                .field("xid")
                .is_some_and(|xid| transactions.contains(&xid))
    };
    session.until("a line that says what is waited for", |session| {
        session.log().find(says).is_some()
    });
    session.log().find(says).expect("the line was found")
}

fn mode<'a>(session: &'a Session<'_>, name: &str) -> &'a Value {
    &session.task.binding_state(name)["mode"]
}

/// Tests a transaction that writes to a table before the table is published, and ends while the
/// capture waits for it.
fn write_before_publication(kill: bool) {
    let mut scene = Scene::new(
        "create table t1(id int primary key, v text);
         create table t2(id int primary key, v text);
         insert into t1 values (1, 'a');
         insert into t2 values (1, 'a'), (2, 'b'), (3, 'c')",
    );
    scene.task.bind(&["public.t1", "public.t2"]);
    let bindings = scene.task.bindings.clone();
    scene.task.bindings.truncate(1);
    scene.execute(
        "drop publication flow_publication; create publication flow_publication for table t1",
    );
    scene.task.backfill_all();
    let mut writer = scene.connect();
    let xid = begin(
        &mut writer,
        "insert into t2 values (10, 'new'); update t2 set v = 'changed' where id = 2",
    );
    let Scene { client, task, .. } = &mut scene;
    task.bindings = bindings;
    task.publish();
    assert!(is_published(client, "t2"));

    let mut session = task.open();
    until_waiting_for(&mut session, std::slice::from_ref(&xid));
    if kill {
        // The state does not hold the transactions that are waited for, but it shows that no chunk
        // was read.
        session.until("the start of the backfill", |session| {
            mode(session, "public.t2") == "Backfill"
        });
        session.kill();
        session = task.open();
        until_waiting_for(&mut session, std::slice::from_ref(&xid));
    }
    for id in 11..14 {
        execute(client, &format!("insert into t1 values ({id}, 'live')"));
        session.until_id("public.t1", id);
    }
    assert_ne!(mode(&session, "public.t2"), "Active");
    execute(
        &mut writer,
        "delete from t2 where id = 3; insert into t2 values (11, 'late'); commit",
    );
    session.until_active();
    execute(client, "insert into t2 values (99, 'last')");
    session.until_id("public.t2", 99);
    session.kill();
    scene.assert_captured("public.t1", &["id"]);
    scene.assert_captured("public.t2", &["id"]);
}

fn is_published(client: &mut Client, name: &str) -> bool {
    let sql = format!("select count(*) from pg_publication_tables where tablename = '{name}'");
    value(client, &sql) == "1"
}

#[test]
fn a_transaction_from_before_publication_is_waited_for_while_other_tables_are_captured() {
    write_before_publication(false);
}

#[test]
fn a_transaction_from_before_publication_is_waited_for_after_a_kill() {
    write_before_publication(true);
}

/// Transactions whose commits hang after they were flushed and before they are visible, because the
/// standby that has to confirm them does not exist.
struct Held {
    writers: Vec<JoinHandle<()>>,
    transactions: Vec<String>,
}

impl Held {
    fn hold(server: &Server, client: &mut Client, statements: &[&'static str]) -> Self {
        hold_commits(server, client);
        // The test's own commits must not hang.
        execute(client, "set synchronous_commit = local");
        let writers = statements.iter().copied().map(|statement| {
            let mut writer = scene::connect(server);
            thread::spawn(move || execute(&mut writer, statement))
        });
        let writers: Vec<_> = writers.collect();
        // The id of a prepared transaction is not that of the session that commits it.
        let hanging = "select coalesce(backend_xid, (select transaction from pg_prepared_xacts)) \
                       from pg_stat_activity where wait_event = 'SyncRep'";
        let transactions = wait::until("the commits to hang", || {
            let rows = query(client, hanging);
            (rows.len() == statements.len()).then(|| rows.into_iter().flatten().collect())
        });
        Self {
            writers,
            transactions,
        }
    }

    fn release(self, client: &mut Client) {
        set_standby(client, "''");
        for writer in self.writers {
            writer.join().expect("the commit goes through");
        }
    }
}

/// Starts a server on which commits can be held.
fn server_with_standby() -> Server {
    let options = Options::default()
        .setting("synchronous_standby_names = ''")
        .setting("max_prepared_transactions = 10");
    Server::with(Version::MAIN, &options)
}

/// For a new slot the server starts to decode at one position and to stream at a later one. A
/// commit in between is not in the stream and, while it is held, not in a snapshot either.
#[test]
fn a_commit_held_during_the_creation_of_the_slot_is_not_lost() {
    let server = server_with_standby();
    let (mut client, mut task) = scene::create(
        &server,
        "create table t(id int primary key, v text);
         create table other(id int primary key);
         insert into t values (1, 'old'), (2, 'old')",
    );
    task.bind(&["public.t"]);
    let (mut first, mut second) = (scene::connect(&server), scene::connect(&server));
    begin(&mut first, "insert into other values (1)");
    let mut session = task.open();
    let creation = |client: &mut Client, stage: &str| {
        wait::until(stage, || {
            let waiting = query(
                client,
                "select transactionid from pg_locks \
                 where not granted and locktype = 'transactionid'",
            );
            waiting.into_iter().flatten().next()
        })
    };
    let waited_for = creation(&mut client, "the slot to wait for the first transaction");
    let xid = begin(&mut second, "insert into other values (2)");
    assert_ne!(waited_for, xid);
    execute(&mut first, "commit");
    wait::until("the slot to wait for the second transaction", || {
        (creation(&mut client, "the slot to wait") == xid).then_some(())
    });

    let changes = [
        "insert into t values (10, 'held')",
        "update t set v = 'held' where id = 1",
    ];
    let held = Held::hold(&server, &mut client, &changes);
    execute(&mut second, "rollback");
    until_waiting_for(&mut session, &held.transactions);
    assert_ne!(mode(&session, "public.t"), "Active");
    held.release(&mut client);
    session.until_active();
    execute(&mut client, "insert into t values (99, 'last')");
    session.until_id("public.t", 99);
    session.kill();
    assert_captured(&mut client, &task, "public.t", &["id"]);
}

/// Tests a commit that was streamed before its table is bound and is still held then, with a role
/// that cannot see other sessions in `pg_stat_activity`.
fn hold_commit_from_a_role_that_sees_no_sessions(prepare: &str, commit: &'static str) {
    let server = server_with_standby();
    let (mut client, mut task) = scene::create(
        &server,
        "create table t1(id int primary key, v text);
         create table t2(id int primary key, v text);
         create table flow_watermarks(slot text primary key, watermark text);
         insert into t2 values (1, 'old'), (2, 'old');
         create role capture login replication;
         grant pg_read_all_data to capture;
         grant all on flow_watermarks to capture",
    );
    task.config["user"] = json!("capture");
    advanced(
        &mut task,
        &json!({"watermarksTable": "public.flow_watermarks"}),
    );
    task.bind(&["public.t1"]);
    let mut session = task.open_active();
    execute(&mut client, prepare);
    let held = Held::hold(&server, &mut client, &[commit]);
    let passed = value(&mut client, "select pg_current_wal_lsn()");
    execute(&mut client, "insert into t1 values (1, 'behind it')");
    session.until("the stream to pass the commit", |session| {
        let cursor = session.task.state["cursor"].as_str();
        cursor.is_some_and(|cursor| position(cursor) >= position(&passed))
    });
    session.kill();

    task.bind(&["public.t1", "public.t2"]);
    let mut session = task.open();
    until_waiting_for(&mut session, &held.transactions);
    execute(&mut client, "insert into t1 values (2, 'meanwhile')");
    session.until_id("public.t1", 2);
    assert_ne!(mode(&session, "public.t2"), "Active");
    held.release(&mut client);
    session.until_active();
    execute(&mut client, "insert into t2 values (99, 'last')");
    session.until_id("public.t2", 99);
    session.kill();
    assert_captured(&mut client, &task, "public.t1", &["id"]);
    assert_captured(&mut client, &task, "public.t2", &["id"]);
}

#[test]
fn a_held_commit_is_waited_for_by_a_role_that_sees_no_sessions() {
    hold_commit_from_a_role_that_sees_no_sessions(
        "",
        "begin; insert into t2 values (10, 'held'); update t2 set v = 'held' where id = 1; commit",
    );
}

#[test]
fn a_held_commit_of_a_prepared_transaction_is_waited_for_by_a_role_that_sees_no_sessions() {
    hold_commit_from_a_role_that_sees_no_sessions(
        "begin; insert into t2 values (10, 'held'); update t2 set v = 'held' where id = 1;
         prepare transaction 'held'",
        "commit prepared 'held'",
    );
}

/// A table that is dropped and created again is no longer in a publication that lists its tables.
#[test]
fn a_table_that_has_left_the_publication_is_refused_until_it_is_backfilled_again() {
    let mut scene = Scene::new(
        "create table t(id int primary key, v text); insert into t values (1, 'before')",
    );
    scene.execute(
        "drop publication flow_publication; create publication flow_publication for table t",
    );
    scene.task.bind(&["public.t"]);
    scene.task.backfill_all();
    scene.execute(
        "drop table t; create table t(id int primary key, v text); insert into t values (2, 'new')",
    );
    let remedy = ["public.t", "flow_publication", "backfill its binding again"];
    scene.task.run().assert_failed(&remedy);
    let last = scene.task.spec();
    let failure = scene.task.validate_after(Some(last.clone()));
    let text = failure.expect_err("it must be refused").to_string();
    assert!(remedy.iter().all(|part| text.contains(part)), "{text}");
    assert!(!is_published(&mut scene.client, "t"));

    scene.execute("insert into t values (3, 'unpublished')");
    scene.task.binding_mut("public.t").backfill += 1;
    let validated = scene.task.validate_after(Some(last));
    validated.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(is_published(&mut scene.client, "t"));
    // A raised backfill counter resets the collection.
    scene.task.documents.clear();
    let mut session = scene.task.open_active();
    execute(&mut scene.client, "insert into t values (4, 'last')");
    session.until_id("public.t", 4);
    session.kill();
    scene.assert_captured("public.t", &["id"]);
}

/// Returns a scene with TOASTed values, which an update that leaves them alone does not send.
fn wide_rows(columns: &str) -> Scene {
    let mut scene = Scene::new(&format!(
        "create table t(id int primary key, seq int not null, n int default 0, wide text);
         create index on t(seq);
         alter table t alter wide set storage external;
         alter table t set (autovacuum_enabled = off);
         insert into t select i, i * 10, 0, repeat('w', 3000) from generate_series(1, 500) i;
         {columns}"
    ));
    advanced(&mut scene.task, &json!({"backfill_chunk_size": 100}));
    scene.task.bind(&["public.t"]);
    scene
}

/// Kills the capture during its scan, runs `change`, and lets the backfill end.
fn change_during_the_scan(scene: &mut Scene, change: &str) {
    let mut session = scene.task.open();
    session.until("the first chunk", |session| {
        session.task.binding_state("public.t")["scanned"].is_string()
    });
    session.kill();
    let backfilled = scene.task.binding_state("public.t")["backfilled"].as_u64();
    assert!(backfilled < Some(480), "too far: {backfilled:?}");
    scene.execute(change);
    let mut session = scene.task.open_active();
    execute(&mut scene.client, "update t set n = 2 where id = 400");
    session.until_document("public.t", |document| document.value["n"] == 2);
    session.kill();
    scene.assert_captured("public.t", &["id"]);
}

#[test]
fn a_row_that_moves_back_across_a_scan_by_ctid_keeps_its_toast_value() {
    let mut scene = wide_rows("delete from t where id < 40");
    scene.execute("vacuum t");
    scene.task.binding_mut("public.t").resource["mode"] = json!("Without Primary Key");
    scene.task.publish();
    let position = "select max(ctid) from t where id in (300, 301, 302)";
    let before = value(&mut scene.client, position);
    change_during_the_scan(&mut scene, "update t set n = 1 where id in (300, 301, 302)");
    let after = value(&mut scene.client, position);
    assert!(page(&after) < page(&before), "from {before} to {after}");
}

/// Returns the page number of a ctid.
fn page(ctid: &str) -> u32 {
    let number = ctid.trim_start_matches('(').split(',').next();
    number
        .and_then(|number| number.parse().ok())
        .expect("a page")
}

#[test]
fn a_row_that_moves_back_across_a_scan_by_another_key_keeps_its_toast_value() {
    let mut scene = wide_rows("");
    scene.task.binding_mut("public.t").resource["primary_key"] = json!(["seq"]);
    scene.task.publish();
    change_during_the_scan(&mut scene, "update t set seq = 5 where id = 490");
}

#[test]
fn two_bindings_of_one_table_are_refused() {
    let mut scene =
        Scene::new("create table users(id int primary key); insert into users values (1)");
    scene.task.bind(&["public.users"]);
    let mut twin = scene.task.bindings[0].clone();
    twin.resource["stream"] = json!("USERS");
    scene.task.bindings.push(twin);
    let text = scene.task.validate().expect_err("refused").to_string();
    assert!(
        text.contains("bound twice") || text.contains("more than one"),
        "{text}"
    );
    scene
        .task
        .run()
        .assert_failed(&["public.users", "bound twice"]);
}

#[test]
fn a_missing_table_that_exists_again_at_the_start_is_backfilled() {
    let mut scene = Scene::new(
        "create table t(id int primary key); create table other(id int primary key);
         insert into t values (1)",
    );
    scene.task.bind(&["public.t", "public.other"]);
    scene.task.backfill_all();
    let key = scene.task.bindings[0].state_key();
    scene.task.state["bindingStateV1"][key] = json!({"mode": "Missing", "backfilled": 0});
    scene.task.documents.clear();
    let mut session = scene.task.open();
    session.until_logged("table exists again");
    session.until_active();
    execute(&mut scene.client, "insert into t values (2)");
    session.until_id("public.t", 2);
    session.kill();
    scene.assert_captured("public.t", &["id"]);
}

/// Only the server knows the order of these keys, so the connector can only tell whether two are
/// equal.
#[test]
fn changes_that_a_chunk_contains_are_not_emitted_again_if_only_the_server_orders_its_keys() {
    // The rows of the first chunk exceed all buffers between the server and a test that does not
    // read.
    let mut scene = Scene::new(
        "create table t(k text collate \"und-x-icu\" primary key, n int, wide text);
         alter table t alter wide set storage external;
         insert into t select 'a' || i, 0, repeat('w', 100000) from generate_series(1, 200) i;
         insert into t select 'b' || i, 0, '' from generate_series(1, 200) i",
    );
    advanced(&mut scene.task, &json!({"backfill_chunk_size": 200}));
    scene.task.bind(&["public.t"]);
    scene.task.binding_mut("public.t").resource["mode"] = json!("Precise");
    scene.task.publish();
    let mut session = scene.task.open();
    let blocked = "select count(*) from pg_stat_activity where wait_event = 'ClientWrite'";
    wait::until("the first chunk to be blocked", || {
        (value(&mut scene.client, blocked) == "1").then_some(())
    });
    // The stream is read up to the first commit after the chunk's snapshot; the second commit is
    // contained in the next chunk.
    execute(&mut scene.client, "insert into t values ('c', 0, '')");
    execute(&mut scene.client, "update t set n = 1");
    session.until_active();
    execute(&mut scene.client, "update t set n = 2 where k = 'c'");
    session.until_document("public.t", |document| document.value["n"] == 2);
    session.kill();
    scene.assert_captured("public.t", &["k"]);

    let of = |letter: char| {
        let documents = scene::documents_of(&scene.task, "public.t").into_iter();
        documents.filter_map(move |document| {
            let key = document.value["k"].as_str().expect("a key");
            let n = document.value["n"].as_i64().expect("a number");
            key.starts_with(letter)
                .then_some((document.is_snapshot(), n))
        })
    };
    let count = |letter, kind| of(letter).filter(|found| *found == kind).count();
    assert_eq!(
        (
            of('a').count(),
            count('a', (true, 0)),
            count('a', (false, 1))
        ),
        (400, 200, 200)
    );
    assert_eq!(
        (of('b').count(), count('b', (true, 1))),
        (200, 200),
        "emitted again"
    );
}

#[test]
fn a_key_that_the_replica_identity_lacks_stops_the_capture_until_its_binding_is_backfilled_again() {
    let mut scene = Scene::new(
        "create table other(id int primary key);
         create table t(id int primary key, code text not null, v text);
         insert into t values (1, 'one', 'old'), (2, 'two', 'old')",
    );
    scene.task.bind(&["public.other", "public.t"]);
    let binding = scene.task.binding_mut("public.t");
    binding.key = vec!["/code".to_owned()];
    binding.projections = binding.key.clone();
    binding.resource["mode"] = json!("Normal");
    scene.task.publish();
    scene.task.backfill_all();
    scene.execute("update t set v = 'new' where id = 1");
    let remedy = "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL";
    scene.task.run().assert_failed(&["public.t", remedy]);

    scene.execute(remedy);
    scene.task.binding_mut("public.t").backfill += 1;
    scene.task.publish();
    let mut session = scene.task.open_active();
    execute(
        &mut scene.client,
        "update t set code = 'moved' where id = 2",
    );
    session.until_document("public.t", |document| document.value["code"] == "moved");
    session.kill();
    scene.assert_captured("public.t", &["code"]);
}

/// Commits that arrive just after a checkpoint do not wait for the interval between checkpoints to
/// end.
#[test]
fn every_burst_of_commits_is_followed_by_a_checkpoint() {
    const BOUND: Duration = Duration::from_secs(5);
    let mut scene = Scene::new("create table t(id int primary key)");
    scene.task.bind(&["public.t"]);
    let mut session = scene.task.open_active();
    let mut id = 0;
    for burst in 0..30 {
        for _ in 0..=burst % 5 {
            id += 1;
            execute(&mut scene.client, &format!("insert into t values ({id})"));
        }
        let start = Instant::now();
        let last = |session: &Session<'_>| {
            let document = session.run.documents.last();
            document.is_some_and(|document| document.value["id"] == id)
        };
        while !last(&session) {
            session.step(Duration::from_millis(10));
            assert!(start.elapsed() < BOUND, "burst {burst}\n{}", session.log());
        }
        assert!(session.pending.is_empty());
    }
}

#[test]
fn an_error_of_a_filter_shows_no_value() {
    let mut scene = Scene::new(
        "create table t(id int primary key, v text);
         insert into t select i, 'card-4711-' || i from generate_series(1, 10) i",
    );
    scene.task.bind(&["public.t"]);
    let resource = &mut scene.task.binding_mut("public.t").resource;
    resource["mode"] = json!("Normal");
    resource["advanced"] = json!({"additional_backfill_filter": "v::int > 3"});
    scene.task.publish();
    let run = scene.task.run();
    run.assert_failed(&["public.t", "22P02"]);
    let lines = run.log.lines();
    let revealing = lines.iter().find(|line| scene::says(line, "4711"));
    assert_eq!(revealing, None);
}

#[test]
fn the_status_names_the_transaction_that_the_creation_of_the_slot_waits_for() {
    let mut scene = Scene::new("create table t(id int primary key); create table other(id int)");
    scene.task.bind(&["public.t"]);
    let mut writer = scene.connect();
    let xid = begin(&mut writer, "insert into other values (1)");
    let process = value(&mut writer, "select pg_backend_pid()");
    let mut session = scene.task.open();
    let line = session.until_logged("Waiting for the server to create the replication slot");
    assert_eq!(line.field("eventType").as_deref(), Some("connectorStatus"));
    for text in [&format!("transaction {xid}"), &format!("process {process}")] {
        assert!(line.message.contains(text), "{line:?}");
    }
    execute(&mut writer, "commit");
    session.until_active();
}

/// A start opens the replication connection once, and after it only connections for rows.
#[test]
fn a_start_opens_each_connection_once() {
    let options = Options::default().setting("log_connections = on");
    let server = Server::with(Version::MAIN, &options);
    let (_client, mut task) = scene::create(
        &server,
        "create table t(id int primary key); insert into t select generate_series(1, 500)",
    );
    task.bind(&["public.t"]);
    task.backfill_all();
    let log = server.log();
    let ours = log.lines().filter(|line| line.contains("estuary_flow"));
    let mut from_stream = ours.skip_while(|line| !line.contains("replication connection"));
    assert!(from_stream.next().is_some(), "{log}");
    let others: Vec<_> = from_stream.collect();
    let is_for_rows = |line: &&str| line.contains("LOG:  connection authorized");
    assert!(others.iter().all(is_for_rows), "{log}");
    // The second may be given up before it is open, because one chunk needs only one connection.
    assert!((1..=2).contains(&others.len()), "{log}");
}
