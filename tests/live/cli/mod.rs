//! `source-postgres capture`, which runs without Flow and keeps its state in a file.

mod state;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use postgres::Client;
use serde_json::{Value, json};

use crate::support::command::{CommandFolder, command, document};
use crate::support::postgres::{Lease, Server, Version, query, value};
use crate::support::task::Document;

fn database(server: &Server) -> Client {
    server
        .connect("postgres")
        .batch_execute("create database cli")
        .expect("a database");
    server.connect("cli")
}

/// Returns the configuration as YAML.
fn configuration(server: &Server) -> String {
    format!(
        "# Of a test.\naddress: {}\ndatabase: cli\nuser: postgres\ncredentials:\n  auth_type: \
         UserPassword\n  password: 'hunter2'\nhistoryMode: false\nadvanced: {{backfill_chunk_size: \
         100}}\n",
        server.address()
    )
}

/// Returns the documents of a collection, ordered by `id`.
fn documents_of<'a>(documents: &'a [Document], collection: &str) -> Vec<&'a Document> {
    let mut found: Vec<_> = documents
        .iter()
        .filter(|document| document.table == collection)
        .collect();
    found.sort_by_key(|document| document.value["id"].as_i64());
    found
}

fn confirmed(client: &mut Client) -> String {
    value(
        client,
        "select confirmed_flush_lsn from pg_replication_slots where slot_name = 'flow_slot'",
    )
}

