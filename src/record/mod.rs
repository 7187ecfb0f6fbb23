//! Change records and the plan that turns them into documents.
//!
//! A record borrows its values from the receive buffer and their places from an arena that is reset when
//! its documents have been written. A [`Plan`] is made once per relation description, so that a row is
//! a walk over it: no map, no lookup by name.

mod change;
mod key;
mod label;
mod meta;
mod plan;

pub use change::{Change, Image, Operation};
pub use key::RowKey;
pub use meta::{MetaTemplate, Source};
pub use plan::{Plan, PlanColumn, PlanOptions};
