//! Check that the WAL contains the collection key of each updated or deleted row.

use protocol::{ReplicaIdentity, quote_identifier};

use crate::catalog::table::{Generated, PartitionInfo, TableId, TableInfo, TableKind};

/// Number of partitions that a warning names at most.
const MAX_PARTITIONS_NAMED: usize = 5;

/// Part of an old row that the WAL contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    /// All columns of the collection key.
    Key,
    /// Some columns, but not all of the collection key.
    Others,
    /// Nothing: the server refuses updates and deletes of published tables without replica identity.
    Nothing,
}

/// Returns a warning if the replica identity of `table` lacks columns of the collection key, with the
/// statements that correct it. Without key columns the collection is keyed by position, and any
/// replica identity that has columns suffices.
pub fn replica_identity_warning(table: &TableInfo, key_columns: &[String]) -> Option<String> {
    match table.kind {
        TableKind::Ordinary => {}
        TableKind::Partitioned => return partitions_warning(table, key_columns),
        TableKind::Other(_) => return None,
    }
    let (identity, columns) = (table.replica_identity, &table.identity_columns);
    let problem = match carried(identity, columns, key_columns) {
        Carried::Key => return None,
        Carried::Others => wrong_columns(&format!("table {}", table.id), columns, key_columns),
        Carried::Nothing => refused(&format!("table {}", table.id)),
    };
    Some(format!(
        "{problem}; to correct it: {}",
        identity_remedy(table, key_columns)
    ))
}

/// Returns the warning for a partitioned table: each leaf has its own replica identity, and that of
/// the root has no effect.
fn partitions_warning(table: &TableInfo, key_columns: &[String]) -> Option<String> {
    let state =
        |leaf: &PartitionInfo| carried(leaf.replica_identity, &leaf.identity_columns, key_columns);
    let wrong: Vec<&PartitionInfo> = table
        .leaves
        .iter()
        .filter(|leaf| state(leaf) != Carried::Key)
        .collect();
    // A leaf with other columns stops the capture, so it is explained first.
    let worst = wrong
        .iter()
        .find(|leaf| state(leaf) == Carried::Others)
        .or_else(|| wrong.first())?;
    let name = format!("partition {} of table {}", worst.id, table.id);
    let problem = match state(worst) {
        Carried::Others => wrong_columns(&name, &worst.identity_columns, key_columns),
        Carried::Key | Carried::Nothing => refused(&name),
    };
    // Every partition has the primary key of the root.
    let identity = match &table.primary_key {
        Some(key) if is_immediate(table, key) && holds(key, key_columns) => "DEFAULT",
        _ => "FULL",
    };
    let statements: Vec<String> = wrong
        .iter()
        .take(MAX_PARTITIONS_NAMED)
        .map(|leaf| alter(&leaf.id, identity))
        .collect();
    let omitted = match wrong.len().saturating_sub(MAX_PARTITIONS_NAMED) {
        0 => String::new(),
        more => format!(" and so on for {more} more partitions"),
    };
    Some(format!(
        "{problem}; to correct it: {}{omitted}",
        statements.join(" ")
    ))
}

fn carried(identity: ReplicaIdentity, columns: &[String], key: &[String]) -> Carried {
    if identity == ReplicaIdentity::Full {
        Carried::Key
    } else if columns.is_empty() {
        Carried::Nothing
    } else if holds(columns, key) {
        Carried::Key
    } else {
        Carried::Others
    }
}

fn holds(columns: &[String], key: &[String]) -> bool {
    key.iter().all(|column| columns.contains(column))
}

fn wrong_columns(name: &str, columns: &[String], key: &[String]) -> String {
    format!(
        "the replica identity of {name} holds the columns ({}), not all of the collection's key \
         ({}): the key of a deleted row, or the old key of an updated one, cannot be known, and \
         the capture stops at the first such change",
        columns.join(", "),
        key.join(", "),
    )
}

fn refused(name: &str) -> String {
    format!(
        "{name} has no replica identity: while it is published, the server refuses every update \
         and delete of its rows"
    )
}

/// Returns the statement that puts the key into the WAL at the least cost.
pub fn identity_remedy(table: &TableInfo, key: &[String]) -> String {
    let primary = table.primary_key.as_ref();
    if primary.is_some_and(|columns| is_immediate(table, columns) && holds(columns, key)) {
        return alter(&table.id, "DEFAULT");
    }
    let index = table
        .unique_indexes
        .iter()
        .find(|index| index.not_null && !key.is_empty() && holds(&index.columns, key));
    match index {
        Some(index) => alter(
            &table.id,
            &format!("USING INDEX {}", quote_identifier(&index.name)),
        ),
        None if table
            .columns
            .iter()
            .any(|column| column.generated != Generated::No) =>
        {
            format!(
                "{} (but from PostgreSQL 18 on the server then refuses updates, unless the publication \
             has publish_generated_columns = stored and no generated column is virtual)",
                alter(&table.id, "FULL")
            )
        }
        None => alter(&table.id, "FULL"),
    }
}

