//! How single fields are read from JSON and written to it, where serde's own way would not do.
//!
//! Reading takes `null` for absent throughout, as protobuf's JSON mapping asks for.

use serde::{Deserialize, Deserializer};

/// Reads a field of any type, `null` as its default.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Returns whether a field is left out on output, since it has its default.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// JSON text that stands in a message as a value and is never interpreted.
pub(super) mod raw_json {
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::value::RawValue;

    pub(in crate::flow) fn serialize<S: Serializer>(
        text: &str,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(text)
            .map_err(|error| S::Error::custom(format!("a field is not valid JSON: {error}")))?;
        raw.serialize(serializer)
    }

    pub(in crate::flow) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<String, D::Error> {
        let raw = Option::<Box<RawValue>>::deserialize(deserializer)?;
        Ok(raw
            .map(|raw| String::from(Box::<str>::from(raw)))
            .unwrap_or_default())
    }
}

/// A `uint32` or `fixed32`: a number, but a string of digits is understood as well.
pub(super) mod number {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};
    use serde_json::Value;

    pub(in crate::flow) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u32, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Some(0),
            Value::Number(number) => number
                .as_u64()
                .and_then(|number| u32::try_from(number).ok()),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
        .ok_or_else(|| D::Error::custom("a number from 0 to 4294967295 is due"))
    }
}

/// The connector type: the name of a variant, or its number.
pub(super) mod connector_type {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    use crate::flow::ConnectorType;

    pub(in crate::flow) fn serialize<S: Serializer>(
        number: &i32,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match ConnectorType::try_from(*number) {
            Ok(known) => known.as_str_name().serialize(serializer),
            Err(_) => number.serialize(serializer),
        }
    }

    /// A name that is unknown is read as the invalid type; refusing it is left to the checks.
    pub(in crate::flow) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<i32, D::Error> {
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
        .ok_or_else(|| D::Error::custom("the name or number of a connector type is due"))
    }
}
