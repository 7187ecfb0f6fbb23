//! Requests of the runtime.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::collection::{
    CaptureSpec, CollectionSpec, ValidateBinding, check_binding, malformed, resolve,
};
use super::connector_type::{self, ConnectorType};
use super::fields::{is_default, nullable, number, raw_json};
use crate::error::Result;

/// Checked request.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Asks for the version and the configuration schemas. Its fields are not used.
    Spec,
    /// Asks for the tables that can be captured.
    Discover(Discover),
    /// Asks whether a configuration is valid.
    Validate(Validate),
    /// Reports that the task was published, and asks to set up its prerequisites.
    Apply(Apply),
    /// Starts the capture.
    Open(Open),
    /// Reports that checkpoints are committed.
    Acknowledge(Acknowledge),
}

impl Request {
    /// Returns the name of the request, for errors and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Spec => "Spec",
            Self::Discover(_) => "Discover",
            Self::Validate(_) => "Validate",
            Self::Apply(_) => "Apply",
            Self::Open(_) => "Open",
            Self::Acknowledge(_) => "Acknowledge",
        }
    }
}

/// Request as encoded on the wire. Exactly one of its members must be set.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct RequestMessage {
    /// Asks for the version and the configuration schemas.
    #[prost(message, optional, tag = "1")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) spec: Option<SpecRequest>,
    /// Asks for the tables that can be captured.
    #[prost(message, optional, tag = "2")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) discover: Option<Discover>,
    /// Asks whether a configuration is valid.
    #[prost(message, optional, tag = "3")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) validate: Option<Validate>,
    /// Reports that the task was published, and asks to set up its prerequisites.
    #[prost(message, optional, tag = "4")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) apply: Option<Apply>,
    /// Starts the capture.
    #[prost(message, optional, tag = "5")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) open: Option<Open>,
    /// Reports that checkpoints are committed.
    #[prost(message, optional, tag = "6")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) acknowledge: Option<Acknowledge>,
}

/// Asks for the version and the configuration schemas of the connector.
#[derive(Clone, Copy, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct SpecRequest {}

/// Asks for the tables that can be captured.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[prost(skip_debug)]
#[serde(rename_all = "camelCase")]
pub struct Discover {
    /// Number of a [`ConnectorType`].
    #[prost(enumeration = "ConnectorType", tag = "1")]
    #[serde(default, alias = "connector_type", with = "connector_type")]
    #[serde(skip_serializing_if = "is_default")]
    pub connector_type: i32,
    /// Endpoint configuration.
    #[prost(string, tag = "2")]
    #[serde(default, rename = "config", alias = "config_json", with = "raw_json")]
    #[serde(skip_serializing_if = "is_default")]
    pub config_json: String,
}

/// Asks whether a configuration is valid.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[prost(skip_debug)]
#[serde(rename_all = "camelCase")]
pub struct Validate {
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
    pub bindings: Vec<ValidateBinding>,
    /// Task as last published; absent for a new task. Has linked collections of its own.
    #[prost(message, optional, tag = "5")]
    #[serde(default, alias = "last_capture", skip_serializing_if = "is_default")]
    pub last_capture: Option<CaptureSpec>,
    /// Collections that bindings refer to by index, in the indirect form; empty in the inline form.
    #[prost(message, repeated, tag = "7")]
    #[serde(default, alias = "linked_collections", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub linked_collections: Vec<CollectionSpec>,
}

/// Reports that the task was published, and asks to set up its prerequisites.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Apply {
    /// Published task.
    #[prost(message, optional, tag = "1")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub capture: Option<CaptureSpec>,
}

/// Starts the capture.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Open {
    /// Task to run.
    #[prost(message, optional, tag = "1")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub capture: Option<CaptureSpec>,
    /// Key range of the shard. Checked but not used: a capture of a database has one shard.
    #[prost(message, optional, tag = "3")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub range: Option<RangeSpec>,
    /// State to resume from; empty, or an empty object, at the first start.
    #[prost(string, tag = "4")]
    #[serde(default, rename = "state", alias = "state_json", with = "raw_json")]
    #[serde(skip_serializing_if = "is_default")]
    pub state_json: String,
}

/// Range of keys and clocks, with inclusive bounds.
#[derive(Clone, Copy, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RangeSpec {
    /// Smallest hash of a key.
    #[prost(fixed32, tag = "2")]
    #[serde(default, alias = "key_begin", deserialize_with = "number::deserialize")]
    #[serde(skip_serializing_if = "is_default")]
    pub key_begin: u32,
    /// Largest hash of a key.
    #[prost(fixed32, tag = "3")]
    #[serde(default, alias = "key_end", deserialize_with = "number::deserialize")]
    #[serde(skip_serializing_if = "is_default")]
    pub key_end: u32,
    /// Smallest rotated clock.
    #[prost(fixed32, tag = "4")]
    #[serde(
        default,
        alias = "r_clock_begin",
        deserialize_with = "number::deserialize"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub r_clock_begin: u32,
    /// Largest rotated clock.
    #[prost(fixed32, tag = "5")]
    #[serde(
        default,
        alias = "r_clock_end",
        deserialize_with = "number::deserialize"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub r_clock_end: u32,
}

