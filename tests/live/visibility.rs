//! Commits that are streamed before a snapshot can see them.
//!
//! With synchronous replication a commit is decoded once it is flushed, but visible to other
//! sessions only after the standby has answered. A backfill that passes the key of such a change in
//! between must neither lose the change nor emit the older row after it. In these tests the standby
//! does not exist, so the commits hang until the test releases them, which it does after the log
//! has shown that the connector waits for them.
//!
//! A build with `--cfg unchecked_visibility` does not wait. There these tests have to fail, with rows
//! that differ.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::{self, JoinHandle};

use postgres::Client;
use serde_json::{Value, json};

use crate::support::connector::{Launch, Line, Log};
use crate::support::messages::Codec;
use crate::support::postgres::{Options, Server, Version, query, value};
use crate::support::reduce::{assert_same_rows, by_loc, reduce, table};
use crate::support::task::{Document, Session, Task};
use crate::support::wait;

/// Whether the connector was built without the check that these tests are about.
const UNCHECKED: bool = cfg!(unchecked_visibility);

/// Returns whether a line reports that one of these transactions is waited for.
fn waits_for(line: &Line, transactions: &BTreeSet<String>) -> bool {
    line.message.contains("waiting for transaction")
        && line
            .field("xid")
            .is_some_and(|xid| transactions.contains(&xid))
}

/// Returns whether a line reports that a chunk of a table was read from a snapshot that lacks a
/// required transaction.
fn read_chunk(line: &Line, table: &str) -> bool {
    line.message.contains("backfill chunk was read too early")
        && line.field("stream").as_deref() == Some(table)
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Precise,
    Normal,
    ReadOnly,
}

/// When the commits are held.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// During the first backfill of a new capture.
    First,
    /// Before the table is bound: the stream has already passed the commits.
    Later,
}

/// Form in which the server sends the held transactions.
#[derive(Clone, Copy, PartialEq)]
enum Sent {
    Whole,
    /// Change by change, while they are in progress.
    InProgress,
}

macro_rules! held {
    ($($name:ident: $mode:ident, $start:ident, $kill:literal, $sent:ident;)*) => {
        mod held {
            use super::*;
            $(
                #[test]
                fn $name() {
                    hold(Mode::$mode, Start::$start, $kill, Sent::$sent);
                }
            )*
        }
    };
}

held! {
    precise: Precise, First, false, Whole;
    precise_killed: Precise, First, true, Whole;
    precise_later: Precise, Later, false, Whole;
    precise_later_killed: Precise, Later, true, Whole;
    normal: Normal, First, false, Whole;
    normal_killed: Normal, First, true, Whole;
    normal_later: Normal, Later, false, Whole;
    normal_later_killed: Normal, Later, true, Whole;
    read_only: ReadOnly, First, false, Whole;
    read_only_killed: ReadOnly, First, true, Whole;
    read_only_later: ReadOnly, Later, false, Whole;
    read_only_later_killed: ReadOnly, Later, true, Whole;
    precise_in_progress: Precise, First, false, InProgress;
    precise_in_progress_killed: Precise, First, true, InProgress;
    normal_in_progress_later: Normal, Later, true, InProgress;
}

/// Number of rows of the table; their keys are ten apart. In chunks of one row they are more than
/// the 2048 chunks that one span reads from its snapshot, and far more than the pipe holds, so that
/// the backfill blocks well before the last row if the test does not read.
const ROWS: u32 = 5_000;
const CHUNK_ROWS: u32 = 1;
const ROW_BYTES: u32 = 2_000;

/// The changes that are held, each a transaction. Every span has rows that each of them changes, so
/// the span that is read after they were streamed is affected.
const CHANGES: [&str; 4] = [
    "insert into held.t select i * 1000 + 5, 'inserted', '' from generate_series(0, 49) i",
    "update held.t set v = 'updated' where id % 1000 = 100",
    "delete from held.t where id % 1000 = 200",
    "update held.t set id = id + 5, v = 'moved' where id % 1000 = 300",
];

