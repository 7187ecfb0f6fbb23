//! Where backfill and stream meet: tables that are bound while others write to them, rows that move
//! while a scan is under way, and what is refused because it could not be joined.

use postgres::Client;
use serde_json::Value;

use crate::support::connector::Line;
use crate::support::postgres::value;
use crate::support::scene::{Scene, execute};
use crate::support::task::{Session, Task};

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
