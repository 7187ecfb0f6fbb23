//! Requests of the Flow capture protocol that are answered, or refused, without a database.

use serde_json::json;

use crate::support::connector::Launch;
use crate::support::messages::{Codec, Response};
use crate::support::task::Task;

const CODECS: [Codec; 2] = [Codec::Proto, Codec::Json];

#[test]
fn spec_is_answered_without_a_database() {
    for codec in CODECS {
        let mut connector = Launch::new(codec).start();
        let spec = connector
            .ask_spec()
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(spec["protocol"], json!(3_032_023));
        assert_eq!(
            spec["resourcePathPointers"],
            json!(["/namespace", "/stream"])
        );
        assert!(
            spec["documentationUrl"]
                .as_str()
                .is_some_and(|url| url.starts_with("https://"))
        );
        assert_eq!(spec["configSchema"]["title"], "PostgreSQL Connection");
        assert_eq!(
            spec["resourceConfigSchema"]["required"],
            json!(["namespace", "stream"])
        );

        // The end of the input between two requests is not an error.
        connector
            .ask_spec()
            .unwrap_or_else(|failure| panic!("{failure}"));
        connector.close_input();
        assert_eq!(connector.next(), None);
        assert!(connector.wait().success(), "{}", connector.log);
    }
}

#[test]
fn the_documentation_url_can_be_set() {
    let mut connector = Launch::new(Codec::Proto)
        .variable("DOCS_URL", "https://docs/")
        .start();
    let spec = connector
        .ask_spec()
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(spec["documentationUrl"], "https://docs/");
}

#[test]
fn an_unknown_codec_is_refused() {
    let launch = Launch::new(Codec::Proto).variable("FLOW_RUNTIME_CODEC", "xml");
    let mut connector = launch.start();
    assert_eq!(connector.next(), None);
    assert!(!connector.wait().success());
}

#[test]
fn unknown_members_are_ignored_in_requests_and_refused_in_the_configuration() {
    let mut connector = Launch::new(Codec::Json).start();
    connector.send_bytes(
        b" { \"spec\" : {\"config\":{}, \"connectorType\":\"IMAGE\", \"new\":[1]} , \"$internal\":\"eA==\" }\n",
    );
    assert!(
        matches!(connector.next(), Some(Response::Spec(_))),
        "{}",
        connector.log
    );

    let mut config = json!({"address": "127.0.0.1:1", "user": "u", "database": "d"});
    config["advanced"] = json!({"no_such_thing": 1});
    let failure = Task::new(Launch::new(Codec::Json), config)
        .discover()
        .expect_err("refused");
    assert!(failure.to_string().contains("no_such_thing"), "{failure}");
}

#[test]
fn a_truncated_request_is_an_error() {
    for (codec, bytes) in [
        (Codec::Proto, &[9, 0, 0, 0, 10][..]),
        (Codec::Json, b"{\"spec\":{"),
    ] {
        let mut connector = Launch::new(codec).start();
        connector.send_bytes(bytes);
        connector.close_input();
        assert_eq!(connector.next(), None);
        assert!(!connector.wait().success());
    }
}
