//! Responses, which the connector sends.

use prost::Message;
use serde_json::{Value, json};

use super::{Codec, raw};

/// A response, in the same form for both codecs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Response {
    /// The members of the JSON form, all of them present.
    Spec(Value),
    /// The bindings, with those members of the JSON form that differ from their defaults.
    Discovered(Vec<Value>),
    /// The resource path of each binding.
    Validated(Vec<Vec<String>>),
    Applied(String),
    Opened {
        explicit_acknowledgements: bool,
    },
    Captured {
        binding: usize,
        document: Value,
        /// The text of the document with the protobuf codec; empty with JSON.
        text: String,
    },
    SourcedSchema {
        binding: usize,
        schema: Value,
    },
    Checkpoint {
        updated: Value,
        merge_patch: bool,
    },
}

#[derive(Clone, PartialEq, Message)]
struct WireResponse {
    #[prost(message, optional, tag = "1")]
    spec: Option<WireSpec>,
    #[prost(message, optional, tag = "2")]
    discovered: Option<WireDiscovered>,
    #[prost(message, optional, tag = "3")]
    validated: Option<WireValidated>,
    #[prost(message, optional, tag = "4")]
    applied: Option<WireApplied>,
    #[prost(message, optional, tag = "5")]
    opened: Option<WireOpened>,
    #[prost(message, optional, tag = "6")]
    captured: Option<WireCaptured>,
    #[prost(message, optional, tag = "7")]
    checkpoint: Option<WireCheckpoint>,
    #[prost(message, optional, tag = "8")]
    sourced_schema: Option<WireSourcedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct WireSpec {
    #[prost(uint32, tag = "1")]
    protocol: u32,
    #[prost(bytes = "vec", tag = "2")]
    config_schema_json: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    resource_config_schema_json: Vec<u8>,
    #[prost(string, tag = "4")]
    documentation_url: String,
    #[prost(string, repeated, tag = "6")]
    resource_path_pointers: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct WireDiscovered {
    #[prost(message, repeated, tag = "1")]
    bindings: Vec<WireDiscoveredBinding>,
}

#[derive(Clone, PartialEq, Message)]
struct WireDiscoveredBinding {
    #[prost(string, tag = "1")]
    recommended_name: String,
    #[prost(bytes = "vec", tag = "2")]
    resource_config_json: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    document_schema_json: Vec<u8>,
    #[prost(string, repeated, tag = "4")]
    key: Vec<String>,
    #[prost(bool, tag = "5")]
    disable: bool,
    #[prost(string, repeated, tag = "6")]
    resource_path: Vec<String>,
    #[prost(bool, tag = "7")]
    is_fallback_key: bool,
}

#[derive(Clone, PartialEq, Message)]
struct WireValidated {
    #[prost(message, repeated, tag = "1")]
    bindings: Vec<WireValidatedBinding>,
}

#[derive(Clone, PartialEq, Message)]
struct WireValidatedBinding {
    #[prost(string, repeated, tag = "1")]
    resource_path: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct WireApplied {
    #[prost(string, tag = "1")]
    action_description: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WireOpened {
    #[prost(bool, tag = "1")]
    explicit_acknowledgements: bool,
}

#[derive(Clone, PartialEq, Message)]
struct WireCaptured {
    #[prost(uint32, tag = "1")]
    binding: u32,
    #[prost(bytes = "vec", tag = "2")]
    doc_json: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WireCheckpoint {
    #[prost(message, optional, tag = "1")]
    state: Option<WireState>,
}

#[derive(Clone, PartialEq, Message)]
struct WireState {
    #[prost(bytes = "vec", tag = "1")]
    updated_json: Vec<u8>,
    #[prost(bool, tag = "2")]
    merge_patch: bool,
}

#[derive(Clone, PartialEq, Message)]
struct WireSourcedSchema {
    #[prost(uint32, tag = "1")]
    binding: u32,
    #[prost(bytes = "vec", tag = "2")]
    schema_json: Vec<u8>,
}

impl Response {
    /// Decodes the first message of `bytes`, and returns its length and content; `None` if it is
    /// incomplete.
    pub(crate) fn take(bytes: &[u8], codec: Codec) -> Option<(usize, Self)> {
        match codec {
            Codec::Proto => {
                let (length, rest) = bytes.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_le_bytes(*length)).expect("64 bits");
                let message = rest.get(..length)?;
                let response = WireResponse::decode(message).expect("a protobuf message");
                Some((4 + length, response.into_response()))
            }
            Codec::Json => {
                let end = bytes.iter().position(|byte| *byte == b'\n')?;
                Some((end + 1, Self::from_json(&raw(&bytes[..end]))))
            }
        }
    }

    fn from_json(value: &Value) -> Self {
        let members = value.as_object().expect("a response is an object");
        assert_eq!(members.len(), 1, "a response has one member: {value}");
        let (name, body) = members.iter().next().expect("the object has a member");
        let index = |name: &str| usize::try_from(number(&body[name])).expect("64 bits");
        match name.as_str() {
            "spec" => Self::Spec(body.clone()),
            "discovered" => Self::Discovered(items(&body["bindings"]).to_vec()),
            "validated" => Self::Validated(
                items(&body["bindings"])
                    .iter()
                    .map(|b| strings(&b["resourcePath"]))
                    .collect(),
            ),
            "applied" => Self::Applied(
                body["actionDescription"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            ),
            "opened" => Self::Opened {
                explicit_acknowledgements: body["explicitAcknowledgements"] == true,
            },
            "captured" => Self::Captured {
                binding: index("binding"),
                document: body["doc"].clone(),
                text: String::new(),
            },
            "sourcedSchema" => Self::SourcedSchema {
                binding: index("binding"),
                schema: body["documentSchema"].clone(),
            },
            "checkpoint" => Self::Checkpoint {
                updated: body["state"]["updated"].clone(),
                merge_patch: body["state"]["mergePatch"] == true,
            },
            other => panic!("unknown response {other}"),
        }
    }
}

impl WireResponse {
    fn into_response(self) -> Response {
        let index = |binding: u32| usize::try_from(binding).expect("64 bits");
        let mut found = Vec::new();
        if let Some(spec) = self.spec {
            found.push(Response::Spec(json!({
                "protocol": spec.protocol,
                "configSchema": raw(&spec.config_schema_json),
                "resourceConfigSchema": raw(&spec.resource_config_schema_json),
                "documentationUrl": spec.documentation_url,
                "resourcePathPointers": spec.resource_path_pointers,
            })));
        }
        if let Some(discovered) = self.discovered {
            let bindings = discovered.bindings;
            found.push(Response::Discovered(
                bindings
                    .into_iter()
                    .map(WireDiscoveredBinding::into_json)
                    .collect(),
            ));
        }
        if let Some(validated) = self.validated {
            let bindings = validated.bindings;
            found.push(Response::Validated(
                bindings.into_iter().map(|b| b.resource_path).collect(),
            ));
        }
        if let Some(applied) = self.applied {
            found.push(Response::Applied(applied.action_description));
        }
        if let Some(opened) = self.opened {
            let explicit_acknowledgements = opened.explicit_acknowledgements;
            found.push(Response::Opened {
                explicit_acknowledgements,
            });
        }
        if let Some(captured) = self.captured {
            let document = raw(&captured.doc_json);
            found.push(Response::Captured {
                binding: index(captured.binding),
                document,
                text: String::from_utf8(captured.doc_json).expect("UTF-8"),
            });
        }
        if let Some(schema) = self.sourced_schema {
            let (binding, schema) = (index(schema.binding), raw(&schema.schema_json));
            found.push(Response::SourcedSchema { binding, schema });
        }
        if let Some(checkpoint) = self.checkpoint {
            let state = checkpoint.state.unwrap_or_default();
            let (updated, merge_patch) = (raw(&state.updated_json), state.merge_patch);
            found.push(Response::Checkpoint {
                updated,
                merge_patch,
            });
        }
        assert_eq!(found.len(), 1, "a response has one member: {found:?}");
        found.remove(0)
    }
}

impl WireDiscoveredBinding {
    fn into_json(self) -> Value {
        let mut value = json!({
            "recommendedName": self.recommended_name,
            "resourceConfig": raw(&self.resource_config_json),
            "documentSchema": raw(&self.document_schema_json),
            "key": self.key,
        });
        if self.disable {
            value["disable"] = json!(true);
        }
        if !self.resource_path.is_empty() {
            value["resourcePath"] = json!(self.resource_path);
        }
        if self.is_fallback_key {
            value["isFallbackKey"] = json!(true);
        }
        value
    }
}

fn number(value: &Value) -> u64 {
    if value.is_null() {
        return 0;
    }
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns the strings of an array; none if the array is absent.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    let text = |item: &Value| item.as_str().expect("a text").to_owned();
    items(value).iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_response_is_decoded_at_a_time_in_both_codecs() {
        let line = b"{\"checkpoint\":{\"state\":{\"updated\":{\"cursor\":\"0/1\"},\"mergePatch\":true}}}\n";
        let wire = WireResponse {
            checkpoint: Some(WireCheckpoint {
                state: Some(WireState {
                    updated_json: b"{\"cursor\":\"0/1\"}".to_vec(),
                    merge_patch: true,
                }),
            }),
            ..WireResponse::default()
        };
        let mut frame = u32::try_from(wire.encoded_len())
            .expect("small")
            .to_le_bytes()
            .to_vec();
        wire.encode(&mut frame).expect("a vector grows");

        let expected = Response::Checkpoint {
            updated: json!({"cursor": "0/1"}),
            merge_patch: true,
        };
        for (codec, bytes) in [(Codec::Json, line.as_slice()), (Codec::Proto, &frame)] {
            for end in 0..bytes.len() {
                assert_eq!(Response::take(&bytes[..end], codec), None, "{end} bytes");
            }
            let twice = [bytes, bytes].concat();
            assert_eq!(
                Response::take(&twice, codec),
                Some((bytes.len(), expected.clone()))
            );
        }
    }
}
