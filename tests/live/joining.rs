//! Where backfill and stream meet: tables that are bound while others write to them, rows that move
//! while a scan is under way, and what is refused because it could not be joined.

use std::thread::{self, JoinHandle};

use postgres::Client;
use serde_json::{Value, json};

use super::visibility::{position, set_standby};
use crate::support::connector::Line;
use crate::support::postgres::{Options, Server, Version, query, value};
use crate::support::scene::{self, Scene, advanced, assert_captured, execute};
use crate::support::task::{Session, Task};
use crate::support::wait;

/// Begins a transaction that has written, and returns its id.
fn begin(client: &mut Client, sql: &str) -> String {
    execute(client, &format!("begin; {sql}"));
    value(client, "select txid_current()")
}

/// Goes on until the log says that one of these transactions is waited for.
fn until_it_waits(session: &mut Session<'_>, transactions: &[String]) -> Line {
    let says = |line: &Line| {
        line.message.contains("waiting for transaction")
            && line
                .field("xid")
                .is_some_and(|xid| transactions.contains(&xid))
    };
    session.until("a line that says what is waited for", |session| {
        session.log().find(says).is_some()
    });
    session.log().find(says).expect("it was found")
}

/// Captures what is bound to the end of its backfill.
fn establish(task: &mut Task) {
    let mut session = task.open();
    session.until_active();
    session.kill();
}

fn mode<'a>(session: &'a Session<'_>, name: &str) -> &'a Value {
    &session.task.binding_state(name)["mode"]
}

/// A transaction that has written to a table before the table is published, and ends while the
/// capture waits for it.
fn writes_before_publication(kill: bool) {
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
    establish(&mut scene.task);
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
    until_it_waits(&mut session, std::slice::from_ref(&xid));
    if kill {
        // What was waited for is not in the state, but that no chunk was read is.
        session.until("the start of the backfill", |session| {
            mode(session, "public.t2") == "Backfill"
        });
        session.kill();
        session = task.open();
        until_it_waits(&mut session, std::slice::from_ref(&xid));
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
fn who_writes_before_the_table_is_published_is_waited_for_while_others_go_on() {
    writes_before_publication(false);
}

#[test]
fn who_writes_before_the_table_is_published_is_waited_for_after_a_kill() {
    writes_before_publication(true);
}

/// Transactions whose commits hang between their flush and their visibility, because the standby
/// that is to confirm them does not exist.
struct Held {
    writers: Vec<JoinHandle<()>>,
    transactions: Vec<String>,
}

impl Held {
    fn hold(server: &Server, client: &mut Client, statements: &[&'static str]) -> Self {
        set_standby(client, "'nobody'");
        // Commits of the test's own are not to hang.
        execute(client, "set synchronous_commit = local");
        let writers = statements.iter().copied().map(|statement| {
            let mut writer = scene::connect(server);
            thread::spawn(move || execute(&mut writer, statement))
        });
        let writers: Vec<_> = writers.collect();
        // A prepared transaction is not that of the session that commits it.
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

/// A server on which commits can be held.
fn server_with_standby() -> Server {
    let options = Options::default()
        .setting("synchronous_standby_names = ''")
        .setting("max_prepared_transactions = 10");
    Server::with(Version::MAIN, &options)
}

/// The server starts to collect changes for a new slot, and streams from a later point on. What was
/// committed between is in neither the stream nor, while it is held, a snapshot.
#[test]
fn what_is_held_while_the_slot_is_created_is_not_lost() {
    let server = server_with_standby();
    let (mut client, mut task) = scene::set(
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
    until_it_waits(&mut session, &held.transactions);
    assert_ne!(mode(&session, "public.t"), "Active");
    held.release(&mut client);
    session.until_active();
    execute(&mut client, "insert into t values (99, 'last')");
    session.until_id("public.t", 99);
    session.kill();
    assert_captured(&mut client, &task, "public.t", &["id"]);
}

/// A commit that is held when its table is bound, and was streamed before that, under a role which
/// may not see what sessions do.
fn held_from_a_role_that_sees_no_sessions(prepare: &str, commit: &'static str) {
    let server = server_with_standby();
    let (mut client, mut task) = scene::set(
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
    let mut session = task.open();
    session.until_active();
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
    until_it_waits(&mut session, &held.transactions);
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
    held_from_a_role_that_sees_no_sessions(
        "",
        "begin; insert into t2 values (10, 'held'); update t2 set v = 'held' where id = 1; commit",
    );
}

#[test]
fn a_held_commit_of_a_prepared_transaction_is_waited_for_by_a_role_that_sees_no_sessions() {
    held_from_a_role_that_sees_no_sessions(
        "begin; insert into t2 values (10, 'held'); update t2 set v = 'held' where id = 1;
         prepare transaction 'held'",
        "commit prepared 'held'",
    );
}
