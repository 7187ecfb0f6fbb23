//! A capture under load that is killed many times loses no change and emits no wrong one.
//!
//! The short form runs with the other tests. The environment variables `CHAOS_KILLS` and
//! `CHAOS_ROWS` make it longer, and `CHAOS_SEED` repeats a run that failed: the seed determines the
//! load and the kills, but not how the processes interleave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postgres::Client;
use serde_json::json;
use std::io::Write;

use crate::support::connector::Launch;
use crate::support::messages::Codec;
use crate::support::postgres::{Server, Version, value};
use crate::support::random::Random;
use crate::support::reduce::{assert_same_rows, by_loc, reduce, table};
use crate::support::task::Task;

/// A table under load, and the columns of its key.
struct Table {
    name: &'static str,
    key: &'static [&'static str],
    definition: &'static str,
    /// Returns the values of the key columns for a number.
    key_of: fn(usize) -> String,
}

const TABLES: [Table; 4] = [
    Table {
        name: "load.by_int",
        key: &["id"],
        definition: "id int primary key",
        key_of: |i| format!("{i}"),
    },
    Table {
        name: "load.normal",
        key: &["id"],
        definition: "id bigint primary key",
        key_of: |i| format!("{i}"),
    },
    Table {
        name: "load.by_text",
        key: &["name"],
        definition: "name text primary key",
        key_of: |i| format!("'{}-{i}'", ["a", "B", "Z", "é", "_"][i % 5]),
    },
    Table {
        name: "load.by_pair",
        key: &["a", "b"],
        definition: "a int, b text, primary key (b, a)",
        key_of: |i| format!("{}, '{}'", i / 7, ["x", "Y", "z"][i % 3].repeat(1 + i % 7)),
    },
];

/// A table without a key. Its rows are only inserted, because one cannot be told from another.
const KEYLESS: &str = "load.by_none";

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
    })
}

