//! What the runtime asks for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::collection::{
    CaptureSpec, CollectionSpec, ConnectorType, ValidateBinding, check_binding, malformed, resolve,
};
use super::fields::{connector_type, is_default, nullable, number, raw_json};
use crate::error::Result;

/// A checked request.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// What are you? Its fields mean nothing here.
    Spec,
    /// Which tables are there?
    Discover(Discover),
    /// Would this configuration work?
    Validate(Validate),
    /// The task was published; set up what it needs.
    Apply(Apply),
    /// Start capturing.
    Open(Open),
    /// Checkpoints have been committed.
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

/// A request as it stands on the wire: of its members exactly one must be set.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct RequestMessage {
    /// What are you?
    #[prost(message, optional, tag = "1")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) spec: Option<SpecRequest>,
    /// Which tables are there?
    #[prost(message, optional, tag = "2")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) discover: Option<Discover>,
    /// Would this configuration work?
    #[prost(message, optional, tag = "3")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) validate: Option<Validate>,
    /// The task was published; set up what it needs.
    #[prost(message, optional, tag = "4")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) apply: Option<Apply>,
    /// Start capturing.
    #[prost(message, optional, tag = "5")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) open: Option<Open>,
    /// Checkpoints have been committed.
    #[prost(message, optional, tag = "6")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) acknowledge: Option<Acknowledge>,
}

/// Asks what the connector is.
#[derive(Clone, Copy, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct SpecRequest {}

/// Asks which tables there are.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[prost(skip_debug)]
#[serde(rename_all = "camelCase")]
pub struct Discover {
    /// A [`ConnectorType`].
    #[prost(enumeration = "ConnectorType", tag = "1")]
    #[serde(default, alias = "connector_type", with = "connector_type")]
    #[serde(skip_serializing_if = "is_default")]
    pub connector_type: i32,
    /// The endpoint configuration.
    #[prost(string, tag = "2")]
    #[serde(default, rename = "config", alias = "config_json", with = "raw_json")]
    #[serde(skip_serializing_if = "is_default")]
    pub config_json: String,
}

/// Asks whether a configuration would work.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[prost(skip_debug)]
#[serde(rename_all = "camelCase")]
pub struct Validate {
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
    pub bindings: Vec<ValidateBinding>,
    /// The task as it was built before; absent for a new one. It resolves collections by itself.
    #[prost(message, optional, tag = "5")]
    #[serde(default, alias = "last_capture", skip_serializing_if = "is_default")]
    pub last_capture: Option<CaptureSpec>,
    /// The table of collections in the indirect form; empty in the inline form.
    #[prost(message, repeated, tag = "7")]
    #[serde(default, alias = "linked_collections", deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "is_default")]
    pub linked_collections: Vec<CollectionSpec>,
}

/// Tells that the task was published.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Apply {
    /// The task.
    #[prost(message, optional, tag = "1")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub capture: Option<CaptureSpec>,
}

/// Tells to start capturing.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Open {
    /// The task.
    #[prost(message, optional, tag = "1")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub capture: Option<CaptureSpec>,
    /// The part of the key space that is this process's. Checked, then of no use: a capture of a
    /// database has one shard.
    #[prost(message, optional, tag = "3")]
    #[serde(default, skip_serializing_if = "is_default")]
    pub range: Option<RangeSpec>,
    /// The state to go on from; empty, or an empty object, at first.
    #[prost(string, tag = "4")]
    #[serde(default, rename = "state", alias = "state_json", with = "raw_json")]
    #[serde(skip_serializing_if = "is_default")]
    pub state_json: String,
}

/// A part of the key space, its bounds inclusive.
#[derive(Clone, Copy, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RangeSpec {
    /// The least hash of a key.
    #[prost(fixed32, tag = "2")]
    #[serde(default, alias = "key_begin", deserialize_with = "number::deserialize")]
    #[serde(skip_serializing_if = "is_default")]
    pub key_begin: u32,
    /// The greatest hash of a key.
    #[prost(fixed32, tag = "3")]
    #[serde(default, alias = "key_end", deserialize_with = "number::deserialize")]
    #[serde(skip_serializing_if = "is_default")]
    pub key_end: u32,
    /// The least rotated clock.
    #[prost(fixed32, tag = "4")]
    #[serde(
        default,
        alias = "r_clock_begin",
        deserialize_with = "number::deserialize"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub r_clock_begin: u32,
    /// The greatest rotated clock.
    #[prost(fixed32, tag = "5")]
    #[serde(
        default,
        alias = "r_clock_end",
        deserialize_with = "number::deserialize"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub r_clock_end: u32,
}

/// Tells that checkpoints have been committed.
#[derive(Clone, Copy, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct Acknowledge {
    /// How many; see [`count`](Self::count).
    #[prost(uint32, tag = "1")]
    #[serde(
        default,
        deserialize_with = "number::deserialize",
        skip_serializing_if = "is_default"
    )]
    pub checkpoints: u32,
}

impl Acknowledge {
    /// Returns how many checkpoints were committed: older runtimes say none and mean one.
    pub fn count(&self) -> u32 {
        self.checkpoints.max(1)
    }
}

impl Validate {
    /// Returns the collection of one of these bindings.
    ///
    /// # Errors
    ///
    /// If the binding has none, has an index beyond the table, or mixes the two forms. Requests are
    /// checked for that when they are read.
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
    /// If it is missing. Requests are checked for that when they are read.
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
    /// If it is missing. Requests are checked for that when they are read.
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
    /// If not exactly one member is set, or if something is missing that the request cannot do
    /// without.
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
            return Err(malformed(
                "the request is empty, or of a kind that is unknown here",
            ));
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

/// Leaves out the configuration, which holds secrets.
impl fmt::Debug for Discover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discover").finish_non_exhaustive()
    }
}

/// Leaves out the configuration, which holds secrets.
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
