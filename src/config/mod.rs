//! Endpoint and resource configuration, feature flags, their JSON schemas.
//!
//! `settings.md` in this folder documents every member and flag.
//!
//! Parsing is strict, since a misspelt setting without effect is worse than an error. It has three
//! steps: members and their types, checks, defaults. A configuration that parses is usable; only
//! what depends on the server is checked later. Errors name members by their path and never repeat a
//! secret.

mod address;
mod credentials;
#[cfg(test)]
mod documentation;
mod duration;
mod endpoint;
mod environment;
mod filters;
mod flags;
mod members;
mod resource;
mod schema;
mod secret;
mod security;

pub use address::HostPort;
pub use credentials::{Credentials, PasswordSource};
pub use endpoint::{Config, SshForwarding, SslMode};
pub use environment::Environment;
pub use filters::{DiscoveryFilters, SkipBackfills, TablePattern};
pub use flags::Flags;
pub(crate) use members::{Location, Members, Node};
pub use resource::{BackfillMode, Resource};
pub use schema::{ENDPOINT_SCHEMA, RESOURCE_SCHEMA, endpoint_schema, resource_schema};
pub use secret::Secret;
pub use security::{Security, SslNegotiation};