#[test]
fn a_capture_under_load_survives_kills() {
    let kills = setting("CHAOS_KILLS", 10).max(10);
    let rows = setting("CHAOS_ROWS", 2_000);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .subsec_nanos();
    let seed = setting("CHAOS_SEED", usize::try_from(now).expect("64 bits"));
    println!("CHAOS_SEED={seed} CHAOS_KILLS={kills} CHAOS_ROWS={rows}");
    let mut random = Random::new(u64::try_from(seed).expect("64 bits"));

    let server = Server::start(Version::MAIN);
    let mut client = server.connect("postgres");
    prepare(&mut client, rows);

    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<JoinHandle<usize>> = (0..2)
        .map(|_| {
            let client = server.connect("postgres");
            let random = Random::new(u64::try_from(random.below(usize::MAX)).expect("64 bits"));
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                Writer {
                    client,
                    random,
                    rows,
                }
                .run(&stop)
            })
        })
        .collect();

    let config = Task::config(&server, "postgres");
    let mut task = Task::new(Launch::new(Codec::Proto), config);
    let names: Vec<&str> = TABLES
        .iter()
        .map(|table| table.name)
        .chain([KEYLESS])
        .collect();
    task.bind(&names);
    task.binding_mut("load.normal").resource["mode"] = json!("Normal");

    let mut during_backfill = 0;
    for kill in 0..kills {
        let before = task.state["cursor"].clone();
        // Small chunks make small ranges.
        let (rows, connections) = (random.between(4, 120), random.between(1, 4));
        task.config["advanced"] =
            json!({"backfill_chunk_size": rows, "backfill_connections": connections});
        let mut session = task.open();
        // Slightly more than half of the kills happen during the backfill, the others after it:
        // after a checkpoint or a number of documents, and then at a random point before the next
        // checkpoint.
        if kill <= kills / 2 {
            session.until("a backfill", |session| session.task.is_backfilling());
        } else {
            session.until("the end of the backfill", |session| {
                session.run.checkpoints > 2 && !session.task.is_backfilling()
            });
        }
        // During a backfill, checkpoints may be held back by changes of rows that are still to be
        // read.
        if kill > kills / 2 && kill % 3 < 2 {
            let checkpoints = session.run.checkpoints + random.between(1, 9);
            session.until_checkpoints(checkpoints);
        } else {
            let due = session.documents().count() + random.between(50, 800);
            session.until("documents", |session| session.documents().count() >= due);
        }
        for _ in 0..random.below(150) {
            session.step(Duration::from_millis(2));
        }
        let run = session.kill();
        during_backfill += usize::from(task.is_backfilling());
        println!(
            "kill {kill}: chunks of {rows} over {connections}, {} documents, {} checkpoints, cursor {before} to {}, backfilling {}",
            run.documents.len(),
            run.checkpoints,
            task.state["cursor"],
            task.is_backfilling(),
        );
        assert_slot_not_ahead(&mut client, &task);
    }
    assert!(
        during_backfill >= 5,
        "only {during_backfill} kills during a backfill: CHAOS_ROWS is too small"
    );

    stop.store(true, Ordering::Relaxed);
    let changes: usize = writers
        .into_iter()
        .map(|writer| writer.join().expect("the writer did not panic"))
        .sum();
    println!("{changes} transactions by the writers");
    mark_the_end(&mut client);
    let mut session = task.open();
    session.until("the last rows", |session| {
        let task = &session.task;
        let marked = |name: &&str| {
            let mut documents = task.documents.iter().rev();
            documents.any(|document| document.table == **name && document.value["n"] == -1)
        };
        !task.is_backfilling() && names.iter().all(marked)
    });
    session.kill();

    for Table { name, key, .. } in &TABLES {
        let documents = task
            .documents
            .iter()
            .filter(|document| document.table == *name);
        assert_same_rows(
            name,
            &table(&mut client, name, key),
            &reduce(documents, key),
        );
    }
    let documents = task
        .documents
        .iter()
        .filter(|document| document.table == KEYLESS);
    let found = by_loc(documents).into_values();
    let found = found.map(|row| (json!(row).to_string(), row)).collect();
    assert_same_rows(KEYLESS, &table(&mut client, KEYLESS, &[]), &found);
}

fn prepare(client: &mut Client, rows: usize) {
    let mut sql = "create schema load; ".to_owned();
    for Table {
        name, definition, ..
    } in &TABLES
    {
        sql += &format!(
            "create table {name}(n int, big text, {definition});
             alter table {name} alter big set storage external; "
        );
    }
    sql += &format!(
        "create table {KEYLESS}(n int, tag text);
         insert into {KEYLESS} select i, 'filled' from generate_series(1, {rows}) i; "
    );
    client.batch_execute(&sql).expect("the tables are made");
    for Table {
        name, key, key_of, ..
    } in &TABLES
    {
        let values: Vec<String> = (0..rows)
            // Every other number, so that keys can be inserted in between.
            .map(|i| format!("({}, {i}, repeat('x', {}))", key_of(i * 2), i % 3 * 1_500))
            .collect();
        let columns = key.join(", ");
        let sql = format!(
            "insert into {name}({columns}, n, big) values {}",
            values.join(",")
        );
        // Different numbers can give the same key.
        client
            .batch_execute(&(sql + " on conflict do nothing"))
            .expect("the tables are filled");
    }
}

/// Inserts one more row into each table, which is its last change.
fn mark_the_end(client: &mut Client) {
    for Table {
        name, key, key_of, ..
    } in &TABLES
    {
        let (columns, values) = (key.join(", "), key_of(99_999_999));
        let sql = format!("insert into {name}({columns}, n, big) values ({values}, -1, '')");
        client.batch_execute(&sql).expect("a row");
    }
    client
        .batch_execute(&format!("insert into {KEYLESS} values (-1, 'end')"))
        .expect("a row");
}