/// Creates the tables, and a task without bindings.
fn prepare(
    server: &Server,
    client: &mut Client,
    mode: Mode,
    chunk_rows: u32,
    connections: u32,
) -> Task {
    client
        .batch_execute(&format!(
            "create role capture superuser replication login;
             alter role capture set synchronous_commit = local;
             create role writer superuser login;
             create schema held;
             create table held.t(id int primary key, v text, wide text);
             create table held.other(id int primary key);
             insert into held.t
                select i * 10, 'row ' || i, repeat('p', {ROW_BYTES})
                from generate_series(1, {ROWS}) i;
             insert into held.other values (1);
             create publication flow_publication for table held.t, held.other;
             set synchronous_commit = local"
        ))
        .expect("the tables are made");

    let mut config = Task::config(server, "postgres");
    config["user"] = json!("capture");
    config["advanced"] =
        json!({"backfill_chunk_size": chunk_rows, "backfill_connections": connections});
    if mode == Mode::ReadOnly {
        config["advanced"]["read_only_capture"] = json!(true);
    }
    Task::new(Launch::new(Codec::Proto), config)
}

impl Mode {
    fn bind(self, task: &mut Task, tables: &[&str]) {
        task.bind(tables);
        if tables.contains(&"held.t") && self != Self::ReadOnly {
            let name = if self == Self::Precise {
                "Precise"
            } else {
                "Normal"
            };
            task.binding_mut("held.t").resource["mode"] = json!(name);
        }
    }
}

fn hold(mode: Mode, start: Start, kill: bool, sent: Sent) {
    let mut options = Options::default().setting("synchronous_standby_names = ''");
    let mut version = Version::MAIN;
    if sent == Sent::InProgress {
        options = options.setting("debug_logical_replication_streaming = 'immediate'");
        version = Version(18);
    }
    let server = Server::with(version, &options);
    let mut client = server.connect("postgres");
    let mut task = prepare(&server, &mut client, mode, CHUNK_ROWS, 1);
    let held = match start {
        Start::First => {
            mode.bind(&mut task, &["held.t", "held.other"]);
            let mut session = task.open();
            session.until("the first chunk", |session| {
                session.task.binding_state("held.t")["backfilled"].as_u64() >= Some(100)
            });
            let logged = session.log().lines().len();
            let held = Held::hold(&server, &mut client);
            let backfilled = &session.task.binding_state("held.t")["backfilled"];
            assert!(
                backfilled.as_u64() < Some(u64::from(ROWS) / 2),
                "too far: {backfilled}"
            );
            until_waiting_for_commits(&mut session, &held, Some(logged));
            if kill {
                session.kill();
                let mut session = task.open();
                until_waiting_for_commits(&mut session, &held, Some(0));
                release_and_finish(session, held, &mut client);
            } else {
                release_and_finish(session, held, &mut client);
            }
            None
        }
        Start::Later => {
            mode.bind(&mut task, &["held.other"]);
            let mut session = task.open();
            session.until("the other table", |session| {
                session.task.binding_state("held.other")["mode"] == "Active"
            });
            let held = Held::hold(&server, &mut client);
            client
                .batch_execute("insert into held.other values (2)")
                .expect("a row");
            let passed = value(&mut client, "select pg_current_wal_lsn()::text");
            client
                .batch_execute("insert into held.other values (3)")
                .expect("a row");
            session.until("the stream to pass the commits", |session| {
                let cursor = session.task.state["cursor"]
                    .as_str()
                    .unwrap_or("0/0")
                    .to_owned();
                position(&cursor) >= position(&passed)
            });
            session.kill();
            Some(held)
        }
    };
    if let Some(held) = held {
        mode.bind(&mut task, &["held.t", "held.other"]);
        let mut session = task.open();
        until_waiting_for_commits(&mut session, &held, None);
        if kill {
            session.kill();
            session = task.open();
            until_waiting_for_commits(&mut session, &held, None);
        }
        release_and_finish(session, held, &mut client);
    }

    if sent == Sent::InProgress {
        let counted = "select stream_txns > 0 from pg_stat_replication_slots";
        wait::until("the server to count what it has sent in progress", || {
            (value(&mut client, counted) == "t").then_some(())
        });
    }
    let documents = |document: &&Document| document.table == "held.t";
    let of_table = task.documents.iter().filter(documents);
    let reduced = reduce(of_table.clone(), &["id"]);
    assert_same_rows("held.t", &table(&mut client, "held.t", &["id"]), &reduced);
    if mode == Mode::Precise {
        assert_no_change_repeats_a_row(of_table.collect());
    }
}

