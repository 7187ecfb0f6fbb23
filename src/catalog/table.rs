//! A table and its columns, as the catalogs describe them.

use std::fmt;

use protocol::{Oid, ReplicaIdentity, quote_identifier};
use serde_json::json;

/// The name of a table, in its real spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// The schema.
    pub schema: String,
    /// The table.
    pub name: String,
}

impl TableId {
    /// Makes a name of its two parts.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// Returns the name in lower case, as names are compared where their spelling does not count.
    #[must_use]
    pub fn key(&self) -> Self {
        Self {
            schema: self.schema.to_lowercase(),
            name: self.name.to_lowercase(),
        }
    }

    /// Returns the name as SQL has it, quoted.
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

/// Names as a parameter of a query: a JSON array of pairs.
pub(super) fn name_list<'a>(ids: impl IntoIterator<Item = &'a &'a TableId>) -> String {
    let pairs: Vec<_> = ids
        .into_iter()
        .map(|id| json!([id.schema, id.name]))
        .collect();
    json!(pairs).to_string()
}

/// Whether a column is computed by the server, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Generated {
    /// It is an ordinary column.
    No,
    /// It is computed when the row is written.
    Stored,
    /// It is computed when the row is read.
    Virtual,
}

impl Generated {
    /// Reads the letter of `pg_attribute.attgenerated`.
    pub(super) fn of_letter(letter: &str) -> Self {
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
    /// Its name.
    pub name: String,
    /// Its attribute number. They rise, and have gaps where columns were dropped.
    pub position: i16,
    /// Its type, which may be a domain.
    pub type_oid: Oid,
    /// The type's modifier, such as a length; -1 for none.
    pub type_modifier: i32,
    /// Whether no row holds NULL in it. What a domain forbids does not count here.
    pub not_null: bool,
    /// Whether the server computes it.
    pub generated: Generated,
    /// Whether the publication has it: not where a column list leaves it out.
    pub published: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// Its collation; 0 where its type has none.
    pub collation: Oid,
    /// Whether its text sorts as the bytes of its UTF-8 form do. True also for types that have no
    /// collation.
    pub bytewise_collation: bool,
}

impl ColumnInfo {
    /// Returns whether the column is part of a document: it is not generated, its changes are
    /// published, and it does not bear the name of the member that describes the change.
    pub fn is_captured(&self) -> bool {
        self.generated == Generated::No && self.published && self.name != "_meta"
    }
}

/// What a relation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableKind {
    /// A table that holds rows: also a leaf of a partitioned one.
    Ordinary,
    /// A table whose rows are in its partitions.
    Partitioned,
    /// Anything else, by its letter in `pg_class.relkind`: a view is `v`.
    Other(char),
}

/// How long the rows of a relation live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// Written to the log, so it can be replicated.
    Permanent,
    /// Not written to the log.
    Unlogged,
    /// Of one session.
    Temporary,
}

/// A unique index that can identify a row: valid, immediate, not partial, without expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueIndex {
    /// Its name; its schema is that of the table.
    pub name: String,
    /// Its columns, in its order, without those it only includes.
    pub columns: Vec<String>,
    /// Whether all of these are NOT NULL.
    pub not_null: bool,
}

/// A leaf of a partitioned table: what the log holds of a change is decided by the leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its name.
    pub id: TableId,
    /// What identifies a changed row.
    pub replica_identity: ReplicaIdentity,
    /// The columns that do; empty if none do, and where all columns do.
    pub identity_columns: Vec<String>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name.
    pub id: TableId,
    /// Its identifier.
    pub oid: Oid,
    /// What it is.
    pub kind: TableKind,
    /// Whether it is a partition of another.
    pub is_partition: bool,
    /// How long its rows live.
    pub persistence: Persistence,
    /// Its columns, in their order.
    pub columns: Vec<ColumnInfo>,
    /// The columns of its primary key, in the order of the key.
    pub primary_key: Option<Vec<String>>,
    /// Without a primary key, the columns of the unique index that can stand in for one.
    pub fallback_key: Option<Vec<String>>,
    /// What identifies a changed row in the log.
    pub replica_identity: ReplicaIdentity,
    /// The columns that do; empty if none do, all of them with a full identity.
    pub identity_columns: Vec<String>,
    /// The unique indexes that could identify a changed row, by name.
    pub unique_indexes: Vec<UniqueIndex>,
    /// The leaves of a partitioned table, by name.
    pub leaves: Vec<PartitionInfo>,
    /// The server's estimate of the number of rows; of a partitioned table, the sum over its leaves.
    pub row_estimate: Option<u64>,
    /// The number of pages as last counted by the server; of a partitioned table, those of its
    /// largest leaf. Rows may have come since: see [`super::measure_pages`].
    pub pages: u64,
    /// What a row takes of the disk on average, as last counted by the server; of a partitioned table
    /// that is not known.
    pub row_bytes: Option<u64>,
    /// Whether the user may read all of its columns.
    pub selectable: bool,
    /// Whether row-level security hides rows from the user.
    pub row_security: bool,
    /// The condition, in SQL, on the rows that the publication has.
    pub row_filter: Option<String>,
}

impl TableInfo {
    /// Returns a column by name.
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Returns the columns of the table's own key: the primary key, or the unique index that stands in
    /// for one.
    pub fn own_key(&self) -> Option<&[String]> {
        self.primary_key.as_deref().or(self.fallback_key.as_deref())
    }

    /// Returns what to put behind FROM to read what is replicated under this table's name: without
    /// the tables that inherit from it, whose changes come under their own names, but with its
    /// partitions.
    pub fn scan_target(&self) -> String {
        match self.kind {
            TableKind::Ordinary => format!("ONLY {}", self.id.quoted()),
            TableKind::Partitioned | TableKind::Other(_) => self.id.quoted(),
        }
    }

    /// Returns the condition on the rows that are read: that of the publication, so that no row comes
    /// whose changes do not, and one of the user's.
    pub fn scan_filter(&self, of_user: Option<&str>) -> Option<String> {
        match (self.row_filter.as_deref(), of_user) {
            (Some(published), Some(of_user)) => Some(format!("({published}) AND ({of_user})")),
            (one, other) => one.or(other).map(str::to_owned),
        }
    }

    /// Returns whether changes of this relation can be replicated at all.
    pub fn is_replicable(&self) -> bool {
        !matches!(self.kind, TableKind::Other(_)) && self.persistence == Persistence::Permanent
    }
}

#[cfg(test)]
impl TableInfo {
    /// Makes an ordinary table of columns that are nullable unless their name starts with `!`.
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
    fn what_the_publication_leaves_out_is_not_read() {
        let mut table = TableInfo::sample("shop", "t", &[("id", 23)]);
        assert_eq!(table.scan_filter(None), None);
        assert_eq!(table.scan_filter(Some("a OR b")).as_deref(), Some("a OR b"));
        table.row_filter = Some("(id > 1)".to_owned());
        assert_eq!(table.scan_filter(None).as_deref(), Some("(id > 1)"));
        let both = table.scan_filter(Some("a OR b"));
        assert_eq!(both.as_deref(), Some("((id > 1)) AND (a OR b)"));
    }

    #[test]
    fn names_are_shown_plain_and_quoted_in_sql() {
        let id = TableId::new("Odd \"s", "T.b");
        assert_eq!(id.to_string(), "Odd \"s.T.b");
        assert_eq!(id.quoted(), r#""Odd ""s"."T.b""#);
        assert_eq!(id.key(), TableId::new("odd \"s", "t.b"));
    }
}
