//! JSON schemas of columns.

use protocol::Oid;
use serde_json::{Map, Value, json};

use super::builtin::SchemaForm;
use super::options::ValueOptions;
use super::pg_type::TypeKind;
use super::registry::TypeRegistry;

/// Properties of a column that determine its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnType {
    /// Declared type; for a domain, its own OID.
    pub type_oid: Oid,
    /// Type modifier; -1 if there is none.
    pub type_modifier: i32,
    /// Whether the column is declared NOT NULL.
    pub not_null: bool,
}

/// Name of a column's type in the description of its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTypeName {
    /// Name for "(source type: ...)".
    pub name: String,
    /// Name without the underscore of an array, which the description of the catch-all schema
    /// quotes.
    pub element: String,
    /// Whether the type has a schema; otherwise [`column_schema`] returns the catch-all schema.
    pub translated: bool,
}

impl ColumnType {
    /// Returns whether the column can be NULL: neither the column nor its domain is declared NOT
    /// NULL.
    pub fn is_nullable(&self, types: &TypeRegistry) -> bool {
        let domain = matches!(
            types.kind(self.type_oid),
            TypeKind::Domain { not_null: true, .. }
        );
        !self.not_null && !domain
    }
}

/// Returns the schema of a column's values, without a description. The catch-all schema is empty.
pub fn column_schema(
    column: &ColumnType,
    is_key: bool,
    types: &TypeRegistry,
    options: &ValueOptions,
) -> Map<String, Value> {
    let nullable = column.is_nullable(types);
    match shape(column, types, options) {
        Shape::CatchAll | Shape::Anything => Map::new(),
        Shape::Scalar(SchemaForm::Float, _) if is_key => {
            typed(&["string"], nullable, [("format", json!("number"))])
        }
        Shape::Scalar(form, modifier) => scalar_schema(form, modifier, nullable, options),
        Shape::Array(form, modifier) => array_schema(form, modifier, nullable, options),
    }
}

/// Returns the name of a column's type for descriptions.
pub fn source_type_name(
    column: &ColumnType,
    types: &TypeRegistry,
    options: &ValueOptions,
) -> SourceTypeName {
    let named = match types.kind(column.type_oid) {
        TypeKind::Domain { base, .. } => base,
        _ => column.type_oid,
    };
    let translated = shape(column, types, options) != Shape::CatchAll;
    let plain = |name: &str| SourceTypeName {
        name: name.to_owned(),
        element: name.to_owned(),
        translated,
    };
    match types.kind(named) {
        TypeKind::Array { element } => {
            let element = types.name(element).to_owned();
            SourceTypeName {
                name: format!("_{element}"),
                element,
                translated,
            }
        }
        _ if named != column.type_oid => plain(types.name(named)),
        TypeKind::Enum => plain("enum"),
        TypeKind::Composite => plain("composite"),
        TypeKind::Range { .. } => plain("range"),
        TypeKind::Multirange { .. } => plain("multirange"),
        _ => plain(types.name(named)),
    }
}

/// Form of the value, or of an array's elements, and the type modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    CatchAll,
    /// No constraint, although the type has a translation.
    Anything,
    Scalar(SchemaForm, i32),
    Array(SchemaForm, i32),
}

fn shape(column: &ColumnType, types: &TypeRegistry, options: &ValueOptions) -> Shape {
    // A domain is treated as the type that it is declared over, except that its column has no type
    // modifier, and that an enum, range or domain has no translation there.
    let (oid, modifier, domain) = match types.kind(column.type_oid) {
        TypeKind::Domain { base, .. } => (base, -1, true),
        _ => (column.type_oid, column.type_modifier, false),
    };
    match types.kind(oid) {
        TypeKind::Array { element } => match types.traits(element).schema {
            _ if options.multidimensional_arrays => Shape::Array(SchemaForm::CatchAll, -1),
            SchemaForm::CatchAll => Shape::CatchAll,
            form => Shape::Array(form, modifier),
        },
        TypeKind::Enum | TypeKind::Range { .. } | TypeKind::Multirange { .. } if !domain => {
            Shape::Scalar(SchemaForm::String, -1)
        }
        TypeKind::Composite if !domain => Shape::Anything,
        _ => match types.traits(oid).schema {
            SchemaForm::CatchAll => Shape::CatchAll,
            form => Shape::Scalar(form, modifier),
        },
    }
}