/// Asserts that no position was confirmed to the server that is beyond the committed one.
fn assert_slot_not_ahead(client: &mut Client, task: &Task) {
    if let Some(cursor) = task.state["cursor"].as_str() {
        let ahead = format!(
            "select count(*) from pg_replication_slots where confirmed_flush_lsn > '{cursor}'"
        );
        assert_eq!(value(client, &ahead), "0", "a slot is ahead of {cursor}");
    }
}

/// A session that changes the tables at random.
struct Writer {
    client: Client,
    random: Random,
    rows: usize,
}

impl Writer {
    /// Runs transactions until `stop` is set, and returns their number.
    fn run(mut self, stop: &AtomicBool) -> usize {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            self.transaction(count);
            count += 1;
            // Limits the load to a rate that a connector built without optimization can follow.
            thread::sleep(Duration::from_millis(3));
        }
        count
    }

    fn transaction(&mut self, number: usize) {
        match self.random.below(10) {
            0 => self.copy(number),
            1 => {
                let statements = self.statements(5);
                self.execute(&format!("begin; {statements} rollback"));
            }
            2 => {
                let (kept, undone, more) =
                    (self.statements(2), self.statements(3), self.statements(2));
                self.execute(&format!(
                    "begin; {kept} savepoint a; {undone} rollback to a; {more} commit"
                ));
            }
            3 => {
                let statements = self.statements(20);
                self.execute(&format!("begin; {statements} commit"));
            }
            _ => {
                let statement = self.statement();
                self.execute(&statement);
            }
        }
    }

    /// Runs SQL. A transaction that fails because of a conflict with another session is rolled
    /// back.
    fn execute(&mut self, sql: &str) {
        if let Err(error) = self.client.batch_execute(sql) {
            assert!(error.as_db_error().is_some(), "{sql}: {error:?}");
            self.client.batch_execute("rollback").expect("a rollback");
        }
    }

    fn statements(&mut self, count: usize) -> String {
        (0..count)
            .map(|_| self.statement())
            .collect::<Vec<_>>()
            .concat()
    }

    fn statement(&mut self) -> String {
        if self.random.below(8) == 0 {
            let n = self.random.below(1_000_000_000);
            return format!("insert into {KEYLESS} values ({n}, md5(random()::text));");
        }
        let Table {
            name, key, key_of, ..
        } = &TABLES[self.random.below(TABLES.len())];
        let columns = key.join(", ");
        let (one, other) = (
            self.random.below(self.rows * 2),
            self.random.below(self.rows * 2),
        );
        let (one, other) = (key_of(one), key_of(other));
        let n = self.random.below(1_000_000);
        let long = self.random.below(4) * 1_500;
        match self.random.below(8) {
            0 | 1 => format!(
                "insert into {name}({columns}, n, big) values ({one}, {n}, repeat('i', {long})) \
                 on conflict do nothing;"
            ),
            2 | 3 => format!("update {name} set n = {n} where ({columns}) = ({one});"),
            4 => format!(
                "update {name} set n = {n}, big = repeat('u', {long}) where ({columns}) = ({one});"
            ),
            5 => format!("delete from {name} where ({columns}) = ({one});"),
            6 => format!(
                "update {name} set ({columns}) = row({other}), n = {n} where ({columns}) = ({one}) \
                 and not exists (select 1 from {name} where ({columns}) = ({other}));"
            ),
            _ => format!(
                "delete from {name} where ({columns}) = ({one}); \
                 insert into {name}({columns}, n, big) values ({one}, {n}, '') \
                 on conflict do nothing;"
            ),
        }
    }

    /// Copies rows into the table without a key.
    fn copy(&mut self, number: usize) {
        let mut copy = self
            .client
            .copy_in(&format!("copy {KEYLESS} from stdin"))
            .expect("copying starts");
        let own = self.random.below(1_000_000_000);
        for line in 0..20 {
            writeln!(copy, "{line}\tcopied {own} {number}").expect("a row is copied");
        }
        copy.finish().expect("copying ends");
    }
}
