//! Transactions that the server streams while they are in progress.
//!
//! Two captures read the same WAL from the same position, one with streaming of transactions in
//! progress and one without. They must emit the same documents, with the same positions and in the
//! same order. `logical_decoding_work_mem` has its minimum, so that a thousand rows are a large
//! transaction.

mod memory;

use postgres::Client;
use serde_json::{Value, json};

use crate::support::connector::Launch;
use crate::support::messages::Codec;
use crate::support::postgres::{Options, Server, Version, query, value};
use crate::support::scene::{Scene, advanced, assert_captured, connect, create, execute, says};
use crate::support::task::{Document, Run, Session, Task};
use crate::support::wait;

/// Tables of all scenarios. With their filler, a block of the stream has about fifty rows.
const TABLES: &str = "
create table a(id int primary key, v text, filler text);
create table b(id int primary key, v text, filler text);
create table c(id int primary key, v text);
create table tick(n int);
create table whole(id int primary key, v text, filler text);
alter table whole replica identity full;
create table toasted(id int primary key, v text, big text);
alter table toasted alter column big set storage external;
create function fill(name text, first int, last int) returns void language plpgsql as $$
begin
  execute format('insert into %s select i, ''row '' || i, repeat(md5(i::text), 30)
                  from generate_series(%s, %s) i', name, first, last);
end $$;
";

const NAMES: [&str; 5] = [
    "public.a",
    "public.b",
    "public.c",
    "public.whole",
    "public.toasted",
];

/// Sets whether the capture asks for transactions in progress.
fn take_in_progress(task: &mut Task, taken: bool) {
    let flags = if taken {
        "stream_in_progress"
    } else {
        "no_stream_in_progress"
    };
    advanced(
        task,
        &json!({"logical_decoding_work_mem": "64kB", "feature_flags": flags}),
    );
}

/// Makes a server that has the setting send each change at once, so that every transaction is
/// streamed while it is in progress.
fn send_at_once(client: &mut Client, version: Version) {
    if version >= Version(16) {
        execute(
            client,
            "alter role postgres set debug_logical_replication_streaming = 'immediate'",
        );
    }
}

/// Backfills the tables, and copies the slot at the position reached. Returns the state of the
/// task.
fn prepare(client: &mut Client, task: &mut Task, names: &[&str]) -> Value {
    take_in_progress(task, true);
    task.bind(names);
    task.launch = Launch::new(Codec::Proto).until_caught_up();
    task.run();
    query(
        client,
        "select pg_copy_logical_replication_slot('flow_slot', 'other_slot')",
    );
    task.state.clone()
}

/// Captures the same changes without transactions in progress, and compares the documents.
fn compare(client: &mut Client, task: &Task, already: usize, state: Value, names: &[&str]) {
    let slot = "select sum(stream_txns) > 0 from pg_stat_replication_slots \
                where slot_name = 'flow_slot'";
    wait::until("the server to count what it has sent in progress", || {
        (value(client, slot) == "t").then_some(())
    });
    let mut config = task.config.clone();
    config["advanced"]["slotName"] = json!("other_slot");
    let mut other = Task::new(Launch::new(Codec::Proto).until_caught_up(), config);
    take_in_progress(&mut other, false);
    other.bindings.clone_from(&task.bindings);
    other.state = state;
    assert_succeeded(&other.run());
    assert_same(&task.documents[already..], &other.documents);
    for name in names {
        assert_captured(client, task, name, &["id"]);
    }
}

/// A capture that is streaming, and the sessions that write.
struct Stage<'a> {
    session: Session<'a>,
    writers: [Client; 3],
    watcher: Client,
}

impl Stage<'_> {
    /// Runs statements one by one, and waits until the server has sent each before the next: a
    /// transaction that has ended when the server decodes it is not sent in progress.
    fn run(&mut self, writer: usize, statements: &[&str]) {
        for sql in statements {
            execute(&mut self.writers[writer], sql);
            self.until_sent();
        }
    }

    /// Follows the capture until the server has sent everything written so far.
    fn until_sent(&mut self) {
        // A commit flushes the WAL before it.
        execute(&mut self.watcher, "insert into tick values (1)");
        let end = value(&mut self.watcher, "select pg_current_wal_flush_lsn()::text");
        let sent = format!("select bool_and(sent_lsn >= '{end}') from pg_stat_replication");
        let watcher = &mut self.watcher;
        self.session
            .until("the server to send", |_| value(watcher, &sent) == "t");
    }
}

