//! Inputs of the plans by which documents are written, the same for changes and for rows.

use crate::catalog::TableId;
use crate::record::{MetaTemplate, Plan, PlanColumn, PlanOptions};
use crate::value::TypeRegistry;

/// Inputs of plans that are the same for all tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlanInputs<'a> {
    pub(super) types: &'a TypeRegistry,
    pub(super) options: &'a PlanOptions,
    /// Configured value of `/_meta/source/tag`.
    pub(super) tag: Option<&'a str>,
}

impl PlanInputs<'_> {
    /// Makes the writer of a table's documents.
    pub(super) fn plan(&self, id: &TableId, columns: &[PlanColumn], transaction_ids: bool) -> Plan {
        let meta = MetaTemplate::new(&id.schema, &id.name, self.tag, transaction_ids);
        Plan::new(columns, meta, self.types, self.options)
    }
}
