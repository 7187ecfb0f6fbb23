//! Codecs: framing and encoding of messages.

use crate::error::{Error, ErrorKind, Result};

/// Framing and encoding of messages in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Protobuf messages, each preceded by its length as a little-endian `u32`.
    #[default]
    Proto,
    /// JSON messages, one per line.
    Json,
}

impl Codec {
    /// Returns the codec that the environment variable `FLOW_RUNTIME_CODEC` names, by default
    /// protobuf.
    ///
    /// # Errors
    ///
    /// Fails if the value is neither empty nor `proto` nor `json`.
    pub fn from_env() -> Result<Self> {
        let value = std::env::var_os("FLOW_RUNTIME_CODEC").unwrap_or_default();
        Self::from_name(&value.to_string_lossy())
    }

    /// Returns the codec of this name; an empty name means protobuf.
    fn from_name(name: &str) -> Result<Self> {
        match name {
            "" | "proto" => Ok(Self::Proto),
            "json" => Ok(Self::Json),
            other => Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "environment variable FLOW_RUNTIME_CODEC must be proto or json, found {other:?}"
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protobuf_is_the_default_and_unknown_names_are_rejected() {
        assert_eq!(Codec::from_name("").unwrap(), Codec::Proto);
        assert_eq!(Codec::from_name("proto").unwrap(), Codec::Proto);
        assert_eq!(Codec::from_name("json").unwrap(), Codec::Json);
        Codec::from_name("JSON").unwrap_err();
    }
}
