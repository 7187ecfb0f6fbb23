//! Comparison of schemas and bindings with those recorded from the reference connector, as JSON values
//! and without the texts of descriptions.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::*;
use crate::catalog::{ColumnInfo, Generated, TableId, TableInfo};
use crate::value::{TypeRegistry, ValueOptions};

const INT4: u32 = 23;
const TEXT: u32 = 25;
const FLOAT8: u32 = 701;
const TIMESTAMPTZ: u32 = 1184;

const OPTIONS: SchemaOptions = SchemaOptions {
    values: ValueOptions {
        date_as_date: true,
        time_as_time: true,
        flatten_arrays: true,
        multidimensional_arrays: false,
    },
    infer_schema: true,
    history_mode: false,
    source_tag: false,
};

fn table(schema: &str, name: &str, columns: &[(&str, u32)]) -> TableInfo {
    TableInfo::sample(schema, name, columns)
}

fn keyed(mut table: TableInfo, key: &[&str]) -> TableInfo {
    table.primary_key = Some(names(key));
    table
}

fn unique(mut table: TableInfo, key: &[&str]) -> TableInfo {
    table.fallback_key = Some(names(key));
    table
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn orders() -> TableInfo {
    let columns = [("!id", INT4), ("item", TEXT), ("!qty", INT4)];
    keyed(table("shop", "orders", &columns), &["id"])
}

/// Removes the descriptions, but not a column of that name.
fn without_descriptions(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(name, value)| *name != "description" || !value.is_string())
            .map(|(name, value)| (name.clone(), without_descriptions(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_descriptions).collect(),
        other => other.clone(),
    }
}

fn recorded(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn discovered_and_sourced_schemas_are_as_recorded() {
    let types = TypeRegistry::default();
    let history = SchemaOptions {
        history_mode: true,
        source_tag: true,
        ..OPTIONS
    };
    let table = orders();
    let key = discovered_key(&table).columns;
    for (schema, text) in [
        (
            document_schema(&table, &key, &types, &OPTIONS),
            include_str!("testdata/orders.json"),
        ),
        (
            sourced_schema(&table, &key, &types, &OPTIONS),
            include_str!("testdata/orders-sourced.json"),
        ),
        (
            document_schema(&table, &key, &types, &history),
            include_str!("testdata/orders-history-tag.json"),
        ),
        (
            sourced_schema(&table, &key, &types, &history),
            include_str!("testdata/orders-history-tag-sourced.json"),
        ),
    ] {
        assert_eq!(without_descriptions(&schema), recorded(text));
    }
}

#[test]
fn bindings_are_as_recorded() {
    let mut generated = keyed(
        table("shop", "gen", &[("!id", INT4), ("n", INT4), ("g", INT4)]),
        &["id"],
    );
    generated.columns[2].generated = Generated::Stored;
    let pk_two = table("shop", "pk_two", &[("!b", INT4), ("!a", INT4), ("v", TEXT)]);
    let published = table(
        "shop",
        "published",
        &[("!id", INT4), ("flow_published_at", TIMESTAMPTZ)],
    );
    let odd = [("!Key/1~", INT4), ("Col \"q\"", TEXT), ("_x", INT4)];
    let tables = [
        unique(
            table("shop", "two_uniq", &[("!a", INT4), ("!b", INT4)]),
            &["b"],
        ),
        keyed(pk_two, &["b", "a"]),
        unique(
            table("shop", "uniq", &[("!id", INT4), ("v", TEXT)]),
            &["id"],
        ),
        table("shop", "uniq_null", &[("id", INT4), ("v", TEXT)]),
        table("shop", "nokey", &[("v", TEXT)]),
        generated,
        keyed(published, &["id"]),
        keyed(
            table("shop", "flow_checkpoints_v1", &[("!id", INT4)]),
            &["id"],
        ),
        keyed(table("Odd Schema", "Tab/le~ %", &odd), &["Key/1~"]),
        keyed(
            table("public", "flow_watermarks", &[("!slot", TEXT)]),
            &["slot"],
        ),
    ];
    let bindings = discover_bindings(
        &tables,
        None,
        &TableId::new("public", "Flow_Watermarks"),
        &TypeRegistry::default(),
        &OPTIONS,
    );
    let found: Vec<Value> = bindings
        .iter()
        .map(|binding| {
            let mut found = json!({
                "recommendedName": binding.recommended_name,
                "resourceConfig": binding.resource_config,
                "documentSchema": without_descriptions(&binding.document_schema),
                "key": binding.key,
            });
            if binding.is_fallback_key {
                found["isFallbackKey"] = json!(true);
            }
            found
        })
        .collect();
    assert_eq!(
        Value::Array(found),
        recorded(include_str!("testdata/discovery-kinds.json"))
    );
}

#[test]
fn descriptions_begin_with_the_comment_and_name_the_type() {
    let mut table = table("shop", "t", &[("!id", INT4), ("note", TEXT), ("at", 27)]);
    table.columns[1].comment = Some("Free text.".to_owned());
    table.columns[2].comment = Some("Where it is.".to_owned());
    let schema = document_schema(&table, &[], &TypeRegistry::default(), &OPTIONS);
    let description = |column: &str| {
        let properties = &schema["$defs"]["ShopT"]["properties"];
        properties[column]["description"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(description("id"), "(source type: non-nullable int4)");
    assert_eq!(description("note"), "Free text. (source type: text)");
    assert_eq!(
        description("at"),
        "Where it is. using catch-all schema (unable to translate PostgreSQL type \"tid\" into \
         JSON schema) (source type: tid)"
    );
}

#[test]
fn a_sourced_schema_requires_every_column_and_allows_no_null() {
    let columns = [
        ("!k", FLOAT8),
        ("f", FLOAT8),
        ("tags", 1009),
        ("_meta", TEXT),
    ];
    let mut table = keyed(table("shop", "t", &columns), &["k"]);
    table.columns.push(ColumnInfo {
        name: "g".to_owned(),
        generated: Generated::Virtual,
        published: true,
        ..table.columns[0].clone()
    });
    let options = SchemaOptions {
        infer_schema: false,
        ..OPTIONS
    };
    let schema = sourced_schema(&table, &names(&["k"]), &TypeRegistry::default(), &options);
    assert_eq!(schema.get("x-infer-schema"), None);
    assert_eq!(
        without_descriptions(&schema["$defs"]["ShopT"]),
        json!({
            "type": "object",
            "$anchor": "ShopT",
            "required": ["f", "k", "tags"],
            "properties": {
                "f": {"type": ["number", "string"], "format": "number"},
                "k": {"type": "string", "format": "number"},
                "tags": {"type": ["array"], "items": {"type": ["string", "null"]}},
            },
        })
    );
}

#[test]
fn a_key_with_a_column_that_is_not_captured_is_not_used() {
    let mut generated = keyed(table("shop", "g", &[("!id", INT4)]), &["id"]);
    generated.columns[0].generated = Generated::Stored;
    let meta = unique(table("shop", "m", &[("!_meta", INT4)]), &["_meta"]);
    for table in [generated, meta] {
        assert_eq!(
            discovered_key(&table),
            DiscoveredKey {
                columns: Vec::new(),
                is_fallback: true
            }
        );
    }
}

#[test]
fn only_published_tables_are_offered_under_unique_names() {
    let tables: Vec<TableInfo> = ["Orders", "orders", "orders_2", "ORDERS", "other"]
        .map(|name| table("shop", name, &[]))
        .into();
    let published: HashSet<TableId> = tables[..4].iter().map(|table| table.id.clone()).collect();
    let watermarks = TableId::new("public", "flow_watermarks");
    let types = TypeRegistry::default();
    let bindings = discover_bindings(&tables, Some(&published), &watermarks, &types, &OPTIONS);
    let found: Vec<(&str, &str)> = bindings
        .iter()
        .map(|binding| {
            (
                binding.recommended_name.as_str(),
                binding.table.name.as_str(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("shop/orders", "orders"),
            ("shop/orders_2", "orders_2"),
            ("shop/orders_3", "ORDERS"),
            ("shop/orders_4", "Orders"),
        ]
    );
}
