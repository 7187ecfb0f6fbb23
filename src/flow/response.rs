//! Responses of the connector.

use serde::{Deserialize, Serialize};

use super::codec::Codec;
use super::fields::{is_default, nullable, number, raw_json};
use crate::error::{Error, ErrorKind, Result};

/// Response; the variants are the members of the message on the wire.
#[derive(Clone, PartialEq, prost::Oneof, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// Response to Spec: version and configuration schemas of the connector.
    #[prost(message, tag = "1")]
    Spec(Spec),
    /// Response to Discover: tables that can be captured.
    #[prost(message, tag = "2")]
    Discovered(Discovered),
    /// Response to Validate: the configuration is valid.
    #[prost(message, tag = "3")]
    Validated(Validated),
    /// Response to Apply: the prerequisites of the task are set up.
    #[prost(message, tag = "4")]
    Applied(Applied),
    /// Response to Open: the capture begins.
    #[prost(message, tag = "5")]
    Opened(Opened),
    /// Document. The connector writes documents in place; see
    /// [`Output::begin_captured`](super::Output::begin_captured).
    #[prost(message, tag = "6")]
    Captured(Captured),
    /// Checkpoint that covers all documents before it.
    #[prost(message, tag = "7")]
    Checkpoint(Checkpoint),
    /// Schema that the source declares for a binding's documents.
    #[prost(message, tag = "8")]
    #[serde(alias = "sourced_schema")]
    SourcedSchema(SourcedSchema),
}

/// Version and configuration schemas of the connector.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Version of the capture protocol.
    #[prost(uint32, tag = "1")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub protocol: u32,
    /// JSON schema of the endpoint configuration.
    #[prost(string, tag = "2")]
    #[serde(
        default,
        rename = "configSchema",
        alias = "config_schema_json",
        with = "raw_json"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub config_schema_json: String,
    /// JSON schema of the resource configuration.
    #[prost(string, tag = "3")]
    #[serde(
        default,
        rename = "resourceConfigSchema",
        alias = "resource_config_schema_json"
    )]
    #[serde(with = "raw_json", skip_serializing_if = "is_default")]
    pub resource_config_schema_json: String,
    /// URL of the documentation.
    #[prost(string, tag = "4")]
    #[serde(default, alias = "documentation_url", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub documentation_url: String,
    /// JSON pointers to the elements of the resource path in a resource configuration.
    #[prost(string, repeated, tag = "6")]
    #[serde(
        default,
        alias = "resource_path_pointers",
        deserialize_with = "nullable"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_path_pointers: Vec<String>,
}

/// Tables that can be captured.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Discovered {
    /// One binding for each table.
    #[prost(message, repeated, tag = "1")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub bindings: Vec<DiscoveredBinding>,
}

/// Table that can be captured.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveredBinding {
    /// Recommended name of the collection, to which the runtime adds a prefix.
    #[prost(string, tag = "1")]
    #[serde(default, alias = "recommended_name", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub recommended_name: String,
    /// Resource configuration.
    #[prost(string, tag = "2")]
    #[serde(
        default,
        rename = "resourceConfig",
        alias = "resource_config_json",
        with = "raw_json"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_config_json: String,
    /// JSON schema of the documents.
    #[prost(string, tag = "3")]
    #[serde(
        default,
        rename = "documentSchema",
        alias = "document_schema_json",
        with = "raw_json"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub document_schema_json: String,
    /// JSON pointers to the fields of the key.
    #[prost(string, repeated, tag = "4")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub key: Vec<String>,
    /// Whether the binding is disabled at first.
    #[prost(bool, tag = "5")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub disable: bool,
    /// Path that identifies the resource. If empty, the runtime takes it from the resource
    /// configuration by [`Spec::resource_path_pointers`].
    #[prost(string, repeated, tag = "6")]
    #[serde(default, alias = "resource_path", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_path: Vec<String>,
    /// Whether the key is a fallback that must not replace the key of an existing collection.
    #[prost(bool, tag = "7")]
    #[serde(default, alias = "is_fallback_key", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub is_fallback_key: bool,
}

/// Result of a successful validation.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Validated {
    /// One binding for each binding of the request, in the order of the request.
    #[prost(message, repeated, tag = "1")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub bindings: Vec<ValidatedBinding>,
}

/// Validated binding.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatedBinding {
    /// Path that identifies the resource.
    #[prost(string, repeated, tag = "1")]
    #[serde(default, alias = "resource_path", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_path: Vec<String>,
}

/// Result of setting up the prerequisites of a task.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Description of the actions taken, for the log.
    #[prost(string, tag = "1")]
    #[serde(default, alias = "action_description", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub action_description: String,
}

/// Start of the capture.
#[derive(Clone, Copy, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    /// Whether the connector wants Acknowledge requests.
    #[prost(bool, tag = "1")]
    #[serde(
        default,
        alias = "explicit_acknowledgements",
        deserialize_with = "nullable"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub explicit_acknowledgements: bool,
}

/// Document of a binding.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Captured {
    /// Index of the binding in the task.
    #[prost(uint32, tag = "1")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub binding: u32,
    /// Document as JSON text.
    #[prost(string, tag = "2")]
    #[serde(default, rename = "doc", alias = "doc_json", with = "raw_json")]
    #[serde(skip_serializing_if = "is_default")]
    pub doc_json: String,
}

/// Schema that the source declares for a binding's documents.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct SourcedSchema {
    /// Index of the binding in the task.
    #[prost(uint32, tag = "1")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub binding: u32,
    /// JSON schema.
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

/// Checkpoint that covers all documents before it.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Checkpoint {
    /// State as of the checkpoint.
    #[prost(message, optional, tag = "1")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub state: Option<ConnectorState>,
}

/// State of the capture, or a merge patch to it.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorState {
    /// State or merge patch, as JSON text.
    #[prost(string, tag = "1")]
    #[serde(default, rename = "updated", alias = "updated_json", with = "raw_json")]
    #[serde(skip_serializing_if = "is_default")]
    pub updated_json: String,
    /// Whether `updated_json` is a merge patch (RFC 7396) rather than a whole state.
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
    /// Fails if a member for JSON text is not valid JSON, or if the message exceeds the size limit.
    /// Appends nothing in that case.
    pub fn encode_frame(&self, codec: Codec, buffer: &mut Vec<u8>) -> Result<()> {
        let start = buffer.len();
        match codec {
            Codec::Proto => {
                let length = u32::try_from(self.encoded_len()).map_err(|_| {
                    let found = self.encoded_len();
                    Error::new(
                        ErrorKind::Internal,
                        format!(
                            "a response of {found} bytes exceeds the message size limit of 4 GiB"
                        ),
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
                // A line feed ends a message, so none may occur within it. In valid JSON an
                // unescaped line feed is white space and can be replaced by a space.
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
