//! Captures as Flow describes them: bindings, and the collections that they write to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fields::{connector_type, is_default, nullable, number, raw_json};
use crate::error::{Error, ErrorKind, Result};

/// How the runtime starts the connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConnectorType {
    /// Not set.
    InvalidConnectorType = 0,
    /// As a container.
    Image = 7,
    /// As a command of the same machine.
    Local = 8,
}

impl ConnectorType {
    /// Returns the name that stands for the type in JSON.
    pub fn as_str_name(self) -> &'static str {
        match self {
            Self::InvalidConnectorType => "INVALID_CONNECTOR_TYPE",
            Self::Image => "IMAGE",
            Self::Local => "LOCAL",
        }
    }

    /// Returns the type of this name.
    pub fn from_str_name(name: &str) -> Option<Self> {
        [Self::InvalidConnectorType, Self::Image, Self::Local]
            .into_iter()
            .find(|known| known.as_str_name() == name)
    }
}

/// A capture task as it was built from the catalog.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[prost(skip_debug)]
#[serde(rename_all = "camelCase")]
pub struct CaptureSpec {
    /// The task's name.
    #[prost(string, tag = "1")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub name: String,
    /// A [`ConnectorType`].
    #[prost(enumeration = "ConnectorType", tag = "2")]
    #[serde(default, alias = "connector_type", with = "connector_type")]
    #[serde(skip_serializing_if = "is_default")]
    pub connector_type: i32,
    /// The endpoint configuration.
    #[prost(string, tag = "3")]
    #[serde(default, rename = "config", alias = "config_json", with = "raw_json")]
    #[serde(skip_serializing_if = "is_default")]
    pub config_json: String,
    /// The enabled bindings.
    #[prost(message, repeated, tag = "4")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub bindings: Vec<CaptureBinding>,
    /// The table of collections in the indirect form; empty in the inline form.
    #[prost(message, repeated, tag = "12")]
    #[serde(default, alias = "linked_collections", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub linked_collections: Vec<CollectionSpec>,
}

/// One binding of a capture.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaptureBinding {
    /// The resource configuration.
    #[prost(string, tag = "1")]
    #[serde(
        default,
        rename = "resourceConfig",
        alias = "resource_config_json",
        with = "raw_json"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_config_json: String,
    /// What identifies the resource, as Validate answered.
    #[prost(string, repeated, tag = "2")]
    #[serde(default, alias = "resource_path", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_path: Vec<String>,
    /// The collection, in the inline form; see [`CaptureSpec::collection_of`].
    #[prost(message, optional, tag = "3")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub collection: Option<CollectionSpec>,
    /// How often a repeated backfill was asked for.
    #[prost(uint32, tag = "4")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub backfill: u32,
    /// The key of this binding's state. Opaque.
    #[prost(string, tag = "5")]
    #[serde(default, alias = "state_key", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub state_key: String,
    /// The position of the collection in the table, in the indirect form.
    #[prost(uint32, tag = "6")]
    #[serde(
        default,
        alias = "collection_index",
        deserialize_with = "number::deserialize"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub collection_index: u32,
}

/// One binding to be validated.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidateBinding {
    /// The resource configuration.
    #[prost(string, tag = "1")]
    #[serde(
        default,
        rename = "resourceConfig",
        alias = "resource_config_json",
        with = "raw_json"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_config_json: String,
    /// The collection, in the inline form; see [`Validate::collection_of`](super::Validate::collection_of).
    #[prost(message, optional, tag = "2")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub collection: Option<CollectionSpec>,
    /// How often a repeated backfill was asked for.
    #[prost(uint32, tag = "3")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub backfill: u32,
    /// The position of the collection in the table, in the indirect form.
    #[prost(uint32, tag = "4")]
    #[serde(
        default,
        alias = "collection_index",
        deserialize_with = "number::deserialize"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub collection_index: u32,
}

/// A collection that a binding writes to.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectionSpec {
    /// The collection's name.
    #[prost(string, tag = "1")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub name: String,
    /// JSON pointers to the parts of the key.
    #[prost(string, repeated, tag = "3")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub key: Vec<String>,
    /// The locations that have a field of their own.
    #[prost(message, repeated, tag = "6")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub projections: Vec<Projection>,
}

/// A location of a collection's documents that has a field of its own.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Projection {
    /// A JSON pointer to the location.
    #[prost(string, tag = "1")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub ptr: String,
}

impl CaptureSpec {
    /// Returns the collection of one of this capture's bindings.
    ///
    /// # Errors
    ///
    /// If the binding has none, has an index beyond the table, or mixes the two forms. Requests are
    /// checked for that when they are read.
    pub fn collection_of<'a>(&'a self, binding: &'a CaptureBinding) -> Result<&'a CollectionSpec> {
        resolve(
            &self.linked_collections,
            binding.collection.as_ref(),
            binding.collection_index,
        )
    }

