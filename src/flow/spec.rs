//! Response to a Spec request.

use super::response::{Response, Spec};
use crate::config::{ENDPOINT_SCHEMA, RESOURCE_SCHEMA};

/// Version of the capture protocol that this connector implements.
const PROTOCOL_VERSION: u32 = 3_032_023;

/// Default URL of the documentation.
const DOCUMENTATION_URL: &str = "https://go.estuary.dev/source-postgresql";

/// Returns the response to a Spec request. `docs_url` is the value of the environment variable
/// `DOCS_URL`, with which an image for one kind of server replaces the URL of the documentation.
pub fn spec(docs_url: Option<&str>) -> Response {
    let documentation_url = docs_url
        .filter(|url| !url.is_empty())
        .unwrap_or(DOCUMENTATION_URL);
    Response::Spec(Spec {
        protocol: PROTOCOL_VERSION,
        config_schema_json: without_indentation(ENDPOINT_SCHEMA),
        resource_config_schema_json: without_indentation(RESOURCE_SCHEMA),
        documentation_url: documentation_url.to_owned(),
        resource_path_pointers: vec!["/namespace".to_owned(), "/stream".to_owned()],
    })
}

fn without_indentation(json: &str) -> String {
    json.lines().map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{endpoint_schema, resource_schema};
    use crate::flow::Codec;

    #[test]
    fn the_spec_is_one_line_of_json_with_everything_the_runtime_needs() {
        let mut line = Vec::new();
        spec(None).encode_frame(Codec::Json, &mut line).unwrap();
        assert_eq!(
            line.iter().position(|byte| *byte == b'\n'),
            Some(line.len() - 1)
        );
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let expected = serde_json::json!({"spec": {
            "protocol": 3_032_023,
            "configSchema": endpoint_schema(),
            "resourceConfigSchema": resource_schema(),
            "documentationUrl": "https://go.estuary.dev/source-postgresql",
            "resourcePathPointers": ["/namespace", "/stream"],
        }});
        assert_eq!(value, expected);
    }

    #[test]
    fn docs_url_replaces_the_documentation_url() {
        let url = |docs_url| match spec(docs_url) {
            Response::Spec(spec) => spec.documentation_url,
            _ => unreachable!("spec() returns Response::Spec"),
        };
        assert_eq!(url(Some("https://x")), "https://x");
        assert_eq!(url(Some("")), DOCUMENTATION_URL);
    }
}
