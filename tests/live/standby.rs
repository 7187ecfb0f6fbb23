//! Captures from a standby, and read-only captures from a primary: the connector writes nothing.

use std::thread;

use postgres::Client;
use serde_json::json;

use super::visibility::set_standby;
use crate::support::postgres::{Options, Server, Version, query, value};
use crate::support::scene::{
    self, advanced, assert_captured, changes, connect, documents_of, execute,
};
use crate::support::task::{Session, Task};
use crate::support::wait;

/// A primary with filled tables, its standby, and a task that captures from the standby.
struct Pair {
    primary: Server,
    standby: Server,
    client: Client,
    task: Task,
}

fn pair(version: Version) -> Pair {
    let mut primary = Server::start(version);
    let (client, mut task) = scene::create(
        &primary,
        "create table t(id int primary key, n int, wide text);
         create table keyless(n int, tag text);
         alter table t alter wide set storage external;
         insert into t select i * 10, i, repeat('w', 3000) from generate_series(1, 300) i;
         insert into keyless select i, 'row ' || i from generate_series(1, 300) i",
    );
    drop(client);
    let standby = Server::standby_of(
        &mut primary,
        &Options::default().setting("hot_standby_feedback = on"),
    );
    task.config["address"] = json!(standby.address());
    advanced(
        &mut task,
        &json!({"read_only_capture": true, "backfill_chunk_size": 50}),
    );
    let client = connect(&primary);
    Pair {
        primary,
        standby,
        client,
        task,
    }
}

/// Follows the capture until its slot is created. The creation of a slot on a standby ends when it
/// replays a record of the running transactions, so the primary is asked to write such records.
fn until_created(session: &mut Session<'_>, primary: &mut Client) {
    session.until("the slot", |session| {
        query(primary, "select pg_log_standby_snapshot()");
        session
            .log()
            .find(|line| line.message == "starting replication")
            .is_some()
    });
}

/// Tests a capture from a standby, and a second session of it.
fn capture_from_standby(version: Version) {
    let Pair {
        primary,
        standby,
        mut client,
        mut task,
    } = pair(version);
    task.bind(&["public.t", "public.keyless"]);
    let mut session = task.open();
    until_created(&mut session, &mut client);
    session.until("a part of the backfill", |session| {
        session.task.binding_state("public.t")["backfilled"].as_u64() >= Some(100)
    });
    for sql in [
        "update t set n = -n where id % 70 = 0",
        "delete from t where id % 110 = 0",
        "update t set id = id + 1 where id % 130 = 0",
        "insert into t select i * 10 + 5, i, '' from generate_series(1, 300, 7) i",
        "insert into keyless values (-1, 'new')",
    ] {
        execute(&mut client, sql);
    }
    session.until_active();
    execute(
        &mut client,
        "insert into t values (0, 0, 'last of the first')",
    );
    session.until_id("public.t", 0);
    session.kill();

    execute(
        &mut client,
        "update t set n = 7 where id = 20; insert into keyless values (-2, 'newer');
         update t set id = -1 where id = 20",
    );
    let mut session = task.open();
    session.until_id("public.t", -1);
    session.kill();
    assert_captured(&mut client, &task, "public.t", &["id"]);
    assert_captured(&mut client, &task, "public.keyless", &[]);

    let written = "select count(*) from pg_class where relname = 'flow_watermarks'";
    assert_eq!(value(&mut client, written), "0");
    let slots = "select count(*) from pg_replication_slots where slot_name = 'flow_slot'";
    assert_eq!(value(&mut client, slots), "0", "a slot on the primary");
    assert_eq!(value(&mut connect(&standby), slots), "1");
    drop(primary);
}

#[test]
fn a_standby_of_version_16_is_backfilled_and_streamed() {
    capture_from_standby(Version(16));
}

#[test]
fn a_standby_of_version_18_is_backfilled_and_streamed() {
    capture_from_standby(Version(18));
}

/// The primary writes nothing after the start, except records of the running transactions.
#[test]
fn a_standby_of_an_idle_primary_is_backfilled() {
    let mut pair = pair(Version(17));
    pair.task.bind(&["public.t", "public.keyless"]);
    let mut session = pair.task.open();
    until_created(&mut session, &mut pair.client);
    session.until_active();
    session.kill();
    assert_captured(&mut pair.client, &pair.task, "public.t", &["id"]);
    assert_captured(&mut pair.client, &pair.task, "public.keyless", &[]);
}

