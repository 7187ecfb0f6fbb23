//! Generator of `types.md`, the documentation of types, from the table of types.
//!
//! `UPDATE_TYPES=1 cargo test --lib value::documentation` writes the file; without the variable,
//! the test compares it.

use std::fmt::Write;
use std::{env, fs};

use protocol::Oid;
use serde_json::Value;

use super::builtin::{ROWS, ROWS_BY_NAME, Row};
use super::{
    ColumnType, KeyCodec, PgType, Transcoder, TypeKind, TypeRegistry, ValueOptions, column_schema,
};

/// Example of each type in the table of types, as the server writes it.
const EXAMPLES: &[(&str, &str)] = &[
    ("bool", "t"),
    ("bytea", r"\xdeadbeef"),
    ("char", "a"),
    ("name", "nm"),
    ("int8", "9223372036854775807"),
    ("int2", "-32768"),
    ("int4", "7"),
    ("text", "a \"b\""),
    ("oid", "4294967295"),
    ("tid", "(12,34)"),
    ("xid", "123"),
    ("cid", "7"),
    ("json", r#"{"b": 1.50, "a": "\ud800"}"#),
    ("xml", "<a/>"),
    ("point", "(1000000,0.5)"),
    ("lseg", "[(1,2),(3,4)]"),
    ("path", "((0,0),(1,1e+30))"),
    ("box", "(3,4),(1,2)"),
    ("polygon", "((0,0),(0,1),(1,0))"),
    ("line", "{1,2,3}"),
    ("cidr", "192.168.1.0/24"),
    ("float4", "0.1"),
    ("float8", "1e+21"),
    ("circle", "<(1,2),3>"),
    ("macaddr8", "08:00:2b:01:02:03:04:05"),
    ("money", "-$1,234.56"),
    ("macaddr", "08:00:2b:01:02:03"),
    ("inet", "192.168.1.1"),
    ("aclitem", "=r/postgres"),
    ("bpchar", "fixed     "),
    ("varchar", "a"),
    ("date", "2024-01-15"),
    ("time", "14:30:00"),
    ("timestamp", "2024-01-15 14:30:00.5"),
    ("timestamptz", "2024-01-15 06:30:00-08"),
    ("interval", "1 year 2 mons 3 days 04:05:06"),
    ("timetz", "14:30:00+05:30"),
    ("bit", "101"),
    ("varbit", "0010"),
    ("numeric", "123456.7890"),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("tsvector", "'cat' 'fat'"),
    ("tsquery", "'fat' & 'cat'"),
    ("jsonb", r#"{"a": 12345678901234567890.10}"#),
    ("jsonpath", r#"$."name""#),
    ("int4range", "[1,10)"),
    ("numrange", "[0.00,)"),
    ("tsrange", r#"["2024-01-01 00:00:00",infinity)"#),
    ("tstzrange", r#"["2024-01-01 00:00:00-08",)"#),
    ("daterange", "[2024-01-01,2024-12-31)"),
    ("int8range", "empty"),
    ("int4multirange", "{[1,3),[5,8)}"),
    ("nummultirange", "{[1.50,3]}"),
    ("tsmultirange", r#"{["2024-01-01 00:00:00",)}"#),
    ("tstzmultirange", r#"{["2024-01-01 00:00:00+00",)}"#),
    ("datemultirange", "{[2024-01-01,2024-02-01)}"),
    ("int8multirange", "{}"),
    ("pg_lsn", "16/B374D848"),
    ("xid8", "18446744073709551615"),
    ("int2vector", "1 2 3"),
    ("regproc", "now"),
    ("oidvector", "1 2"),
    ("pg_node_tree", "<>"),
    ("unknown", "a"),
    ("refcursor", "c"),
    ("regprocedure", "abs(integer)"),
    ("regoper", "||/"),
    ("regoperator", "<(integer,integer)"),
    ("regclass", "pg_class"),
    ("regtype", "integer"),
    ("txid_snapshot", "10:20:10,14"),
    ("regconfig", "english"),
    ("regdictionary", "simple"),
    ("regnamespace", "public"),
    ("regrole", "postgres"),
    ("regcollation", "\"C\""),
    ("pg_snapshot", "10:20:10,14"),
    ("citext", "Hello"),
];

/// Types of users and extensions: name, kind, and an example as the server writes it.
const MADE: &[(&str, TypeKind, &str)] = &[
    ("an enum", TypeKind::Enum, "happy"),
    (
        "arrays of an enum",
        TypeKind::Array {
            element: Oid(30_000),
        },
        "{sad,happy}",
    ),
    ("a row type", TypeKind::Composite, "(1,\"two words\",)"),
    (
        "a range of floats",
        TypeKind::Range { subtype: Oid(701) },
        "[1.5,2e+30)",
    ),
    (
        "a multirange of floats",
        TypeKind::Multirange { range: Oid(30_003) },
        "{[1.5,2e+30)}",
    ),
    ("a domain over `int4`", domain(23), "5"),
    ("a domain over `int4[]`", domain(1007), "{1,2}"),
    (
        "arrays of a domain over `int4`",
        TypeKind::Array {
            element: Oid(30_005),
        },
        "{1,2}",
    ),
    ("a domain over `jsonb`", domain(3802), "{\"a\": 1}"),
    ("a domain over an enum", domain(30_000), "sad"),
    ("`hstore`", TypeKind::Base, "\"a\"=>\"1\", \"b\"=>NULL"),
    ("`ltree`", TypeKind::Base, "a.b.c"),
    (
        "`geometry` (PostGIS)",
        TypeKind::Base,
        "0101000000000000000000F03F0000000000000040",
    ),
    ("`vector`", TypeKind::Base, "[1,2,3]"),
];

const fn domain(base: u32) -> TypeKind {
    TypeKind::Domain {
        base: Oid(base),
        not_null: false,
    }
}

/// Special values, as the server writes them.
const SPECIAL: &[(&str, &str)] = &[
    ("float8", "NaN"),
    ("float8", "-Infinity"),
    ("float8", "-0"),
    ("numeric", "NaN"),
    ("numeric", "0.000"),
    ("char", "\\200"),
    ("date", "infinity"),
    ("date", "-infinity"),
    ("date", "0001-12-31 BC"),
    ("date", "0044-03-15 BC"),
    ("date", "12345-06-07"),
    ("time", "24:00:00"),
    ("timetz", "01:02:03+15:59:59"),
    ("timestamp", "-infinity"),
    ("timestamp", "12345-06-07 08:09:10"),
    ("timestamptz", "infinity"),
    ("timestamptz", "1879-12-31 19:03:58-04:56:02"),
    ("interval", "00:00:00"),
    ("interval", "-1 years -2 mons +3 days 12:00:00"),
    ("interval", "infinity"),
    ("point", "(Infinity,NaN)"),
    (
        "json",
        r#"{"a": 1, "a": 1E400, "b": "\ud83d\udE14 \ud83d"}"#,
    ),
    ("tsrange", "[-infinity,\"0044-03-15 01:02:03 BC\"]"),
    ("_int4", "[0:2]={1,NULL,3}"),
    ("_int4", "{{1,2},{3,4}}"),
    ("_text", "{\"NULL\",NULL,\"a,b\",\"\"}"),
];

const INTRODUCTION: &str = "
# Types

The table lists the built-in types, then types of users and extensions: an example of the server's
text, its JSON in documents, and the schema of a column that is NOT NULL, with the default feature
flags. A type that is not listed is captured as a string of the server's text, without constraints in
the schema, and so are arrays of it.

*Arrays*: arrays of the type become JSON arrays (`arrays`), or strings of the server's text (`text`).

*Order*: whether the connector can compare values of the type in keys as the server does.

- `known`: it can.
- `collation`: it can if the column's collation sorts by bytes.
- `server`: only the server can. Changes are then not compared with the position of a backfill, so that
  rows of a chunk can be captured twice; none is lost.
- `none`: the type has no order, and cannot be part of a key.

Keys are compared with the operators of the type's default order, whatever their names and schemas.

A text or binary string of more than 8 MiB is truncated, text between two characters. A `json` or
`jsonb` value of more than 8 MiB is replaced by `{\"flow_truncated\":true,\"original_size\":N}`. The
limit applies to each element of an array, but of `json` and `jsonb` elements only strings are
truncated. Numbers, bit strings, geometric types and keys have no limit.

`make types` generates this file from the table of types in `builtin.rs`.

| Type | The server's text | In documents | Schema | Arrays | Order |
|---|---|---|---|---|---|
";

const SPECIAL_VALUES: &str = "
# Special values

The formats of JSON schema have only the years 0 to 9999. Dates and timestamps of other years become
the smallest one of the format, and infinity the greatest. An offset of seconds, which the formats do
not have either, is truncated to minutes; the time of day is moved so that the instant does not
change.

| Type | The server's text | In documents |
|---|---|---|
";

fn registry() -> TypeRegistry {
    let mut types = TypeRegistry::default();
    let made = MADE
        .iter()
        .map(|(name, kind, _)| (name.trim_matches('`'), *kind));
    let named = ROWS_BY_NAME.iter().map(|row| (row.name, TypeKind::Base));
    for (oid, (name, kind)) in (30_000..).zip(made.chain(named)) {
        types.insert(PgType {
            oid: Oid(oid),
            name: name.to_owned(),
            schema: "public".to_owned(),
            kind,
            delimiter: b',',
        });
    }
    types
}

fn table() -> String {
    let types = registry();
    let mut text = INTRODUCTION.to_owned();
    let example = |row: &Row| {
        let found = EXAMPLES.iter().find(|(name, _)| *name == row.name);
        found
            .unwrap_or_else(|| panic!("{} has no example", row.name))
            .1
    };
    for row in ROWS {
        line(
            &mut text,
            &types,
            &format!("`{}`", row.name),
            Oid(row.oid),
            example(row),
        );
    }
    let oids = (30_000..).map(Oid);
    for (oid, (name, _, value)) in oids.clone().zip(MADE) {
        line(&mut text, &types, name, oid, value);
    }
    for (oid, row) in oids.skip(MADE.len()).zip(ROWS_BY_NAME) {
        line(
            &mut text,
            &types,
            &format!("`{}`", row.name),
            oid,
            example(row),
        );
    }
    text.push_str(SPECIAL_VALUES);
    for (name, value) in SPECIAL {
        let is_of = |row: &&Row| row.name == name.trim_start_matches('_');
        let row = ROWS.iter().find(is_of).expect("it is built in");
        let found = Oid(if name.starts_with('_') {
            row.array
        } else {
            row.oid
        });
        let json = json_of(&types, found, value);
        let [value, json] = [value, json.as_str()].map(code);
        writeln!(text, "| `{name}` | {value} | {json} |").expect("a string grows");
    }
    text
}

/// Returns the JSON of a value.
fn json_of(types: &TypeRegistry, oid: Oid, value: &str) -> String {
    let mut json = Vec::new();
    let transcoder = Transcoder::new(oid, types, &ValueOptions::default(), false);
    let written = transcoder.write(value.as_bytes(), &mut json);
    written.unwrap_or_else(|error| panic!("{value}: {error}"));
    String::from_utf8(json).expect("JSON is UTF-8")
}

/// Appends the table line of a type.
fn line(text: &mut String, types: &TypeRegistry, name: &str, oid: Oid, example: &str) {
    let options = ValueOptions::default();
    let json = json_of(types, oid, example);
    let column = ColumnType {
        type_oid: oid,
        type_modifier: -1,
        not_null: true,
    };
    let schema = Value::Object(column_schema(&column, false, types, &options));
    let arrays = match types.kind(oid) {
        TypeKind::Array { .. } => "",
        _ if types.traits(oid).arrays => "arrays",
        _ => "text",
    };
    let order = |bytewise| KeyCodec::new(oid, types, bytewise).is_comparable();
    let order = match (order(false), order(true)) {
        _ if WITHOUT_ORDER.contains(&name.trim_matches('`')) => "none",
        (true, _) => "known",
        (false, true) => "collation",
        _ => "server",
    };
    let [example, json, schema] = [example, &json, &schema.to_string()].map(code);
    writeln!(
        text,
        "| {name} | {example} | {json} | {schema} | {arrays} | {order} |"
    )
    .expect("a string grows");
}

/// Types without an order in the server.
const WITHOUT_ORDER: &[&str] = &[
    "xid",
    "cid",
    "json",
    "xml",
    "point",
    "lseg",
    "path",
    "box",
    "polygon",
    "line",
    "circle",
    "aclitem",
    "jsonpath",
    "txid_snapshot",
    "pg_snapshot",
    "refcursor",
    "pg_node_tree",
    "unknown",
];

/// Returns code in a cell of a table. A bar would end the cell and is escaped; examples have no
/// backquotes.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

#[test]
fn the_documentation_lists_the_types_of_the_registry() {
    let made = table();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/value/types.md");
    if env::var_os("UPDATE_TYPES").is_some() {
        fs::write(path, &made).expect("the file can be written");
    }
    let found = fs::read_to_string(path).expect("the file is there");
    assert!(
        found == made,
        "src/value/types.md does not match the registry: run UPDATE_TYPES=1 cargo test --lib value::documentation"
    );
    for (name, _) in EXAMPLES {
        let has_row = ROWS.iter().chain(ROWS_BY_NAME).any(|row| row.name == *name);
        assert!(has_row, "{name} has an example and no row");
    }
}