fn assert_succeeded(run: &Run) {
    assert!(run.status.expect("not killed").success(), "{}", run.log);
}

fn assert_same(with: &[Document], without: &[Document]) {
    for (index, (with, without)) in with.iter().zip(without).enumerate() {
        assert!(
            with == without,
            "document {index} is {} instead of {}",
            shown(with),
            shown(without)
        );
    }
    assert_eq!(with.len(), without.len());
}

/// Returns a document as text, without its filler.
fn shown(document: &Document) -> String {
    let mut value = document.value.clone();
    value["filler"] = Value::Null;
    format!("{} {value}", document.table)
}

macro_rules! scenes {
    ($($module:ident: $version:literal;)*) => {
        $(mod $module {
            use super::*;

            #[test]
            fn transactions_that_end_in_another_order_than_they_began() {
                same(Version($version), interleave);
            }

            #[test]
            fn savepoints_and_exceptions() {
                same(Version($version), roll_back_parts);
            }

            #[test]
            fn definitions_that_change_during_transactions() {
                same(Version($version), change_definitions);
            }

            #[test]
            fn truncations_changes_of_keys_and_unchanged_toast_values() {
                same(Version($version), change_rows);
            }
        })*
    };
}

scenes! {
    v14: 14;
    v15: 15;
    v18: 18;
}

