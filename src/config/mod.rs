//! Endpoint and resource configuration, feature flags, their JSON schemas.
//!
//! Parsing is strict, since a misspelt setting that has no effect is worse than an error, and comes
//! in three steps: members and their types, then the checks, then the defaults. What parses here is
//! usable; only what depends on the server is found out later. Errors name members by their path
//! and never repeat a secret.

mod address;
mod credentials;
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
