//! Reduction of captured documents, as Flow reduces a collection, and comparison with the table.

use std::collections::{BTreeMap, BTreeSet};

use postgres::Client;
use serde_json::{Map, Value};

use super::json::short;
use super::postgres::query;
use super::task::Document;

/// Rows by the text of their keys.
pub(crate) type Rows = BTreeMap<String, Map<String, Value>>;

/// Reduces documents by key, in order: a deletion (`d`) removes the row, any other document
/// replaces the members that it has.
pub(crate) fn reduce<'a>(documents: impl Iterator<Item = &'a Document>, key: &[&str]) -> Rows {
    let mut rows = Rows::new();
    for document in documents {
        let members = document.value.as_object().expect("a document is an object");
        let key = key_text(members, key);
        if document.op() == "d" {
            rows.remove(&key);
            continue;
        }
        let row = rows.entry(key).or_default();
        for (name, value) in members.iter().filter(|(name, _)| *name != "_meta") {
            row.insert(name.clone(), value.clone());
        }
    }
    rows
}

/// Returns the documents of a collection without a key by their `loc`. Panics if two documents
/// share one.
pub(crate) fn by_loc<'a>(
    documents: impl Iterator<Item = &'a Document>,
) -> BTreeMap<[i64; 3], Map<String, Value>> {
    let mut found = BTreeMap::new();
    for document in documents {
        let mut row = document
            .value
            .as_object()
            .expect("a document is an object")
            .clone();
        row.remove("_meta");
        let earlier = found.insert(document.loc(), row);
        assert!(
            earlier.is_none(),
            "two documents at {:?}: {earlier:?}, {document:?}",
            document.loc()
        );
    }
    found
}

/// Reads a table. Its columns must have types whose JSON is the same from the server and from the
/// connector.
pub(crate) fn table(client: &mut Client, table: &str, key: &[&str]) -> Rows {
    query(
        client,
        &format!("select row_to_json(t)::text from {table} t"),
    )
    .iter()
    .map(|row| {
        let row: Map<String, Value> = serde_json::from_str(&row[0]).expect("JSON");
        (key_text(&row, key), row)
    })
    .collect()
}

/// Panics if the reduced documents differ from the rows of the table.
pub(crate) fn assert_same_rows(name: &str, table: &Rows, reduced: &Rows) {
    let keys: BTreeSet<&String> = table.keys().chain(reduced.keys()).collect();
    let differing: Vec<String> = keys
        .into_iter()
        .filter(|key| table.get(*key) != reduced.get(*key))
        .map(|key| {
            format!(
                "{key}: table {}, documents {}",
                show(table, key),
                show(reduced, key)
            )
        })
        .collect();
    assert!(
        differing.is_empty(),
        "{} of {} rows differ in {name}:\n{}",
        differing.len(),
        table.len(),
        differing[..differing.len().min(20)].join("\n"),
    );
}

fn show(rows: &Rows, key: &str) -> String {
    match rows.get(key) {
        Some(row) => short(&Value::Object(row.clone())).into_owned(),
        None => "no row".to_owned(),
    }
}

/// Returns the values of the key columns as one text; for a table without a key, the whole row.
fn key_text(row: &Map<String, Value>, key: &[&str]) -> String {
    if key.is_empty() {
        return Value::Object(row.clone()).to_string();
    }
    let part = |name: &&str| {
        row.get(*name)
            .unwrap_or_else(|| panic!("no {name} in {row:?}"))
    };
    key.iter()
        .map(|name| part(name).to_string())
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(op: &str, loc: [i64; 3], mut members: Value) -> Document {
        members["_meta"] = json!({"op": op, "source": {"loc": loc}});
        Document {
            table: "t".to_owned(),
            value: members,
            text: String::new(),
        }
    }

    #[test]
    fn later_documents_replace_the_members_that_they_have() {
        let documents = [
            document("c", [-1, 0, 0], json!({"id": 1, "n": 1, "big": "b"})),
            document("c", [-1, 1, 0], json!({"id": 2, "n": 2, "big": "b"})),
            document("u", [1, 1, 1], json!({"id": 1, "n": null})),
            document("d", [1, 2, 1], json!({"id": 2})),
            document("d", [1, 3, 1], json!({"id": 3})),
        ];
        let rows = reduce(documents.iter(), &["id"]);
        assert_eq!(json!(rows), json!({"1": {"id": 1, "n": null, "big": "b"}}));
    }

    #[test]
    #[should_panic(expected = "two documents at [1, 2, 3]")]
    fn two_documents_with_one_loc_are_reported() {
        let documents = [
            document("c", [1, 2, 3], json!({"n": 1})),
            document("c", [1, 2, 3], json!({"n": 2})),
        ];
        by_loc(documents.iter());
    }

    #[test]
    #[should_panic(expected = "1 of 2 rows differ in t:\n2: table {\"id\":2}, documents no row")]
    fn a_missing_row_is_reported_with_its_key() {
        let row = |id: i32| json!({"id": id}).as_object().expect("an object").clone();
        let table = Rows::from([("1".to_owned(), row(1)), ("2".to_owned(), row(2))]);
        let reduced = Rows::from([("1".to_owned(), row(1))]);
        assert_same_rows("t", &table, &reduced);
    }
}
