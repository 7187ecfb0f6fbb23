//! Endpoint and resource configuration, feature flags, their JSON schemas.
