//! What the connector answers.

use serde::{Deserialize, Serialize};

use super::codec::Codec;
use super::fields::{is_default, nullable, number, raw_json};
use crate::error::{Error, ErrorKind, Result};

/// A response; its variants are the members of the message.
#[derive(Clone, PartialEq, prost::Oneof, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// What the connector is.
    #[prost(message, tag = "1")]
    Spec(Spec),
    /// The tables that can be captured.
    #[prost(message, tag = "2")]
    Discovered(Discovered),
    /// The configuration works.
    #[prost(message, tag = "3")]
    Validated(Validated),
    /// What the task needs is set up.
    #[prost(message, tag = "4")]
    Applied(Applied),
    /// Capturing begins.
    #[prost(message, tag = "5")]
    Opened(Opened),
    /// A document. [`Output::begin_captured`](super::Output::begin_captured) writes them in place.
    #[prost(message, tag = "6")]
    Captured(Captured),
    /// Everything up to here belongs to this state.
    #[prost(message, tag = "7")]
    Checkpoint(Checkpoint),
    /// The schema that the source gives a binding's documents.
    #[prost(message, tag = "8")]
    #[serde(alias = "sourced_schema")]
    SourcedSchema(SourcedSchema),
}

/// What the connector is.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The protocol's version.
    #[prost(uint32, tag = "1")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub protocol: u32,
    /// The JSON schema of the endpoint configuration.
    #[prost(string, tag = "2")]
    #[serde(
        default,
        rename = "configSchema",
        alias = "config_schema_json",
        with = "raw_json"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub config_schema_json: String,
    /// The JSON schema of the resource configuration.
    #[prost(string, tag = "3")]
    #[serde(
        default,
        rename = "resourceConfigSchema",
        alias = "resource_config_schema_json"
    )]
    #[serde(with = "raw_json", skip_serializing_if = "is_default")]
    pub resource_config_schema_json: String,
    /// Where the documentation is.
    #[prost(string, tag = "4")]
    #[serde(default, alias = "documentation_url", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub documentation_url: String,
    /// Where in a resource configuration the parts of its path are.
    #[prost(string, repeated, tag = "6")]
    #[serde(
        default,
        alias = "resource_path_pointers",
        deserialize_with = "nullable"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_path_pointers: Vec<String>,
}

/// The tables that can be captured.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Discovered {
    /// A binding for each.
    #[prost(message, repeated, tag = "1")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub bindings: Vec<DiscoveredBinding>,
}

/// A table that can be captured.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveredBinding {
    /// A name for its collection, to be put behind a prefix.
    #[prost(string, tag = "1")]
    #[serde(default, alias = "recommended_name", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub recommended_name: String,
    /// The resource configuration.
    #[prost(string, tag = "2")]
    #[serde(
        default,
        rename = "resourceConfig",
        alias = "resource_config_json",
        with = "raw_json"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_config_json: String,
    /// The JSON schema of the documents.
    #[prost(string, tag = "3")]
    #[serde(
        default,
        rename = "documentSchema",
        alias = "document_schema_json",
        with = "raw_json"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub document_schema_json: String,
    /// JSON pointers to the parts of the key.
    #[prost(string, repeated, tag = "4")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub key: Vec<String>,
    /// Whether the binding starts out disabled.
    #[prost(bool, tag = "5")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub disable: bool,
    /// What identifies the resource; left to the pointers of [`Spec`] if empty.
    #[prost(string, repeated, tag = "6")]
    #[serde(default, alias = "resource_path", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_path: Vec<String>,
    /// Whether the key is a makeshift that must not replace one a collection has.
    #[prost(bool, tag = "7")]
    #[serde(default, alias = "is_fallback_key", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub is_fallback_key: bool,
}

/// The configuration works.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Validated {
    /// One for each binding of the request, in its order.
    #[prost(message, repeated, tag = "1")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub bindings: Vec<ValidatedBinding>,
}

/// A binding that works.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatedBinding {
    /// What identifies the resource.
    #[prost(string, repeated, tag = "1")]
    #[serde(default, alias = "resource_path", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_path: Vec<String>,
}

/// What the task needs is set up.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// What was done, for the log.
    #[prost(string, tag = "1")]
    #[serde(default, alias = "action_description", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub action_description: String,
}

/// Capturing begins.
#[derive(Clone, Copy, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    /// Whether Acknowledge requests are wanted.
    #[prost(bool, tag = "1")]
    #[serde(
        default,
        alias = "explicit_acknowledgements",
        deserialize_with = "nullable"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub explicit_acknowledgements: bool,
}

/// A document.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Captured {
    /// The binding's position in the task.
    #[prost(uint32, tag = "1")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub binding: u32,
    /// The document.
    #[prost(string, tag = "2")]
    #[serde(default, rename = "doc", alias = "doc_json", with = "raw_json")]
    #[serde(skip_serializing_if = "is_default")]
    pub doc_json: String,
}

/// The schema that the source gives a binding's documents.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct SourcedSchema {
    /// The binding's position in the task.
    #[prost(uint32, tag = "1")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub binding: u32,
    /// The JSON schema.
    #[prost(string, tag = "2")]
    #[serde(
        default,
        rename = "documentSchema",
        alias = "schema_json",
        with = "raw_json"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub schema_json: String,
}

/// Everything up to here belongs to this state.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The state.
    #[prost(message, optional, tag = "1")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub state: Option<ConnectorState>,
}

/// A state, or a change of it.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorState {
    /// The state, or what to change.
    #[prost(string, tag = "1")]
    #[serde(default, rename = "updated", alias = "updated_json", with = "raw_json")]
    #[serde(skip_serializing_if = "is_default")]
    pub updated_json: String,
    /// Whether it is a change, by the rules of RFC 7396.
    #[prost(bool, tag = "2")]
    #[serde(default, alias = "merge_patch", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub merge_patch: bool,
}

impl Response {
    /// Appends the response with its framing.
    ///
    /// # Errors
    ///
    /// If a member that holds JSON does not, or if the message outgrows its framing; nothing is
    /// appended then.
    pub fn encode_frame(&self, codec: Codec, buffer: &mut Vec<u8>) -> Result<()> {
        let start = buffer.len();
        match codec {
            Codec::Proto => {
                let length = u32::try_from(self.encoded_len()).map_err(|_| {
                    let found = self.encoded_len();
                    Error::new(
                        ErrorKind::Internal,
                        format!("a response of {found} bytes outgrows the framing of 4 GiB"),
                    )
                })?;
                buffer.extend_from_slice(&length.to_le_bytes());
                self.encode(buffer);
            }
            Codec::Json => {
                if let Err(error) = serde_json::to_writer(&mut *buffer, self) {
                    buffer.truncate(start);
                    return Err(Error::new(
                        ErrorKind::Internal,
                        "a response cannot be written as JSON",
                    )
                    .with_source(error));
                }
                // A line feed within would end the message. In valid JSON it is white space, for
                // within a string it is escaped.
                for byte in &mut buffer[start..] {
                    if matches!(byte, b'\n' | b'\r') {
                        *byte = b' ';
                    }
                }
                buffer.push(b'\n');
            }
        }
        Ok(())
    }
}

macro_rules! into_response {
    ($($variant:ident),*) => {
        $(impl From<$variant> for Response {
            fn from(message: $variant) -> Self {
                Self::$variant(message)
            }
        })*
    };
}

into_response!(
    Spec,
    Discovered,
    Validated,
    Applied,
    Opened,
    Captured,
    Checkpoint,
    SourcedSchema
);