/// Reports that checkpoints are committed.
#[derive(Clone, Copy, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Acknowledge {
    /// Number of checkpoints as sent; see [`count`](Self::count).
    #[prost(uint32, tag = "1")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub checkpoints: u32,
}

impl Acknowledge {
    /// Returns the number of committed checkpoints. Older runtimes send zero and mean one.
    pub fn count(&self) -> u32 {
        self.checkpoints.max(1)
    }
}

impl Validate {
    /// Returns the collection of one of the request's bindings.
    ///
    /// # Errors
    ///
    /// Fails if the binding has no collection or an index that is out of range, or mixes the two
    /// forms. [`RequestReader`](super::RequestReader) has checked its requests for this.
    pub fn collection_of<'a>(&'a self, binding: &'a ValidateBinding) -> Result<&'a CollectionSpec> {
        resolve(
            &self.linked_collections,
            binding.collection.as_ref(),
            binding.collection_index,
        )
    }
}

impl Apply {
    /// Returns the task.
    ///
    /// # Errors
    ///
    /// Fails if the task is missing. [`RequestReader`](super::RequestReader) has checked its
    /// requests for this.
    pub fn capture(&self) -> Result<&CaptureSpec> {
        self.capture
            .as_ref()
            .ok_or_else(|| malformed("the capture is missing"))
    }
}

impl Open {
    /// Returns the task.
    ///
    /// # Errors
    ///
    /// Fails if the task is missing. [`RequestReader`](super::RequestReader) has checked its
    /// requests for this.
    pub fn capture(&self) -> Result<&CaptureSpec> {
        self.capture
            .as_ref()
            .ok_or_else(|| malformed("the capture is missing"))
    }
}

impl RequestMessage {
    /// Checks the request.
    ///
    /// # Errors
    ///
    /// Fails if not exactly one member is set, or if a required member is missing.
    pub(super) fn check(self) -> Result<Request> {
        let mut set = [
            self.spec.map(|_| Request::Spec),
            self.discover.map(Request::Discover),
            self.validate.map(Request::Validate),
            self.apply.map(Request::Apply),
            self.open.map(Request::Open),
            self.acknowledge.map(Request::Acknowledge),
        ]
        .into_iter()
        .flatten();
        let Some(request) = set.next() else {
            return Err(malformed("the request is empty or of an unknown kind"));
        };
        if let Some(second) = set.next() {
            return Err(malformed(format!(
                "the request must be of one kind, found {} and {}",
                request.name(),
                second.name()
            )));
        }
        match &request {
            Request::Spec | Request::Acknowledge(_) => Ok(()),
            Request::Discover(discover) => {
                check_endpoint(discover.connector_type, &discover.config_json)
            }
            Request::Validate(validate) => check_validate(validate),
            Request::Apply(apply) => apply.capture().and_then(CaptureSpec::check),
            Request::Open(open) => check_open(open),
        }
        .map_err(|error| error.context(format!("malformed {} request", request.name())))?;
        Ok(request)
    }
}

fn check_endpoint(connector_type: i32, config: &str) -> Result<()> {
    match ConnectorType::try_from(connector_type) {
        Ok(ConnectorType::Image | ConnectorType::Local) => {}
        _ => return Err(malformed("the connector type must be IMAGE or LOCAL")),
    }
    if config.is_empty() {
        return Err(malformed("the endpoint configuration is missing"));
    }
    Ok(())
}

fn check_validate(validate: &Validate) -> Result<()> {
    check_endpoint(validate.connector_type, &validate.config_json)?;
    for (index, binding) in validate.bindings.iter().enumerate() {
        check_binding(
            &binding.resource_config_json,
            validate.collection_of(binding),
        )
        .map_err(|error| error.context(format!("binding {index}")))?;
    }
    match &validate.last_capture {
        Some(last) => last
            .check()
            .map_err(|error| error.context("the last capture")),
        None => Ok(()),
    }
}

fn check_open(open: &Open) -> Result<()> {
    let capture = open.capture()?;
    capture.check()?;
    if let Some(index) = capture
        .bindings
        .iter()
        .position(|binding| binding.state_key.is_empty())
    {
        return Err(malformed(format!(
            "binding {index} of the capture has no state key"
        )));
    }
    match open.range {
        Some(range)
            if range.key_begin > range.key_end || range.r_clock_begin > range.r_clock_end =>
        {
            Err(malformed("the range ends before it begins"))
        }
        _ => Ok(()),
    }
}

/// Leaves out the configuration, which contains secrets.
impl fmt::Debug for Discover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discover").finish_non_exhaustive()
    }
}

/// Leaves out the configuration, which contains secrets.
impl fmt::Debug for Validate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validate")
            .field("name", &self.name)
            .field("bindings", &self.bindings)
            .field("last_capture", &self.last_capture)
            .field("linked_collections", &self.linked_collections)
            .finish_non_exhaustive()
    }
}
