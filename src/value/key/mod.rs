//! Row keys: one column's part of them.
//!
//! A key has three uses: it is stored in the state as the position of a backfill, it is bound as a
//! parameter to go on from there, and it is compared with the keys of streamed changes. The stored
//! form is that of tasks that already run, an element of a FoundationDB tuple
//! (<https://github.com/apple/foundationdb/blob/main/design/tuple.md>). Its bytes do not sort as
//! the server does, so comparing is by value, and never by them.
//!
//! Forms that the running tasks cannot have stored, since their capture failed at such a key, are
//! a string element of the server's text; infinite dates and numerics are one of that word.

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
