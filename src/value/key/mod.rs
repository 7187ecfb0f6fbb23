//! Values of key columns: compared, stored in the state, and bound as query parameters.
//!
//! A row key is stored in the state as the position of a backfill, bound as the parameters of the
//! query that resumes there, and compared with the keys of streamed changes. The stored form is
//! that of the connector that this one replaces, so that its tasks can resume: each column is an
//! element of a FoundationDB tuple
//! (<https://github.com/apple/foundationdb/blob/main/design/tuple.md>). The stored bytes do not
//! sort in the server's order, so keys are compared by value, never by their bytes.
//!
//! Values that the replaced connector could not store, because its capture failed on such a key,
//! are stored as a string element with the server's text. Infinite dates and numerics are stored as
//! a string element with the server's word for them.

mod codec;
mod comparison;
mod decimal;
mod moment;
mod rank;
#[cfg(test)]
mod tests;
mod tuple;
mod value;

pub use codec::KeyCodec;
pub use comparison::Comparison;
pub use decimal::Decimal;
pub use value::{KeyValue, Ranked};