/// Panics if a change was emitted that the chunk's row already contains.
pub(super) fn assert_no_change_repeats_a_row(documents: Vec<&Document>) {
    let mut of_key: BTreeMap<i64, (Vec<&Document>, Vec<&Document>)> = BTreeMap::new();
    for document in documents {
        let key = document.value["id"].as_i64().expect("a key");
        let (rows, changes) = of_key.entry(key).or_default();
        if document.is_snapshot() {
            rows.push(document)
        } else {
            changes.push(document)
        }
    }
    for (rows, changes) in of_key.into_values() {
        assert!(rows.len() <= 1, "read twice: {rows:?}");
        let content = |document: &Document| {
            let mut value = document.value.clone();
            value.as_object_mut().expect("an object").remove("_meta");
            value
        };
        for change in changes {
            let again = match (change.op(), rows.first()) {
                ("d", row) => row.is_none(),
                (_, Some(row)) => content(row) == content(change),
                (_, None) => false,
            };
            assert!(
                !again,
                "the chunk already had {rows:?} when {change:?} was emitted"
            );
        }
    }
}

/// Holds commits while a span is open that covers the whole table: the changes are emitted after
/// its rows, without waiting for the commits.
fn hold_during_a_span(mode: Mode, chunk_rows: u32, connections: u32) {
    let server = Server::with(
        Version::MAIN,
        &Options::default().setting("synchronous_standby_names = ''"),
    );
    let mut client = server.connect("postgres");
    let mut task = prepare(&server, &mut client, mode, chunk_rows, connections);
    mode.bind(&mut task, &["held.t", "held.other"]);
    let mut session = task.open();
    session.until("the first chunk", |session| {
        session.task.binding_state("held.t")["backfilled"].as_u64() >= Some(100)
    });
    let held = Held::hold(&server, &mut client);
    let end = |session: &mut Session<'_>| {
        session.until("the end of the backfill", |session| {
            session.task.binding_state("held.t")["mode"] == "Active"
        });
    };
    // In unfiltered mode every change has to be emitted, so checkpoints may be held back until the
    // commits are released.
    if mode == Mode::Precise {
        end(&mut session);
        held.release(&mut client);
    } else {
        held.release(&mut client);
        end(&mut session);
    }
    let rows = session
        .run
        .documents
        .iter()
        .filter(|document| document.is_snapshot());
    assert_eq!(
        rows.filter(|document| document.table == "held.t").count(),
        5_000
    );
    session.kill();
    let of_table = task
        .documents
        .iter()
        .filter(|document| document.table == "held.t");
    let reduced = reduce(of_table.clone(), &["id"]);
    assert_same_rows("held.t", &table(&mut client, "held.t", &["id"]), &reduced);
    if mode == Mode::Precise {
        assert_no_change_repeats_a_row(of_table.collect());
    }
}

#[test]
fn changes_held_during_a_span_are_emitted_after_its_rows() {
    hold_during_a_span(Mode::Precise, 100, 1);
}

/// Two ranges of the table are read over two connections. The changes must follow the rows of both.
#[test]
fn changes_held_while_two_ranges_are_read_are_emitted_after_their_rows() {
    hold_during_a_span(Mode::Precise, 10, 2);
}

#[test]
fn changes_held_during_a_span_of_an_unfiltered_scan_are_emitted_after_its_rows() {
    hold_during_a_span(Mode::Normal, 100, 1);
}

