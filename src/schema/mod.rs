//! Collection schemas made from the catalog: the bindings that Discover offers, and the schemas that
//! a running capture reports of its source.

mod discovery;
mod document;
mod key;
mod name;

pub use discovery::{DiscoveredBinding, discover_bindings};
pub use document::{SchemaOptions, document_schema, sourced_schema};
pub use key::{
    DiscoveredKey, FALLBACK_KEY, discovered_key, is_fallback_key, key_columns, key_pointers,
};
pub use name::{column_pointer, pointer_column, recommended_name};

#[cfg(test)]
mod tests;
