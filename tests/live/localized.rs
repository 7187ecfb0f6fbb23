//! Values that depend on the settings `lc_monetary` and `TimeZone`, which the connector does not
//! change.
//!
//! They are set for the database or for the role. The backfill and the stream must give the same
//! values, and those that a client of that database and role sees.

use std::collections::BTreeMap;

use postgres::Client;
use serde_json::{Value, json};

use crate::support::postgres::{Options, Server, Version, query};
use crate::support::scene::{advanced, connect, create, execute};
use crate::support::task::{Document, Task};

/// Locales with currency symbols before and after the number, of one byte and of several; groups of
/// three digits, of two, and none; zero to three decimals; five notations of negative numbers.
const LOCALES: &[&str] = &[
    "en_US", "de_DE", "de_CH", "ja_JP", "fr_FR", "en_IN", "ar_BH", "nl_NL",
];

/// Time zones, one for each locale.
const ZONES: [&str; 8] = [
    "America/New_York",
    "Europe/Berlin",
    "UTC",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "America/St_Johns",
    "Pacific/Marquesas",
];

/// Tables and their rows. The amounts are created while `lc_monetary` is C, and include the limits
/// of the type.
const TABLES: &str = "
    create domain price as money;
    create type item as (what text, cost money, since timestamptz);
    create function amount(i int) returns money language sql as $$
        select (array['0', '-0.01', '1', '-1', '1234.56', '-1234567.89', '12345678901.23', '0.5',
            '92233720368547758.07', '-92233720368547758.08', '99.99', '-1000'])[1 + i % 12]::money
            + i / 12 * (case when i % 12 = 8 then -1 else 1 end) * '0.03'::money $$;
    create function day(i int) returns timestamptz language sql as $$
        select '2024-01-15 12:34:56.7+00'::timestamptz + i * interval '1 month' $$;
    create table t(id int primary key, m money, p price, a money[], i item, at timestamptz,
        d timestamptz[]);
    alter table t replica identity full;
    insert into t select i, amount(i), amount(i + 1), array[[amount(i), null], [amount(i + 2), '0']],
        ('\"a,b\"', amount(i), day(i))::item, day(i), array[day(i), null] from generate_series(0, 12) i;
    create table k(m money primary key, n int);
    insert into k select amount(i), i from generate_series(0, 35) i;
    create table marker(id int primary key)";

/// Query for the values that a client sees in each row.
const ROWS: &str = "
    select id, json_build_object('m', m::text, 'p', p::text, 'a', array(select unnest(a)::text),
        'i', i::text, 'at', stamp(at), 'd', array(select stamp(unnest(d)))) from t";

/// Function that formats a timestamp as in RFC 3339.
const STAMP: &str = "create function stamp(v timestamptz) returns text language sql as $$
    select regexp_replace(to_json(v) #>> '{}', '[+]00:00$', 'Z') $$";

#[test]
fn money_and_timestamps_on_the_oldest_server() {
    compare(Version(10));
}

#[test]
fn money_and_timestamps_on_debians_server() {
    compare(Version(15));
}

#[test]
fn money_and_timestamps_on_the_newest_server() {
    compare(Version(18));
}

fn compare(version: Version) {
    let options = Options {
        locales: LOCALES,
        ..Options::default()
    }
    .setting("lc_monetary = 'C'");
    let server = Server::with(version, &options);
    let (mut client, mut task) = create(&server, &format!("{TABLES}; {STAMP}"));
    task.bind(&["public.t", "public.k", "public.marker"]);
    advanced(&mut task, &json!({"backfill_chunk_size": 3}));
    let mut spellings = Vec::new();
    for (number, locale) in (0_u32..).zip(LOCALES) {
        // Set alternately for the database and for the role, which overrides the database.
        let zone = ZONES[number as usize % ZONES.len()];
        let of = ["database scene", "role postgres"][number as usize % 2];
        execute(
            &mut client,
            &format!(
                "alter role postgres reset lc_monetary; alter role postgres reset timezone;
                 alter {of} set lc_monetary = '{locale}.UTF-8'; alter {of} set timezone = '{zone}'"
            ),
        );
        client = connect(&server);
        capture(&mut client, &mut task, number);
        spellings.extend(query(&mut client, "select m from t where id = 5"));
    }
    // Each locale writes money in its own way, so all of them were in effect.
    spellings.sort();
    spellings.dedup();
    assert_eq!(spellings.len(), LOCALES.len(), "{spellings:?}");
}

/// Backfills the tables again, streams changes, and compares the documents.
fn capture(client: &mut Client, task: &mut Task, number: u32) {
    for table in ["public.t", "public.k"] {
        task.binding_mut(table).backfill = number;
    }
    task.publish();
    let from = task.documents.len();
    let mut session = task.open();
    session.until("a part of it", |session| {
        session.task.binding_state("public.k")["backfilled"].as_u64() >= Some(9)
    });
    session.kill();
    assert!(task.is_backfilling());
    execute(
        client,
        "update k set n = n + 1000 where n % 4 = 0; delete from k where n % 36 = 7",
    );
    let mut session = task.open_active();
    execute(
        client,
        &format!(
            "insert into t select id + 100, m, p, a, i, at, d from t where id < 100;
             update t set id = id where id >= 100; delete from t where id >= 100;
             insert into k select max(m) - 1::int::money, 7 from k;
             insert into marker values ({number})"
        ),
    );
    session.until_id("public.marker", number.into());
    session.kill();
    compare_rows(client, &task.documents[from..]);
    compare_keys(client, &task.documents[from..]);
}

fn compare_rows(client: &mut Client, documents: &[Document]) {
    let rows: BTreeMap<String, Value> = query(client, ROWS)
        .into_iter()
        .map(|row| {
            let due = serde_json::from_str(&row[1]).expect("JSON");
            (row[0].clone(), due)
        })
        .collect();
    let mut compared = 0;
    for document in documents
        .iter()
        .filter(|document| document.table == "public.t")
    {
        let before = &document.value["_meta"]["before"];
        for image in [&document.value, before] {
            let Some(id) = image["id"].as_u64() else {
                continue;
            };
            let due = rows[&(id % 100).to_string()].as_object().expect("a row");
            for (name, due) in due {
                assert_eq!(image[name], *due, "{name} in {}", document.text);
            }
            compared += 1;
        }
    }
    // Each row is compared as backfilled, inserted, before and after the update, and deleted.
    assert_eq!(compared, 5 * rows.len());
}

fn compare_keys(client: &mut Client, documents: &[Document]) {
    let rows = query(client, "select m, n from k").into_iter();
    let expected: BTreeMap<String, String> =
        rows.map(|row| (row[0].clone(), row[1].clone())).collect();
    assert!(expected.len() > 30);
    let mut found = BTreeMap::new();
    for document in documents
        .iter()
        .filter(|document| document.table == "public.k")
    {
        let amount = document.value["m"].as_str().expect("a text").to_owned();
        match document.op() {
            "d" => found.remove(&amount),
            _ => found.insert(amount, document.value["n"].to_string()),
        };
    }
    assert_eq!(found, expected);
}
