//! Client certificates, and server certificates made by the recipes of the PostgreSQL manual.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::certificates::{Authority, Identity};
use crate::support::connect::{connect, refused};
use crate::support::folder::Guarded;
use crate::support::postgres::{Options, Server, Version};

fn config(server: &Server, user: &str, advanced: Value) -> Value {
    json!({
        "address": format!("localhost:{}", server.port()),
        "user": user,
        "database": "postgres",
        "advanced": advanced,
    })
}

#[test]
fn a_client_certificate_is_sent_to_a_server_that_asks_for_it() {
    let authority = Authority::new("the authority");
    let mut server = Server::with(
        Version::MAIN,
        &Options {
            access: vec![
                "hostnossl all postgres 127.0.0.1/32 trust".to_owned(),
                "hostssl all all 127.0.0.1/32 cert".to_owned(),
            ],
            identity: Some(authority.issue("server", &["localhost"])),
            ..Options::default()
        },
    );
    server.request_client_certificates(&authority.certificate());
    server
        .connect("postgres")
        .batch_execute("create role alice login")
        .expect("a role is made");
    let alice = authority.issue("alice", &[]);
    let stranger = Authority::new("another").issue("alice", &[]);
    let folder = Guarded::new("client-certificate");
    let with = |certificate: &str, key: &str| {
        let advanced = json!({
            "sslmode": "verify-full",
            "sslrootcert": authority.certificate(),
            "sslcert": certificate,
            "sslkey": key,
        });
        config(&server, "alice", advanced)
    };
    connect(&with(&alice.certificate, &alice.key)).expect("as PEM");
    connect(&with(
        &folder.write("c", &alice.certificate),
        &folder.write("k", &alice.key),
    ))
    .expect("as files");
    let both = format!("{}{}", alice.certificate, alice.key);
    connect(&with(&both, "")).expect("as one text");

    let error = refused(&with(&stranger.certificate, &stranger.key));
    assert!(
        error.contains("client certificate") || error.contains("sslcert"),
        "{error}"
    );
    let error = refused(&with("", ""));
    assert!(error.contains("certificate"), "{error}");
    for (certificate, key, due) in [
        (alice.certificate.as_str(), "", "needs its private key"),
        ("", alice.key.as_str(), "needs the certificate"),
        (&alice.certificate, &stranger.key, "cannot be used together"),
        ("/nowhere", &alice.key, "neither PEM"),
        (&alice.key, &alice.key, "holds no certificate"),
        (
            &alice.certificate,
            &alice.certificate,
            "holds no private key",
        ),
    ] {
        let error = refused(&with(certificate, key));
        assert!(error.contains(due), "{error}");
        let secret = alice.key.lines().nth(1).expect("the key has several lines");
        assert!(!error.contains(secret), "{error}");
    }
}

#[test]
fn certificates_of_the_manuals_recipes_are_verified() {
    let folder = Guarded::new("recipes");
    openssl(
        folder.path(),
        "req -new -nodes -text -out root.csr -keyout root.key -subj /CN=root",
    );
    openssl(
        folder.path(),
        "x509 -req -in root.csr -text -days 3650 -extfile /etc/ssl/openssl.cnf \
         -extensions v3_ca -signkey root.key -out root.crt",
    );
    openssl(
        folder.path(),
        "req -new -nodes -text -out server.csr -keyout server.key -subj /CN=localhost",
    );
    // Without extensions, so an X.509 version 1 certificate; its only name is the common name.
    openssl(
        folder.path(),
        "x509 -req -in server.csr -text -days 365 -CA root.crt -CAkey root.key -CAcreateserial \
         -out server.crt",
    );
    openssl(
        folder.path(),
        "req -new -x509 -sha384 -days 365 -nodes -text -out self.crt -keyout self.key \
         -subj /CN=localhost",
    );
    let read =
        |name: &str| fs::read_to_string(folder.path().join(name)).expect("openssl wrote the file");
    for (name, root, tls) in [
        ("server", "root", "TLSv1.3"),
        ("server", "root", "TLSv1.2"),
        ("self", "self", "TLSv1.3"),
        ("self", "self", "TLSv1.2"),
    ] {
        let server = Server::with(
            Version::MAIN,
            &Options {
                access: vec![
                    "host all postgres 127.0.0.1/32 trust".to_owned(),
                    "host all bound 127.0.0.1/32 scram-sha-256".to_owned(),
                ],
                settings: vec![
                    format!("ssl_min_protocol_version = '{tls}'"),
                    format!("ssl_max_protocol_version = '{tls}'"),
                ],
                identity: Some(Identity {
                    certificate: read(&format!("{name}.crt")),
                    key: read(&format!("{name}.key")),
                }),
                ..Options::default()
            },
        );
        let with = |sslmode: &str, root: &str| {
            config(
                &server,
                "postgres",
                json!({"sslmode": sslmode, "sslrootcert": root}),
            )
        };
        let root = read(&format!("{root}.crt"));
        assert!(
            connect(&with("verify-full", &root))
                .expect("the certificate is valid")
                .is_encrypted()
        );
        // Channel binding hashes the certificate with its own hash function: SHA-256 or SHA-384.
        let mut client = server.connect("postgres");
        client
            .batch_execute("create role bound login password 'word'")
            .expect("a role is made");
        let mut bound = with("verify-full", &root);
        bound["user"] = "bound".into();
        bound["password"] = "word".into();
        bound["advanced"]["channel_binding"] = "require".into();
        connect(&bound).unwrap_or_else(|error| panic!("{name} {tls}: {error:?}"));
        let mut by_address = with("verify-full", &root);
        by_address["address"] = server.address().into();
        assert!(refused(&by_address).contains("is for another name (localhost)"));
        let other = Authority::new("root").certificate();
        assert!(refused(&with("require", &other)).contains("is not trusted"));
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {log}");
}
