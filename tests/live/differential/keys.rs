//! Row keys of every type that can be a key: their order, their stored form, and scans by them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use postgres::Client;
use protocol::Oid;
use serde_json::json;
use source_postgres::value::{Comparison, KeyCodec, KeyValue, PgType, TypeKind, TypeRegistry};

use super::database::{Column, connect, make_values, prepare};
use super::types::TYPES;
use super::{number, seed};
use crate::support::postgres::{Version, query, value};
use crate::support::scene::{Scene, advanced, documents_of, execute};

/// Types that the server cannot order, by the names of their columns.
const WITHOUT_ORDER: &[&str] = &[
    "xid",
    "cid",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "json",
    "json_loose",
    "jsonpath",
    "xml",
    "refcursor",
    "txid_snapshot",
    "pg_snapshot",
    "aclitem",
    "smgr",
    "furlong",
    "shape",
];

/// Creates the values of all types, and returns the columns of types that the server can order.
fn ordered(client: &mut Client, version: Version, random: usize) -> Vec<Column> {
    prepare(client, version, seed());
    let mut columns = Vec::new();
    for of in TYPES.iter().filter(|of| of.is_in(version)) {
        let column = make_values(client, of, version, random);
        let sql = format!("select v from pool.{} order by v limit 0", column.quoted());
        let has_order = client.batch_execute(&sql).is_ok();
        assert_ne!(has_order, WITHOUT_ORDER.contains(&of.name), "{}", of.name);
        if has_order {
            columns.push(column);
        }
    }
    columns
}

/// Reads the types of the database from the catalogs.
fn registry(client: &mut Client) -> TypeRegistry {
    let mut types = TypeRegistry::default();
    let rows = query(
        client,
        "select t.oid, typname, typtype, typbasetype, coalesce(rngsubtype, 0),
            coalesce((select e.oid from pg_type e where e.typarray = t.oid), 0)
         from pg_type t left join pg_range on rngtypid = t.oid where t.oid >= 16384",
    );
    for row in rows {
        let oid = |at: usize| Oid::from(row[at].parse::<u32>().expect("an OID"));
        let kind = match row[2].as_str() {
            _ if row[5] != "0" => TypeKind::Array { element: oid(5) },
            "d" => TypeKind::Domain {
                base: oid(3),
                not_null: false,
            },
            "e" => TypeKind::Enum,
            "c" => TypeKind::Composite,
            "r" => TypeKind::Range { subtype: oid(4) },
            _ => TypeKind::Base,
        };
        types.insert(PgType {
            oid: oid(0),
            name: row[1].clone(),
            schema: "public".to_owned(),
            kind,
            delimiter: b',',
        });
    }
    types
}

