//! Change records, and the plans by which they become documents.
//!
//! A [`Change`] borrows its values from the receive buffer, and the list of its values from an
//! arena that is reset after each row. A [`Plan`] is made once for each description of a relation,
//! with its columns in the order of the document, so that writing a row needs no map and no lookup
//! by name.

mod change;
mod key;
mod label;
mod meta;
mod plan;

pub use change::{Change, Image, Operation};
pub use key::RowKey;
pub use meta::{MetaTemplate, Source};
pub use plan::{Plan, PlanColumn, PlanOptions};