/// Follows the capture until the log shows that the connector waits for one of the held commits,
/// and, in the lines after the first `chunk_after`, that it has read a chunk of the table too
/// early.
fn until_waiting_for_commits(session: &mut Session<'_>, held: &Held, chunk_after: Option<usize>) {
    if UNCHECKED {
        session.until("the end of the backfill", |session| {
            session.task.binding_state("held.t")["mode"] == "Active"
        });
        return;
    }
    let shows = |log: &Log| {
        let lines = log.lines();
        lines.iter().any(|line| waits_for(line, &held.transactions))
            && chunk_after
                .is_none_or(|after| lines[after..].iter().any(|line| read_chunk(line, "held.t")))
    };
    session.until("a line that says what is waited for", |session| {
        shows(session.log())
    });
    let mode = &session.task.binding_state("held.t")["mode"];
    assert_ne!(mode, "Active", "the backfill ended with commits held");
}

/// Releases the commits, and follows the capture to the end of the backfill.
fn release_and_finish(mut session: Session<'_>, held: Held, client: &mut Client) {
    held.release(client);
    client
        .batch_execute("insert into held.other values (-1)")
        .expect("a row");
    session.until("the end of the backfill and of the changes", |session| {
        let documents = &session.task.documents;
        let last =
            |document: &Document| document.table == "held.other" && document.value["id"] == -1;
        session.task.binding_state("held.t")["mode"] == "Active" && documents.iter().any(last)
    });
    session.kill();
}

/// Returns an LSN as a number.
pub(super) fn position(lsn: &str) -> u64 {
    let (high, low) = lsn.split_once('/').expect("X/Y");
    let part = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
    part(high) << 32 | part(low)
}

/// Commits that hang after they were flushed and before they are visible.
struct Held {
    writers: Vec<JoinHandle<()>>,
    /// Transaction ids, as text.
    transactions: BTreeSet<String>,
}

