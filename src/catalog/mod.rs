//! Catalog of the source database: tables, columns, types, keys, publication, slot, prerequisites.
//!
//! Each query is a constant beside the function that reads its rows. Queries run on every version
//! from 10 on; a `{placeholder}` stands for an expression that depends on the version. Table names
//! go to the server as parameters, or quoted in statements that take no parameters.

mod data_types;
mod diagnostics;
mod identity;
mod locks;
mod prerequisites;
mod publication;
mod scan;
mod server;
mod slot;
mod table;
mod tables;
mod transactions;
mod watermarks;

pub use data_types::{complete_types, load_types, parse_types, types_statement};
pub use diagnostics::{
    Health, LongTransaction, SlotStatus, explain_waiting, position_statement, read_health,
};
pub use identity::{identity_remedy, replica_identity_warning};
pub use locks::{explain_block, explain_lock};
pub use prerequisites::{
    BoundTable, Checked, Requirements, SlotUse, check_prerequisites, prerequisite_error,
};
pub use publication::{Namesake, Publication, find_namesake, note_restrictions, read_publication};
pub use scan::{PageCount, columns_expression, has_columns, measure_pages};
pub use server::{
    ServerFacts, commit_empty_transaction, is_standby, parse_server, server_statement,
};
pub use slot::{SlotInfo, parse_slot, read_slot, slot_statement};
pub use table::{
    ColumnInfo, Generated, PartitionInfo, Persistence, TableId, TableInfo, TableKind, UniqueIndex,
};
pub use tables::{TableFilter, TableLookup, discover_tables, lookup_tables};
pub use transactions::{awaited_transactions, terminate_session, transactions_at_work, writers};
pub use watermarks::write_watermark;
