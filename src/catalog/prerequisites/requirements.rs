//! Requirements of a capture, as its configuration states them.

use crate::catalog::table::TableId;

/// Intended use of the replication slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotUse {
    /// Resume from the last checkpoint: the slot must exist and be usable.
    Resume,
    /// Start from the beginning: an existing slot is dropped, and a slot is created.
    Create,
    /// Not known yet.
    Undecided,
}

/// Requirements that the endpoint configuration states.
#[derive(Debug, Clone)]
pub struct Requirements<'a> {
    /// Name of the replication slot.
    pub slot: &'a str,
    /// Whether the capture may create the slot.
    pub create_slot: bool,
    /// Intended use of the slot.
    pub slot_use: SlotUse,
    /// Name of the publication.
    pub publication: &'a str,
    /// Watermarks table; `None` in a read-only capture.
    pub watermarks: Option<&'a TableId>,
    /// Whether each partition is captured as a table of its own.
    pub capture_as_partitions: bool,
    /// Whether to check and create nothing.
    pub skip: bool,
    /// Whether to neither check the bound tables nor add them to the publication.
    pub skip_tables: bool,
}

/// A table that is bound to a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundTable {
    /// Name as configured.
    pub id: TableId,
    /// Columns of the collection key; empty for a collection that is keyed by position.
    pub key_columns: Vec<String>,
    /// Whether its changes were captured before. Such a table must still be published, since changes
    /// made while it is not are missing.
    pub is_established: bool,
}
