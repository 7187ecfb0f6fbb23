//! JSON schemas of the endpoint and resource configuration.
//!
//! They are kept as text, since the order of the members is that of Flow's form.

use serde_json::Value;

/// JSON schema of the endpoint configuration.
pub const ENDPOINT_SCHEMA: &str = include_str!("endpoint.schema.json");

/// JSON schema of the resource configuration.
pub const RESOURCE_SCHEMA: &str = include_str!("resource.schema.json");

/// Returns the schema of the endpoint configuration, its members in no particular order.
pub fn endpoint_schema() -> Value {
    parse(ENDPOINT_SCHEMA)
}

/// Returns the schema of the resource configuration, its members in no particular order.
pub fn resource_schema() -> Value {
    parse(RESOURCE_SCHEMA)
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the schemas that are compiled in are valid JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Resource};

    fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
        schema["properties"].as_object().unwrap().iter()
    }

    /// Collects `schema` and all schemas in it, each with its path.
    fn walk<'a>(path: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
        found.push((path.to_owned(), schema));
        if schema["properties"].is_object() {
            for (name, property) in properties(schema) {
                walk(&format!("{path}/{name}"), property, found);
            }
        }
        for (index, branch) in schema["oneOf"].as_array().into_iter().flatten().enumerate() {
            walk(&format!("{path}#{index}"), branch, found);
        }
    }

    #[test]
    fn properties_are_annotated_as_flow_expects() {
        for root in [endpoint_schema(), resource_schema()] {
            assert_eq!(
                root["$schema"],
                "https://json-schema.org/draft/2020-12/schema"
            );
            assert_eq!(root["type"], "object");
            assert!(
                root.get("additionalProperties").is_none(),
                "encryption adds a member"
            );
            let mut all = Vec::new();
            walk("", &root, &mut all);
            for (path, schema) in all {
                assert!(schema["type"].is_string(), "{path}");
                let is_nested = schema["properties"].is_object() && !path.is_empty();
                if is_nested && !path.contains('#') {
                    assert_eq!(schema["additionalProperties"], false, "{path}");
                }
                if schema["secret"] == true {
                    assert_eq!(schema["type"], "string", "{path}");
                }
                for name in schema["required"].as_array().into_iter().flatten() {
                    assert!(
                        schema["properties"][name.as_str().unwrap()].is_object(),
                        "{path}"
                    );
                }
            }
            assert!(!root.to_string().contains("$ref"));
        }
    }

    #[test]
    fn the_endpoint_has_these_properties_and_no_others() {
        let schema = endpoint_schema();
        let mut all = Vec::new();
        walk("", &schema, &mut all);
        // Path, title, default, other keywords; in the order of the form.
        let expected = [
            ("/address", "Server Address", "", "order"),
            ("/user", "User", "\"flow_capture\"", "order"),
            ("/database", "", "\"postgres\"", "order"),
            ("/historyMode", "", "false", "nonsensitive order"),
            (
                "/discoveryFilters/include_schemas",
                "Include Schemas",
                "",
                "items nonsensitive",
            ),
            (
                "/discoveryFilters/exclude_schemas",
                "Exclude Schemas",
                "",
                "items nonsensitive",
            ),
            (
                "/discoveryFilters/table_patterns",
                "Table Patterns",
                "",
                "items nonsensitive",
            ),
            (
                "/discoveryFilters/discover_unpublished_tables",
                "Discover Unpublished Tables",
                "",
                "nonsensitive",
            ),
            ("/advanced/publicationName", "", "\"flow_publication\"", ""),
            ("/advanced/slotName", "", "\"flow_slot\"", ""),
            (
                "/advanced/watermarksTable",
                "",
                "\"public.flow_watermarks\"",
                "",
            ),
            ("/advanced/skip_backfills", "Skip Backfills", "", ""),
            (
                "/advanced/backfill_chunk_size",
                "Backfill Chunk Size",
                "4096",
                "nonsensitive",
            ),
            (
                "/advanced/backfill_connections",
                "Backfill Connections",
                "2",
                "maximum minimum nonsensitive",
            ),
            ("/advanced/sslmode", "SSL Mode", "", "enum"),
            (
                "/advanced/sslrootcert",
                "SSL Root Certificates",
                "",
                "multiline",
            ),
            (
                "/advanced/sslcert",
                "SSL Client Certificate",
                "",
                "multiline",
            ),
            ("/advanced/sslkey", "SSL Client Key", "", "multiline secret"),
            (
                "/advanced/sslnegotiation",
                "SSL Negotiation",
                "\"postgres\"",
                "enum",
            ),
            (
                "/advanced/channel_binding",
                "Channel Binding",
                "\"prefer\"",
                "enum",
            ),
            (
                "/advanced/require_auth",
                "Required Authentication",
                "\"\"",
                "",
            ),
            (
                "/advanced/discover_schemas",
                "Discovery Schema Selection",
                "",
                "items nonsensitive",
            ),
            (
                "/advanced/min_backfill_xid",
                "Minimum Backfill XID",
                "",
                "pattern",
            ),
            (
                "/advanced/read_only_capture",
                "Read-Only Capture",
                "",
                "nonsensitive",
            ),
            (
                "/advanced/capture_as_partitions",
                "Capture Partitioned Tables As Partitions",
                "",
                "nonsensitive",
            ),
            (
                "/advanced/discover_unpublished_tables",
                "Discover Unpublished Tables",
                "",
                "nonsensitive",
            ),
            ("/advanced/source_tag", "Source Tag", "", "nonsensitive"),
            (
                "/advanced/rediscovery_interval",
                "Rediscovery Interval",
                "\"15m\"",
                "pattern",
            ),
            (
                "/advanced/feature_flags",
                "Feature Flags",
                "",
                "nonsensitive",
            ),
            (
                "/advanced/statement_timeout",
                "Statement Timeout",
                "\"\"",
                "enum nonsensitive",
            ),
            (
                "/advanced/logical_decoding_work_mem",
                "Memory for Decoding",
                "\"\"",
                "nonsensitive pattern",
            ),
            (
                "/advanced/discover_only_published",
                "",
                "",
                "nonsensitive x-hidden-field",
            ),
            (
                "/networkTunnel/sshForwarding/sshEndpoint",
                "SSH Endpoint",
                "",
                "pattern",
            ),
            (
                "/networkTunnel/sshForwarding/privateKey",
                "SSH Private Key",
                "",
                "multiline secret",
            ),
        ];
        let leaves: Vec<_> = all
            .iter()
            .filter(|(path, schema)| {
                schema["properties"].is_null() && schema["oneOf"].is_null() && !path.contains('#')
            })
            .collect();
        assert_eq!(leaves.len(), expected.len());
        let mut position = 0;
        for (path, title, default, extras) in expected {
            let (_, schema) = leaves.iter().find(|(found, _)| found == path).unwrap();
            assert_eq!(
                schema["title"].as_str().unwrap_or_default(),
                title,
                "{path}"
            );
            let found = schema
                .get("default")
                .map(Value::to_string)
                .unwrap_or_default();
            assert_eq!(found, default, "{path}");
            let common = ["type", "title", "description", "default"];
            let mut rest: Vec<_> = schema
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .filter(|key| !common.contains(key))
                .collect();
            rest.sort_unstable();
            assert_eq!(rest.join(" "), extras, "{path}");
            let has_description = schema["description"].is_string();
            assert_eq!(
                has_description,
                path != "/advanced/discover_only_published",
                "{path}"
            );
            // The text has the order of the form; the value has none.
            let name = format!("\"{}\": {{", path.rsplit('/').next().unwrap());
            position += ENDPOINT_SCHEMA[position..].find(&name).expect(path);
        }
        assert_eq!(
            schema["required"].to_string(),
            r#"["address","user","database","historyMode","credentials"]"#
        );
        assert_eq!(schema["title"], "PostgreSQL Connection");
        assert_eq!(schema["advanced"], Value::Null);
        assert_eq!(schema["properties"]["advanced"]["advanced"], true);
        assert_eq!(
            schema["properties"]["advanced"]["properties"]["rediscovery_interval"]["pattern"],
            "^[0-9]+(ms|s|m|h)$"
        );
    }

    #[test]
    fn credentials_come_in_four_branches() {
        let schema = endpoint_schema();
        let credentials = &schema["properties"]["credentials"];
        assert_eq!(credentials["x-iam-auth"], true);
        assert_eq!(credentials["discriminator"]["propertyName"], "auth_type");
        assert_eq!(
            credentials["default"].to_string(),
            r#"{"auth_type":"UserPassword"}"#
        );
        let branches = credentials["oneOf"].as_array().unwrap();
        let expected = [
            ("UserPassword", "Password", None, &["password"][..]),
            (
                "AWSIAM",
                "AWS IAM",
                Some("aws"),
                &["aws_region", "aws_role_arn"],
            ),
            (
                "GCPIAM",
                "Google Cloud IAM",
                Some("gcp"),
                &[
                    "gcp_service_account_to_impersonate",
                    "gcp_workload_identity_pool_audience",
                ],
            ),
            (
                "AzureIAM",
                "Azure IAM",
                Some("azure"),
                &["azure_client_id", "azure_tenant_id"],
            ),
        ];
        assert_eq!(branches.len(), expected.len());
        for (branch, (auth_type, title, id, members)) in branches.iter().zip(expected) {
            assert_eq!(branch["title"], title);
            let id = id.map(|cloud| {
                format!("https://github.com/estuary/connectors/go/auth/iam/{cloud}-config")
            });
            assert_eq!(branch["$id"].as_str(), id.as_deref());
            assert!(branch["$schema"].is_string());
            assert!(branch.get("additionalProperties").is_none());
            let tag = &branch["properties"]["auth_type"];
            assert_eq!(
                (&tag["const"], &tag["default"]),
                (&auth_type.into(), &auth_type.into())
            );
            assert_eq!(tag["order"], 0);
            assert_eq!(branch["required"], serde_json::json!(members));
            assert_eq!(properties(branch).count(), members.len() + 1);
        }
        assert_eq!(branches[0]["properties"]["password"]["secret"], true);
    }

    #[test]
    fn the_parser_knows_every_property_of_the_schemas() {
        fn example(schema: &Value) -> Value {
            if let Some(choice) = schema["enum"].as_array().and_then(|all| all.last()) {
                return choice.clone();
            }
            match schema["type"].as_str().unwrap() {
                "object" => match schema["oneOf"].as_array() {
                    Some(branches) => example(&branches[0]),
                    None => properties(schema)
                        .map(|(k, v)| (k.clone(), example(v)))
                        .collect(),
                },
                "boolean" => true.into(),
                "integer" => 1.into(),
                "array" => Value::Array(vec![example(&schema["items"])]),
                _ if !schema["const"].is_null() => schema["const"].clone(),
                _ if schema["pattern"] == "^[0-9]+$" => "7".into(),
                _ if !schema["default"].is_null() => schema["default"].clone(),
                _ => "a.b".into(),
            }
        }
        let endpoint = example(&endpoint_schema());
        Config::parse(&endpoint.to_string()).unwrap();
        let resource = Resource::parse(&{
            let mut resource = example(&resource_schema());
            resource["mode"] = "Normal".into();
            resource.to_string()
        });
        resource.unwrap();
        assert_eq!(
            resource_schema()["required"],
            serde_json::json!(["namespace", "stream"])
        );
        let id = "https://github.com/estuary/connectors/sqlcapture/resource";
        assert_eq!(resource_schema()["$id"], id);
        assert_eq!(resource_schema()["title"], "SQL Database Resource Spec");
    }
}