/// Compares the order of keys with the server's ORDER BY, encodes and decodes each key, and uses it
/// as a parameter. Returns the number of pairs that were compared.
fn compare_orders(version: Version) -> usize {
    let scene = Scene::on(version, "");
    let client = &mut connect(&scene);
    let columns = ordered(client, version, number("DIFFERENTIAL_ROWS", 60));
    let types = registry(client);
    let (mut pairs, mut failures) = (0, BTreeMap::new());
    for column in &columns {
        let name = column.quoted();
        let text = match column.of.name {
            // Before version 16 the text of a byte beyond ASCII is not valid.
            "char" => {
                "case when v::int < 0 then '\\' || to_char((v::int + 256) / 64, 'FM9')
                || to_char((v::int + 256) / 8 % 8, 'FM9') || to_char((v::int + 256) % 8, 'FM9')
                else format('%s', v) end"
            }
            _ => "format('%s', v)",
        };
        let oid = value(
            client,
            &format!(
                "select atttypid from pg_attribute where attrelid = 'pool.{name}'::regclass and attname = 'v'"
            ),
        );
        // The databases of these tests use the collation C.
        let codec = KeyCodec::new(Oid::from(oid.parse::<u32>().expect("an OID")), &types, true);
        let rows = query(
            client,
            &format!(
                "select {text}, dense_rank() over (order by v), n from pool.{name} where num_nulls(v) = 0 order by v"
            ),
        );
        let mut fail = |problem: String| {
            failures.entry(column.of.name).or_insert(problem);
        };
        let mut keys: Vec<(u64, KeyValue)> = Vec::new();
        let (mut numbers, mut parameters) = (Vec::new(), Vec::new());
        for row in &rows {
            let key = match codec.parse(Some(row[0].as_bytes())) {
                Ok(key) => key,
                Err(error) => {
                    fail(format!("{:?}: {error}", row[0]));
                    continue;
                }
            };
            let mut stored = Vec::new();
            codec.encode(&key, &mut stored);
            let mut rest = stored.as_slice();
            match codec.decode(&mut rest) {
                Ok(read) if read == key && rest.is_empty() => {
                    numbers.push(row[2].parse::<i32>().expect("a number"));
                    parameters.push(codec.parameter(&read).expect("the key is not null"));
                }
                other => fail(format!("{:?} is stored, and decoded as {other:?}", row[0])),
            }
            keys.push((row[1].parse().expect("a number"), key));
        }
        if codec.is_comparable() {
            for (at, (rank, key)) in keys.iter().enumerate() {
                for (other_at, (other_rank, other)) in keys.iter().enumerate() {
                    pairs += 1;
                    if key.cmp(other) != rank.cmp(other_rank) {
                        fail(format!(
                            "order of {:?} and {:?}",
                            rows[at][0], rows[other_at][0]
                        ));
                    }
                }
            }
        } else {
            // Changes are matched with rows by the equality of their keys, so different keys must
            // not be equal.
            let same = |pair: &&[(u64, KeyValue)]| pair[0].1.cmp(&pair[1].1) == Ordering::Equal;
            let wrong = keys
                .windows(2)
                .find(|pair| same(pair) && pair[0].0 != pair[1].0);
            if let Some(pair) = wrong {
                fail(format!("values {} and {} are equal", pair[0].0, pair[1].0));
            }
        }
        // As in a query with a parameter, the type of the literal is inferred from the column.
        let equal = |(parameter, n): (&String, &i32)| {
            let literal = parameter.replace('\'', "''");
            let Comparison {
                column, parameter, ..
            } = codec.comparison();
            format!(
                "(select {n} from pool.{name}
                  where n = {n} and (v{column} = '{literal}'{parameter}) is not true)"
            )
        };
        let changed: Vec<String> = parameters.iter().zip(&numbers).map(equal).collect();
        let changed = query(client, &changed.join(" union all "));
        if let Some(row) = changed.first() {
            fail(format!("different as a parameter: value {}", row[0]));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    pairs
}

#[test]
fn the_order_of_keys_is_that_of_the_server() {
    for version in [Version(10), Version(15), Version(18)] {
        let pairs = compare_orders(version);
        eprintln!("{pairs} pairs of keys compared on {version:?}");
        assert!(pairs > 50_000, "{pairs}");
    }
}

/// Maximum number of rows of a scanned table.
const ROWS: usize = 24;

/// Keys of several columns whose types have different operators, and of domains: the column
/// definitions, the columns of the key, and the row for a number `i`.
const COMPOUND: &[[&str; 3]] = &[
    [
        "a hstore, b int",
        "a, b",
        "hstore('a', (i / 5)::text), i % 5",
    ],
    [
        "a int, b hstore",
        "a, b",
        "i / 5, hstore((i % 5)::text, null)",
    ],
    [
        "a citext, b hstore, c ltree",
        "b, a, c",
        "(array['A', 'a0', 'b', 'B0'])[1 + i % 4], hstore('x', (i / 8)::text), (i / 4 || '.x')::ltree",
    ],
    [
        "a d_citext, b isbn",
        "a, b",
        "(array['é', 'E0', 'f'])[1 + i % 3], ('0-393-0400' || i / 3 || '-?')::isbn",
    ],
    ["a odd", "a", "('(' || i || ')')::odd"],
];

/// SQL for a type whose operators have other names than the usual ones.
const ODD_TYPE: &str = "
    create type odd;
    create function odd_in(cstring) returns odd language internal strict immutable as 'textin';
    create function odd_out(odd) returns cstring language internal strict immutable as 'textout';
    create type odd (input = odd_in, output = odd_out, internallength = variable);
    create cast (text as odd) without function; create cast (odd as bytea) without function;
    create function odd_lt(odd, odd) returns bool language internal strict immutable as 'byteagt';
    create function odd_le(odd, odd) returns bool language internal strict immutable as 'byteage';
    create function odd_eq(odd, odd) returns bool language internal strict immutable as 'byteaeq';
    create function odd_ge(odd, odd) returns bool language internal strict immutable as 'byteale';
    create function odd_gt(odd, odd) returns bool language internal strict immutable as 'bytealt';
    create function odd_cmp(odd, odd) returns int language sql strict immutable as
        'select byteacmp($2::bytea, $1::bytea)';
    create operator <<< (leftarg = odd, rightarg = odd, procedure = odd_lt);
    create operator <<= (leftarg = odd, rightarg = odd, procedure = odd_le);
    create operator === (leftarg = odd, rightarg = odd, procedure = odd_eq);
    create operator >>= (leftarg = odd, rightarg = odd, procedure = odd_ge);
    create operator >>> (leftarg = odd, rightarg = odd, procedure = odd_gt);
    create operator class odd_ops default for type odd using btree as operator 1 <<<, operator 2 <<=,
        operator 3 ===, operator 4 >>=, operator 5 >>>, function 1 odd_cmp(odd, odd);";

/// SQL that moves extensions and the type to a schema that is not in the search path.
const ELSEWHERE: &str = "
    create schema elsewhere; alter extension citext set schema elsewhere;
    alter extension hstore set schema elsewhere; alter extension ltree set schema elsewhere;
    alter extension isn set schema elsewhere; alter extension cube set schema elsewhere;
    alter extension seg set schema elsewhere; alter type odd set schema elsewhere;
    alter operator <<< (elsewhere.odd, elsewhere.odd) set schema elsewhere;
    alter operator === (elsewhere.odd, elsewhere.odd) set schema elsewhere;
    alter operator >>= (elsewhere.odd, elsewhere.odd) set schema elsewhere;
    alter operator >>> (elsewhere.odd, elsewhere.odd) set schema elsewhere;";

/// Scans tables by keys of every type in chunks of three rows, and kills the capture several times.
fn scan_all(version: Version, finish: &str) {
    let mut scene = Scene::on(version, "");
    let client = &mut connect(&scene);
    let columns = ordered(client, version, 10);
    let mut tables = Vec::new();
    for (number, column) in columns.iter().enumerate() {
        let table = format!("k{number}");
        let (name, declared) = (column.quoted(), column.of.declared_as());
        execute(
            client,
            &format!(
                "create table {table}(v {declared} primary key, n int);
                 alter table {table} replica identity full;
                 insert into {table} select v, row_number() over (order by n) from (
                    select distinct on (v) v, n from pool.{name}
                    where num_nulls(v) = 0 and pg_column_size(v) < 2000 order by v, n) s
                 order by n limit {ROWS}"
            ),
        );

        tables.push((format!("public.{table}"), column.of.name));
    }
    execute(client, ODD_TYPE);
    for (number, [columns, key, row]) in COMPOUND.iter().enumerate() {
        let table = format!("c{number}");
        execute(
            client,
            &format!(
                "create table {table}({columns}, n int, primary key ({key}));
                 alter table {table} replica identity full;
                 insert into {table} select {row}, i from generate_series(1, {ROWS} - 1) i"
            ),
        );
        tables.push((format!("public.{table}"), columns));
    }
    execute(client, finish);
    let names: Vec<&str> = tables.iter().map(|(table, _)| table.as_str()).collect();
    scene
        .task
        .bind(&[names.as_slice(), &["public.marker"]].concat());
    advanced(&mut scene.task, &json!({"backfill_chunk_size": 3}));
    let mut kills = 0;
    loop {
        let mut session = scene.task.open();
        let mut chunks = 0;
        session.until("a part of the backfills", |session| {
            chunks = session.run.checkpoints;
            chunks > 40
                || session.task.state["cursor"].is_string()
                    && !session.task.is_backfilling()
                    && chunks > 3
        });
        session.kill();
        if !scene.task.is_backfilling() {
            break;
        }
        kills += 1;
        // Rows change on both sides of the positions of the scans.
        let change = |(table, _): &(String, &str)| {
            format!(
                "update {table} set n = n + 1000 where n < 1000 and n % 8 = {0};
                 delete from {table} where n = {1};",
                kills % 8,
                kills + 10
            )
        };
        scene.execute(&tables.iter().map(change).collect::<String>());
    }
    assert!(kills > 5, "{kills}");
    let mut session = scene.task.open();
    execute(&mut scene.client, "insert into marker values (1)");
    session.until_id("public.marker", 1);
    session.kill();
    let mut failures = Vec::new();
    for (table, name) in &tables {
        let rows = query(&mut scene.client, &format!("select n from {table}"));
        let expected: BTreeMap<i64, i64> = rows
            .iter()
            .map(|row| row[0].parse::<i64>().expect("a number"))
            .map(|n| (n % 1000, n))
            .collect();
        assert!(!expected.is_empty(), "{name} has no values");
        let (mut found, mut scanned) = (BTreeMap::new(), BTreeSet::new());
        for document in documents_of(&scene.task, table) {
            let n = document.value["n"].as_i64().expect("a number");
            if document.is_snapshot() && !scanned.insert(n % 1000) {
                failures.push(format!("{name}: row {n} is scanned twice"));
            }
            match document.op() {
                "d" => found.remove(&(n % 1000)),
                _ => found.insert(n % 1000, n),
            };
        }
        if found != expected {
            failures.push(format!("{name}: expected {expected:?}, found {found:?}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn every_type_of_key_is_scanned_in_chunks_on_the_oldest_server() {
    scan_all(Version(10), "");
}

/// There the unqualified names of operators would find others: `citext` would compare as `text`.
#[test]
fn every_type_of_key_is_scanned_in_chunks_on_debians_server_with_types_in_another_schema() {
    scan_all(Version(15), ELSEWHERE);
}

#[test]
fn every_type_of_key_is_scanned_in_chunks_on_the_newest_server() {
    scan_all(Version(18), "");
}
