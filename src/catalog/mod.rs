//! What the database holds: tables, columns, types, keys, publication, slot, prerequisites.

mod data_types;
mod identity;
mod scan;
mod table;
mod tables;

pub use data_types::{complete_types, load_types};
pub use identity::replica_identity_warning;
pub use scan::{PageCount, measure_pages};
pub use table::{
    ColumnInfo, Generated, PartitionInfo, Persistence, TableId, TableInfo, TableKind, UniqueIndex,
};
pub use tables::{TableFilter, TableLookup, discover_tables, lookup_tables};
