//! All combinations of sslmode, server certificate, `pg_hba.conf` line, authentication method, host
//! and root certificate. Each outcome is compared with that of psql, and thus libpq.
//!
//! There is one difference: the connector sends a password in clear text over an unencrypted
//! connection only if sslmode is `disable`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use source_postgres::config::Environment;

use crate::support::certificates::{self, Authority, Identity};
use crate::support::connect::{connect_within, told};
use crate::support::folder::Guarded;
use crate::support::postgres::{Options, Server, Version};

const MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];
const LINES: [&str; 3] = ["host", "hostssl", "hostnossl"];
const METHODS: [&str; 5] = ["scram-sha-256", "md5", "password", "trust", "reject"];
const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];
const AUTHORITIES: [&str; 3] = ["its own", "another", "none"];

/// Result of a connection attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Encrypted,
    Plain,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    mode: &'static str,
    line: &'static str,
    method: &'static str,
    host: &'static str,
    authority: &'static str,
}

impl Cell {
    /// Returns all cells except those in which the root certificate makes no difference (without
    /// TLS, and for a user who is rejected in any case). Unless the environment variable `MATRIX`
    /// is `full`, the name of the host varies only with `verify-full`.
    fn all(authorities: &[&'static str]) -> Vec<Self> {
        let is_full = std::env::var_os("MATRIX").is_some_and(|value| value == "full");
        let mut cells = Vec::new();
        for mode in MODES {
            for line in LINES {
                for method in METHODS {
                    let by_name = is_full || mode == "verify-full";
                    for host in &HOSTS[..if by_name { HOSTS.len() } else { 1 }] {
                        let matters = mode != "disable" && method != "reject";
                        for &authority in
                            &authorities[..if matters { authorities.len() } else { 1 }]
                        {
                            cells.push(Self {
                                mode,
                                line,
                                method,
                                host,
                                authority,
                            });
                        }
                    }
                }
            }
        }
        cells
    }

    fn user(&self) -> String {
        user(self.line, self.method)
    }

    fn root_certificate<'a>(&self, files: &'a Files) -> Option<&'a str> {
        match self.authority {
            "its own" => Some(&files.own),
            "another" => Some(&files.other),
            _ => None,
        }
    }
}

fn user(line: &str, method: &str) -> String {
    format!("{line}_{}", method.replace('-', "_"))
}

/// Paths of root certificates.
struct Files {
    own: String,
    other: String,
}

#[test]
fn every_combination_has_the_outcome_of_libpq() {
    let authority = Authority::new("the authority");
    let other = Authority::new("another authority");
    let names = ["localhost", "127.0.0.1"];
    let own = authority.certificate();
    let self_signed = certificates::self_signed("server", &names);
    let servers: [(&str, Option<Identity>, &str); 7] = [
        ("no TLS", None, &own),
        ("valid", Some(authority.issue("server", &names)), &own),
        (
            "expired",
            Some(authority.issue_expired("server", &names)),
            &own,
        ),
        (
            "wrong name",
            Some(authority.issue("localhost", &["db.example.com", "192.0.2.1"])),
            &own,
        ),
        ("common name", Some(authority.issue("localhost", &[])), &own),
        (
            "address",
            Some(authority.issue("server", &["127.0.0.1"])),
            &own,
        ),
        (
            "self-signed",
            Some(self_signed.clone()),
            &self_signed.certificate,
        ),
    ];
    let folder = Guarded::new("matrix");
    let other = folder.write("other.crt", &other.certificate());
    let differences = std::thread::scope(|scope| {
        let workers: Vec<_> = servers
            .iter()
            .map(|(name, identity, root)| {
                let files = Files {
                    own: folder.write(&format!("{}.crt", name.replace(' ', "-")), root),
                    other: other.clone(),
                };
                scope.spawn(move || {
                    let authorities = if identity.is_some() {
                        &AUTHORITIES[..]
                    } else {
                        &AUTHORITIES[..1]
                    };
                    let all = Cell::all(authorities);
                    compare(name, identity.as_ref(), &all, &files)
                })
            })
            .collect();
        let mut differences = String::new();
        for worker in workers {
            differences.push_str(&worker.join().expect("the worker ends"));
        }
        differences
    });
    assert!(differences.is_empty(), "libpq differs:\n{differences}");
}