    /// Checks what the connector relies on.
    pub(super) fn check(&self) -> Result<()> {
        if self.config_json.is_empty() {
            return Err(malformed("the capture has no configuration"));
        }
        for (index, binding) in self.bindings.iter().enumerate() {
            check_binding(&binding.resource_config_json, self.collection_of(binding))
                .map_err(|error| error.context(format!("binding {index} of the capture")))?;
        }
        Ok(())
    }
}

/// Leaves out the configuration, which holds secrets.
impl fmt::Debug for CaptureSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureSpec")
            .field("name", &self.name)
            .field("bindings", &self.bindings)
            .field("linked_collections", &self.linked_collections)
            .finish_non_exhaustive()
    }
}

/// Checks a binding of either message.
pub(super) fn check_binding(
    resource_config: &str,
    collection: Result<&CollectionSpec>,
) -> Result<()> {
    if resource_config.is_empty() {
        return Err(malformed("the resource configuration is missing"));
    }
    let collection = collection?;
    let key = &collection.key;
    if key.is_empty() || !key.iter().all(|pointer| pointer.starts_with('/')) {
        return Err(malformed(format!(
            "collection {:?} must be keyed by JSON pointers, found {key:?}",
            collection.name
        )));
    }
    Ok(())
}

/// Finds a binding's collection. Which of the forms a message has is told by its table.
pub(super) fn resolve<'a>(
    linked: &'a [CollectionSpec],
    inline: Option<&'a CollectionSpec>,
    index: u32,
) -> Result<&'a CollectionSpec> {
    match (linked, inline) {
        ([], Some(_)) if index != 0 => Err(malformed(format!(
            "a binding has a collection of its own and index {index} into a table that is absent"
        ))),
        ([], Some(inline)) => Ok(inline),
        ([], None) => Err(malformed(
            "a binding has no collection, nor is there a table of them",
        )),
        (_, Some(_)) => Err(malformed(
            "a binding has a collection of its own beside the table of them",
        )),
        (linked, None) => usize::try_from(index)
            .ok()
            .and_then(|index| linked.get(index))
            .ok_or_else(|| {
                let count = linked.len();
                malformed(format!(
                    "a binding has collection index {index}, but the table has {count} entries"
                ))
            }),
    }
}

/// Makes an error for a request that the runtime should not have sent.
pub(super) fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(name: &str) -> CollectionSpec {
        CollectionSpec {
            name: name.into(),
            key: vec!["/id".into()],
            projections: Vec::new(),
        }
    }

    #[test]
    fn inline_collections_are_taken_from_the_binding() {
        let inline = collection("a");
        assert_eq!(resolve(&[], Some(&inline), 0).unwrap().name, "a");
        resolve(&[], None, 0).unwrap_err();
        resolve(&[], Some(&inline), 1).unwrap_err();
    }

    #[test]
    fn linked_collections_are_taken_from_the_table() {
        let table = [collection("a"), collection("b"), collection("a")];
        assert_eq!(resolve(&table, None, 0).unwrap().name, "a");
        assert_eq!(resolve(&table, None, 1).unwrap().name, "b");
        for (inline, index) in [(None, 3), (None, u32::MAX), (Some(&table[0]), 0)] {
            let error = resolve(&table, inline, index).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
    }

    #[test]
    fn each_binding_of_a_capture_is_checked() {
        let binding = CaptureBinding {
            resource_config_json: "{}".into(),
            collection: Some(collection("a")),
            ..CaptureBinding::default()
        };
        let valid = CaptureSpec {
            config_json: "{}".into(),
            bindings: vec![binding.clone(), binding],
            ..CaptureSpec::default()
        };
        valid.check().unwrap();
        let error_of = |change: &dyn Fn(&mut CaptureSpec)| {
            let mut spec = valid.clone();
            change(&mut spec);
            let error = spec.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            format!("{error}: {}", error.causes().unwrap_or_default())
        };
        assert!(error_of(&|spec| spec.config_json.clear()).contains("configuration"));
        let error = error_of(&|spec| spec.bindings[1].resource_config_json.clear());
        assert!(error.starts_with("binding 1 of the capture: "), "{error}");
        assert!(error_of(&|spec| spec.bindings[0].collection = None).contains("no collection"));
        let clear_key = |spec: &mut CaptureSpec| {
            spec.bindings[0]
                .collection
                .get_or_insert_default()
                .key
                .clear();
        };
        assert!(error_of(&clear_key).contains("must be keyed"));
        assert!(error_of(&|spec| spec.linked_collections.push(collection("x"))).contains("beside"));
    }

    #[test]
    fn debug_output_has_no_configuration() {
        let spec = CaptureSpec {
            config_json: "hunter2".into(),
            ..CaptureSpec::default()
        };
        assert!(!format!("{spec:?}").contains("hunter2"));
    }
}