#[test]
fn a_configuration_alone_captures_all_discovered_tables_and_continues_from_its_state() {
    let server = Lease::take(Version::MAIN);
    let mut client = database(&server);
    client
        .batch_execute(
            "create schema \"Shop\";
             create table \"Shop\".\"Or ders\"(id int primary key, note text);
             insert into \"Shop\".\"Or ders\" select i, 'n' || i from generate_series(1, 250) i;
             create table public.visits(page text);
             insert into public.visits values ('/a'), ('/b')",
        )
        .expect("tables");
    let mut files = CommandFolder::new();
    let config = files.write("config.yaml", &configuration(&server));
    let state = files.state_path();
    let arguments = [
        "--config",
        &config,
        "--state",
        &state,
        "--exit-when-caught-up",
    ];

    let (documents, log) = files.start(&arguments).finish();
    let orders = documents_of(&documents, "shop/or_ders");
    let ids: Vec<_> = orders
        .iter()
        .map(|d| d.value["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, (1..=250).collect::<Vec<_>>());
    assert!(orders.iter().all(|document| document.is_snapshot()));
    assert_eq!(documents_of(&documents, "public/visits").len(), 2);
    assert_eq!(documents.len(), 252);
    assert!(
        !log.contains("hunter2") && !log.contains("\"level\":"),
        "{log}"
    );
    assert!(log.contains("capture run ended documents=252"), "{log}");
    // The publication and the watermarks table were missing and have been created.
    assert_eq!(
        value(
            &mut client,
            "select count(*) from pg_publication where pubname = 'flow_publication'"
        ),
        "1"
    );
    assert_eq!(
        value(&mut client, "select count(*) from public.flow_watermarks"),
        "1"
    );
    let first = files.state();
    let entry = &first["bindingStateV1"]["Shop%2FOr%20ders"];
    assert_eq!(
        entry,
        &json!({"mode": "Active", "key_columns": ["id"], "backfilled": 250}),
        "{first}"
    );
    assert_eq!(first["bindingStateV1"]["public%2Fvisits"]["mode"], "Active");
    let cursor = first["cursor"].as_str().expect("a position").to_owned();
    assert_eq!(confirmed(&mut client), cursor);

    client
        .batch_execute(
            "update \"Shop\".\"Or ders\" set note = 'new' where id = 7;
             delete from \"Shop\".\"Or ders\" where id = 8;
             insert into public.visits values ('/c');
             create table public.later(id int primary key);
             insert into public.later values (1);
             alter publication flow_publication add table public.later",
        )
        .expect("changes");
    let mut run = command(&["--config", "-", "--state", &state]);
    run.env("SHUTDOWN_AFTER_POLLING", "yes")
        .stdin(Stdio::piped());
    run.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = run.spawn().expect("the command starts");
    let mut input = child.stdin.take().expect("piped");
    input
        .write_all(configuration(&server).as_bytes())
        .expect("the command reads");
    drop(input);
    let output = child.wait_with_output().expect("the command ends");
    let log = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{log}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let documents: Vec<Document> = text.lines().map(document).collect();
    let ops: Vec<_> = documents_of(&documents, "shop/or_ders")
        .iter()
        .map(|d| (d.op().to_owned(), d.value["id"].as_i64().unwrap()))
        .collect();
    assert_eq!(ops, [("u".to_owned(), 7), ("d".to_owned(), 8)]);
    assert_eq!(documents_of(&documents, "public/visits").len(), 1);
    // A table that is new is backfilled.
    assert_eq!(documents_of(&documents, "public/later").len(), 1);
    let second = files.state();
    assert_eq!(second["bindingStateV1"]["public%2Flater"]["mode"], "Active");
    assert_eq!(
        confirmed(&mut client),
        second["cursor"].as_str().expect("a position")
    );
    assert_ne!(second["cursor"], first["cursor"]);
    assert!(
        log.contains(&cursor),
        "the log has no start position: {log}"
    );
}

#[test]
fn a_catalog_selects_tables_keys_and_collections() {
    let server = Lease::take(Version::MAIN);
    let mut client = database(&server);
    client
        .batch_execute(
            "create table public.east(id int primary key, code text not null unique, n int);
             create table public.west(id int primary key, code text not null unique, n int);
             alter table public.east replica identity using index east_code_key;
             create table public.plain(id int primary key, v text);
             create table public.off(id int primary key);
             insert into public.east values (1, 'e1'), (2, 'e2');
             insert into public.west values (11, 'w1');
             insert into public.plain values (21, 'p');
             insert into public.off values (31)",
        )
        .expect("tables");
    let mut files = CommandFolder::new();
    files.write("endpoint.yaml", &configuration(&server));
    let catalog = files.write(
        "flow.yaml",
        "\
captures:
  acme/other:
    endpoint: {connector: {image: '', config: missing.yaml}}
    bindings: []
  acme/shop:
    endpoint: {connector: {image: '', config: endpoint.yaml}}
    bindings:
      - {resource: {namespace: public, stream: east, syncMode: incremental}, target: acme/regions}
      - {resource: {namespace: public, stream: west}, target: acme/regions, backfill: 3}
      - {resource: {namespace: public, stream: plain}, target: 'acme/\"plain\"'}
      - {resource: {namespace: public, stream: off}, target: acme/off, disable: true}
collections:
  acme/regions:
    key: [/code]
    schema: {type: object}
",
    );
    let state = files.state_path();
    let arguments = ["--config", &catalog, "--exit-when-caught-up"];
    let log = files.start(&arguments).fail();
    assert!(
        log.contains("choose one with --capture: acme/other, acme/shop"),
        "{log}"
    );

    let with_state = [
        &arguments[..],
        &["--capture", "acme/shop", "--state", &state],
    ]
    .concat();
    let (documents, _) = files.start(&with_state).finish();
    let regions = documents_of(&documents, "acme/regions");
    let ids: Vec<_> = regions
        .iter()
        .map(|d| d.value["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, [1, 2, 11]);
    assert_eq!(documents_of(&documents, "acme/\"plain\"").len(), 1);
    assert_eq!(documents.len(), 4);
    let entries = files.state()["bindingStateV1"].clone();
    let names: Vec<_> = entries
        .as_object()
        .expect("entries")
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        names,
        ["public%2Feast", "public%2Fplain", "public%2Fwest.v3"]
    );
    assert_eq!(entries["public%2Feast"]["key_columns"], json!(["code"]));
    assert_eq!(entries["public%2Fplain"]["key_columns"], json!(["id"]));

    // Documents have transaction ids if the collection's schema has a property for them.
    client
        .batch_execute("update public.east set n = 1; update public.plain set v = 'q'")
        .expect("changes");
    let (documents, _) = files.start(&with_state).finish();
    assert_eq!(documents.len(), 3);
    let txid = |collection: &str| {
        documents_of(&documents, collection)[0].value["_meta"]["source"]["txid"].clone()
    };
    assert!(txid("acme/regions").is_null());
    assert!(txid("acme/\"plain\"").is_number());

    // Without a state file every run starts from the beginning, and logs that.
    let without_state = [&arguments[..], &["--capture", "acme/shop"]].concat();
    for _ in 0..2 {
        let (documents, log) = files.start(&without_state).finish();
        assert_eq!(documents.len(), 4);
        assert!(log.contains("the next run starts from"), "{log}");
    }
    // These runs have advanced the slot beyond the position in the state.
    let log = files.start(&with_state).fail();
    assert!(log.contains("has moved on to"), "{log}");
}

#[test]
fn errors_of_the_configuration_and_the_catalog_end_the_command_at_once() {
    let server = Lease::take(Version::MAIN);
    database(&server)
        .batch_execute("create table public.keyless(v text)")
        .expect("a table");
    let mut files = CommandFolder::new();
    let config: Value = json!({
        "address": server.address(), "database": "cli", "user": "postgres", "password": "hunter2",
    });
    let catalog = |stream: &str, collections: Value| {
        let binding = |stream: &str| json!({"resource": {"namespace": "public", "stream": stream}, "target": stream});
        json!({
            "captures": {"c": {
                "endpoint": {"connector": {"image": "", "config": config}},
                "bindings": [binding("keyless"), binding(stream)],
            }},
            "collections": collections,
        })
        .to_string()
    };
    let path = files.write(
        "flow.json",
        &catalog("missing", json!({"missing": {"key": ["/id"]}})),
    );
    let log = files.start(&["--config", &path]).fail();
    assert!(
        log.contains("table \"public.keyless\" cannot be backfilled by key"),
        "{log}"
    );
    assert!(log.contains("public.missing"), "{log}");

    let path = files.write("flow.json", &catalog("missing", json!({})));
    let log = files.start(&["--config", &path]).fail();
    assert!(
        log.contains("'captures.c.bindings[1]': table \"public.missing\" does not exist"),
        "{log}"
    );
    let path = files.write(
        "flow.json",
        &catalog("keyless", json!({})).replace("address", "adress"),
    );
    let log = files.start(&["--config", &path]).fail();
    assert!(
        log.contains("unknown member 'adress': did you mean") || log.contains("adress"),
        "{log}"
    );
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn closing_standard_output_ends_the_capture_cleanly() {
    let server = Lease::take(Version::MAIN);
    let mut client = database(&server);
    client
        .batch_execute(
            "create table public.t(id int primary key, v text);
             insert into public.t select i, repeat('x', 1000) from generate_series(1, 5000) i",
        )
        .expect("a table");
    let mut files = CommandFolder::new();
    let config = files.write("config.yaml", &configuration(&server));
    let state = files.state_path();
    let mut child = command(&["--config", &config, "--state", &state])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    assert_eq!(document(line.trim_end()).table, "public/t");
    drop(output);
    let output = child.wait_with_output().expect("the command ends");
    let log = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(
        log.contains("the reader has closed standard output"),
        "{log}"
    );
    assert!(!log.contains("panicked"), "{log}");

    let scanned = files.state()["bindingStateV1"]["public%2Ft"]["backfilled"].clone();
    assert!(
        scanned.as_u64().is_some_and(|rows| rows < 5000),
        "{scanned}"
    );
    let (documents, _) = files
        .start(&[
            "--config",
            &config,
            "--state",
            &state,
            "--exit-when-caught-up",
        ])
        .finish();
    let remaining = 5000 - scanned.as_u64().unwrap_or_default();
    assert_eq!(documents.len() as u64, remaining);
    assert_eq!(
        query(&mut client, "select 1 from pg_replication_slots").len(),
        1
    );
}
