//! Tables and their columns, as the system catalogs describe them.

use std::fmt;

use protocol::{Oid, ReplicaIdentity, quote_identifier};
use serde_json::json;

/// Qualified name of a table, in its exact spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// Schema of the table.
    pub schema: String,
    /// Name within the schema.
    pub name: String,
}

impl TableId {
    /// Makes a name from schema and table.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// Returns the name in lower case, for comparisons that ignore case.
    #[must_use]
    pub fn key(&self) -> Self {
        Self {
            schema: self.schema.to_lowercase(),
            name: self.name.to_lowercase(),
        }
    }

    /// Returns the name quoted for use in SQL.
    pub fn quoted(&self) -> String {
        format!(
            "{}.{}",
            quote_identifier(&self.schema),
            quote_identifier(&self.name)
        )
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// Returns names as a parameter of a query: a JSON array of pairs of schema and table.
pub(super) fn name_list<'a>(ids: impl IntoIterator<Item = &'a &'a TableId>) -> String {
    let pairs: Vec<_> = ids
        .into_iter()
        .map(|id| json!([id.schema, id.name]))
        .collect();
    json!(pairs).to_string()
}

/// Kind of a generated column: computed by the server, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Generated {
    /// An ordinary column, not generated.
    No,
    /// Computed when the row is written.
    Stored,
    /// Computed when the row is read.
    Virtual,
}

impl Generated {
    /// Parses a value of `pg_attribute.attgenerated`.
    pub(super) fn from_letter(letter: &str) -> Self {
        match letter {
            "s" => Self::Stored,
            "v" => Self::Virtual,
            _ => Self::No,
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Name of the column.
    pub name: String,
    /// Attribute number. The numbers of a table ascend, with gaps where columns were dropped.
    pub position: i16,
    /// Data type, which may be a domain.
    pub type_oid: Oid,
    /// Type modifier, such as a length; -1 for none.
    pub type_modifier: i32,
    /// Whether the column has a NOT NULL constraint that holds for every row. Constraints of a domain
    /// do not count.
    pub not_null: bool,
    /// Whether and when the server computes the value.
    pub generated: Generated,
    /// Whether the column is published; false if a column list of the publication leaves it out.
    pub published: bool,
    /// Comment on the column.
    pub comment: Option<String>,
    /// Collation; 0 if the type has none.
    pub collation: Oid,
    /// Whether text sorts in the order of the bytes of its UTF-8 form. Also true for types without a
    /// collation.
    pub bytewise_collation: bool,
}

impl ColumnInfo {
    /// Returns whether the column is part of a document: it is not generated, it is published, and its
    /// name is not that of the `_meta` member of documents.
    pub fn is_captured(&self) -> bool {
        self.generated == Generated::No && self.published && self.name != "_meta"
    }
}

/// Kind of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableKind {
    /// A table that holds rows, including the leaves of a partitioned table.
    Ordinary,
    /// A partitioned table, whose rows are in its partitions.
    Partitioned,
    /// Another kind, by its letter in `pg_class.relkind`: `v` for a view.
    Other(char),
}

/// Persistence of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// Changes are written to the WAL, so they can be replicated.
    Permanent,
    /// Changes are not written to the WAL.
    Unlogged,
    /// Visible to one session only.
    Temporary,
}

/// A unique index that can identify a row: valid, not deferrable, not partial, without expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueIndex {
    /// Name of the index; its schema is that of the table.
    pub name: String,
    /// Key columns in the order of the index, without INCLUDE columns.
    pub columns: Vec<String>,
    /// Whether all key columns are NOT NULL.
    pub not_null: bool,
}

/// A leaf of a partitioned table. The leaf decides which columns of an old row the WAL contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Name of the leaf.
    pub id: TableId,
    /// Replica identity.
    pub replica_identity: ReplicaIdentity,
    /// Columns of the replica identity; empty for NOTHING and for FULL.
    pub identity_columns: Vec<String>,
}

