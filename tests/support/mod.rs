//! Support code of the tests: servers, a driver of the connector, comparisons.

pub(crate) mod certificates;
pub(crate) mod command;
pub(crate) mod connect;
pub(crate) mod connector;
pub(crate) mod exact;
pub(crate) mod folder;
pub(crate) mod json;
pub(crate) mod messages;
pub(crate) mod postgres;
pub(crate) mod random;
pub(crate) mod reduce;
pub(crate) mod scene;
pub(crate) mod sshd;
pub(crate) mod task;
pub(crate) mod wait;
