//! Requests, which the runtime sends.

use prost::Message;
use serde_json::{Map, Value, json};

use super::{Codec, raw};

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

impl Request {
    /// Returns the request as it is sent.
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

#[cfg(test)]
mod tests {
    use super::*;

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