fn array_schema(
    form: SchemaForm,
    modifier: i32,
    nullable: bool,
    options: &ValueOptions,
) -> Map<String, Value> {
    if options.multidimensional_arrays {
        return typed(&["array"], nullable, []);
    }
    let items = Value::Object(scalar_schema(form, modifier, true, options));
    if options.flatten_arrays {
        return typed(&["array"], nullable, [("items", items)]);
    }
    typed(
        &["object"],
        nullable,
        [
            ("required", json!(["dimensions", "elements"])),
            ("additionalProperties", json!(false)),
            (
                "properties",
                json!({
                    "dimensions": {"items": {"type": "integer"}, "type": "array"},
                    "elements": {"items": items, "type": "array"},
                }),
            ),
        ],
    )
}

fn scalar_schema(
    form: SchemaForm,
    modifier: i32,
    nullable: bool,
    options: &ValueOptions,
) -> Map<String, Value> {
    // The type modifier of text types is the length plus 4.
    let length = (modifier > 4).then(|| json!(modifier - 4));
    let string = |format: &str| typed(&["string"], nullable, [("format", json!(format))]);
    match form {
        SchemaForm::CatchAll => Map::new(),
        SchemaForm::Boolean => typed(&["boolean"], nullable, []),
        SchemaForm::Integer => typed(&["integer"], nullable, []),
        SchemaForm::Float => typed(
            &["number", "string"],
            nullable,
            [("format", json!("number"))],
        ),
        SchemaForm::String => typed(&["string"], nullable, []),
        SchemaForm::Format(format) => string(format),
        SchemaForm::Base64 => typed(
            &["string"],
            nullable,
            [("contentEncoding", json!("base64"))],
        ),
        SchemaForm::Media(media) => Map::from_iter([("contentMediaType".into(), json!(media))]),
        SchemaForm::Varchar => typed(
            &["string"],
            nullable,
            length.map(|length| ("maxLength", length)),
        ),
        SchemaForm::Bpchar => {
            let both = |length: Value| [("minLength", length.clone()), ("maxLength", length)];
            typed(&["string"], nullable, length.into_iter().flat_map(both))
        }
        SchemaForm::Date if options.date_as_date => string("date"),
        SchemaForm::Date => string("date-time"),
        SchemaForm::Time if options.time_as_time => string("time"),
        SchemaForm::Time => typed(&["integer"], nullable, []),
    }
}