/// Returns whether the primary key is immediate, so that it can serve as replica identity.
fn is_immediate(table: &TableInfo, primary_key: &[String]) -> bool {
    table
        .unique_indexes
        .iter()
        .any(|index| index.columns == primary_key)
}

fn alter(table: &TableId, identity: &str) -> String {
    format!(
        "ALTER TABLE {} REPLICA IDENTITY {identity};",
        table.quoted()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::table::UniqueIndex;

    const INT4: u32 = 23;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// Makes a table with the primary key `id` and a unique index on `code`.
    fn table() -> TableInfo {
        let mut table = TableInfo::sample("shop", "t", &[("!id", INT4), ("!code", INT4)]);
        table.primary_key = Some(names(&["id"]));
        table.identity_columns = names(&["id"]);
        for (name, column) in [("by_code", "code"), ("t_pkey", "id")] {
            let (name, columns) = (name.to_owned(), names(&[column]));
            table.unique_indexes.push(UniqueIndex {
                name,
                columns,
                not_null: true,
            });
        }
        table
    }

    fn warning(table: &TableInfo, key: &[&str]) -> Option<String> {
        replica_identity_warning(table, &names(key))
    }

    /// REPLICA IDENTITY FULL would break updates of such a table from version 18 on.
    #[test]
    fn the_remedy_of_a_full_identity_mentions_generated_columns() {
        let mut table = table();
        let other = ["id", "other"];
        let advice = warning(&table, &other).unwrap();
        assert!(advice.ends_with("REPLICA IDENTITY FULL;"), "{advice}");
        table.columns[1].generated = Generated::Stored;
        let advice = warning(&table, &other).unwrap();
        assert!(advice.contains("publish_generated_columns"), "{advice}");
    }

    #[test]
    fn an_identity_with_the_key_gives_no_warning() {
        assert_eq!(warning(&table(), &["id"]), None);
        assert_eq!(warning(&table(), &[]), None);
        let full = TableInfo {
            replica_identity: ReplicaIdentity::Full,
            ..table()
        };
        assert_eq!(warning(&full, &["code", "id"]), None);
    }

    #[test]
    fn the_remedy_is_the_cheapest_sufficient_identity() {
        let by_code = TableInfo {
            replica_identity: ReplicaIdentity::Index,
            identity_columns: names(&["code"]),
            ..table()
        };
        let text = warning(&by_code, &["id"]).unwrap();
        assert!(text.contains("holds the columns (code), not all"), "{text}");
        assert!(
            text.ends_with(r#"ALTER TABLE "shop"."t" REPLICA IDENTITY DEFAULT;"#),
            "{text}"
        );
        let text = warning(&table(), &["code"]).unwrap();
        assert!(
            text.ends_with(r#"REPLICA IDENTITY USING INDEX "by_code";"#),
            "{text}"
        );
        let text = warning(&table(), &["code", "id"]).unwrap();
        assert!(text.ends_with("REPLICA IDENTITY FULL;"), "{text}");
    }

    #[test]
    fn a_table_without_identity_gives_a_warning_for_every_key() {
        let nothing = TableInfo {
            replica_identity: ReplicaIdentity::Nothing,
            identity_columns: Vec::new(),
            ..table()
        };
        for key in [&["id"][..], &[]] {
            let text = warning(&nothing, key).unwrap();
            assert!(text.contains("refuses every update and delete"), "{text}");
        }
        let keyless = TableInfo::sample("shop", "log", &[("line", 25)]);
        let text = warning(&keyless, &[]).unwrap();
        assert!(
            text.ends_with(r#"ALTER TABLE "shop"."log" REPLICA IDENTITY FULL;"#),
            "{text}"
        );
    }

    #[test]
    fn a_partitioned_table_is_judged_by_its_leaves() {
        let leaf = |name: &str, replica_identity, columns: &[&str]| PartitionInfo {
            id: TableId::new("shop", name),
            replica_identity,
            identity_columns: names(columns),
        };
        let mut root = TableInfo {
            kind: TableKind::Partitioned,
            ..table()
        };
        root.identity_columns.clear();
        root.leaves = vec![
            leaf("a", ReplicaIdentity::Default, &["id"]),
            leaf("b", ReplicaIdentity::Full, &[]),
        ];
        assert_eq!(warning(&root, &["id"]), None);
        root.leaves.push(leaf("c", ReplicaIdentity::Nothing, &[]));
        root.leaves
            .extend((0..7).map(|n| leaf(&format!("d{n}"), ReplicaIdentity::Index, &["code"])));
        let text = warning(&root, &["id"]).unwrap();
        assert!(
            text.contains("partition shop.d0 of table shop.t holds the columns (code)"),
            "{text}"
        );
        assert!(
            text.contains(r#"ALTER TABLE "shop"."c" REPLICA IDENTITY DEFAULT;"#),
            "{text}"
        );
        assert!(text.ends_with("and so on for 3 more partitions"), "{text}");
    }
}
