use std::time::Duration;

use super::*;
use crate::config::{Environment, Flags, HostPort, PasswordSource};
use crate::error::{ErrorKind, Result};

/// Environment without any variables.
fn empty_environment() -> Environment {
    Environment::default()
}

const MINIMAL: &str = r#"{"address":"h","user":"u"}"#;

fn parse(advanced: &str) -> Result<Config> {
    Config::parse(&format!(
        r#"{{"address":"h","user":"u","advanced":{{{advanced}}}}}"#
    ))
}

#[track_caller]
fn assert_refused(json: &str, expected: &str) {
    let error = Config::parse(json).expect_err(json);
    assert!(
        error.to_string().starts_with(expected),
        "{json}\n found: {error}\n expected: {expected}"
    );
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[test]
fn absent_and_empty_members_get_their_defaults() {
    let config = Config::parse(MINIMAL).unwrap();
    assert_eq!(
        config.hosts,
        [HostPort {
            host: "h".into(),
            port: 5432
        }]
    );
    assert_eq!(config.user, "u");
    assert_eq!(config.database, "");
    assert!(matches!(
        config.credentials.password_source().unwrap(),
        PasswordSource::None
    ));
    assert_eq!(config.publication_name, "flow_publication");
    assert_eq!(config.slot_name, "flow_slot");
    assert_eq!(
        config.watermarks_table,
        ("public".into(), "flow_watermarks".into())
    );
    assert_eq!(config.backfill_chunk_size, 4096);
    assert_eq!(config.backfill_connections, 2);
    assert_eq!(config.sslmode, None);
    assert_eq!(
        config.effective_sslmode(&empty_environment()).unwrap(),
        SslMode::Prefer
    );
    assert_eq!(config.rediscovery_interval, Duration::from_secs(900));
    assert_eq!(config.statement_timeout, Some(Duration::from_secs(120)));
    assert_eq!(config.source_tag, None);
    assert_eq!(config.logical_decoding_work_mem, None);
    assert_eq!(config.min_backfill_xid, None);
    assert_eq!(config.flags, Flags::default());
    assert!(config.network_tunnel.is_none());
    assert!(!config.skip_backfills.skips("public", "t"));
    assert!(config.discovery_filters.includes("any", "t"));
    assert!(!config.history_mode && !config.read_only_capture && !config.capture_as_partitions);
    assert!(!config.discover_unpublished_tables);
    assert!(config.warnings().is_empty());
    let empty = Config::parse(
        r#"{"address":"h","user":"u","credentials":null,"advanced":{"slotName":"","sslmode":"",
            "publicationName":null,"watermarksTable":"","backfill_chunk_size":0,"source_tag":"",
            "rediscovery_interval":"","statement_timeout":"","min_backfill_xid":"",
            "logical_decoding_work_mem":""},
            "networkTunnel":{"sshForwarding":{"sshEndpoint":"","privateKey":""}}}"#,
    )
    .unwrap();
    assert_eq!(format!("{empty:?}"), format!("{config:?}"));
}

