//! The SQL that the command `setup` prints.

use std::process::Command;

use serde_json::json;

use crate::support::connect::connect;
use crate::support::postgres::{Server, Version, query, value};

#[test]
fn the_printed_sql_prepares_a_database() {
    for version in [Version(10), Version(13), Version(18)] {
        let server = Server::start(version);
        let mut client = server.connect("postgres");
        client
            .batch_execute("create schema shop; create table shop.\"Orders\" (id int primary key)")
            .expect("a table is made");
        let output = Command::new(env!("CARGO_BIN_EXE_source-postgres"))
            .args([
                "setup",
                "--platform",
                "self-hosted",
                "--table",
                "shop.Orders",
            ])
            .args(["--server-version", &version.to_string()])
            .output()
            .expect("the connector starts");
        assert!(output.status.success());
        let sql = String::from_utf8(output.stdout).expect("SQL is text");
        let statements: Vec<_> = sql.lines().filter(|line| !line.starts_with("--")).collect();
        for statement in statements.join("\n").split_inclusive(";\n") {
            client
                .batch_execute(statement)
                .unwrap_or_else(|error| panic!("{version:?}: {statement}: {error:?}"));
        }
        let published = query(
            &mut client,
            "select schemaname || '.' || tablename from pg_publication_tables order by 1",
        );
        assert_eq!(published, [["public.flow_watermarks"], ["shop.Orders"]]);
        let role = "select rolreplication and rolcanlogin from pg_roles \
                    where rolname = 'flow_capture'";
        assert_eq!(value(&mut client, role), "t");
        let may_read = "select has_table_privilege('flow_capture', 'shop.\"Orders\"', 'select') \
                        and has_schema_privilege('flow_capture', 'shop', 'usage')";
        assert_eq!(value(&mut client, may_read), "t", "{version:?}");
        connect(&json!({
            "address": server.address(),
            "user": "flow_capture",
            "database": "postgres",
            "password": "secret",
        }))
        .expect("the user can log in");
    }
}
