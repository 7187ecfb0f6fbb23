//! Requirements of a capture, as its configuration states them.

use crate::catalog::table::TableId;

/// What the capture is going to do with its replication slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotUse {
    /// Go on from where it stopped, so the slot has to be there and in order.
    Resume,
    /// Start anew: the slot is dropped, if it is there, and created.
    Create,
    /// Not known yet.
    Undecided,
}

/// What the configuration asks for.
#[derive(Debug, Clone)]
pub struct Requirements<'a> {
    /// The name of the replication slot.
    pub slot: &'a str,
    /// Whether the capture may create it.
    pub create_slot: bool,
    /// What the capture is going to do with it.
    pub slot_use: SlotUse,
    /// The name of the publication.
    pub publication: &'a str,
    /// The watermarks table; `None` in a read-only capture.
    pub watermarks: Option<&'a TableId>,
    /// Whether partitions are captured one by one.
    pub capture_as_partitions: bool,
    /// Whether nothing is checked, and nothing created.
    pub skip: bool,
    /// Whether the bound tables are not checked, and not added to the publication.
    pub skip_tables: bool,
}

/// A table that is bound to a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundTable {
    /// The name as configured.
    pub id: TableId,
    /// The columns of the collection's key; none where it is keyed by position.
    pub key_columns: Vec<String>,
    /// Whether its changes were captured before: it has to be published already then, since those
    /// that were made while it was not are missing.
    pub is_established: bool,
}
