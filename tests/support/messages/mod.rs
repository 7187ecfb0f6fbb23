//! Messages of the Flow capture protocol as a runtime sends and receives them, in both codecs.
//!
//! They are declared independently of the connector's own declarations, from the description of the
//! protocol, so that a wrong field number or name in the connector is detected.

mod request;
mod response;

use serde_json::Value;

use super::json::parse;

pub(crate) use request::{
    Acknowledge, Apply, CaptureBinding, CaptureSpec, CollectionSpec, ConnectorType, Discover, Open,
    Projection, RangeSpec, Request, Spec, Validate, ValidateBinding,
};
pub(crate) use response::{Response, strings};

/// One of the two encodings of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Protobuf messages, each preceded by its length in four bytes, little-endian.
    Proto,
    /// JSON, one message per line.
    Json,
}

/// Parses a field that holds JSON. An empty field is absent and gives `null`.
fn raw(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    parse(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}
