//! Behaviour of the Flow capture protocol that the recorded runs do not cover.

use postgres::Client;
use serde_json::{Value, json};

use crate::support::connector::Launch;
use crate::support::messages::Codec;
use crate::support::postgres::{Lease, Options, Server, Version, query, value};
use crate::support::task::{Document, Task};
use crate::support::wait;

const CODECS: [Codec; 2] = [Codec::Proto, Codec::Json];

/// Returns a task that captures a table of three rows.
fn small_task(server: &Server, client: &mut Client, codec: Codec) -> Task {
    client
        .batch_execute(
            "create table public.t(id int primary key, v text);
             insert into public.t values (1, 'a'), (2, 'b'), (3, 'c')",
        )
        .expect("a table");
    let mut task = Task::new(Launch::new(codec), Task::config(server, "small"));
    task.bind(&["public.t"]);
    task
}

/// Creates a database in which all tables are published, and connects to it.
fn database(server: &Server) -> Client {
    server
        .connect("postgres")
        .batch_execute("create database small")
        .expect("a database");
    let mut client = server.connect("small");
    client
        .batch_execute("create publication flow_publication for all tables")
        .expect("a publication");
    client
}

fn ids<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Vec<i64> {
    documents
        .into_iter()
        .filter_map(|document| document.value["id"].as_i64())
        .collect()
}

#[test]
fn collections_can_be_sent_in_a_linked_table() {
    for codec in CODECS {
        let server = Lease::take(Version::MAIN);
        let mut client = database(&server);
        client
            .batch_execute("create table public.u(a text primary key); insert into u values ('x')")
            .expect("a table");
        let mut task = small_task(&server, &mut client, codec);
        task.launch = task.launch.until_caught_up();
        task.linked = true;
        task.bind(&["public.t", "public.u"]);
        let run = task.run();
        assert!(
            run.status.is_some_and(|status| status.success()),
            "{}",
            run.log
        );
        assert_eq!(ids(&run.documents), [1, 2, 3]);
        assert_eq!(task.binding_state("public.t")["key_columns"], json!(["id"]));
        assert_eq!(task.binding_state("public.u")["key_columns"], json!(["a"]));
    }
}

#[test]
fn the_slot_advances_only_after_acknowledgements() {
    let server = Lease::take(Version::MAIN);
    let mut client = database(&server);
    let mut task = small_task(&server, &mut client, Codec::Proto);
    let mut session = task.open();
    session.acknowledge = false;
    session.until("the backfill", |session| {
        session.task.binding_state("public.t")["mode"] == "Active"
    });
    let slot = "select confirmed_flush_lsn::text from pg_replication_slots";
    let before = value(&mut client, slot);
    client
        .batch_execute("insert into public.t values (4, 'd')")
        .expect("a row");
    session.until("the row", |session| {
        ids(&session.run.documents).contains(&4)
    });
    let cursor = session.task.state["cursor"]
        .as_str()
        .expect("a cursor")
        .to_owned();
    assert_eq!(
        value(&mut client, slot),
        before,
        "the slot moved without an acknowledgement"
    );

    let sent = session.run.checkpoints;
    session.acknowledge(u32::try_from(sent).expect("few"));
    let reached = format!("select confirmed_flush_lsn >= '{cursor}' from pg_replication_slots");
    session.until("the slot to follow", |_| {
        value(&mut client, &reached) == "t"
    });

    // Acknowledging more checkpoints than were sent is an error of the runtime.
    session.acknowledge(100);
    let run = session.finish();
    assert!(run.status.is_some_and(|status| !status.success()));
}

#[test]
fn the_end_of_the_input_does_not_end_the_capture() {
    let server = Lease::take(Version::MAIN);
    let mut client = database(&server);
    let mut task = small_task(&server, &mut client, Codec::Json);
    let mut session = task.open();
    session.until("the backfill", |session| {
        session.task.binding_state("public.t")["mode"] == "Active"
    });
    session.acknowledge = false;
    session.connector.close_input();
    client
        .batch_execute("insert into public.t values (5, 'e')")
        .expect("a row");
    session.until("the row", |session| {
        ids(&session.run.documents).contains(&5)
    });
}

