//! The messages of the Flow capture protocol that a runtime sends and receives, in both codecs.
//!
//! They are declared here from the protocol's description, apart from the connector's own, so that
//! a wrong field number or name there does not agree with itself.

mod request;
mod response;

use serde_json::Value;

pub(crate) use request::{
    Acknowledge, Apply, CaptureBinding, CaptureSpec, CollectionSpec, ConnectorType, Discover, Open,
    Projection, RangeSpec, Request, Spec, Validate, ValidateBinding,
};
pub(crate) use response::{Response, strings};

/// One of the two forms that messages take on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Protobuf messages, each after its length in four bytes, little-endian.
    Proto,
    /// JSON, one message a line.
    Json,
}

/// A raw JSON field as a value; an empty one is absent, which `null` stands for.
fn raw(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}
