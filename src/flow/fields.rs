//! Functions for serde attributes, for fields whose JSON form differs from serde's default.
//!
//! All readers accept `null` as an absent field, as the JSON mapping of protobuf requires.

use serde::{Deserialize, Deserializer};

/// Reads a field of any type; `null` gives the default of the type.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Returns whether a field has its default and is therefore left out of the output.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// JSON value in a message, held as text and not interpreted.
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

/// A `uint32` or `fixed32`: a number, or a string of digits.
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
        .ok_or_else(|| D::Error::custom("expected a number from 0 to 4294967295"))
    }
}