/// Plays a scenario, and compares what is captured with and without transactions in progress.
fn same(version: Version, play: fn(&mut Stage<'_>)) {
    let scene = Scene::on(version, TABLES);
    let writers = [(); 3].map(|()| scene.connect());
    let watcher = scene.connect();
    let Scene {
        mut client,
        mut task,
        server: _server,
    } = scene;
    send_at_once(&mut client, version);
    play_and_compare(&mut client, &mut task, writers, watcher, play);
}

fn play_and_compare(
    client: &mut Client,
    task: &mut Task,
    writers: [Client; 3],
    watcher: Client,
    play: fn(&mut Stage<'_>),
) {
    let state = prepare(client, task, &NAMES);
    let already = task.documents.len();
    task.launch = Launch::new(Codec::Proto);
    let mut session = task.open();
    session.until_logged("starting replication");
    let mut stage = Stage {
        session,
        writers,
        watcher,
    };
    stage.until_sent();
    play(&mut stage);
    execute(client, "insert into c values (-1, 'last')");
    stage.session.until_id("public.c", -1);
    stage.session.kill();
    compare(client, task, already, state, &NAMES);
}

fn interleave(stage: &mut Stage<'_>) {
    stage.run(0, &["begin", "select fill('a', 1, 300)"]);
    stage.run(1, &["begin", "select fill('b', 1, 300)"]);
    stage.run(2, &["insert into c values (1, 'between')"]);
    stage.run(0, &["select fill('a', 301, 600)"]);
    stage.run(2, &["begin", "select fill('whole', 1, 300)", "rollback"]);
    stage.run(1, &["select fill('a', 1001, 1300)", "commit"]);
    stage.run(2, &["insert into c values (2, 'after the second')"]);
    stage.run(2, &["begin", "select fill('whole', 1, 300)"]);
    stage.run(0, &["update a set v = 'changed' where id <= 300", "commit"]);
    stage.run(1, &["delete from b where id % 2 = 0"]);
    stage.run(2, &["update c set v = 'by the third'", "commit"]);
    stage.run(0, &["begin", "select fill('b', 1001, 1600)"]);
    stage.run(1, &["update whole set v = 'changed'"]);
    stage.run(0, &["rollback"]);
}

fn roll_back_parts(stage: &mut Stage<'_>) {
    stage.run(
        0,
        &[
            "begin",
            "select fill('a', 1, 200)",
            "savepoint one",
            "select fill('a', 201, 400)",
            "savepoint two",
            "select fill('a', 401, 600)",
            "update a set v = 'never' where id < 100",
            "rollback to two",
            "select fill('b', 1, 200)",
            "release one",
            "savepoint three",
            "delete from a",
            "savepoint four",
            "select fill('a', 1001, 1200)",
            "release four",
            "rollback to three",
        ],
    );
    stage.run(1, &["insert into c values (1, 'between')"]);
    stage.run(0, &["select fill('whole', 1, 200)", "commit"]);
    // Every other row belongs to a subtransaction that fails.
    stage.run(
        1,
        &[
            "begin",
            "do $$ begin
               for i in 1..400 loop
                 begin
                   insert into c values (i + 1000, 'tried');
                   perform fill('toasted', 1, 3) where i = 7;
                   insert into b values (i + 10000, 'tried', repeat(md5(i::text), 30));
                   if i % 2 = 0 then raise exception 'no'; end if;
                 exception when raise_exception then
                   insert into a values (i + 10000, 'failed', repeat(md5(i::text), 30));
                 end;
               end loop;
             end $$",
            "commit",
        ],
    );
    stage.run(
        0,
        &[
            "begin",
            "select fill('a', 5001, 5300)",
            "savepoint s",
            "select fill('a', 5301, 5600)",
            "rollback to s",
            "commit",
        ],
    );
}

fn change_definitions(stage: &mut Stage<'_>) {
    stage.run(
        0,
        &[
            "begin",
            "select fill('a', 1, 200)",
            "alter table a add column more int default 7",
            "update a set more = id",
            "savepoint one",
            "alter table a drop column v",
            "update a set more = 8",
            "rollback to one",
            "update a set v = 'again'",
            "alter table a alter column more type text using 'n' || more",
            "update a set v = 'typed'",
        ],
    );
    stage.run(1, &["begin", "select fill('b', 1, 300)"]);
    stage.run(0, &["commit"]);
    stage.run(2, &["update a set v = 'afterwards' where id < 10"]);
    // A rollback to a savepoint releases the table's lock while the transaction is still in
    // progress, and another session alters the table.
    stage.run(
        1,
        &[
            "savepoint one",
            "select fill('whole', 1, 300)",
            "insert into c values (1, 'never')",
            "rollback to one",
        ],
    );
    stage.run(
        2,
        &[
            "alter table c add column more int default 1",
            "insert into c values (2, 'with more', 2)",
            "alter table whole add column more int default 1",
            "insert into whole values (1, 'with more', '', 2)",
        ],
    );
    stage.run(1, &["select fill('b', 301, 600)", "commit"]);
    stage.run(
        2,
        &[
            "insert into c values (3, 'with more', 3)",
            "insert into whole values (2, 'with more', '', 3)",
        ],
    );
    // A change of a definition that is rolled back with its whole transaction.
    stage.run(
        0,
        &[
            "begin",
            "alter table b add column never int",
            "update b set never = id",
            "rollback",
        ],
    );
    stage.run(1, &["update b set v = 'changed' where id < 10"]);
    stage.run(
        0,
        &[
            "create type mood as enum ('sad', 'happy')",
            "begin",
            "alter table b add column mood mood default 'sad'",
            "update b set mood = 'happy' where id < 300",
            "savepoint one",
            "update b set mood = 'sad'",
            "rollback to one",
            "update b set v = 'in a mood'",
            "commit",
        ],
    );
}

fn change_rows(stage: &mut Stage<'_>) {
    stage.run(
        0,
        &[
            "insert into toasted
             select i, 'row', repeat(md5(i::text), 200) from generate_series(1, 50) i",
            "select fill('whole', 1, 300)",
            "begin",
            "update toasted set v = 'changed'",
            "update toasted set big = repeat(md5(v), 300) where id % 5 = 0",
            "update toasted set id = id + 100 where id <= 20",
            "delete from toasted where id > 110",
            "update whole set id = id + 1000, v = 'moved' where id <= 200",
            "delete from whole where id > 1100",
        ],
    );
    // Rows that TRUNCATE removes stay captured, so they are inserted again.
    stage.run(
        1,
        &[
            "select fill('a', 1, 300)",
            "begin",
            "truncate a, b",
            "select fill('a', 1, 600)",
            "savepoint one",
            "truncate b",
            "select fill('b', 1, 300)",
            "rollback to one",
            "select fill('b', 1001, 1300)",
            "commit",
            "delete from a where id < 100",
        ],
    );
    stage.run(0, &["commit"]);
}

/// Prepared transactions arrive whole at COMMIT PREPARED, because two-phase decoding is not used.
#[test]
fn prepared_transactions_are_captured_when_they_are_committed() {
    for version in [Version(14), Version(18)] {
        let options = Options::default().setting("max_prepared_transactions = 10");
        let server = Server::with(version, &options);
        let (mut client, mut task) = create(&server, TABLES);
        let writers = [(); 3].map(|()| connect(&server));
        send_at_once(&mut client, version);
        let watcher = connect(&server);
        play_and_compare(&mut client, &mut task, writers, watcher, prepare_and_end);
        let two_phase = "select bool_or(two_phase) from pg_replication_slots";
        assert_eq!(value(&mut client, two_phase), "f");
    }
}

fn prepare_and_end(stage: &mut Stage<'_>) {
    for (writer, name) in [(0, "a"), (1, "b")] {
        let fill = format!("select fill('{name}', 1, 300)");
        let prepare = format!("prepare transaction 'of {name}'");
        stage.run(writer, &["begin", &fill, &prepare]);
    }
    stage.run(2, &["begin", "select fill('whole', 1, 300)", "commit"]);
    stage.run(1, &["rollback prepared 'of b'"]);
    stage.run(2, &["insert into c values (1, 'between')"]);
    stage.run(0, &["commit prepared 'of a'"]);
}

/// Before version 14 the server cannot send transactions in progress.
#[test]
fn an_old_server_is_not_asked_for_transactions_in_progress() {
    let mut scene = Scene::on(Version(13), TABLES);
    take_in_progress(&mut scene.task, true);
    scene.task.bind(&["public.a"]);
    scene.task.launch = Launch::new(Codec::Proto).until_caught_up();
    scene.task.run();
    scene.execute("select fill('a', 1, 1000)");
    let run = scene.task.run();
    scene.assert_captured("public.a", &["id"]);
    let line = run
        .log
        .find(|line| line.message == "starting replication")
        .expect("the line was logged");
    assert!(says(&line, "older than version 14"), "{line:?}");
    assert_eq!(line.field("proto_version").as_deref(), Some("1"));
}

/// Acknowledging later commits does not make the server discard the part of a transaction that it
/// has sent.
#[test]
fn a_kill_during_a_transaction_in_progress_loses_no_change() {
    let mut scene = Scene::new(TABLES);
    take_in_progress(&mut scene.task, true);
    scene.task.bind(&["public.a", "public.c"]);
    let mut writer = scene.connect();
    let mut session = scene.task.open_active();
    for round in 0..3 {
        let first = round * 2000 + 1;
        execute(
            &mut writer,
            &format!("begin; select fill('a', {first}, {})", first + 999),
        );
        // A later commit is captured, acknowledged, and confirmed to the server.
        execute(
            &mut scene.client,
            &format!("insert into c values ({round}, 'small')"),
        );
        let inserted = value(
            &mut scene.client,
            "select pg_current_wal_insert_lsn()::text",
        );
        session.until_id("public.c", i64::from(round));
        wait_until_confirmed(&mut scene.client, &mut session, &inserted);
        session.kill();
        execute(
            &mut writer,
            &format!("select fill('a', {}, {})", first + 1000, first + 1999),
        );
        session = scene.task.open();
        if round == 1 {
            // Kill it again before the transaction ends.
            session.until_logged("starting replication");
            session.kill();
            session = scene.task.open();
        }
        execute(&mut writer, "commit");
        execute(
            &mut scene.client,
            &format!("insert into c values ({}, 'last')", round + 100),
        );
        session.until_id("public.c", i64::from(round + 100));
    }
    session.kill();
    let task = &scene.task;
    let of_a = task
        .documents
        .iter()
        .filter(|document| document.table == "public.a");
    assert_eq!(of_a.count(), 6000, "each row once");
    assert_captured(&mut scene.client, task, "public.a", &["id"]);
}

/// Follows the capture until the slot's confirmed position is beyond `position`. Repeated small
/// changes make the capture send checkpoints.
fn wait_until_confirmed(client: &mut Client, session: &mut Session<'_>, position: &str) {
    let mut number = 1_000_000;
    wait::until("the server to be told", || {
        number += 1;
        execute(
            client,
            &format!("insert into c values ({number}, '') on conflict do nothing"),
        );
        session.step(std::time::Duration::from_millis(20));
        let sql = format!(
            "select confirmed_flush_lsn > '{position}' from pg_replication_slots \
             where slot_name = 'flow_slot'"
        );
        (value(client, &sql) == "t").then_some(())
    });
    execute(client, "delete from c where id > 1000000");
}