#[test]
fn missing_prerequisites_of_a_standby_have_to_be_provided_on_the_primary() {
    let mut pair = pair(Version(16));
    pair.task.bind(&["public.t"]);
    execute(&mut pair.client, "drop publication flow_publication");
    // The connector checks what the standby has replayed.
    let gone = "select 1 from pg_publication";
    let mut reader = connect(&pair.standby);
    wait::until("the standby", || {
        query(&mut reader, gone).is_empty().then_some(())
    });
    advanced(&mut pair.task, &json!({"read_only_capture": false}));
    let failure = pair
        .task
        .validate()
        .expect_err("a prerequisite is missing")
        .to_string();
    for text in ["read_only_capture", "on the primary", "CREATE PUBLICATION"] {
        assert!(failure.contains(text), "{failure}");
    }
}

#[test]
fn an_old_standby_is_refused() {
    let mut primary = Server::start(Version::MAIN);
    let (client, mut task) = scene::create(&primary, "create table t(id int primary key)");
    drop(client);
    task.bind(&["public.t"]);
    let standby = Server::standby_of(&mut primary, &Options::default());
    task.config["address"] = json!(standby.address());
    advanced(&mut task, &json!({"read_only_capture": true}));
    let failure = task
        .validate()
        .expect_err("the version does not support it")
        .to_string();
    assert!(failure.contains("from version 16 on"), "{failure}");
}

/// Neither the capture nor any other session writes.
#[test]
fn a_read_only_capture_of_an_idle_primary_is_complete_and_writes_nothing() {
    let mut scene = scene::Scene::new(
        "create table t(id int primary key, n int);
         create table keyless(n int);
         insert into t select i, i from generate_series(1, 100) i;
         insert into keyless select i from generate_series(1, 100) i",
    );
    advanced(
        &mut scene.task,
        &json!({"read_only_capture": true, "backfill_chunk_size": 7}),
    );
    scene.task.bind(&["public.t", "public.keyless"]);
    scene.task.backfill_all();
    scene.assert_captured("public.t", &["id"]);
    scene.assert_captured("public.keyless", &[]);
    let tables = query(
        &mut scene.client,
        "select relname from pg_class where relname like '%watermark%'",
    );
    assert!(tables.is_empty(), "{tables:?}");
}

/// Only an unpublished table is written to, so that the stream has nothing but keepalives.
#[test]
fn the_slot_advances_past_unpublished_changes() {
    for read_only in [true, false] {
        let mut scene = scene::Scene::new(
            "create table t(id int primary key);
             create table elsewhere(filler text);
             insert into t values (1)",
        );
        // The connector reports its position at intervals of a third of wal_sender_timeout.
        scene.execute(
            "drop publication flow_publication; create publication flow_publication for table t;
             alter role postgres set wal_sender_timeout = '1s'",
        );
        advanced(&mut scene.task, &json!({"read_only_capture": read_only}));
        scene.task.bind(&["public.t"]);
        let mut session = scene.task.open_active();
        // More WAL than the distance after which a checkpoint is emitted at once.
        execute(
            &mut scene.client,
            "insert into elsewhere select repeat(md5(i::text), 20) from generate_series(1, 30000) i",
        );
        let written = value(&mut scene.client, "select pg_current_wal_lsn()");
        let reached =
            format!("select confirmed_flush_lsn >= '{written}' from pg_replication_slots");
        // The remainder gets a checkpoint after an interval, or with the next change.
        let most = format!(
            "select confirmed_flush_lsn > '{written}'::pg_lsn - 10000000 from pg_replication_slots"
        );
        let client = &mut scene.client;
        session.until("the slot to follow", |_| value(client, &most) == "t");
        execute(client, "insert into t values (2)");
        session.until_id("public.t", 2);
        session.until("the slot to follow", |_| value(client, &reached) == "t");
        session.kill();
        assert_eq!(changes(documents_of(&scene.task, "public.t")).len(), 2);
    }
}

/// With `synchronous_standby_names = '*'`, every walsender is a synchronous standby, a capture
/// included.
#[test]
fn a_capture_that_is_a_synchronous_standby_logs_that() {
    let options = Options::default().setting("synchronous_standby_names = ''");
    let server = Server::with(Version::MAIN, &options);
    let (mut client, mut task) = scene::create(&server, "create table t(id int primary key)");
    task.bind(&["public.t"]);
    set_standby(&mut client, "'*'");
    let mut session = task.open();
    session.until_logged("takes this capture for a synchronous standby");
    session.until_active();
    // The commit returns when Flow has acknowledged the change.
    let writer = thread::spawn(move || execute(&mut client, "insert into t values (1)"));
    session.until_id("public.t", 1);
    session.until("the commit", |_| writer.is_finished());
    writer.join().expect("a commit");
}
