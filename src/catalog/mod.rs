//! What the database holds: tables, columns, types, keys, publication, slot, prerequisites.
//!
//! The queries are constants beside what reads their rows, and run on every version from 10 on;
//! what a version lacks is a placeholder in them. Names of tables go to the server as parameters,
//! or quoted where a statement takes none.

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
pub use prerequisites::{BoundTable, Checked, Requirements, SlotUse, check_prerequisites};
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
