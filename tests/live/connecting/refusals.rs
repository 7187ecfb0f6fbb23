//! Refused connections: the error names the cause and the remedy. Connection poolers are
//! recognized.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use source_postgres::config::Environment;
use source_postgres::error::{Error, ErrorKind};
use source_postgres::net::{Connection, Purpose};

use crate::support::connect::{connect_for, told};
use crate::support::folder::{self, Guarded};
use crate::support::postgres::{Options, Server, Version, free_port};
use crate::support::wait;

fn connect_as(config: &Value, purpose: Purpose) -> Result<Connection, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime is made");
    runtime.block_on(connect_for(config, Environment::default(), purpose))
}

fn config(server: &Server, user: &str, database: &str) -> Value {
    json!({
        "address": server.address(),
        "user": user,
        "database": database,
        "password": "word",
        "advanced": {"sslmode": "disable"},
    })
}

/// Tested on the oldest, the main and the newest version, because the server's error texts and
/// their positions in the login have changed between versions.
#[test]
fn each_refusal_names_its_cause_and_remedy() {
    for version in [Version(10), Version::MAIN, Version(18)] {
        refusals(version);
    }
}

fn refusals(version: Version) {
    let options = Options::default()
        .setting("max_wal_senders = 1")
        .setting("max_connections = 7")
        .setting("superuser_reserved_connections = 3");
    let mut server = Server::with(version, &options);
    let mut client = server.connect("postgres");
    client
        .batch_execute(
            "create role plain login; create role sender login replication; \
             create role closed nologin; create role limited login connection limit 0",
        )
        .expect("roles are made");
    for sql in [
        "create database private",
        "revoke connect on database private from public",
    ] {
        client.batch_execute(sql).expect("a database is made");
    }
    let refused = |user: &str, database: &str, purpose: Purpose| {
        let error = connect_as(&config(&server, user, database), purpose)
            .expect_err("the connection must be refused");
        (told(&error), error.is_retryable())
    };
    for (user, database, purpose, due, retried) in [
        (
            "plain",
            "missing",
            Purpose::Query,
            "database \"missing\" does not exist",
            false,
        ),
        (
            "plain",
            "private",
            Purpose::Query,
            "user \"plain\" does not have CONNECT privilege to database \"private\"",
            false,
        ),
        (
            "plain",
            "postgres",
            Purpose::Replication,
            "user \"plain\" may not replicate",
            false,
        ),
        (
            "closed",
            "postgres",
            Purpose::Query,
            "the role exists and may log in",
            false,
        ),
        (
            "limited",
            "postgres",
            Purpose::Query,
            "has no connection left for user",
            true,
        ),
    ] {
        let (error, is_retryable) = refused(user, database, purpose);
        assert!(
            error.starts_with("127.0.0.1") || error.contains("127.0.0.1"),
            "{error}"
        );
        assert!(error.contains(due), "{version:?}: {error}");
        assert_eq!(is_retryable, retried, "{error}");
    }
    let sender = connect_as(&config(&server, "sender", "postgres"), Purpose::Replication)
        .unwrap_or_else(|error| panic!("{version:?}: {error:?}"));
    let (error, is_retryable) = refused("sender", "postgres", Purpose::Replication);
    assert!(
        error.contains("has no walsender left"),
        "{version:?}: {error}"
    );
    assert!(is_retryable);
    drop(sender);
    let mut held = Vec::new();
    let error = loop {
        match connect_as(&config(&server, "plain", "postgres"), Purpose::Query) {
            Ok(connection) => held.push(connection),
            Err(error) => break error,
        }
        assert!(held.len() < 8);
    };
    assert!(
        told(&error).contains("see max_connections"),
        "{version:?}: {error}"
    );
    assert!(error.is_retryable());
    drop((held, client));
    let stopped = config(&server, "plain", "postgres");
    server.stop();
    let error = connect_as(&stopped, Purpose::Query).expect_err("the server has stopped");
    assert!(error.to_string().contains("refuses connections"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Connection);
}

/// With TLS the login fails; without TLS it is not attempted, or no `pg_hba.conf` line matches.
#[test]
fn a_failed_login_over_tls_is_reported_rather_than_the_refusal_without_tls() {
    let methods = ["password", "pam", "ident"];
    let mut access = vec!["host all postgres 127.0.0.1/32 trust".to_owned()];
    for method in methods {
        access.push(format!("host all {method} 127.0.0.1/32 {method}"));
        access.push(format!("hostssl all {method}_tls 127.0.0.1/32 {method}"));
    }
    let options = Options {
        access,
        tls: true,
        ..Options::default()
    };
    let server = Server::with(Version::MAIN, &options);
    let mut client = server.connect("postgres");
    for method in methods {
        for role in [method.to_owned(), format!("{method}_tls")] {
            let sql = format!("create role {role} login password 'another'");
            client.batch_execute(&sql).expect("a role is made");
            for sslmode in ["allow", "prefer", "require"] {
                let mut config = config(&server, &role, "postgres");
                config["advanced"]["sslmode"] = sslmode.into();
                let error = connect_as(&config, Purpose::Query).expect_err("it must be refused");
                let due = if method == "password" {
                    "incorrect username or password"
                } else {
                    "by the method of its pg_hba.conf"
                };
                let told = told(&error);
                assert!(told.contains(due), "{role} {sslmode}: {told}");
            }
        }
    }
}

#[test]
fn a_server_that_is_shutting_down_causes_a_retryable_error() {
    let server = Server::start(Version::MAIN);
    // A smart shutdown refuses new sessions while it waits for the last session to end.
    let mut last = server.connect("postgres");
    let mut signal = server.connect("postgres");
    let postmaster = crate::support::postgres::value(
        &mut signal,
        "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)",
    );
    let status = Command::new("kill")
        .args(["-TERM", &postmaster])
        .status()
        .expect("kill runs");
    assert!(status.success());
    let error = wait::until("the server to shut down", || {
        connect_as(&config(&server, "postgres", "postgres"), Purpose::Query).err()
    });
    last.batch_execute("select 1")
        .expect("the last session still works");
    assert!(
        error
            .to_string()
            .contains("starting up, shutting down or recovering"),
        "{error}"
    );
    assert!(error.is_retryable());
}

#[test]
fn a_pooler_is_recognized() {
    let server = Server::start(Version::MAIN);
    let mut guarded = Guarded::new("pgbouncer");
    let port = free_port();
    let path = guarded.path().join("config");
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nauth_type = any\nunix_socket_dir =\n\
         logfile = {}/log\n",
        server.port(),
        guarded.path().display(),
    );
    let settings = settings.replace("* = host=127.0.0.1", "* = user=postgres host=127.0.0.1");
    fs::write(&path, settings).expect("the file is written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the mode is set");
    folder::give_to_account(&path);
    let program = Path::new("/usr/sbin/pgbouncer");
    assert!(
        program.exists(),
        "pgbouncer is missing: run tests/support/install-servers.sh"
    );
    let path = path.to_str().expect("temporary folders are UTF-8");
    guarded
        .run(program, &["-q", path], Stdio::null())
        .expect("serve.sh starts");
    wait::until("PgBouncer to listen", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    for purpose in [Purpose::Query, Purpose::Replication] {
        let config = json!({
            "address": format!("127.0.0.1:{port}"),
            "user": "postgres",
            "database": "postgres",
            "advanced": {"sslmode": "disable"},
        });
        let error = connect_as(&config, purpose).expect_err("poolers are refused");
        assert!(
            told(&error).contains("is a connection pooler (PgBouncer)"),
            "{}",
            told(&error)
        );
        assert!(!error.is_retryable());
    }
}
