//! Capture tasks in the messages of Flow: bindings, and the collections that they write to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::connector_type::{self, ConnectorType};
use super::fields::{is_default, nullable, number, raw_json};
use crate::error::{Error, ErrorKind, Result};

/// Capture task, built from the catalog.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[prost(skip_debug)]
#[serde(rename_all = "camelCase")]
pub struct CaptureSpec {
    /// Name of the task.
    #[prost(string, tag = "1")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub name: String,
    /// Number of a [`ConnectorType`].
    #[prost(enumeration = "ConnectorType", tag = "2")]
    #[serde(default, alias = "connector_type", with = "connector_type")]
    #[serde(skip_serializing_if = "is_default")]
    pub connector_type: i32,
    /// Endpoint configuration.
    #[prost(string, tag = "3")]
    #[serde(default, rename = "config", alias = "config_json", with = "raw_json")]
    #[serde(skip_serializing_if = "is_default")]
    pub config_json: String,
    /// Enabled bindings.
    #[prost(message, repeated, tag = "4")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub bindings: Vec<CaptureBinding>,
    /// Collections that bindings refer to by index, in the indirect form; empty in the inline form.
    #[prost(message, repeated, tag = "12")]
    #[serde(default, alias = "linked_collections", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub linked_collections: Vec<CollectionSpec>,
}

/// Binding of a capture.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaptureBinding {
    /// Resource configuration.
    #[prost(string, tag = "1")]
    #[serde(
        default,
        rename = "resourceConfig",
        alias = "resource_config_json",
        with = "raw_json"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_config_json: String,
    /// Path that identifies the resource, from the response to Validate.
    #[prost(string, repeated, tag = "2")]
    #[serde(default, alias = "resource_path", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_path: Vec<String>,
    /// Collection in the inline form; see [`CaptureSpec::collection_of`].
    #[prost(message, optional, tag = "3")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub collection: Option<CollectionSpec>,
    /// Backfill counter, incremented each time another backfill is requested.
    #[prost(uint32, tag = "4")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub backfill: u32,
    /// Key of this binding's state, an opaque string.
    #[prost(string, tag = "5")]
    #[serde(default, alias = "state_key", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub state_key: String,
    /// Index into the linked collections, in the indirect form.
    #[prost(uint32, tag = "6")]
    #[serde(
        default,
        alias = "collection_index",
        deserialize_with = "number::deserialize"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub collection_index: u32,
}

/// Binding to validate.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidateBinding {
    /// Resource configuration.
    #[prost(string, tag = "1")]
    #[serde(
        default,
        rename = "resourceConfig",
        alias = "resource_config_json",
        with = "raw_json"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub resource_config_json: String,
    /// Collection in the inline form; see
    /// [`Validate::collection_of`](super::Validate::collection_of).
    #[prost(message, optional, tag = "2")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub collection: Option<CollectionSpec>,
    /// Backfill counter, incremented each time another backfill is requested.
    #[prost(uint32, tag = "3")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub backfill: u32,
    /// Index into the linked collections, in the indirect form.
    #[prost(uint32, tag = "4")]
    #[serde(
        default,
        alias = "collection_index",
        deserialize_with = "number::deserialize"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub collection_index: u32,
}

/// Collection that a binding writes to.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectionSpec {
    /// Name of the collection.
    #[prost(string, tag = "1")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub name: String,
    /// JSON pointers to the fields of the key.
    #[prost(string, repeated, tag = "3")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub key: Vec<String>,
    /// Projections of the collection.
    #[prost(message, repeated, tag = "6")]
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub projections: Vec<Projection>,
}

/// Location in a collection's documents that is projected into a field.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Projection {
    /// JSON pointer to the location.
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
    /// Fails if the binding has no collection or an index that is out of range, or mixes the two
    /// forms. [`RequestReader`](super::RequestReader) has checked its requests for this.
    pub fn collection_of<'a>(&'a self, binding: &'a CaptureBinding) -> Result<&'a CollectionSpec> {
        resolve(
            &self.linked_collections,
            binding.collection.as_ref(),
            binding.collection_index,
        )
    }

    /// Checks that the configurations and the collection keys are present.
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

/// Leaves out the configuration, which contains secrets.
impl fmt::Debug for CaptureSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureSpec")
            .field("name", &self.name)
            .field("bindings", &self.bindings)
            .field("linked_collections", &self.linked_collections)
            .finish_non_exhaustive()
    }
}

/// Checks a binding of a [`CaptureSpec`] or of a [`Validate`](super::Validate) request.
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
            "the key of collection {:?} must be a list of JSON pointers, found {key:?}",
            collection.name
        )));
    }
    Ok(())
}

/// Returns a binding's collection: by index from `linked` in the indirect form, else `inline`. The
/// form is the indirect one if `linked` has entries.
pub(super) fn resolve<'a>(
    linked: &'a [CollectionSpec],
    inline: Option<&'a CollectionSpec>,
    index: u32,
) -> Result<&'a CollectionSpec> {
    match (linked, inline) {
        ([], Some(_)) if index != 0 => Err(malformed(format!(
            "a binding has an inline collection and index {index}, but there are no linked collections"
        ))),
        ([], Some(inline)) => Ok(inline),
        ([], None) => Err(malformed(
            "a binding has no collection, and there are no linked collections",
        )),
        (_, Some(_)) => Err(malformed(
            "a binding has an inline collection although there are linked collections",
        )),
        (linked, None) => usize::try_from(index)
            .ok()
            .and_then(|index| linked.get(index))
            .ok_or_else(|| {
                let count = linked.len();
                malformed(format!(
                    "a binding has collection index {index}, but there are {count} linked collections"
                ))
            }),
    }
}

/// Returns a protocol error about a malformed request.
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
        assert!(error_of(&clear_key).contains("must be a list of JSON pointers"));
        assert!(
            error_of(&|spec| spec.linked_collections.push(collection("x")))
                .contains("although there are linked collections")
        );
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
