//! Lists of hosts, names with several addresses, and settings from the environment.

use std::net::TcpListener;

use serde_json::json;

use crate::support::certificates::Authority;
use crate::support::connect::{connect, connect_in, refused, told};
use crate::support::folder::Guarded;
use crate::support::postgres::{Lease, Options, Server, Version, free_port};

#[test]
fn hosts_are_tried_in_turn() {
    let server = Lease::take(Version::MAIN);
    let config =
        |address: String| json!({"address": address, "user": "postgres", "database": "postgres"});
    let unused = free_port();
    let port = server.port();
    for address in [
        format!("127.0.0.1:{unused},127.0.0.1:{port}"),
        format!("nowhere.invalid, localhost:{port}"),
        // Usually resolves to [::1] before 127.0.0.1; the server listens only on the latter.
        format!("localhost:{port}"),
        format!("[::1]:{port},127.0.0.1:{port}"),
    ] {
        connect(&config(address.clone())).unwrap_or_else(|error| panic!("{address}: {error:?}"));
    }
    // A host that does not answer is given up after the timeout.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let silent = silent
        .local_addr()
        .map(|address| (address.port(), silent))
        .expect("the listener is bound");
    let address = format!("127.0.0.1:{},127.0.0.1:{port}", silent.0);
    connect_in(&config(address), &[("PGCONNECT_TIMEOUT", "1")]).expect("the second answers");
    // A host that refuses the login is the last one tried.
    let mut other =
        json!({"address": format!("127.0.0.1:{port},127.0.0.1:{unused}"), "user": "nobody_here"});
    let error = refused(&other);
    assert!(
        error.contains("see that") || error.contains("role"),
        "{error}"
    );
    other["address"] = format!("127.0.0.1:{unused}").into();
    assert!(refused(&other).contains("refuses connections"));
    other["address"] = "nowhere.invalid".into();
    assert!(refused(&other).contains("\"nowhere.invalid\" cannot be resolved"));
}

#[test]
fn a_primary_or_a_standby_is_found_in_a_list() {
    let mut primary = Server::start(Version::MAIN);
    let standby = Server::standby_of(&mut primary, &Options::default());
    let address = format!("{},{}", standby.address(), primary.address());
    let config = json!({"address": address, "user": "postgres", "database": "postgres"});
    let mut reversed = config.clone();
    reversed["address"] = format!("{},{}", primary.address(), standby.address()).into();
    for (wanted, due) in [
        ("primary", "off"),
        ("read-write", "off"),
        ("standby", "on"),
        ("read-only", "on"),
        ("prefer-standby", "on"),
    ] {
        for config in [&config, &reversed] {
            let connection = connect_in(config, &[("PGTARGETSESSIONATTRS", wanted)])
                .unwrap_or_else(|error| panic!("{wanted}: {error:?}"));
            assert_eq!(
                connection.facts().parameter("in_hot_standby"),
                Some(due),
                "{wanted}"
            );
        }
    }
    let alone = json!({"address": primary.address(), "user": "postgres", "database": "postgres"});
    connect_in(&alone, &[("PGTARGETSESSIONATTRS", "prefer-standby")])
        .expect("a standby is only preferred");
    let error = connect_in(&alone, &[("PGTARGETSESSIONATTRS", "standby")])
        .expect_err("the server is not a standby");
    assert!(error.to_string().contains("is not a standby"), "{error}");
}

#[test]
fn environment_variables_apply_to_settings_missing_in_the_configuration() {
    let authority = Authority::new("the authority");
    let server = Server::with(
        Version::MAIN,
        &Options {
            access: vec![
                "host all postgres 127.0.0.1/32 trust".to_owned(),
                "host all secure 127.0.0.1/32 scram-sha-256".to_owned(),
            ],
            identity: Some(authority.issue("server", &["127.0.0.1"])),
            ..Options::default()
        },
    );
    server
        .connect("postgres")
        .batch_execute("create role secure login password 'word'")
        .expect("a role is made");
    let folder = Guarded::new("environment");
    let root = folder.write("root.crt", &authority.certificate());
    let other = folder.write("other.crt", &Authority::new("another").certificate());
    let passwords = folder.write(
        "passwords",
        &format!("127.0.0.1:{}:*:secure:word\n", server.port()),
    );
    let services = folder.write("services", "[mine]\nsslmode=disable\n");
    let mut config = json!({"address": server.address(), "user": "secure", "database": "postgres"});
    let password = ("PGPASSFILE", passwords.as_str());

    let error = connect(&config).expect_err("there is no password");
    assert!(
        told(&error).contains("asks for a password"),
        "{}",
        told(&error)
    );
    let connection = connect_in(&config, &[("PGPASSWORD", "word")]).expect("the login succeeds");
    assert!(connection.is_encrypted(), "prefer is the default");
    for (variables, encrypted) in [
        (&[("PGSSLMODE", "disable")][..], false),
        (
            &[("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", &root)],
            true,
        ),
        (
            &[
                ("PGSERVICEFILE", &services),
                ("PGSERVICE", "mine"),
                ("PGSSLMODE", "require"),
            ],
            false,
        ),
    ] {
        let connection = connect_in(&config, &[variables, &[password]].concat())
            .unwrap_or_else(|error| panic!("{variables:?}: {error:?}"));
        assert_eq!(connection.is_encrypted(), encrypted, "{variables:?}");
    }
    for (variables, due) in [
        (
            &[("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", &other)][..],
            "is not trusted",
        ),
        (
            &[("PGSSLMODE", "require"), ("PGSSLROOTCERT", &other)],
            "is not trusted",
        ),
        (&[("PGSSLMODE", "verify-full")], "is not trusted"),
        (&[("PGSSLMODE", "always")], "invalid PGSSLMODE"),
        (&[("PGREQUIREAUTH", "md5")], "require_auth does not allow"),
    ] {
        let error = connect_in(&config, &[variables, &[password]].concat()).expect_err(due);
        assert!(told(&error).contains(due), "{}", told(&error));
    }
    config["advanced"] = json!({"sslmode": "verify-full", "sslrootcert": authority.certificate()});
    let variables = [
        password,
        ("PGSSLMODE", "disable"),
        ("PGSSLROOTCERT", &other),
    ];
    let connection = connect_in(&config, &variables).expect("the configuration takes precedence");
    assert!(connection.is_encrypted());
    config["advanced"] = json!({"sslmode": "verify-full"});
    connect_in(&config, &[password, ("SSL_CERT_FILE", &root)])
        .expect("the certificate is added to the public ones");

    let missing = ("PGDATABASE", "elsewhere");
    connect_in(&config, &[password, ("SSL_CERT_FILE", &root), missing])
        .expect("the database is configured");
    config["database"] = "".into();
    let due = "database \"elsewhere\" does not exist";
    let error = connect_in(&config, &[password, ("SSL_CERT_FILE", &root), missing]).expect_err(due);
    assert!(told(&error).contains(due), "{}", told(&error));
    let due = "database \"secure\" does not exist";
    let error = connect_in(&config, &[password, ("SSL_CERT_FILE", &root)]).expect_err(due);
    assert!(told(&error).contains(due), "{}", told(&error));
}
