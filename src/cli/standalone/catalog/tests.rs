use serde_json::json;

use super::*;

const CATALOG: &str = "\
captures:
  acme/shop:
    interval: 5m
    endpoint:
      connector:
        image: ''
        config:
          address: localhost:5432
          database: postgres
          user: flow_capture
          password: hunter2
    bindings:
      - resource: {stream: orders, namespace: public, syncMode: incremental}
        target: acme/orders
      - resource: {stream: old_orders, namespace: public}
        target: acme/orders
        backfill: 2
      - resource: {stream: visits, namespace: public}
        target: acme/visits
      - resource: {stream: off, namespace: public}
        target: acme/off
        disable: true
collections:
  acme/orders:
    schema: {type: object}
    key: [/region, /id]
  acme/off:
    key: not looked at
";

fn interpreted(text: &str, capture: Option<&str>) -> Result<Source> {
    interpret(
        &yaml::parse(text).unwrap(),
        "flow.yaml",
        Path::new(""),
        capture,
    )
}

fn capture_of(text: &str) -> Capture {
    match interpreted(text, None).unwrap() {
        Source::Capture(capture) => *capture,
        Source::Endpoint(_) => panic!("taken for an endpoint"),
    }
}

fn message(text: &str) -> String {
    let error = interpreted(text, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let message = match error.causes() {
        Some(causes) => format!("{error}: {causes}"),
        None => error.to_string(),
    };
    assert!(
        !format!("{message}{error:?}").contains("hunter2"),
        "{message}"
    );
    message
}

#[test]
fn a_catalog_is_read() {
    let capture = capture_of(CATALOG);
    assert_eq!(capture.name, "acme/shop");
    assert_eq!(capture.config.user, "flow_capture");
    let found: Vec<_> = capture
        .bindings
        .iter()
        .map(|bound| {
            (
                bound.resource.stream.as_str(),
                bound.collection.as_str(),
                bound.backfill,
                bound.key.clone(),
                bound.transaction_ids,
            )
        })
        .collect();
    let key = Some(vec!["/region".to_owned(), "/id".to_owned()]);
    assert_eq!(
        found,
        [
            ("orders", "acme/orders", 0, key.clone(), false),
            ("old_orders", "acme/orders", 2, key, false),
            ("visits", "acme/visits", 0, None, true),
        ]
    );
}

#[test]
fn the_catalog_may_be_json() {
    let json = yaml::parse(CATALOG).unwrap().to_string();
    assert_eq!(capture_of(&json).bindings.len(), 3);
}

#[test]
fn an_endpoint_configuration_is_read_without_a_catalog() {
    let text = "{address: 'localhost:5432', database: d, user: u, password: hunter2}";
    match interpreted(text, None).unwrap() {
        Source::Endpoint(config) => assert_eq!(config.database, "d"),
        Source::Capture(_) => panic!("taken for a catalog"),
    }
    let error = interpreted(text, Some("x")).unwrap_err().to_string();
    assert!(
        error.starts_with("flow.yaml is an endpoint configuration"),
        "{error}"
    );
    let error = message("{address: a, user: u, password: hunter2, adress: b}");
    let start = "flow.yaml is not a usable endpoint configuration: unknown member 'adress'";
    assert!(error.starts_with(start), "{error}");
    assert_eq!(
        message("{address: a, user: u, password: 123, sops: {mac: hunter2}}"),
        "flow.yaml is encrypted with sops: give it decrypted"
    );
}

#[test]
fn a_capture_is_chosen_by_name() {
    let second = "captures:
  other:
    endpoint: {connector: {config: {address: a, user: u, password: p}}}
    bindings: [{resource: {namespace: n, stream: s}, target: t}]
";
    let text = CATALOG.replace("captures:\n", second);
    let error = message(&text);
    assert_eq!(
        error,
        "flow.yaml defines several captures, choose one with --capture: acme/shop, other"
    );
    for (wanted, bindings) in [("acme/shop", 3), ("other", 1)] {
        let Source::Capture(capture) = interpreted(&text, Some(wanted)).unwrap() else {
            panic!("taken for an endpoint");
        };
        assert_eq!(
            (capture.name.as_str(), capture.bindings.len()),
            (wanted, bindings)
        );
    }
    let error = interpreted(CATALOG, Some("nope")).unwrap_err().to_string();
    assert_eq!(
        error,
        "flow.yaml defines no capture \"nope\", but acme/shop"
    );
    assert_eq!(message("collections: {}"), "flow.yaml defines no captures");
    let nothing = "bindings: [{disable: true}]";
    assert_eq!(
        message(&second.replace(
            "bindings: [{resource: {namespace: n, stream: s}, target: t}]",
            nothing
        )),
        "flow.yaml: 'captures.other.bindings' has no binding that is enabled: there is nothing to \
         capture"
    );
}

#[test]
fn errors_name_the_file_and_the_member() {
    for (from, to, expected) in [
        (
            "captures:",
            "captures: []\nx:",
            "flow.yaml: unknown member 'x': known here are captures, collections, import",
        ),
        (
            "    bindings:",
            "    binding:",
            "flow.yaml: unknown member 'captures.acme/shop.binding': known here are endpoint, bindings",
        ),
        (
            "target: acme/visits",
            "{}",
            "flow.yaml: 'captures.acme/shop.bindings[2].target' is missing: it must be the name of a collection",
        ),
        (
            "target: acme/visits",
            "target: [x]",
            "flow.yaml: 'captures.acme/shop.bindings[2].target' must be the name of a collection, found an array",
        ),
        (
            "target: acme/visits",
            "target: ''",
            "flow.yaml: 'captures.acme/shop.bindings[2].target' is empty: it must be the name of a collection",
        ),
        (
            "backfill: 2",
            "backfill: -2",
            "flow.yaml: 'captures.acme/shop.bindings[1].backfill' must be a whole number of 32 bits, found a number",
        ),
        (
            "disable: true",
            "disable: 'yes'",
            "flow.yaml: 'captures.acme/shop.bindings[3].disable' must be true or false, found a string",
        ),
        (
            "disable: true",
            "disabled: true",
            "flow.yaml: unknown member 'captures.acme/shop.bindings[3].disabled': known here are resource, target, disable, backfill",
        ),
        (
            "{stream: visits, namespace: public}",
            "{stream: visits}",
            "flow.yaml: 'captures.acme/shop.bindings[2].resource' is not a usable resource: missing 'namespace': give the table's schema",
        ),
        (
            "connector:",
            "dekaf:",
            "flow.yaml: unknown member 'captures.acme/shop.endpoint.dekaf': known here are connector, local",
        ),
        (
            "config:",
            "command: []\n        env:",
            "flow.yaml: 'captures.acme/shop.endpoint.connector.config' is missing: it must be the endpoint configuration, or the path of its file",
        ),
        (
            "password: hunter2",
            "password: [hunter2]",
            "flow.yaml: 'captures.acme/shop.endpoint.connector.config' is not a usable endpoint configuration: 'password' must be a string, found an array",
        ),
        (
            "key: [/region, /id]",
            "key: [region]",
            "flow.yaml: 'collections.acme/orders.key[0]' must be a JSON pointer, which starts with /",
        ),
        (
            "key: [/region, /id]",
            "key: []",
            "flow.yaml: 'collections.acme/orders.key' is empty: it must be an array of JSON pointers",
        ),
        (
            "key: [/region, /id]",
            "keys: [/id]",
            "flow.yaml: unknown member 'collections.acme/orders.keys': known here are key, projections, schema, readSchema, writeSchema",
        ),
    ] {
        // The replaced text is the only error of the catalog, so the message is about it.
        let text = CATALOG
            .replacen(from, to, 1)
            .replacen("        {}\n", "", 1);
        assert_eq!(message(&text), expected, "{from} -> {to}");
    }
    assert_eq!(
        message("[]"),
        "flow.yaml is not a usable endpoint configuration: the endpoint configuration must be a JSON object, found an array"
    );
}

#[test]
fn imports_are_refused_only_if_a_collection_is_not_defined() {
    let with = format!("import: [more.yaml]\n{CATALOG}");
    let error = message(&with);
    assert!(
        error.starts_with(
            "flow.yaml: 'captures.acme/shop.bindings[2].target' is the collection \"acme/visits\", \
             which is not defined in this file"
        ),
        "{error}"
    );
    let complete = format!("{with}  acme/visits: {{schema: visits.schema.yaml, key: [/id]}}\n");
    assert_eq!(capture_of(&complete).bindings.len(), 3);
}

#[test]
fn transaction_ids_are_captured_if_the_collection_has_their_location() {
    let of = |collection: Value| {
        let catalog = json!({
            "captures": {"c": {
                "endpoint": {"local": {"command": ["x"], "config": {"address": "a", "user": "u", "password": "p"}}},
                "bindings": [{"resource": {"namespace": "n", "stream": "s"}, "target": "t"}],
            }},
            "collections": {"t": collection},
        });
        let mut capture = capture_of(&catalog.to_string());
        capture.bindings.remove(0).transaction_ids
    };
    let source = json!({"properties": {"txid": {"type": "integer"}}});
    let discovered = json!({"allOf": [
        {"properties": {"_meta": {"properties": {"source": source}}}},
        {"type": "object"},
    ]});
    let plain = json!({"type": "object", "properties": {"_meta": true}});
    for (collection, expected) in [
        (json!({}), true),
        (json!({"schema": discovered}), true),
        (json!({"schema": plain}), false),
        (json!({"schema": "orders.schema.yaml"}), true),
        (
            json!({"writeSchema": plain, "readSchema": discovered}),
            true,
        ),
        (
            json!({"schema": plain, "projections": {"tx": "/_meta/source/txid"}}),
            true,
        ),
        (
            json!({"schema": plain, "projections": {"tx": {"location": "/_meta/source/txid"}}}),
            true,
        ),
        (
            json!({"schema": plain, "projections": {"id": "/id"}}),
            false,
        ),
    ] {
        assert_eq!(of(collection.clone()), expected, "{collection}");
    }
}

#[test]
fn the_configuration_may_be_in_a_file_relative_to_the_catalog() {
    let folder =
        std::env::temp_dir().join(format!("source-postgres-catalog-{}", std::process::id()));
    fs::create_dir_all(folder.join("inner")).unwrap();
    let catalog = json!({"captures": {"c": {
        "endpoint": {"connector": {"image": "", "config": "inner/config.yaml"}},
        "bindings": [{"resource": "inner/resource.json", "target": "t"}],
    }}});
    let path = folder.join("flow.json");
    fs::write(&path, catalog.to_string()).unwrap();
    let error = read(&path, None).unwrap_err();
    let place = "'captures.c.endpoint.connector.config' refers to a file that cannot be used";
    assert!(error.to_string().ends_with(place), "{error}");
    assert!(
        error
            .causes()
            .unwrap()
            .contains("inner/config.yaml cannot be read"),
        "{error:?}"
    );

    fs::write(
        folder.join("inner/config.yaml"),
        "address: a\nuser: u\npassword: p\n",
    )
    .unwrap();
    let resource = r#"{"namespace":"n","stream":"s"}"#;
    fs::write(folder.join("inner/resource.json"), resource).unwrap();
    let Source::Capture(capture) = read(&path, None).unwrap() else {
        panic!("taken for an endpoint");
    };
    assert_eq!(capture.bindings[0].resource.stream, "s");

    fs::write(folder.join("inner/config.yaml"), "password: 'hunter2").unwrap();
    let error = read(&path, None).unwrap_err();
    assert!(
        error
            .causes()
            .unwrap()
            .contains("is neither JSON nor YAML: line "),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("hunter2"));
    let error = read(&folder.join("none"), None).unwrap_err().to_string();
    assert!(error.ends_with("none cannot be read"), "{error}");
    fs::remove_dir_all(&folder).unwrap();
}