/// Returns one line for each cell whose outcome differs from that of libpq.
fn compare(name: &str, identity: Option<&Identity>, cells: &[Cell], files: &Files) -> String {
    let server = start(identity);
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| libpq(&server, cells, files));
        let ours = outcomes(&server, cells, files);
        (theirs.join().expect("psql ends"), ours)
    });
    for outcome in [Outcome::Encrypted, Outcome::Plain, Outcome::Refused] {
        let is_there = theirs.values().any(|found| *found == outcome);
        assert!(is_there || outcome == Outcome::Encrypted && identity.is_none());
    }
    let mut differences = String::new();
    for cell in cells {
        let (libpq, (outcome, error)) = (theirs[cell], &ours[cell]);
        let in_clear = libpq == Outcome::Plain && cell.method == "password";
        let due = match cell.mode {
            // If the server asks for the password in clear text, the connector tries TLS.
            "allow" if in_clear => match theirs[&Cell {
                mode: "require",
                ..*cell
            }] {
                Outcome::Encrypted => Outcome::Encrypted,
                _ => Outcome::Refused,
            },
            "prefer" if in_clear => Outcome::Refused,
            _ => libpq,
        };
        if *outcome != due {
            writeln!(
                differences,
                "{name}: {cell:?}: {outcome:?}, due {due:?}: {error}"
            )
            .expect("a string grows");
        }
    }
    differences
}

fn start(identity: Option<&Identity>) -> Server {
    let mut access = vec!["host all postgres 127.0.0.1/32 trust".to_owned()];
    for line in LINES {
        for method in METHODS {
            let user = user(line, method);
            access.push(format!("{line} all {user} 127.0.0.1/32 {method}"));
        }
    }
    let server = Server::with(
        Version::MAIN,
        &Options {
            access,
            identity: identity.cloned(),
            ..Options::default()
        },
    );
    let mut client = server.connect("postgres");
    for line in LINES {
        for method in METHODS {
            let stored = if method == "md5" {
                "md5"
            } else {
                "scram-sha-256"
            };
            client
                .batch_execute(&format!(
                    "set password_encryption = '{stored}'; \
                     create role {} login password 'word'",
                    user(line, method)
                ))
                .expect("a role is made");
        }
    }
    server
}

/// Returns the outcomes of psql. One process connects to cell after cell until a connection is
/// refused.
fn libpq(server: &Server, cells: &[Cell], files: &Files) -> BTreeMap<Cell, Outcome> {
    let conninfo = |cell: &Cell| {
        let root = cell.root_certificate(files).unwrap_or("/nowhere");
        format!(
            "host={} port={} user={} password=word dbname=postgres sslmode={} sslrootcert={root}",
            cell.host,
            server.port(),
            cell.user(),
            cell.mode,
        )
    };
    let mut found = BTreeMap::new();
    let mut rest = cells;
    while let Some((first, others)) = rest.split_first() {
        let mut script = String::new();
        for cell in others.iter().take(BATCH) {
            let conninfo = conninfo(cell);
            writeln!(script, "{ENCRYPTION}\n\\connect \"{conninfo}\"").expect("a string grows");
        }
        writeln!(script, "{ENCRYPTION}").expect("a string grows");
        let outcomes = psql(&conninfo(first), script);
        let count = outcomes.len();
        for (cell, outcome) in rest.iter().zip(outcomes) {
            found.insert(*cell, outcome);
        }
        rest = &rest[count..];
        if let Some((refused, others)) = rest.split_first()
            && count <= BATCH
        {
            found.insert(*refused, Outcome::Refused);
            rest = others;
        }
    }
    found
}

/// Maximum number of cells of one process. The rest of a script is unused after the first refusal.
const BATCH: usize = 30;

const ENCRYPTION: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid();";

/// Runs a psql script, and returns the outcome of each connection up to the first refusal.
fn psql(conninfo: &str, script: String) -> Vec<Outcome> {
    let mut psql = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-w", conninfo])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nowhere")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("psql starts");
    let mut input = psql.stdin.take().expect("standard input is piped");
    // Writing fails if psql has ended because a connection was refused.
    let writer = std::thread::spawn(move || {
        let _ = input.write_all(script.as_bytes());
    });
    let output = psql.wait_with_output().expect("psql ends");
    writer.join().expect("the thread ends");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| match line {
            "t" => Outcome::Encrypted,
            "f" => Outcome::Plain,
            other => panic!("psql printed {other}"),
        })
        .collect()
}

/// Returns the outcomes of the connector, with the texts of errors.
fn outcomes(server: &Server, cells: &[Cell], files: &Files) -> BTreeMap<Cell, (Outcome, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime is made");
    runtime.block_on(async {
        let mut found = BTreeMap::new();
        for cell in cells {
            found.insert(*cell, outcome(server, cell, files).await);
        }
        found
    })
}

async fn outcome(server: &Server, cell: &Cell, files: &Files) -> (Outcome, String) {
    let mut advanced = serde_json::json!({"sslmode": cell.mode});
    if let Some(root) = cell.root_certificate(files) {
        advanced["sslrootcert"] = root.into();
    }
    let config = serde_json::json!({
        "address": format!("{}:{}", cell.host, server.port()),
        "user": cell.user(),
        "database": "postgres",
        "credentials": {"auth_type": "UserPassword", "password": "word"},
        "advanced": advanced,
    });
    match connect_within(&config, Environment::default()).await {
        Ok(connection) if connection.is_encrypted() => (Outcome::Encrypted, String::new()),
        Ok(_) => (Outcome::Plain, String::new()),
        Err(error) => (Outcome::Refused, told(&error)),
    }
}