#[test]
fn every_member_is_read() {
    let config = Config::parse(
        r#"{"address":"db:5433","user":"u","database":"d","historyMode":true,
        "credentials":{"auth_type":"UserPassword","password":"hunter2"},
        "discoveryFilters":{"include_schemas":["a"],"exclude_schemas":["x"],
            "table_patterns":["t*"],"discover_unpublished_tables":true},
        "advanced":{"publicationName":"p","slotName":"s","watermarksTable":"w.m",
            "skip_backfills":"a.b,c.d","backfill_chunk_size":7,"backfill_connections":5,"sslmode":"verify-full",
            "discover_schemas":["b"],"min_backfill_xid":"123","read_only_capture":true,
            "capture_as_partitions":true,"discover_unpublished_tables":false,"source_tag":"tag",
            "rediscovery_interval":"1h30m","feature_flags":"no_date_as_date",
            "statement_timeout":"30s","discover_only_published":true,
            "logical_decoding_work_mem":"64MB"},
        "networkTunnel":{"sshForwarding":{"sshEndpoint":"ssh://me@jump","privateKey":"hunter2"}},
        "sops":{"mac":"x"}}"#,
    )
    .unwrap();
    assert_eq!(config.hosts[0].to_string(), "db:5433");
    assert_eq!(config.database, "d");
    assert!(config.history_mode && config.read_only_capture && config.capture_as_partitions);
    assert!(
        config.discover_unpublished_tables,
        "either member is enough"
    );
    assert_eq!(config.discovery_filters.include_schemas, ["a", "b"]);
    assert!(config.discovery_filters.includes("b", "t1"));
    assert!(!config.discovery_filters.includes("x", "t1"));
    assert_eq!((&*config.publication_name, &*config.slot_name), ("p", "s"));
    assert_eq!(config.watermarks_table, ("w".into(), "m".into()));
    assert!(config.skip_backfills.skips("C", "D"));
    assert_eq!(config.backfill_chunk_size, 7);
    assert_eq!(config.backfill_connections, 5);
    assert_eq!(
        config.effective_sslmode(&empty_environment()).unwrap(),
        SslMode::VerifyFull
    );
    assert_eq!(config.min_backfill_xid, Some(123));
    assert_eq!(config.source_tag.as_deref(), Some("tag"));
    assert_eq!(config.rediscovery_interval, Duration::from_secs(5400));
    assert_eq!(config.statement_timeout, Some(Duration::from_secs(30)));
    assert_eq!(config.logical_decoding_work_mem, Some(65_536));
    assert!(!config.flags.date_as_date);
    let tunnel = config.network_tunnel.as_ref().unwrap();
    assert_eq!(tunnel.ssh_endpoint, "ssh://me@jump");
    assert_eq!(tunnel.private_key.expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_password_at_the_root_is_accepted() {
    let config = Config::parse(
        r#"{"address":"localhost:5432","database":"postgres","user":"flow_capture",
            "password":"secret"}"#,
    )
    .unwrap();
    match config.credentials.password_source().unwrap() {
        PasswordSource::Fixed(password) => assert_eq!(password.expose(), "secret"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_members_are_named_at_any_depth() {
    for (json, expected) in [
        (r#"{"adress":"h"}"#, "unknown member 'adress'"),
        (
            r#"{"advanced":{"slot_name":"s"}}"#,
            "unknown member 'advanced.slot_name': did you mean",
        ),
        (
            r#"{"credentials":{"user":"s"}}"#,
            "unknown member 'credentials.user'",
        ),
        (
            r#"{"discoveryFilters":{"x":1}}"#,
            "unknown member 'discoveryFilters.x'",
        ),
        (
            r#"{"networkTunnel":{"x":1}}"#,
            "unknown member 'networkTunnel.x'",
        ),
        (
            r#"{"networkTunnel":{"sshForwarding":{"x":1}}}"#,
            "unknown member 'networkTunnel.sshForwarding.x'",
        ),
        (
            r#"{"networkTunnel":{"sshForwarding":{"privateKey":7}}}"#,
            "'networkTunnel.sshForwarding.privateKey' must be a string, found a number",
        ),
        ("[]", "the endpoint configuration must be a JSON object"),
        ("", "the endpoint configuration is not valid JSON"),
    ] {
        assert_refused(json, expected);
    }
}

/// Tries each member with an invalid value, while all members checked after it are invalid too.
#[test]
fn checks_run_in_the_documented_order() {
    let wrong = [
        (r#""address":"#, r#""""#, "missing 'address'"),
        (r#""user":"#, r#""""#, "missing 'user'"),
        (
            r#""credentials":"#,
            r#"{"auth_type":"UserPassword"}"#,
            "missing 'password'",
        ),
    ];
    let advanced = [
        (
            "watermarksTable",
            r#""flow_watermarks""#,
            "invalid 'watermarksTable' configuration",
        ),
        (
            "skip_backfills",
            r#""t""#,
            "invalid 'skipBackfills' configuration",
        ),
        (
            "sslmode",
            r#""whoops""#,
            "invalid 'sslmode' configuration: unknown setting \"whoops\"",
        ),
        (
            "discover_schemas",
            r#"["a",""]"#,
            "invalid 'advanced.discover_schemas'",
        ),
        (
            "statement_timeout",
            r#""soon""#,
            "invalid statement timeout",
        ),
        (
            "rediscovery_interval",
            r#""1s""#,
            "invalid 'rediscovery_interval' configuration",
        ),
    ];
    let advanced_from = |first: usize| {
        let members: Vec<_> = advanced[first..]
            .iter()
            .map(|(name, value, _)| format!("\"{name}\":{value}"))
            .collect();
        format!(
            r#""advanced":{{{}}},"discoveryFilters":{{"table_patterns":["."]}}"#,
            members.join(",")
        )
    };
    let good = [
        r#""address":"h""#,
        r#""user":"u""#,
        r#""credentials":{"password":"p"}"#,
    ];
    for (index, (_, _, expected)) in wrong.iter().enumerate() {
        let mut members: Vec<String> = good[..index].iter().map(ToString::to_string).collect();
        members.extend(
            wrong[index..]
                .iter()
                .map(|(name, value, _)| format!("{name}{value}")),
        );
        assert_refused(
            &format!("{{{},{}}}", members.join(","), advanced_from(0)),
            expected,
        );
    }
    let pooler = r#""address":"x.pooler.supabase.com","user":"u""#;
    assert_refused(
        &format!("{{{pooler},{}}}", advanced_from(0)),
        "'address' names Supabase's",
    );
    assert_refused(
        &format!(r#"{{{pooler},"credentials":{{"auth_type":"AWSIAM"}}}}"#),
        "missing 'aws_region'",
    );
    for (index, (_, _, expected)) in advanced.iter().enumerate() {
        assert_refused(
            &format!("{{{},{}}}", good.join(","), advanced_from(index)),
            expected,
        );
    }
    let last = advanced_from(advanced.len());
    assert_refused(
        &format!("{{{},{last}}}", good.join(",")),
        "invalid table pattern \".\"",
    );
}

#[test]
fn iam_credentials_require_tls_unless_sslmode_is_configured() {
    let gcp = r#"{"address":"h","user":"u","credentials":{"auth_type":"GCPIAM",
        "gcp_service_account_to_impersonate":"x","gcp_workload_identity_pool_audience":"y"}"#;
    let config = Config::parse(&format!("{gcp}}}")).unwrap();
    assert_eq!(
        config.effective_sslmode(&empty_environment()).unwrap(),
        SslMode::Require
    );
    let config = Config::parse(&format!(r#"{gcp},"advanced":{{"sslmode":"disable"}}}}"#)).unwrap();
    assert_eq!(
        config.effective_sslmode(&empty_environment()).unwrap(),
        SslMode::Disable
    );
    for mode in SslMode::ALL {
        let config = parse(&format!(r#""sslmode":"{}""#, mode.as_str())).unwrap();
        assert_eq!(config.sslmode, Some(mode));
    }
}

#[test]
fn the_watermarks_table_is_parsed_as_an_sql_name() {
    for (text, schema, table) in [
        ("public.flow_watermarks", "public", "flow_watermarks"),
        ("Ops.Marks", "ops", "marks"),
        (r#"\"Ops\".\"My.Marks\""#, "Ops", "My.Marks"),
        (r#"\"a\"\"b\".c"#, "a\"b", "c"),
        ("d.ops.marks", "ops", "marks"),
    ] {
        let json = format!(
            r#"{{"address":"h","user":"u","database":"d","advanced":{{"watermarksTable":"{text}"}}}}"#
        );
        let config = Config::parse(&json).unwrap();
        assert_eq!(
            config.watermarks_table,
            (schema.into(), table.into()),
            "{text}"
        );
    }
    for text in [
        "marks",
        ".marks",
        "ops.",
        ".",
        "x.ops.marks",
        "a.b.c.d",
        r#"\"a.b"#,
        r#"\"a\"b.c"#,
    ] {
        let json =
            format!(r#"{{"address":"h","user":"u","advanced":{{"watermarksTable":"{text}"}}}}"#);
        assert_refused(&json, "invalid 'watermarksTable' configuration");
    }
}

#[test]
fn amounts_of_memory_have_the_syntax_of_the_server() {
    for (text, kilobytes) in [
        ("64", 64),
        ("64kB", 64),
        ("65536B", 64),
        (" 256 MB ", 262_144),
        ("1GB", 1_048_576),
        ("1TB", 1_073_741_824),
        ("2147483647kB", i32::MAX.unsigned_abs()),
    ] {
        let config = parse(&format!(r#""logical_decoding_work_mem":"{text}""#)).unwrap();
        assert_eq!(config.logical_decoding_work_mem, Some(kilobytes), "{text}");
    }
    for text in [
        "63kB",
        "0",
        "-1",
        "MB",
        "1.5GB",
        "64mb",
        "64 k B",
        "2TB",
        "99999999999999999999",
        "64MB;",
    ] {
        let json = format!(
            r#"{{"address":"h","user":"u","advanced":{{"logical_decoding_work_mem":"{text}"}}}}"#
        );
        assert_refused(&json, "invalid 'logical_decoding_work_mem' configuration");
    }
}

#[test]
fn durations_are_limited() {
    let timeout = |text| {
        parse(&format!(r#""statement_timeout":"{text}""#))
            .unwrap()
            .statement_timeout
    };
    for none in ["0", "0s", "-5s", "999us"] {
        assert_eq!(timeout(none), None, "{none}");
    }
    assert_eq!(timeout("1ms"), Some(Duration::from_millis(1)));
    assert_eq!(
        timeout("2000000h"),
        Some(Duration::from_millis(2_147_483_647))
    );
    let interval = |text| parse(&format!(r#""rediscovery_interval":"{text}""#));
    for good in ["1m", "60s", "8760h", "1h30m"] {
        interval(good).unwrap();
    }
    for bad in ["59s", "8761h", "0", "-15m", "15", "often"] {
        interval(bad).unwrap_err();
    }
}

#[test]
fn sizes_and_transaction_ids_fit_their_types() {
    let size = |n: i64| {
        parse(&format!(r#""backfill_chunk_size":{n}"#))
            .unwrap()
            .backfill_chunk_size
    };
    assert_eq!((size(-1), size(1), size(i64::MAX)), (4096, 1, u32::MAX));
    let connections = |n: i64| {
        parse(&format!(r#""backfill_connections":{n}"#)).map(|config| config.backfill_connections)
    };
    assert_eq!((connections(1).unwrap(), connections(16).unwrap()), (1, 16));
    for number in [-1, 0, 17] {
        let error = connections(number).unwrap_err().to_string();
        assert!(error.contains("from 1 to 16"), "{error}");
    }
    let xid = |text| parse(&format!(r#""min_backfill_xid":"{text}""#)).map(|c| c.min_backfill_xid);
    assert_eq!(xid("4294967295").unwrap(), Some(u32::MAX));
    assert_eq!(
        xid("4294967299").unwrap(),
        Some(3),
        "the epoch is discarded"
    );
    for bad in ["x", "-1", "1.5", "99999999999999999999"] {
        xid(bad).unwrap_err();
    }
}

#[test]
fn settings_without_effect_cause_warnings() {
    let config = parse(r#""feature_flags":"no_such","skip_backfills":"a.b, c.d""#).unwrap();
    let warnings = config.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("no_such") && warnings[1].contains("\" c.d\""),
        "{warnings:?}"
    );
}
