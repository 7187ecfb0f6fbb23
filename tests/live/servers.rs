//! The test servers: every version starts, decodes, and is removed.

use std::path::Path;

use crate::support::postgres::{Lease, Options, Server, Version, query, value};
use crate::support::wait;

/// One test for each version, named after it.
macro_rules! versions {
    ($($name:ident = $version:literal),* $(,)?) => {$(
        #[test]
        fn $name() {
            starts_and_decodes(Version($version));
        }
    )*};
}

versions! {
    v10 = 10, v11 = 11, v12 = 12, v13 = 13, v14 = 14, v15 = 15, v16 = 16, v17 = 17, v18 = 18,
}

fn starts_and_decodes(version: Version) {
    let server = Server::start(version);
    let mut client = server.connect("postgres");
    let number: u32 = value(&mut client, "show server_version_num")
        .parse()
        .expect("a number");
    assert_eq!(number / 10_000, version.0);
    assert_eq!(value(&mut client, "show server_encoding"), "UTF8");
    assert_eq!(
        value(
            &mut client,
            "select datcollate from pg_database where datname = current_database()"
        )
        .replace('-', "")
        .to_lowercase(),
        "c.utf8"
    );

    client
        .batch_execute("create table t(id int primary key)")
        .expect("a table");
    query(
        &mut client,
        "select pg_create_logical_replication_slot('s', 'test_decoding')",
    );
    client
        .batch_execute("insert into t values (1)")
        .expect("a row");
    let changes = query(
        &mut client,
        "select data from pg_logical_slot_get_changes('s', null, null)",
    );
    assert!(
        changes.iter().any(|row| row[0].contains("id[integer]:1")),
        "{changes:?}"
    );
}

#[test]
fn a_dropped_server_leaves_no_process_and_no_files() {
    let server = Server::start(Version::MAIN);
    let mut client = server.connect("postgres");
    let pid = value(&mut client, "select pg_backend_pid()");
    let folder = value(&mut client, "show data_directory");
    drop(server);
    assert!(!Path::new(&folder).exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_stopped_or_crashed_server_resumes_with_its_rows() {
    let mut server = Server::start(Version::MAIN);
    let port = server.port();
    server
        .connect("postgres")
        .batch_execute("create table t(id int)")
        .expect("a table");
    server.stop();
    server.resume();
    server
        .connect("postgres")
        .batch_execute("insert into t values (1)")
        .expect("a row");
    server.crash();
    server.resume();
    assert_eq!(
        value(&mut server.connect("postgres"), "select count(*) from t"),
        "1"
    );
    assert_eq!(server.port(), port);
    assert!(server.log().contains("was not properly shut down"));
}

#[test]
fn a_shared_server_is_cleaned_before_the_next_use() {
    let lease = Lease::take(Version::MAIN);
    let mut client = lease.connect("postgres");
    client
        .batch_execute("create database \"Odd name\"")
        .expect("a database");
    client
        .batch_execute("alter role postgres set timezone = 'Asia/Tokyo'")
        .expect("a setting");
    let mut inside = lease.connect("Odd name");
    query(
        &mut inside,
        "select pg_create_logical_replication_slot('s', 'pgoutput')",
    );
    lease.clean();
    let mut client = lease.connect("postgres");
    assert_eq!(
        value(&mut client, "select count(*) from pg_replication_slots"),
        "0"
    );
    assert_eq!(value(&mut client, "show timezone"), "UTC");
    assert_eq!(value(&mut client, "select count(*) from pg_database"), "3");
}

#[test]
fn a_server_can_require_passwords_and_tls() {
    let options = Options {
        access: vec![
            "local all all trust".to_owned(),
            "host all postgres 127.0.0.1/32 trust".to_owned(),
            "hostssl all secure 127.0.0.1/32 scram-sha-256".to_owned(),
        ],
        tls: true,
        ..Options::default()
    };
    let server = Server::with(Version::MAIN, &options);
    assert!(server.certificate().contains("BEGIN CERTIFICATE"));
    let mut client = server.connect("postgres");
    assert_eq!(value(&mut client, "show ssl"), "on");
    client
        .batch_execute("create role secure login password 'word'")
        .expect("a role");
    let refused = std::panic::catch_unwind(|| server.connect_as("secure", "postgres"));
    assert!(refused.is_err(), "a connection without TLS was accepted");
}

#[test]
fn a_standby_follows_in_old_and_new_versions() {
    for version in [Version(11), Version(16)] {
        let mut primary = Server::start(version);
        let standby = Server::standby_of(&mut primary, &Options::default());
        let mut client = primary.connect("postgres");
        client
            .batch_execute("create table t as select 1 as id")
            .expect("a table");
        let mut reader = standby.connect("postgres");
        assert_eq!(value(&mut reader, "select pg_is_in_recovery()"), "t");
        wait::until("the standby to have the row", || {
            reader.query("select id from t", &[]).ok()
        });
    }
}
