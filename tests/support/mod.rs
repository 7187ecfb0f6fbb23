//! What the tests stand on: servers, a driver of the connector, comparisons.

pub(crate) mod folder;
pub(crate) mod postgres;
pub(crate) mod wait;
