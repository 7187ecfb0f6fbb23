//! Keys of collections, and the columns they consist of.

use super::name::{column_pointer, pointer_column};
use crate::catalog::TableInfo;

/// Key of a collection whose table has no key: the position of the change.
pub const FALLBACK_KEY: [&str; 3] = [
    "/_meta/source/loc/0",
    "/_meta/source/loc/1",
    "/_meta/source/loc/2",
];

/// Key that discovery finds for a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredKey {
    /// Columns in the order of the key; empty for a table without usable key.
    pub columns: Vec<String>,
    /// Whether it is another key than the primary key.
    pub is_fallback: bool,
}

/// Returns the key of a table: its primary key, else that of a unique index, else none. A key with a
/// column that is not captured is not used.
pub fn discovered_key(table: &TableInfo) -> DiscoveredKey {
    let (columns, is_fallback) = match (&table.primary_key, &table.fallback_key) {
        (Some(columns), _) => (columns.as_slice(), false),
        (None, Some(columns)) => (columns.as_slice(), true),
        (None, None) => (&[][..], true),
    };
    let captured = |name: &String| {
        table
            .column(name)
            .is_some_and(|column| column.is_captured())
    };
    if !columns.is_empty() && columns.iter().all(captured) {
        DiscoveredKey {
            columns: columns.to_vec(),
            is_fallback,
        }
    } else {
        DiscoveredKey {
            columns: Vec::new(),
            is_fallback: true,
        }
    }
}

/// Returns the key of a collection as JSON pointers to the key columns.
pub fn key_pointers(columns: &[String]) -> Vec<String> {
    if columns.is_empty() {
        FALLBACK_KEY.map(str::to_owned).to_vec()
    } else {
        columns
            .iter()
            .map(|column| column_pointer(column))
            .collect()
    }
}

/// Returns whether a collection is keyed by position.
pub fn is_fallback_key(pointers: &[String]) -> bool {
    pointers == FALLBACK_KEY
}

/// Returns the columns that the key of a collection points to; empty if it is keyed by position.
pub fn key_columns(pointers: &[String]) -> Vec<String> {
    if is_fallback_key(pointers) {
        Vec::new()
    } else {
        pointers
            .iter()
            .map(|pointer| pointer_column(pointer))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_pointers_and_key_columns_are_inverse() {
        let columns = vec!["b".to_owned(), "a/b".to_owned()];
        assert_eq!(key_pointers(&columns), ["/b", "/a~1b"]);
        assert_eq!(key_columns(&key_pointers(&columns)), columns);
        assert!(is_fallback_key(&key_pointers(&[])));
        assert!(key_columns(&key_pointers(&[])).is_empty());
        assert!(!is_fallback_key(&["/_meta/source/loc/0".to_owned()]));
    }
}
