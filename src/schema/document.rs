//! JSON schema of a table's documents, in two variants: the discovered schema, which a collection is
//! made with and which says how documents of one key are merged; and the sourced schema, which a
//! running capture reports of its source and which allows only documents that it can emit.

use serde_json::{Map, Value, json};

use super::name::anchor;
use crate::catalog::{ColumnInfo, TableInfo};
use crate::value::{ColumnType, TypeRegistry, ValueOptions, column_schema, source_type_name};

/// Settings that a schema depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaOptions {
    /// Representation of values.
    pub values: ValueOptions,
    /// Whether the runtime is to infer more of the schema from the documents.
    pub infer_schema: bool,
    /// Whether the collection keeps every change as it is, without merging.
    pub history_mode: bool,
    /// Whether documents have a source tag.
    pub source_tag: bool,
}

/// Returns the schema that discovery offers. `key` are the columns of the discovered key.
pub fn document_schema(
    table: &TableInfo,
    key: &[String],
    types: &TypeRegistry,
    options: &SchemaOptions,
) -> Value {
    schema(table, key, types, options, Variant::Discovered)
}

/// Returns the schema of the documents that the capture emits, closed to other members.
pub fn sourced_schema(
    table: &TableInfo,
    key: &[String],
    types: &TypeRegistry,
    options: &SchemaOptions,
) -> Value {
    schema(table, key, types, options, Variant::Sourced)
}

fn schema(
    table: &TableInfo,
    key: &[String],
    types: &TypeRegistry,
    options: &SchemaOptions,
    variant: Variant,
) -> Value {
    let builder = Builder {
        table,
        key,
        types,
        options,
        variant,
    };
    builder.document()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Discovered,
    Sourced,
}

/// Inputs of a schema.
#[derive(Debug)]
struct Builder<'a> {
    table: &'a TableInfo,
    key: &'a [String],
    types: &'a TypeRegistry,
    options: &'a SchemaOptions,
    variant: Variant,
}

impl Builder<'_> {
    fn document(&self) -> Value {
        let anchor = anchor(&self.table.id);
        let reference = format!("#{anchor}");
        let mut envelope = json!({
            "required": ["_meta"],
            "properties": {"_meta": meta_schema(&reference, self.options, self.variant)},
        });
        if self.variant == Variant::Discovered {
            envelope["if"] =
                json!({"properties": {"_meta": {"properties": {"op": {"const": "d"}}}}});
            envelope["then"] = json!({"reduce": {"delete": true, "strategy": "merge"}});
            envelope["else"] = json!({"reduce": {"strategy": "merge"}});
        }
        let mut schema = json!({
            "$defs": {anchor.as_str(): self.row(&anchor)},
            "allOf": [envelope, {"$ref": reference}],
        });
        if self.variant == Variant::Sourced {
            schema["unevaluatedProperties"] = json!(false);
        }
        if self.options.infer_schema {
            schema["x-infer-schema"] = json!(true);
        }
        schema
    }

    fn row(&self, anchor: &str) -> Value {
        let columns = || {
            let columns = self.table.columns.iter();
            columns.filter(|column| column.is_captured())
        };
        let mut properties = Map::new();
        for column in columns() {
            properties.insert(column.name.clone(), Value::Object(self.property(column)));
        }
        let mut required: Vec<&String> = match self.variant {
            Variant::Discovered => self.key.iter().collect(),
            Variant::Sourced => columns().map(|column| &column.name).collect(),
        };
        required.sort();
        let mut schema = json!({"type": "object", "$anchor": anchor, "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }

    fn property(&self, column: &ColumnInfo) -> Map<String, Value> {
        let (types, options) = (self.types, &self.options.values);
        let column_type = ColumnType {
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            not_null: column.not_null,
        };
        let is_key = self.key.contains(&column.name);
        let mut schema = column_schema(&column_type, is_key, types, options);
        // The runtime adds NULL to the inferred schema itself when it occurs.
        if self.variant == Variant::Sourced
            && let Some(Value::Array(list)) = schema.get_mut("type")
        {
            list.retain(|name| name != "null");
        }
        let name = source_type_name(&column_type, types, options);
        let mut description = String::new();
        if let Some(comment) = &column.comment {
            description.push_str(comment);
            description.push(' ');
        }
        if !name.translated {
            description.push_str(&format!(
                "using catch-all schema (unable to translate PostgreSQL type {:?} into JSON \
                 schema) ",
                name.element,
            ));
        }
        let nullable = if column_type.is_nullable(types) {
            ""
        } else {
            "non-nullable "
        };
        description.push_str(&format!("(source type: {nullable}{})", name.name));
        schema.insert("description".to_owned(), json!(description));
        schema
    }
}

fn meta_schema(reference: &str, options: &SchemaOptions, variant: Variant) -> Value {
    let mut meta = json!({
        "type": "object",
        "required": ["op", "source"],
        "properties": {
            "before": {
                "$ref": reference,
                "description": "The row as it was before this change, as far as the server's log \
                                tells.",
            },
            "op": {
                "enum": ["c", "d", "u"],
                "description": "What happened to the row: 'c' it was inserted or read by the \
                                backfill, 'u' it was updated, 'd' it was deleted.",
            },
            "source": source_schema(options, variant),
        },
    });
    match variant {
        Variant::Discovered => {
            meta["properties"]["before"]["reduce"] = json!({"strategy": "firstWriteWins"});
            meta["reduce"] = json!({"strategy": "merge"});
        }
        Variant::Sourced => {
            meta["properties"]["before"]["unevaluatedProperties"] = json!(false);
            meta["additionalProperties"] = json!(false);
        }
    }
    meta
}

fn source_schema(options: &SchemaOptions, variant: Variant) -> Value {
    let mut source = json!({
        "type": "object",
        "required": ["schema", "table", "loc"],
        "properties": {
            "ts_ms": {
                "type": "integer",
                "description": "When the transaction committed, in milliseconds since 1970 (UTC). \
                                Absent from rows read by the backfill.",
            },
            "schema": {"type": "string", "description": "The schema of the table."},
            "snapshot": {
                "type": "boolean",
                "description": "True for rows read by the backfill, else absent.",
            },
            "table": {"type": "string", "description": "The table."},
            "loc": {
                "type": "array",
                "items": {"type": "integer"},
                "minItems": 3,
                "maxItems": 3,
                "description": "The place of this change among all changes of the capture: where \
                                the previous commit ended, where this change is, and where its \
                                commit is in the server's write-ahead log; for rows read by the \
                                backfill -1, the number of the row, and 0.",
            },
            "txid": {
                "type": "integer",
                "description": "The server's number of the transaction, 32 bits wide.",
            },
        },
    });
    if options.source_tag {
        source["properties"]["tag"] = json!({
            "type": "string",
            "description": "The tag that the capture is configured with.",
        });
    }
    match variant {
        Variant::Discovered if options.history_mode => {
            source["reduce"] = json!({"strategy": "lastWriteWins", "associative": false});
        }
        Variant::Discovered => {}
        Variant::Sourced => source["additionalProperties"] = json!(false),
    }
    source
}
