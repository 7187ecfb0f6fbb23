//! Every authentication method of every version: which logins succeed and which fail.

use serde_json::json;

use crate::support::certificates::Authority;
use crate::support::connect::{connect, refused};
use crate::support::postgres::{Options, Server, Version};

const METHODS: [&str; 4] = ["scram-sha-256", "md5", "password", "trust"];

fn start(version: Version, authority: &Authority) -> Server {
    let mut access = vec!["host all postgres 127.0.0.1/32 trust".to_owned()];
    for method in METHODS {
        let user = method.replace('-', "_");
        access.push(format!("host all {user} 127.0.0.1/32 {method}"));
    }
    let server = Server::with(
        version,
        &Options {
            access,
            identity: Some(authority.issue("server", &["localhost", "127.0.0.1"])),
            ..Options::default()
        },
    );
    let mut client = server.connect("postgres");
    for method in METHODS {
        let stored = if method == "md5" {
            "md5"
        } else {
            "scram-sha-256"
        };
        let user = method.replace('-', "_");
        client
            .batch_execute(&format!(
                "set password_encryption = '{stored}'; create role {user} login password 'w\u{f6}rd'"
            ))
            .expect("a role is made");
    }
    server
}

#[test]
fn every_method_of_every_version_accepts_only_the_right_password() {
    let authority = Authority::new("the authority");
    std::thread::scope(|scope| {
        for version in Version::ALL {
            let authority = &authority;
            scope.spawn(move || check(&start(version, authority), authority));
        }
    });
}

fn check(server: &Server, authority: &Authority) {
    let version = server.version();
    let has_binding = version >= Version(11);
    let root = authority.certificate();
    let config = |method: &str, password: &str, advanced: serde_json::Value| {
        json!({
            "address": server.address(),
            "user": method.replace('-', "_"),
            "database": "postgres",
            "password": password,
            "advanced": advanced,
        })
    };
    let secured = |setting: &str, value: &str| {
        let mut advanced = json!({"sslmode": "verify-full", "sslrootcert": root});
        advanced[setting] = value.into();
        advanced
    };
    for method in METHODS {
        let connection = connect(&config(
            method,
            "w\u{f6}rd",
            secured("sslmode", "verify-full"),
        ))
        .unwrap_or_else(|error| panic!("{version:?} {method}: {error:?}"));
        assert!(connection.is_encrypted());
        let connection = connect(&config(method, "w\u{f6}rd", json!({"sslmode": "disable"})))
            .unwrap_or_else(|error| panic!("{version:?} {method}: {error:?}"));
        assert!(!connection.is_encrypted());
        if method != "trust" {
            for advanced in [json!({"sslmode": "disable"}), secured("sslmode", "require")] {
                let error = refused(&config(method, "hunter2", advanced));
                assert!(
                    error.starts_with("incorrect username or password for user"),
                    "{version:?} {method}: {error}"
                );
                assert!(!error.contains("hunter2"), "{error}");
            }
        }
        let bound = connect(&config(
            method,
            "w\u{f6}rd",
            secured("channel_binding", "require"),
        ));
        let is_bound = method == "scram-sha-256" && has_binding;
        assert_eq!(bound.is_ok(), is_bound, "{version:?} {method}: {bound:?}");
        let allowed = connect(&config(
            method,
            "w\u{f6}rd",
            secured("require_auth", "scram-sha-256"),
        ));
        assert_eq!(
            allowed.is_ok(),
            method == "scram-sha-256",
            "{version:?} {method}: {allowed:?}"
        );
    }
    let direct = connect(&config(
        "scram-sha-256",
        "w\u{f6}rd",
        secured("sslnegotiation", "direct"),
    ));
    if version >= Version(17) {
        assert!(direct.expect("17 supports direct TLS").is_encrypted());
    } else {
        let error = direct.expect_err("older versions do not support direct TLS");
        assert!(
            error.to_string().contains("needs PostgreSQL 17"),
            "{error:?}"
        );
    }
}