#[test]
fn a_crashed_server_ends_the_capture_with_an_error_and_the_next_run_continues() {
    let mut server = Server::start(Version::MAIN);
    let mut client = database(&server);
    let mut task = small_task(&server, &mut client, Codec::Proto);
    let mut session = task.open();
    session.until("the backfill", |session| {
        session.task.binding_state("public.t")["mode"] == "Active"
    });
    server.crash();
    let run = session.finish();
    assert!(run.status.is_some_and(|status| !status.success()));
    assert!(!run.log.lines().is_empty());

    server.resume();
    let mut client = server.connect("small");
    client
        .batch_execute("insert into public.t values (6, 'f')")
        .expect("a row");
    task.config["address"] = server.address().into();
    let mut session = task.open();
    session.until("the row", |session| {
        ids(&session.run.documents).contains(&6)
    });
    session.kill();
    assert_eq!(ids(&task.documents), [1, 2, 3, 6]);
}

#[test]
fn a_wrong_password_is_reported_and_a_right_one_accepted() {
    let options = Options {
        access: vec![
            "host all postgres 127.0.0.1/32 trust".to_owned(),
            "host all plain 127.0.0.1/32 password".to_owned(),
            "host all old 127.0.0.1/32 md5".to_owned(),
            "host all new 127.0.0.1/32 scram-sha-256".to_owned(),
        ],
        tls: true,
        ..Options::default()
    };
    let server = Server::with(Version::MAIN, &options);
    let mut client = server.connect("postgres");
    client
        .batch_execute(
            "set password_encryption = 'md5'; create role old superuser login password 'Wort 1';
             set password_encryption = 'scram-sha-256';
             create role new superuser login password 'Wort 1';
             create role plain superuser login password 'Wort 1';
             create table t(id int primary key)",
        )
        .expect("roles");
    for user in ["old", "new", "plain"] {
        for (password, right) in [("Wort 1", true), ("Wort 2", false)] {
            let mut config = Task::config(&server, "postgres");
            config["user"] = json!(user);
            config["credentials"]["password"] = json!(password);
            match Task::new(Launch::new(Codec::Json), config).discover() {
                Ok(found) => {
                    assert!(right, "{user} was let in with a wrong password");
                    assert_eq!(found[0]["recommendedName"], Value::from("public/t"));
                }
                Err(failure) => {
                    let text = failure.to_string();
                    assert!(!right, "{user}: {text}");
                    assert!(
                        text.contains("password") && !text.contains("Wort"),
                        "{text}"
                    );
                }
            }
        }
    }
}

#[test]
fn sslmode_decides_whether_tls_is_used() {
    let with_tls = Server::with(
        Version::MAIN,
        &Options {
            tls: true,
            ..Options::default()
        },
    );
    let without = Server::start(Version::MAIN);
    let uses_tls = |server: &Server, mode: &str| -> Option<bool> {
        let mut client = server.connect("postgres");
        client
            .batch_execute(
                "create table if not exists t(id int primary key);
                 drop publication if exists flow_publication;
                 create publication flow_publication for all tables",
            )
            .expect("a table and a publication");
        let mut task = Task::new(Launch::new(Codec::Proto), Task::config(server, "postgres"));
        task.config["advanced"] = json!({"sslmode": mode});
        task.discover().ok()?;
        task.bind(&["public.t"]);
        let session = task.open();
        let sql = "select count(*), count(*) filter (where ssl) from pg_stat_ssl \
                   join pg_stat_replication using (pid)";
        let encrypted = wait::until("the stream", || {
            let row = query(&mut client, sql).remove(0);
            (row[0] == "1").then(|| row[1] == "1")
        });
        session.kill();
        wait::until("the stream to end", || {
            (query(&mut client, sql)[0][0] == "0").then_some(())
        });
        Some(encrypted)
    };
    for (mode, on_tls, on_plain) in [
        ("disable", Some(false), Some(false)),
        ("prefer", Some(true), Some(false)),
        ("require", Some(true), None),
    ] {
        assert_eq!(
            uses_tls(&with_tls, mode),
            on_tls,
            "{mode} where TLS is offered"
        );
        assert_eq!(uses_tls(&without, mode), on_plain, "{mode} where it is not");
    }
}