/// A relation that can be looked up by name: in most cases, a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Name of the table.
    pub id: TableId,
    /// OID of the table.
    pub oid: Oid,
    /// Kind of the relation.
    pub kind: TableKind,
    /// Whether the table is a partition of another.
    pub is_partition: bool,
    /// Persistence: permanent, unlogged or temporary.
    pub persistence: Persistence,
    /// Columns in the order of their attribute numbers.
    pub columns: Vec<ColumnInfo>,
    /// Columns of the primary key, in the order of the key.
    pub primary_key: Option<Vec<String>>,
    /// Columns of the unique index that replaces a missing primary key.
    pub fallback_key: Option<Vec<String>>,
    /// Replica identity: what the WAL contains of an old row.
    pub replica_identity: ReplicaIdentity,
    /// Columns of the replica identity; empty for NOTHING, all columns for FULL.
    pub identity_columns: Vec<String>,
    /// Unique indexes that could serve as replica identity, sorted by name.
    pub unique_indexes: Vec<UniqueIndex>,
    /// Leaves of a partitioned table, sorted by name.
    pub leaves: Vec<PartitionInfo>,
    /// Server's estimate of the number of rows; for a partitioned table, the sum over its leaves.
    pub row_estimate: Option<u64>,
    /// Number of pages at the last VACUUM or ANALYZE; for a partitioned table, that of its largest
    /// leaf. Rows may have been added since: see [`super::measure_pages`].
    pub pages: u64,
    /// Average size of a row on disk in bytes, at the last VACUUM or ANALYZE; unknown for a
    /// partitioned table.
    pub row_bytes: Option<u64>,
    /// Whether the user may read all columns.
    pub selectable: bool,
    /// Whether row-level security hides rows from the user.
    pub row_security: bool,
    /// Row filter of the publication, as an SQL condition.
    pub row_filter: Option<String>,
}

impl TableInfo {
    /// Returns a column by name.
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Returns the columns of the primary key, or of the unique index that replaces a missing one.
    pub fn own_key(&self) -> Option<&[String]> {
        self.primary_key.as_deref().or(self.fallback_key.as_deref())
    }

    /// Returns the FROM item that reads the rows replicated under this table's name: with its
    /// partitions, but without tables that inherit from it, whose changes arrive under their own
    /// names.
    pub fn scan_target(&self) -> String {
        match self.kind {
            TableKind::Ordinary => format!("ONLY {}", self.id.quoted()),
            TableKind::Partitioned | TableKind::Other(_) => self.id.quoted(),
        }
    }

    /// Returns the condition on the rows that a backfill reads: the publication's row filter, so that
    /// no row is read whose changes are not published, and the user's own filter.
    pub fn scan_filter(&self, user_filter: Option<&str>) -> Option<String> {
        match (self.row_filter.as_deref(), user_filter) {
            (Some(published), Some(user)) => Some(format!("({published}) AND ({user})")),
            (one, other) => one.or(other).map(str::to_owned),
        }
    }

    /// Returns whether changes of this relation can be replicated.
    pub fn is_replicable(&self) -> bool {
        !matches!(self.kind, TableKind::Other(_)) && self.persistence == Persistence::Permanent
    }
}

#[cfg(test)]
impl TableInfo {
    /// Makes an ordinary table with these columns and type OIDs. `!` before a name means NOT NULL.
    pub(crate) fn sample(schema: &str, name: &str, columns: &[(&str, u32)]) -> Self {
        let column = |(position, (name, type_oid)): (i16, &(&str, u32))| ColumnInfo {
            name: name.trim_start_matches('!').to_owned(),
            position,
            type_oid: Oid::from(*type_oid),
            type_modifier: -1,
            not_null: name.starts_with('!'),
            generated: Generated::No,
            published: true,
            comment: None,
            collation: Oid::from(0),
            bytewise_collation: true,
        };
        Self {
            id: TableId::new(schema, name),
            oid: Oid::from(20_000),
            kind: TableKind::Ordinary,
            is_partition: false,
            persistence: Persistence::Permanent,
            columns: (1..).zip(columns).map(column).collect(),
            primary_key: None,
            fallback_key: None,
            replica_identity: ReplicaIdentity::Default,
            identity_columns: Vec::new(),
            unique_indexes: Vec::new(),
            leaves: Vec::new(),
            row_estimate: None,
            pages: 0,
            row_bytes: None,
            selectable: true,
            row_security: false,
            row_filter: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_reads_only_rows_that_pass_both_filters() {
        let mut table = TableInfo::sample("shop", "t", &[("id", 23)]);
        assert_eq!(table.scan_filter(None), None);
        assert_eq!(table.scan_filter(Some("a OR b")).as_deref(), Some("a OR b"));
        table.row_filter = Some("(id > 1)".to_owned());
        assert_eq!(table.scan_filter(None).as_deref(), Some("(id > 1)"));
        let both = table.scan_filter(Some("a OR b"));
        assert_eq!(both.as_deref(), Some("((id > 1)) AND (a OR b)"));
    }

    #[test]
    fn names_are_displayed_plain_and_quoted_in_sql() {
        let id = TableId::new("Odd \"s", "T.b");
        assert_eq!(id.to_string(), "Odd \"s.T.b");
        assert_eq!(id.quoted(), r#""Odd ""s"."T.b""#);
        assert_eq!(id.key(), TableId::new("odd \"s", "t.b"));
    }
}