impl Held {
    fn hold(server: &Server, client: &mut Client) -> Self {
        hold_commits(server, client);
        let writers = CHANGES.map(|change| {
            let mut writer = server.connect_as("writer", "postgres");
            thread::spawn(move || writer.batch_execute(change).expect("the change is made"))
        });
        let hanging = "select backend_xid from pg_stat_activity \
                       where usename = 'writer' and wait_event = 'SyncRep'";
        let transactions = wait::until("the commits to hang", || {
            let rows = query(client, hanging);
            (rows.len() == CHANGES.len()).then(|| rows.into_iter().flatten().collect())
        });
        let unseen = value(
            client,
            "select count(*) from held.t where v in ('inserted', 'updated', 'moved')",
        );
        assert_eq!(unseen, "0", "a commit is visible");
        Self {
            writers: writers.into(),
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

/// Makes commits hang. Sessions may read the new setting before the checkpointer, which enables the
/// waiting, so this function commits until a commit hangs.
pub(super) fn hold_commits(server: &Server, client: &mut Client) {
    set_standby(client, "'nobody'");
    wait::until("a commit that hangs", || {
        let mut writer = server.connect("postgres");
        let pid = value(&mut writer, "select pg_backend_pid()");
        let commit = thread::spawn(move || {
            // The session is terminated below if the commit hangs.
            let _ = writer.batch_execute("select pg_logical_emit_message(true, 'test', '')");
        });
        let session = format!("from pg_stat_activity where pid = {pid} and wait_event = 'SyncRep'");
        let hangs = wait::until("a commit to end or to hang", || {
            let count = value(client, &format!("select count(*) {session}"));
            (count == "1" || commit.is_finished()).then_some(count == "1")
        });
        query(
            client,
            &format!("select pg_terminate_backend(pid) {session}"),
        );
        commit.join().expect("the thread did not panic");
        hangs.then_some(())
    });
}

/// Sets the standby that commits wait for, and waits until the session has read the setting.
pub(super) fn set_standby(client: &mut Client, name: &str) {
    client
        .batch_execute(&format!(
            "alter system set synchronous_standby_names = {name}"
        ))
        .expect("a setting");
    client
        .batch_execute("select pg_reload_conf()")
        .expect("the configuration is reloaded");
    let expected = name.trim_matches('\'');
    wait::until("the setting to be read", || {
        (value(client, "show synchronous_standby_names") == expected).then_some(())
    });
}

/// The rows of a COPY share one WAL record, and a change of a key makes two documents.
#[test]
fn no_two_documents_share_a_loc() {
    let server = Server::start(Version::MAIN);
    let mut client = server.connect("postgres");
    client
        .batch_execute(
            "create schema held;
             create table held.keyless(n int, v text);
             create table held.keyed(id int primary key, v text);
             insert into held.keyless select i, 'filled' from generate_series(1, 250) i;
             insert into held.keyed values (1, 'one')",
        )
        .expect("the tables are made");
    let mut config = Task::config(&server, "postgres");
    config["advanced"] = json!({"backfill_chunk_size": 100});
    let mut task = Task::new(Launch::new(Codec::Proto), config);
    task.bind(&["held.keyless", "held.keyed"]);
    let mut session = task.open();
    session.until("the backfills", |session| {
        let state = |table| session.task.binding_state(table)["mode"].clone();
        state("held.keyless") == "Active" && state("held.keyed") == "Active"
    });

    let mut copy = client
        .copy_in("copy held.keyless from stdin")
        .expect("copying starts");
    for n in 1000..1200 {
        std::io::Write::write_all(&mut copy, format!("{n}\tcopied\n").as_bytes()).expect("a row");
    }
    copy.finish().expect("copying ends");
    client
        .batch_execute("update held.keyed set id = 2 where id = 1")
        .expect("a change");
    session.until("the change of the key", |session| {
        let moved = |document: &Document| document.table == "held.keyed" && document.op() == "u";
        session.task.documents.iter().any(moved)
    });
    session.kill();

    let keyless = task
        .documents
        .iter()
        .filter(|document| document.table == "held.keyless");
    let rows = by_loc(keyless).into_values();
    let found = rows
        .map(|row| (Value::Object(row.clone()).to_string(), row))
        .collect();
    assert_same_rows(
        "held.keyless",
        &table(&mut client, "held.keyless", &[]),
        &found,
    );
    let keyed: Vec<&Document> = task
        .documents
        .iter()
        .filter(|document| document.table == "held.keyed")
        .collect();
    by_loc(keyed.iter().copied());
    let kinds: Vec<(&str, &Value)> = keyed
        .iter()
        .map(|document| (document.op(), &document.value["id"]))
        .collect();
    assert_eq!(
        kinds,
        [("c", &json!(1)), ("d", &json!(1)), ("u", &json!(2))]
    );
    let [_, deletion, update] = keyed[..] else {
        panic!("three documents")
    };
    assert_eq!(deletion.loc()[0], update.loc()[0]);
    assert_eq!(deletion.loc()[2], update.loc()[2]);
}

/// Precondition of the other tests: held commits are decoded, and no snapshot contains them.
#[test]
fn held_commits_are_decoded_and_invisible() {
    let server = Server::start(Version::MAIN);
    let mut client = server.connect("postgres");
    client
        .batch_execute(
            "create role writer superuser login;
             create schema held;
             create table held.t(id int primary key, v text, wide text);
             insert into held.t select i * 10, 'row', '' from generate_series(1, 5000) i;
             set synchronous_commit = local",
        )
        .expect("a table");
    query(
        &mut client,
        "select pg_create_logical_replication_slot('s', 'test_decoding')",
    );
    let held = Held::hold(&server, &mut client);
    let decoded = "select xid::text from pg_logical_slot_peek_changes('s', null, null) \
                   where data like 'COMMIT%'";
    let seen: BTreeSet<String> = query(&mut client, decoded).into_iter().flatten().collect();
    assert!(
        held.transactions.is_subset(&seen),
        "{:?} of {seen:?}",
        held.transactions
    );
    let invisible = "select count(*) from held.t where id in (49005, 49305)";
    assert_eq!(value(&mut client, invisible), "0");
    held.release(&mut client);
    assert_eq!(value(&mut client, invisible), "2");
}
