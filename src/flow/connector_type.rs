//! Connector type: written in JSON as the name of a variant, read from its name or number.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Way in which the runtime starts the connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConnectorType {
    /// Not set.
    InvalidConnectorType = 0,
    /// In a container.
    Image = 7,
    /// As a command on the machine of the runtime.
    Local = 8,
}

impl ConnectorType {
    /// Returns the name of the type in JSON.
    pub fn as_str_name(self) -> &'static str {
        match self {
            Self::InvalidConnectorType => "INVALID_CONNECTOR_TYPE",
            Self::Image => "IMAGE",
            Self::Local => "LOCAL",
        }
    }

    /// Returns the type with this name.
    pub fn from_str_name(name: &str) -> Option<Self> {
        [Self::InvalidConnectorType, Self::Image, Self::Local]
            .into_iter()
            .find(|known| known.as_str_name() == name)
    }
}

/// Writes the number of a known type as its name.
pub(super) fn serialize<S: Serializer>(number: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    match ConnectorType::try_from(*number) {
        Ok(known) => known.as_str_name().serialize(serializer),
        Err(_) => number.serialize(serializer),
    }
}

/// Reads an unknown name as the invalid type, which the checks of requests reject.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Some(0),
        Value::Number(number) => number
            .as_i64()
            .and_then(|number| i32::try_from(number).ok()),
        Value::String(name) => {
            Some(ConnectorType::from_str_name(&name).map_or(0, |known| known as i32))
        }
        _ => None,
    }
    .ok_or_else(|| D::Error::custom("expected the name or number of a connector type"))
}
