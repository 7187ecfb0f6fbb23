//! The messages of the Flow capture protocol that a runtime sends and receives, in both codecs.
//!
//! They are declared here from the protocol's description, apart from the connector's own, so that
//! a wrong field number or name there does not agree with itself.

use prost::Message;
use serde_json::{Map, Value, json};

/// One of the two forms that messages take on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Protobuf messages, each after its length in four bytes, little-endian.
    Proto,
    /// JSON, one message a line.
    Json,
}

/// A request; exactly one member is set.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(message, optional, tag = "1")]
    pub(crate) spec: Option<Spec>,
    #[prost(message, optional, tag = "2")]
    pub(crate) discover: Option<Discover>,
    #[prost(message, optional, tag = "3")]
    pub(crate) validate: Option<Validate>,
    #[prost(message, optional, tag = "4")]
    pub(crate) apply: Option<Apply>,
    #[prost(message, optional, tag = "5")]
    pub(crate) open: Option<Open>,
    #[prost(message, optional, tag = "6")]
    pub(crate) acknowledge: Option<Acknowledge>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Spec {
    #[prost(enumeration = "ConnectorType", tag = "1")]
    pub(crate) connector_type: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) config_json: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Discover {
    #[prost(enumeration = "ConnectorType", tag = "1")]
    pub(crate) connector_type: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) config_json: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Validate {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(enumeration = "ConnectorType", tag = "2")]
    pub(crate) connector_type: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) config_json: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) bindings: Vec<ValidateBinding>,
    #[prost(message, optional, tag = "5")]
    pub(crate) last_capture: Option<CaptureSpec>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) linked_collections: Vec<CollectionSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValidateBinding {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) resource_config_json: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(crate) collection: Option<CollectionSpec>,
    #[prost(uint32, tag = "3")]
    pub(crate) backfill: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) collection_index: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Apply {
    #[prost(message, optional, tag = "1")]
    pub(crate) capture: Option<CaptureSpec>,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) state_json: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Open {
    #[prost(message, optional, tag = "1")]
    pub(crate) capture: Option<CaptureSpec>,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) range: Option<RangeSpec>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) state_json: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Acknowledge {
    #[prost(uint32, tag = "1")]
    pub(crate) checkpoints: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CaptureSpec {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(enumeration = "ConnectorType", tag = "2")]
    pub(crate) connector_type: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) config_json: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) bindings: Vec<CaptureBinding>,
    #[prost(uint32, tag = "5")]
    pub(crate) interval_seconds: u32,
    #[prost(message, repeated, tag = "12")]
    pub(crate) linked_collections: Vec<CollectionSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CaptureBinding {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) resource_config_json: Vec<u8>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) resource_path: Vec<String>,
    #[prost(message, optional, tag = "3")]
    pub(crate) collection: Option<CollectionSpec>,
    #[prost(uint32, tag = "4")]
    pub(crate) backfill: u32,
    #[prost(string, tag = "5")]
    pub(crate) state_key: String,
    #[prost(uint32, tag = "6")]
    pub(crate) collection_index: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CollectionSpec {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) key: Vec<String>,
    #[prost(string, tag = "4")]
    pub(crate) uuid_ptr: String,
    #[prost(message, repeated, tag = "6")]
    pub(crate) projections: Vec<Projection>,
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) write_schema_json: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Projection {
    #[prost(string, tag = "1")]
    pub(crate) ptr: String,
    #[prost(string, tag = "2")]
    pub(crate) field: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct RangeSpec {
    #[prost(fixed32, tag = "2")]
    pub(crate) key_begin: u32,
    #[prost(fixed32, tag = "3")]
    pub(crate) key_end: u32,
    #[prost(fixed32, tag = "4")]
    pub(crate) r_clock_begin: u32,
    #[prost(fixed32, tag = "5")]
    pub(crate) r_clock_end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum ConnectorType {
    Invalid = 0,
    Image = 7,
    Local = 8,
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

/// A response, the same from either codec.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Response {
    /// With the members of the JSON form, all present.
    Spec(Value),
    /// The bindings, with the members of the JSON form that are not at their default.
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

impl Request {
    /// Appends the request as it goes over the wire.
    pub(crate) fn encode_with(&self, codec: Codec) -> Vec<u8> {
        match codec {
            Codec::Proto => {
                let length = u32::try_from(self.encoded_len()).expect("tests send little");
                let mut bytes = length.to_le_bytes().to_vec();
                self.encode(&mut bytes).expect("a vector grows");
                bytes
            }
            Codec::Json => format!("{}\n", self.to_json()).into_bytes(),
        }
    }

    fn to_json(&self) -> Value {
        let mut members = Map::new();
        if let Some(spec) = &self.spec {
            members.insert("spec".to_owned(), spec.to_json());
        }
        if let Some(discover) = &self.discover {
            members.insert("discover".to_owned(), discover.to_json());
        }
        if let Some(validate) = &self.validate {
            members.insert("validate".to_owned(), validate.to_json());
        }
        if let Some(apply) = &self.apply {
            members.insert("apply".to_owned(), apply.to_json());
        }
        if let Some(open) = &self.open {
            members.insert("open".to_owned(), open.to_json());
        }
        if let Some(acknowledge) = &self.acknowledge {
            members.insert(
                "acknowledge".to_owned(),
                json!({"checkpoints": acknowledge.checkpoints}),
            );
        }
        Value::Object(members)
    }
}

impl Spec {
    fn to_json(&self) -> Value {
        json!({"connectorType": type_name(self.connector_type), "config": raw(&self.config_json)})
    }
}

impl Discover {
    fn to_json(&self) -> Value {
        json!({
            "connectorType": type_name(self.connector_type),
            "config": raw(&self.config_json),
            "name": self.name,
        })
    }
}

impl Validate {
    fn to_json(&self) -> Value {
        let mut value = json!({
            "name": self.name,
            "connectorType": type_name(self.connector_type),
            "config": raw(&self.config_json),
            "bindings": self.bindings.iter().map(ValidateBinding::to_json).collect::<Vec<_>>(),
        });
        if let Some(last) = &self.last_capture {
            value["lastCapture"] = last.to_json();
        }
        set_linked(&mut value, &self.linked_collections);
        value
    }
}

impl ValidateBinding {
    fn to_json(&self) -> Value {
        let mut value = json!({"resourceConfig": raw(&self.resource_config_json)});
        set_collection(&mut value, self.collection.as_ref(), self.collection_index);
        if self.backfill != 0 {
            value["backfill"] = json!(self.backfill);
        }
        value
    }
}

impl Apply {
    fn to_json(&self) -> Value {
        json!({
            "capture": self.capture.as_ref().map(CaptureSpec::to_json),
            "version": self.version,
            "state": raw(&self.state_json),
        })
    }
}

impl Open {
    fn to_json(&self) -> Value {
        json!({
            "capture": self.capture.as_ref().map(CaptureSpec::to_json),
            "version": self.version,
            "range": self.range.as_ref().map(|range| json!({
                "keyBegin": range.key_begin,
                "keyEnd": range.key_end,
                "rClockBegin": range.r_clock_begin,
                "rClockEnd": range.r_clock_end,
            })),
            "state": raw(&self.state_json),
        })
    }
}

impl CaptureSpec {
    fn to_json(&self) -> Value {
        let mut value = json!({
            "name": self.name,
            "connectorType": type_name(self.connector_type),
            "config": raw(&self.config_json),
            "bindings": self.bindings.iter().map(CaptureBinding::to_json).collect::<Vec<_>>(),
            "intervalSeconds": self.interval_seconds,
        });
        set_linked(&mut value, &self.linked_collections);
        value
    }
}

impl CaptureBinding {
    fn to_json(&self) -> Value {
        let mut value = json!({
            "resourceConfig": raw(&self.resource_config_json),
            "resourcePath": self.resource_path,
            "stateKey": self.state_key,
        });
        set_collection(&mut value, self.collection.as_ref(), self.collection_index);
        if self.backfill != 0 {
            value["backfill"] = json!(self.backfill);
        }
        value
    }
}

impl CollectionSpec {
    fn to_json(&self) -> Value {
        let projection = |p: &Projection| json!({"ptr": p.ptr, "field": p.field});
        json!({
            "name": self.name,
            "key": self.key,
            "uuidPtr": self.uuid_ptr,
            "projections": self.projections.iter().map(projection).collect::<Vec<_>>(),
            "writeSchema": raw(&self.write_schema_json),
        })
    }
}

fn set_collection(value: &mut Value, collection: Option<&CollectionSpec>, index: u32) {
    if let Some(collection) = collection {
        value["collection"] = collection.to_json();
    }
    if index != 0 {
        value["collectionIndex"] = json!(index);
    }
}

fn set_linked(value: &mut Value, linked: &[CollectionSpec]) {
    if !linked.is_empty() {
        value["linkedCollections"] = linked.iter().map(CollectionSpec::to_json).collect();
    }
}

fn type_name(connector_type: i32) -> &'static str {
    match ConnectorType::try_from(connector_type) {
        Ok(ConnectorType::Image) => "IMAGE",
        Ok(ConnectorType::Local) => "LOCAL",
        _ => "INVALID_CONNECTOR_TYPE",
    }
}

/// A raw JSON field as a value; an empty one is absent, which `null` stands for.
fn raw(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

impl Response {
    /// Takes one message off the front of `bytes`; none if it is not whole yet.
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
        let (name, body) = members.iter().next().expect("it has one");
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

/// The texts in an array of them; none for an array that is absent.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    let text = |item: &Value| item.as_str().expect("a text").to_owned();
    items(value).iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_taken_one_at_a_time_in_both_codecs() {
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

    #[test]
    fn requests_name_their_fields_as_the_runtime_does() {
        let request = Request {
            open: Some(Open {
                capture: Some(CaptureSpec {
                    name: "a/b".to_owned(),
                    connector_type: ConnectorType::Image.into(),
                    config_json: br#"{"n":1.10}"#.to_vec(),
                    bindings: vec![CaptureBinding {
                        resource_config_json: b"{}".to_vec(),
                        collection_index: 2,
                        state_key: "k".to_owned(),
                        ..CaptureBinding::default()
                    }],
                    ..CaptureSpec::default()
                }),
                range: Some(RangeSpec {
                    key_end: u32::MAX,
                    ..RangeSpec::default()
                }),
                state_json: b"{}".to_vec(),
                ..Open::default()
            }),
            ..Request::default()
        };
        let line = String::from_utf8(request.encode_with(Codec::Json)).expect("text");
        assert!(line.ends_with('\n'));
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            value["open"]["capture"]["config"].to_string(),
            r#"{"n":1.10}"#
        );
        assert_eq!(
            value["open"]["capture"]["bindings"][0]["collectionIndex"],
            json!(2)
        );
        assert_eq!(value["open"]["range"]["keyEnd"], json!(u32::MAX));
        assert_eq!(value["open"]["state"], json!({}));
    }
}