/// Builds a schema: the type, as a string or as a list that ends in `null`, and the other members.
fn typed(
    types: &[&str],
    nullable: bool,
    members: impl IntoIterator<Item = (&'static str, Value)>,
) -> Map<String, Value> {
    let mut list: Vec<&str> = types.to_vec();
    if nullable {
        list.push("null");
    }
    let named = match list.as_slice() {
        [single] => json!(single),
        list => json!(list),
    };
    let mut schema = Map::new();
    schema.insert("type".to_owned(), named);
    schema.extend(
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
    );
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::PgType;

    const DEFAULTS: ValueOptions = ValueOptions {
        date_as_date: true,
        time_as_time: true,
        flatten_arrays: true,
        multidimensional_arrays: false,
    };

    /// Returns the built-in types and these, from OID 20001: a domain over varchar, an enum, a NOT
    /// NULL domain over int4, arrays of these two, a composite, a domain over int4range, one over
    /// the enum, one over int4[], a user's range, hstore and citext.
    fn types() -> TypeRegistry {
        let mut types = TypeRegistry::default();
        let domain = |base, not_null| TypeKind::Domain {
            base: Oid(base),
            not_null,
        };
        let array = |element| TypeKind::Array {
            element: Oid(element),
        };
        let kinds = [
            ("code", domain(1043, false)),
            ("mood", TypeKind::Enum),
            ("posint", domain(23, true)),
            ("_mood", array(20002)),
            ("_posint", array(20003)),
            ("pair", TypeKind::Composite),
            ("span", domain(3904, false)),
            ("feeling", domain(20002, false)),
            ("list", domain(1007, false)),
            ("floatrange", TypeKind::Range { subtype: Oid(701) }),
            ("hstore", TypeKind::Base),
            ("citext", TypeKind::Base),
            ("_citext", array(20012)),
        ];
        for (oid, (name, kind)) in (20001..).zip(kinds) {
            let (name, schema) = (name.to_owned(), "shop".to_owned());
            types.insert(PgType {
                oid: Oid(oid),
                name,
                schema,
                kind,
                delimiter: b',',
            });
        }
        types
    }

    fn check(oid: u32, modifier: i32, options: &ValueOptions, schema: &Value, name: &str) {
        let column = ColumnType {
            type_oid: Oid(oid),
            type_modifier: modifier,
            not_null: false,
        };
        let types = types();
        let found = Value::Object(column_schema(&column, false, &types, options));
        assert_eq!(&found, schema, "type {oid}");
        assert_eq!(source_type_name(&column, &types, options).name, name);
    }

    #[test]
    fn nullable_columns_allow_null() {
        let string = || json!({"type": ["string", "null"]});
        let format = |format: &str| json!({"type": ["string", "null"], "format": format});
        let rows = [
            (16, -1, json!({"type": ["boolean", "null"]}), "bool"),
            (20, -1, json!({"type": ["integer", "null"]}), "int8"),
            (26, -1, json!({"type": ["integer", "null"]}), "oid"),
            (28, -1, json!({}), "xid"),
            (
                701,
                -1,
                json!({"type": ["number", "string", "null"], "format": "number"}),
                "float8",
            ),
            (1700, 786_438, format("number"), "numeric"),
            (790, -1, string(), "money"),
            (25, -1, string(), "text"),
            (
                1043,
                24,
                json!({"type": ["string", "null"], "maxLength": 20}),
                "varchar",
            ),
            (1043, -1, string(), "varchar"),
            (
                1042,
                9,
                json!({"type": ["string", "null"], "minLength": 5, "maxLength": 5}),
                "bpchar",
            ),
            (19, -1, json!({}), "name"),
            (18, -1, json!({}), "char"),
            (
                17,
                -1,
                json!({"type": ["string", "null"], "contentEncoding": "base64"}),
                "bytea",
            ),
            (1560, 4, string(), "bit"),
            (1082, -1, format("date"), "date"),
            (1083, -1, format("time"), "time"),
            (1266, -1, format("time"), "timetz"),
            (1114, 3, format("date-time"), "timestamp"),
            (1184, -1, format("date-time"), "timestamptz"),
            (1186, -1, string(), "interval"),
            (2950, -1, format("uuid"), "uuid"),
            (869, -1, string(), "inet"),
            (600, -1, string(), "point"),
            (
                114,
                -1,
                json!({"contentMediaType": "application/json"}),
                "json",
            ),
            (
                3802,
                -1,
                json!({"contentMediaType": "application/vnd.estuary.postgresql.jsonb+json"}),
                "jsonb",
            ),
            (4072, -1, string(), "jsonpath"),
            (142, -1, string(), "xml"),
            (3904, -1, string(), "range"),
            (4451, -1, string(), "multirange"),
            (3220, -1, json!({}), "pg_lsn"),
            (27, -1, json!({}), "tid"),
            (20001, -1, string(), "varchar"),
            (20002, -1, string(), "enum"),
            (20003, -1, json!({"type": "integer"}), "int4"),
            (20006, -1, json!({}), "composite"),
            (20007, -1, json!({}), "int4range"),
            (20008, -1, json!({}), "mood"),
            (20010, -1, string(), "range"),
            (20011, -1, json!({}), "hstore"),
            (20012, -1, string(), "citext"),
            (99999, -1, json!({}), "unknown"),
        ];
        for (oid, modifier, schema, name) in rows {
            check(oid, modifier, &DEFAULTS, &schema, name);
        }
    }

    #[test]
    fn arrays_have_a_schema_in_each_mode() {
        let flat = |items: Value| json!({"items": items, "type": ["array", "null"]});
        let integers = json!({"type": ["integer", "null"]});
        let rows = [
            (1007, -1, flat(integers.clone()), "_int4"),
            (20009, -1, flat(integers.clone()), "_int4"),
            (
                1015,
                14,
                flat(json!({"type": ["string", "null"], "maxLength": 10})),
                "_varchar",
            ),
            (
                1001,
                -1,
                flat(json!({"type": ["string", "null"], "contentEncoding": "base64"})),
                "_bytea",
            ),
            (
                3807,
                -1,
                flat(json!({"contentMediaType": "application/vnd.estuary.postgresql.jsonb+json"})),
                "_jsonb",
            ),
            (
                1182,
                -1,
                flat(json!({"type": ["string", "null"], "format": "date"})),
                "_date",
            ),
            (
                20013,
                -1,
                flat(json!({"type": ["string", "null"]})),
                "_citext",
            ),
            (1003, -1, json!({}), "_name"),
            (3905, -1, json!({}), "_int4range"),
            (20004, -1, json!({}), "_mood"),
            (20005, -1, json!({}), "_posint"),
        ];
        for (oid, modifier, schema, name) in rows {
            check(oid, modifier, &DEFAULTS, &schema, name);
        }

        let object = ValueOptions {
            flatten_arrays: false,
            ..DEFAULTS
        };
        let schema = json!({
            "required": ["dimensions", "elements"],
            "additionalProperties": false,
            "properties": {
                "dimensions": {"items": {"type": "integer"}, "type": "array"},
                "elements": {"items": integers, "type": "array"},
            },
            "type": ["object", "null"],
        });
        check(1007, -1, &object, &schema, "_int4");
        check(20004, -1, &object, &json!({}), "_mood");

        let nested = ValueOptions {
            multidimensional_arrays: true,
            ..object
        };
        for (oid, name) in [(1007, "_int4"), (20004, "_mood"), (20009, "_int4")] {
            check(oid, -1, &nested, &json!({"type": ["array", "null"]}), name);
        }
    }

    #[test]
    fn flags_keys_and_not_null_change_the_schema() {
        let types = types();
        let column = |oid| ColumnType {
            type_oid: Oid(oid),
            type_modifier: -1,
            not_null: true,
        };
        let schema = |oid, is_key, options: &ValueOptions| {
            Value::Object(column_schema(&column(oid), is_key, &types, options))
        };
        let plain = ValueOptions {
            date_as_date: false,
            time_as_time: false,
            ..DEFAULTS
        };
        assert_eq!(
            schema(1082, false, &plain),
            json!({"type": "string", "format": "date-time"})
        );
        assert_eq!(schema(1083, false, &plain), json!({"type": "integer"}));
        assert_eq!(
            schema(1266, false, &plain),
            json!({"type": "string", "format": "time"})
        );
        assert_eq!(
            schema(701, true, &DEFAULTS),
            json!({"type": "string", "format": "number"})
        );
        assert_eq!(
            schema(701, false, &DEFAULTS),
            json!({"type": ["number", "string"], "format": "number"})
        );
        assert_eq!(schema(23, true, &DEFAULTS), json!({"type": "integer"}));
    }

    #[test]
    fn the_catch_all_names_the_element() {
        let types = types();
        let name = |oid| {
            let column = ColumnType {
                type_oid: Oid(oid),
                type_modifier: -1,
                not_null: false,
            };
            source_type_name(&column, &types, &DEFAULTS)
        };
        let enums = name(20004);
        assert_eq!((enums.element.as_str(), enums.translated), ("mood", false));
        assert!(name(20006).translated);
        assert!(name(114).translated);
        assert!(!name(20007).translated);
    }
}
