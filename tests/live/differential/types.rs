//! Table of the tested types: SQL for the values of each, and for the expected JSON.

use Arrays::{Json, No, Text};
use Compare::{Float4, Float8, Geometry, Inet, Point, Spelled};

/// Comparison of a captured value with the expected JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    /// Equal text, except for escapes.
    Spelled,
    /// Equal numbers of this width, written with the fewest digits.
    Float4,
    Float8,
    /// Numbers between punctuation, without exponents.
    Geometry,
    /// Numbers between punctuation; large and small ones have an exponent.
    Point,
    /// An address as in RFC 5952; the expected value is the server's binary form.
    Inet,
}

/// Form in which arrays of a type are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrays {
    /// A JSON array.
    Json,
    /// A string with the array's text.
    Text,
    /// The type has no arrays, or they are not tested.
    No,
}

/// A tested type. In expressions `{v}` stands for a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    /// Name of the type's column.
    pub(super) name: &'static str,
    /// Declared type of the column, if it differs from the name.
    pub(super) declared: &'static str,
    /// First and last version that has the type.
    pub(super) since: u32,
    pub(super) until: u32,
    /// Fixed values. One that begins with `14: `, for example, is used from that version on.
    pub(super) edges: &'static [&'static str],
    /// Expression for a random value; empty if there is none.
    pub(super) random: &'static str,
    /// Expression for the expected JSON.
    pub(super) json: &'static str,
    /// Expression for the expected JSON if `date_as_date` and `time_as_time` are off, if it
    /// differs.
    pub(super) json_off: Option<&'static str>,
    /// Expression for the text by which the kind of a value is recognized.
    pub(super) shown: &'static str,
    pub(super) compare: Compare,
    pub(super) arrays: Arrays,
    /// Whether the type is a domain over an array; `json` is then the expression for an element.
    pub(super) is_array: bool,
    /// Kinds of values that must occur.
    pub(super) kinds: &'static [&'static str],
}

const AS_TEXT: &str = "to_json(format('%s', {v}))";
const AS_JSON: &str = "format('%s', {v})::json";

const TEXT: Type = Type {
    name: "",
    declared: "",
    since: 10,
    until: 99,
    edges: &[],
    random: "",
    json: AS_TEXT,
    json_off: None,
    shown: "format('%s', {v})",
    compare: Spelled,
    arrays: Json,
    is_array: false,
    kinds: &[],
};

/// Returns a type that is captured as the server's text, as its arrays are.
const PLAIN: Type = Type {
    arrays: Text,
    ..TEXT
};

const NUMBER: Type = Type {
    json: AS_JSON,
    ..TEXT
};

const fn float(name: &'static str, compare: Compare) -> Type {
    Type {
        name,
        json: "case when {v}::text in ('NaN', 'Infinity', '-Infinity') then to_json({v}::text) \
               else {v}::text::json end",
        compare,
        kinds: &["NaN", "infinity", "-infinity", "negative zero", "exponent"],
        ..TEXT
    }
}

const TEXTS: &[&str] = &[
    "make.kinds()",
    "''",
    "' '",
    "'NULL'",
    "'null'",
    "'{\"a\": [1]}'",
    "repeat('x', 3000)",
    "repeat(make.kinds(), 200)",
    "make.string(5000)",
    "repeat(chr(least(223, make.largest())), 15)",
    "'{}'",
    "'a,b'",
    "E'\\\\'",
    "'\"'",
];
const ESCAPES: &[&str] = &[
    "empty",
    "quotation mark",
    "backslash",
    "line feed",
    "carriage return",
    "tab",
    "backspace",
    "form feed",
    "control",
    "delete",
    "HTML",
    "C1 control",
    "two bytes",
    "three bytes",
    "four bytes",
    "line separator",
    "byte order mark",
    "noncharacter",
    "replacement character",
    "private use",
    "long",
];
const SHORT_ESCAPES: &[&str] = &[
    "empty",
    "quotation mark",
    "backslash",
    "line feed",
    "control",
    "HTML",
    "four bytes",
];

const DATES: &[&str] = &[
    "'infinity'",
    "'-infinity'",
    "'epoch'",
    "'9999-12-31'",
    "'10000-01-01'",
    "'12345-06-07'",
    "'0001-01-01'",
    "'0001-12-31 BC'",
    "'0001-01-01 BC'",
    "'0002-12-31 BC'",
    "'0044-03-15 BC'",
    "'4713-11-24 BC'",
    "'5874897-12-31'",
    "'2000-02-29'",
    "'0005-02-29 BC'",
];
const MOMENTS: &[&str] = &[
    "'infinity'",
    "'-infinity'",
    "'epoch'",
    "'9999-12-31 23:59:59.999999'",
    "'10000-01-01 00:00:00'",
    "'12345-06-07 08:09:10'",
    "'294276-12-31 12:00:00.999999'",
    "'0001-01-01 00:00:00'",
    "'0001-12-31 23:59:59.5 BC'",
    "'0001-01-01 00:00:00 BC'",
    "'0002-12-31 23:59:59 BC'",
    "'0044-03-15 01:02:03 BC'",
    "'4713-11-25 12:00:00 BC'",
    "'2024-07-01 00:00:00.12'",
    "'1883-11-18 12:03:58'",
    "'1999-12-31 23:59:59.9999996'",
    "'2024-03-31 02:30:00'",
    "'1900-01-01 00:00:01'",
    "'2024-10-27 01:10:00'",
    "'2024-11-03 08:10:00'",
    "'2024-11-03 09:10:00'",
    "'1970-01-01 00:00:00.000001'",
];
const MOMENT_KINDS: &[&str] = &[
    "infinity",
    "-infinity",
    "BC",
    "beyond 9999",
    "microseconds",
    "tenths",
];
const TIMES: &[&str] = &[
    "'24:00:00'",
    "'00:00:00'",
    "'23:59:59.999999'",
    "'23:59:59.9999999'",
    "'12:34:56.120'",
    "'00:00:00.000001'",
];
const SPANS: &[&str] = &[
    "'0'",
    "'1 mon'",
    "'1 year'",
    "'3 days'",
    "'1 mon 04:05:06'",
    "'1 mon 2 days 03:04:05.000001'",
    "'-1 day -02:03:04.5'",
    "'-0.5 s'",
    "'100 hours'",
    "'-1 years -2 mons +3 days 12:00'",
    "'1 year -1 mon 1 day -00:00:00.000001'",
    "'-1 mon 1 day -1 s'",
    "'178000000 years'",
    "'-178956970 years -8 mons -2147483648 days'",
    "'2147483647 days'",
    "'-2147483648 days 23:59:59'",
    "15: '2562047788:00:54.775807'",
    "15: '-2562047788:00:54.775807'",
    "'596523:14:07.999999'",
    "'0.0000005 s'",
    "17: 'infinity'",
    "17: '-infinity'",
    "'30 days'",
    "'720 hours'",
    "'1 mon -30 days'",
];
const JSONS: &[&str] = &[
    "'null'",
    "'{}'",
    "'[]'",
    "'\"\"'",
    "'true'",
    "' { \"b\" : 1 , \"a\" : \"<&>\", \"d\":1.0e5 } '",
    "'{\"dup\": 1, \"a\": 2, \"dup\": {\"dup\": 3, \"dup\": 4}}'",
    "'[12345678901234567890.10, 9007199254740993, 1E400, 1.50, -0, 0.00, 1e-400]'",
    "'{\"a\":\"<\\u003e\\u0041\\/\\b\\f\\n\\r\\t\\\"\\\\\"}'",
    "(repeat('[', 100) || repeat(']', 100))",
    "(repeat('{\"a\":', 100) || '1' || repeat('}', 100))",
    "to_json(make.kinds())",
    "to_json(repeat('j', 3000))",
    "'\"\\\\u0041\\\\ud800\"'",
];
/// Values that `json` accepts and `jsonb` refuses.
const LOOSE_JSONS: &[&str] = &[
    "'\"\\u0000\\u2028\\u00e9\"'",
    "'\"\\ud83d\\u200b\\ude14\"'",
    "'{\"\\uDeAd\": \"\\ud83d\\udE14\"}'",
    "'[\"\\ud800\", \"\\udc00\\ud800\", \"\\uD800\\uD800\\uDC00\", \"\\ud800\\n\", \"\\uFFFF\", \"\\udbff\"]'",
];
const JSON_KINDS: &[&str] = &[
    "duplicate keys",
    "deep",
    "beyond 64 bits",
    "exponent",
    "empty object",
    "empty array",
    "JSON null",
    "JSON escapes",
];

const GEOMETRY: Type = Type {
    compare: Geometry,
    ..TEXT
};

#[rustfmt::skip]
pub(super) static TYPES: &[Type] = &[
    Type { name: "bool", edges: &["true", "false"], json: "to_json({v})", ..TEXT },
    Type { name: "int2", edges: &["0", "1", "-1", "32767", "-32768"], random: "(make.bits() % 32768)::int2", ..NUMBER },
    Type { name: "int4", edges: &["0", "1", "-1", "2147483647", "-2147483648"], random: "(make.bits() % 2147483648)::int4", ..NUMBER },
    Type { name: "int8", edges: &["0", "9007199254740993", "9223372036854775807", "'-9223372036854775808'::int8", "1000000000000000", "-999999999999999", "9999999999999999"], random: "make.bits()", kinds: &["beyond 2^53"], ..NUMBER },
    Type { name: "oid", edges: &["0", "4294967295", "2147483648"], random: "make.number(0, 4294967295)::oid", ..NUMBER },
    Type { name: "xid", edges: &["'0'", "'4294967295'"], random: "make.number(0, 4294967295)::text::xid", ..NUMBER },
    Type { name: "cid", edges: &["'0'", "'4294967295'"], random: "make.number(0, 4294967295)::text::cid", ..NUMBER },
    Type { name: "xid8", since: 13, edges: &["'0'", "'18446744073709551615'", "'4294967299'", "'9'", "'10'"], random: "(make.bits() & 9223372036854775807)::text::xid8", ..PLAIN },
    Type { edges: &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0", "0.1", "123.456", "16777216", "1e20", "1e21", "1e-6", "1e-7", "9.99999e20", "3.4028235e38", "'1.4e-45'", "'-1.17549435e-38'", "0.3333333"], random: "make.float4()", ..float("float4", Float4) },
    Type { edges: &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0", "0.1", "123.456789012345", "999999999999999900000", "1e21", "1e-6", "1e-7", "1.7976931348623157e308", "'5e-324'", "9007199254740993", "'2.2250738585072014e-308'", "0.30000000000000004"], random: "make.float8()", ..float("float8", Float8) },
    Type { name: "numeric", edges: &["'NaN'", "14: 'Infinity'", "14: '-Infinity'", "0", "0.0", "0.000", "'-0.00'", "1e20", "1e-7", "1.0e-5", "1.50", "-0.9", "-0.900", "0.0041", "-0.0041", "10000", "9999", "10001.00001", "('1' || repeat('0123456789', 100))::numeric", "('-0.' || repeat('0123456789', 100))::numeric", "'1e131071'", "'-1e-16383'", "123456789012345678901234567890.123456789"], random: "make.numeric()", kinds: &["NaN", "zero with a scale", "1000 digits", "zero"], ..TEXT },
    Type { name: "numeric_10_4", declared: "numeric(10,4)", edges: &["0", "123456.7890", "-999999.9999", "'NaN'"], random: "(make.bits() % 9999999999) / 10000.0", kinds: &["zero with a scale"], ..TEXT },
    Type { name: "numeric_coarse", declared: "numeric(5,-2)", since: 15, edges: &["12345", "0", "-1250"], random: "make.number(-9999, 9999) * 100", ..TEXT },
    Type { name: "money", edges: &["'123.45'", "'-999.99'", "'-1234.56'", "'0'", "'92233720368547758.07'", "'9'", "'10'"], random: "((make.bits() / 200)::numeric / 100)::money", ..TEXT },
    Type { name: "text", edges: TEXTS, random: "make.string(make.number(0, 40))", kinds: ESCAPES, ..TEXT },
    Type { name: "varchar", edges: TEXTS, random: "make.string(make.number(0, 40))", kinds: ESCAPES, ..TEXT },
    Type { name: "varchar_10", declared: "varchar(10)", edges: &["''", "make.kinds(30, 39)", "make.kinds(40, 49)", "make.kinds(50, 59)"], random: "make.string(make.number(0, 10))", ..TEXT },
    Type { name: "bpchar", edges: &["''", "'  '", "'blanks  '", "make.kinds()"], random: "make.string(make.number(0, 10))", kinds: SHORT_ESCAPES, ..TEXT },
    Type { name: "char_5", declared: "char(5)", edges: &["''", "'a'", "'fixed'", "make.kinds(35, 39)", "make.kinds(58, 62)", "'a '", "E'a\\t'", "E'a\\001'"], random: "make.string(make.number(0, 5))", ..TEXT },
    Type { name: "name", edges: &["'nm'", "''", "make.kinds(1, 30)", "make.kinds(31, 45)", "make.kinds(46, 70)", "repeat('x', 63)"], random: "make.string(make.number(0, 15))::name", kinds: SHORT_ESCAPES, ..TEXT },
    Type { name: "char", declared: "\"char\"", edges: &["'a'", "''", "'\\'", "'\"'", "make.byte(-128)", "make.byte(-1)", "make.byte(127)", "make.byte(1)"], random: "make.byte(make.number(-128, 127)::int)", json: "get_byte(\"charsend\"({v}), 0)::text::json", shown: "{v}::int", ..TEXT },
    Type { name: "bytea", edges: &["''", "'\\x00'", "'\\x00ff'", "'\\xdeadbeef'", "decode(repeat('00', 3000), 'hex')", "convert_to(make.kinds(), 'UTF8')", "decode(make.hex(20000), 'hex')"], random: "decode(make.hex(2 * make.number(0, 50)), 'hex')", json: "to_json(translate(encode({v}, 'base64'), E'\\n', ''))", kinds: &["hex of nothing", "long"], ..TEXT },
    Type { name: "bit_1", declared: "bit", edges: &["B'0'", "B'1'"], ..TEXT },
    Type { name: "bit_3", declared: "bit(3)", edges: &["B'000'", "B'101'"], random: "make.number(0, 7)::int::bit(3)", ..TEXT },
    Type { name: "varbit", edges: &["B''", "B'0'", "B'00'", "B'0010'", "repeat('10', 3000)::varbit"], random: "substr(make.bits()::bit(64)::text, 1, make.number(0, 64)::int)::varbit", kinds: &["empty", "long"], ..TEXT },
    Type { name: "date", edges: DATES, random: "make.day()", json: "to_json(say.date({v}))", json_off: Some("to_json(say.midnight({v}))"), kinds: &["infinity", "-infinity", "BC", "beyond 9999"], ..TEXT },
    Type { name: "time", edges: TIMES, random: "make.clock()", json: "to_json(say.clock({v}))", json_off: Some("(extract(epoch from {v}) * 1000000)::bigint::text::json"), kinds: &["24:00", "microseconds"], ..TEXT },
    Type { name: "time_2", declared: "time(2)", edges: TIMES, random: "make.clock()::time(2)", json: "to_json(say.clock({v}))", json_off: Some("(extract(epoch from {v}) * 1000000)::bigint::text::json"), kinds: &["24:00"], ..TEXT },
    Type { name: "timetz", edges: &["'14:30:00+05:30'", "'23:59:59.999999-08'", "'00:00:00+00'", "'12:34:56.12-03:30'", "'24:00:00+00'", "'24:00:00-15:59:59'", "'01:02:03+15:59:59'", "'00:00:00+15:59:59'", "'00:00:01-00:00:01'", "'12:00+01'", "'11:00+00'"], random: "(make.clock() || make.zone())::timetz", json: "to_json(say.timetz({v}))", kinds: &["24:00", "offset with seconds", "microseconds"], ..TEXT },
    Type { name: "timestamp", edges: MOMENTS, random: "make.moment()", json: "to_json(say.moment({v}))", kinds: MOMENT_KINDS, ..TEXT },
    Type { name: "timestamp_3", declared: "timestamp(3)", edges: MOMENTS, random: "make.moment()", json: "to_json(say.moment({v}))", ..TEXT },
    Type { name: "timestamptz", edges: MOMENTS, random: "make.moment() at time zone 'UTC'", json: "to_json(say.instant({v}))", kinds: MOMENT_KINDS, ..TEXT },
    Type { name: "timestamptz_0", declared: "timestamptz(0)", edges: MOMENTS, random: "make.moment() at time zone 'UTC'", json: "to_json(say.instant({v}))", ..TEXT },
    Type { name: "interval", edges: SPANS, random: "make.span()", json: "to_json(say.interval({v}))", kinds: &["mixed signs", "microseconds", "zero interval"], ..TEXT },
    Type { name: "interval_months", declared: "interval year to month", edges: &["'0'", "'-1 year 2 mons'"], random: "make.span()", json: "to_json(say.interval({v}))", ..TEXT },
    Type { name: "uuid", edges: &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"], random: "make.hex(32)::uuid", ..TEXT },
    Type { name: "inet", edges: &["'192.168.1.1'", "'10.0.0.1/8'", "'0.0.0.0/0'", "'2001:4f8:3:ba::1'", "'::ffff:1.2.3.4'", "'::1.2.3.4'", "'::'", "'::1'", "'1::/64'", "'0:0:1:0:0:0:1:0'", "'1:0:0:2:0:0:3:4'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'"], random: "make.address()", json: "to_json(encode(inet_send({v}), 'hex'))", compare: Inet, ..TEXT },
    Type { name: "cidr", edges: &["'192.168.1.0/24'", "'2001:4f8:3:ba::/64'", "'0.0.0.0/0'", "'::/0'", "'10'", "'::ffff:1.2.3.0/120'"], random: "network(make.address())", json: "to_json(encode(cidr_send({v}), 'hex'))", compare: Inet, ..TEXT },
    Type { name: "macaddr", edges: &["'08:00:2b:01:02:03'", "'ff:ff:ff:ff:ff:ff'", "'00:00:00:00:00:00'"], random: "make.hex(12)::macaddr", ..TEXT },
    Type { name: "macaddr8", edges: &["'08:00:2b:01:02:03:04:05'", "'ff:ff:ff:ff:ff:ff:ff:ff'", "'00:00:00:00:00:00:00:00'"], random: "make.hex(16)::macaddr8", ..TEXT },
    Type { name: "point", edges: &["'(1,2)'", "'(-0,1e30)'", "'(NaN,Infinity)'", "'(-Infinity,1e-5)'", "'(1000000,123456789.5)'", "'(999999,0.0001)'", "'(1e300,5e-324)'"], random: "point(make.float8(), make.float8())", compare: Point, kinds: &["NaN inside", "infinity inside", "exponent"], ..TEXT },
    Type { name: "line", edges: &["'{1,2,3}'", "'{-0.5,1e30,-1e-7}'"], random: "line(point(make.number(0, 9), 1), point(make.number(10, 19), make.number(0, 1000) / 7.0))", ..GEOMETRY },
    Type { name: "lseg", edges: &["'[(1,2),(3,4)]'", "'[(0,-0),(1e30,1e-7)]'"], random: "lseg(point(make.float8(), 1), point(0, make.float8()))", ..GEOMETRY },
    Type { name: "box", edges: &["'((1,2),(3,4))'", "'((1e30,1e-7),(-1e300,0))'"], random: "box(point(make.float8(), make.float8()), point(make.float8(), make.float8()))", ..GEOMETRY },
    Type { name: "path", edges: &["'[(1,2),(3,4),(5,6)]'", "'((0,0))'", "'((1e30,-0),(1e-7,2))'"], random: "path(polygon(make.number(2, 9)::int, circle(point(make.number(0, 9), 1), make.number(1, 9))))", ..GEOMETRY },
    Type { name: "polygon", edges: &["'((0,0),(0,1),(1,0))'", "'((1e30,-0),(1e-7,2))'"], random: "polygon(make.number(2, 9)::int, circle(point(make.number(0, 9), 1), make.number(1, 9)))", ..GEOMETRY },
    Type { name: "circle", edges: &["'<(1,2),3>'", "'<(1e30,-1e-7),1e300>'", "'<(0,0),0>'"], random: "circle(point(make.float8(), make.float8()), abs(make.float8()))", ..GEOMETRY },
    Type { name: "json", edges: JSONS, random: "make.json(4, false)::json", json: "{v}", kinds: JSON_KINDS, ..TEXT },
    Type { name: "json_loose", declared: "json", edges: LOOSE_JSONS, random: "make.json_string(false)::json", json: "{v}", kinds: &["unpaired surrogate"], ..TEXT },
    Type { name: "jsonb", edges: JSONS, random: "make.json(4, true)::jsonb", json: "{v}::json", kinds: &["deep", "beyond 64 bits", "empty object", "empty array", "JSON null", "JSON escapes"], ..TEXT },
    Type { name: "jsonpath", since: 12, edges: &["'$.name'", "'$[0]'", "'$.\"<a>\" ? (@ > 1)'", "'strict $.**{2}.x'"], random: "('$.\"' || make.word(5) || '\"')::jsonpath", ..TEXT },
    Type { name: "xml", edges: &["'<data attr=\"value\">content</data>'", "''", "'plain'", "xmlelement(name a, make.kinds())"], random: "xmlelement(name a, make.string(10))", kinds: &["HTML", "quotation mark"], ..TEXT },
    Type { name: "tsvector", edges: &["'a fat cat sat'", "''", "'a:1A,2B fat:3C'", "array_to_tsvector(array[make.kinds(), 'x'])"], random: "array_to_tsvector(array[make.string(3) || 'x', make.string(2) || 'y'])", ..TEXT },
    Type { name: "tsquery", edges: &["'fat & cat'", "''", "'fat & (rat | !cat) <-> dog:*A'", "'''<&>'''"], random: "plainto_tsquery('simple', make.word(3) || ' ' || make.word(2))", ..TEXT },
    Type { name: "int4range", edges: &["'[1,10)'", "'[5,5]'", "'(,)'", "'empty'", "'(,5]'", "'[-2147483648,)'"], random: "int4range(make.number(-9, 9)::int, make.number(9, 99999)::int, make.bounds())", kinds: &["unbounded", "empty range"], ..TEXT },
    Type { name: "int8range", edges: &["'[1,10]'", "'(,)'", "'empty'", "'[-9223372036854775808,9223372036854775806]'"], random: "int8range(least(make.bits(), 0), 1 + abs(make.bits() / 2), make.bounds())", kinds: &["unbounded", "empty range"], ..TEXT },
    Type { name: "numrange", edges: &["'(0,1]'", "'[1.5,1.5]'", "'[1.50,2.000)'", "'[0.00,)'", "'[NaN,]'", "'(,)'", "'empty'", "14: '[-Infinity,Infinity]'"], random: "numrange(least(make.numeric(), 0.00), abs(make.numeric()), make.bounds())", kinds: &["unbounded", "empty range"], ..TEXT },
    Type { name: "daterange", edges: &["'[2024-01-01,2024-12-31)'", "'[-infinity,infinity]'", "'(,)'", "'empty'", "'[0044-03-15 BC,12345-06-07]'"], random: "daterange(least(make.day(), '1000-01-01'), greatest(make.day(), '1000-01-01'), make.bounds())", json: "to_json(say.span({v}))", kinds: &["unbounded", "empty range", "infinity inside", "BC inside"], ..TEXT },
    Type { name: "tsrange", edges: &["'[2024-01-01,2024-12-31)'", "'[-infinity,infinity]'", "'(,)'", "'empty'", "'[0044-03-15 01:02:03.5 BC,12345-06-07]'"], random: "tsrange(least(make.moment(), '1000-01-01'), greatest(make.moment(), '1000-01-01'), make.bounds())", json: "to_json(say.span({v}))", kinds: &["unbounded", "empty range", "infinity inside", "BC inside"], ..TEXT },
    Type { name: "tstzrange", edges: &["'[2024-01-01 00:00+00,2024-12-31 23:59:59+00)'", "'[-infinity,infinity]'", "'(,)'", "'empty'", "'[0044-03-15 01:02:03.5+00 BC,12345-06-07]'"], random: "tstzrange(least(make.moment(), '1000-01-01') at time zone 'UTC', greatest(make.moment(), '1000-01-01') at time zone 'UTC', make.bounds())", json: "to_json(say.span({v}))", kinds: &["unbounded", "empty range", "infinity inside", "BC inside"], ..TEXT },
    Type { name: "int4multirange", since: 14, edges: &["'{}'", "'{[1,3),[5,8)}'", "'{(,)}'"], random: "int4multirange(int4range(make.number(-9, 0)::int, make.number(1, 9)::int), int4range(make.number(10, 19)::int, make.number(20, 99)::int))", ..PLAIN },
    Type { name: "int8multirange", since: 14, edges: &["'{}'", "'{[1,3),[5,8)}'", "'{(,1),[5,)}'"], ..PLAIN },
    Type { name: "nummultirange", since: 14, edges: &["'{}'", "'{[1.50,3),[5,8.00]}'", "'{(,0.00),(0.00,)}'"], random: "nummultirange(numrange(-abs(make.numeric()), 0.00), numrange(1.50, null))", ..PLAIN },
    Type { name: "datemultirange", since: 14, edges: &["'{}'", "'{[2024-01-01,2024-02-01),[2024-03-01,)}'", "'{[-infinity,0044-03-15 BC)}'"], json: "to_json('{' || coalesce((select string_agg(say.span(r), ',' order by r) from unnest({v}) r), '') || '}')", ..PLAIN },
    Type { name: "tsmultirange", since: 14, edges: &["'{}'", "'{[2024-01-01,2024-02-01),[2024-03-01 10:20:30.5,)}'"], json: "to_json('{' || coalesce((select string_agg(say.span(r), ',' order by r) from unnest({v}) r), '') || '}')", ..PLAIN },
    Type { name: "tstzmultirange", since: 14, edges: &["'{}'", "'{[2024-01-01,2024-02-01),[2024-03-01 10:20:30.5,infinity]}'"], json: "to_json('{' || coalesce((select string_agg(say.span(r), ',' order by r) from unnest({v}) r), '') || '}')", ..PLAIN },
    Type { name: "tid", edges: &["'(12,34)'", "'(4294967295,65535)'", "'(0,0)'"], random: "('(' || make.number(0, 4294967295) || ',' || make.number(0, 65535) || ')')::tid", json: "json_build_object('BlockNumber', ltrim(split_part({v}::text, ',', 1), '(')::bigint, 'OffsetNumber', rtrim(split_part({v}::text, ',', 2), ')')::int, 'Valid', true)", ..TEXT },
    Type { name: "pg_lsn", edges: &["'16/B374D848'", "'0/0'", "'FFFFFFFF/FFFFFFFF'", "'2/0'", "'10/0'"], random: "(make.hex(8) || '/' || make.hex(8))::pg_lsn", ..PLAIN },
    Type { name: "int2vector", edges: &["'1 2 3'", "''"], ..PLAIN },
    Type { name: "oidvector", edges: &["'1 2 4294967295'", "''"], ..PLAIN },
    Type { name: "refcursor", edges: &["'c'", "make.kinds()"], random: "make.string(5)::refcursor", ..PLAIN },
    Type { name: "txid_snapshot", edges: &["'10:20:10,14,15'"], ..PLAIN },
    Type { name: "pg_snapshot", since: 13, edges: &["'10:20:10,14,15'"], ..PLAIN },
    Type { name: "aclitem", edges: &["'=r/postgres'", "'postgres=arwdDxt/postgres'"], ..TEXT },
    Type { name: "regproc", edges: &["'now'", "0", "123456789"], ..PLAIN },
    Type { name: "regprocedure", edges: &["'abs(int)'", "0"], ..PLAIN },
    Type { name: "regoper", edges: &["'||/'", "0"], ..PLAIN },
    Type { name: "regoperator", edges: &["'<(int,int)'", "0"], ..PLAIN },
    Type { name: "regclass", edges: &["'pg_class'", "0", "4000000000"], random: "(array(select oid from pg_class order by oid))[make.number(1, 100)]::regclass", ..PLAIN },
    Type { name: "regtype", edges: &["'integer'", "'timestamp with time zone'", "0"], random: "(array(select oid from pg_type order by oid))[make.number(1, 100)]::regtype", ..PLAIN },
    Type { name: "regconfig", edges: &["'simple'", "'english'"], ..PLAIN },
    Type { name: "regdictionary", edges: &["'simple'"], ..PLAIN },
    Type { name: "regnamespace", edges: &["'pg_catalog'", "'public'"], ..PLAIN },
    Type { name: "regrole", edges: &["'postgres'"], ..PLAIN },
    Type { name: "regcollation", since: 13, edges: &["'\"C\"'"], ..PLAIN },
    Type { name: "abstime", until: 11, edges: &["'2000-01-01 00:00:00+00'", "'infinity'"], ..PLAIN },
    Type { name: "reltime", until: 11, edges: &["'1 day'"], ..PLAIN },
    Type { name: "tinterval", until: 11, edges: &["'[\"2000-01-01\" \"2001-01-01\"]'"], ..PLAIN },
    Type { name: "smgr", until: 11, edges: &["'magnetic disk'"], arrays: No, ..PLAIN },

    Type { name: "mood", edges: &["'sad'", "'ok'", "'h<a>ppy'", "'with \"quotes\", commas'", "''"], random: "(enum_range(null::mood))[make.number(1, 5)]", ..PLAIN },
    Type { name: "_odd", declared: "\"_odd \"\"type\"\"\"", edges: &["'x'", "'y'"], ..PLAIN },
    Type { name: "pair", edges: &["'(1234,\" ''hello''\",)'", "'(,,)'", "row(1, make.kinds(), 'infinity')::pair"], random: "row(make.bits() % 1000, make.string(9), make.moment())::pair", ..PLAIN },
    Type { name: "floatrange", edges: &["'[1.5,2e+30)'", "'(,4]'", "'empty'"], random: "floatrange(least(make.float8(), 0), abs(make.float8()), '[)')", ..PLAIN },
    Type { name: "floatmultirange", since: 14, edges: &["'{[1.5,2e+30),[1e300,)}'", "'{}'"], ..PLAIN },
    Type { name: "textrange", edges: &["'[\"a b\",c)'", "'(,\"\\\"\")'"], random: "textrange(make.string(3), null)", ..PLAIN },
    Type { name: "furlong", edges: &["'8'", "''", "make.kinds()::furlong"], random: "make.string(9)::furlong", ..PLAIN },
    Type { name: "shape", edges: &["'0101000000000000000000F03F0000000000000040'", "'a:b'", "'a,b'", "''"], random: "make.string(9)::shape", ..PLAIN },
    Type { name: "d_text", edges: TEXTS, random: "make.string(9)", arrays: Text, ..TEXT },
    Type { name: "d_varchar", edges: &["'x'", "''", "make.kinds(31, 40)"], random: "make.string(10)", arrays: Text, ..TEXT },
    Type { name: "d_int", edges: &["1", "2147483647"], random: "make.number(1, 1000)", arrays: Text, ..NUMBER },
    Type { name: "d_d_int", edges: &["1", "2147483647"], random: "make.number(1, 1000)", arrays: Text, ..NUMBER },
    Type { name: "d_numeric", edges: &["0.00", "'NaN'"], random: "make.numeric()", arrays: Text, ..TEXT },
    Type { name: "d_float", edges: &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "1e21"], random: "make.float8()", arrays: Text, ..float("d_float", Float8) },
    Type { name: "d_date", edges: DATES, random: "make.day()", json: "to_json(say.date({v}))", json_off: Some("to_json(say.midnight({v}))"), arrays: Text, ..TEXT },
    Type { name: "d_time", edges: TIMES, random: "make.clock()", json: "to_json(say.clock({v}))", json_off: Some("(extract(epoch from {v}) * 1000000)::bigint::text::json"), arrays: Text, ..TEXT },
    Type { name: "d_timetz", edges: &["'12:34:56.12-03:30'", "'24:00:00+00'"], random: "(make.clock() || make.zone())::timetz", json: "to_json(say.timetz({v}))", arrays: Text, ..TEXT },
    Type { name: "d_timestamptz", edges: MOMENTS, random: "make.moment() at time zone 'UTC'", json: "to_json(say.instant({v}))", arrays: Text, ..TEXT },
    Type { name: "d_money", edges: &["'-1234.56'"], random: "((make.bits() / 200)::numeric / 100)::money", arrays: Text, ..TEXT },
    Type { name: "d_bytea", edges: &["'\\x00ff'", "''"], json: "to_json(translate(encode({v}, 'base64'), E'\\n', ''))", arrays: Text, ..TEXT },
    Type { name: "d_jsonb", edges: JSONS, random: "make.json(3, true)::jsonb", json: "{v}::json", arrays: Text, ..TEXT },
    Type { name: "d_range", edges: &["'[1,10)'", "'empty'", "'(,)'"], arrays: Text, ..TEXT },
    Type { name: "d_tsrange", edges: &["'[2024-01-01,infinity]'", "'empty'"], json: "to_json(say.span({v}::tsrange))", arrays: Text, ..TEXT },
    Type { name: "d_mood", edges: &["'sad'", "'h<a>ppy'"], arrays: Text, ..TEXT },
    Type { name: "d_pair", since: 11, edges: &["'(1,x,)'"], arrays: Text, ..TEXT },
    Type { name: "d_ints", edges: &["'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'[0:1]={5,6}'"], random: "array[make.number(1, 9), make.number(1, 9)]", json: AS_JSON, arrays: No, is_array: true, ..TEXT },
    Type { name: "d_texts", edges: &["'{}'", "array[make.kinds(), null, '']", "array['NULL', 'null', 'a,b', E'\\\\', '\"']"], random: "array[make.string(5), make.string(0)]", arrays: No, is_array: true, ..TEXT },
    Type { name: "d_ints_of", declared: "d_ints[]", since: 11, edges: &["'{\"{1,2}\",\"{}\"}'", "'{}'"], arrays: No, ..PLAIN },

    Type { name: "d_positives", since: 11, edges: &["'{1,NULL,3}'", "'{}'", "'{{1,2},{3,4}}'", "'[0:1]={5,6}'"], arrays: No, ..PLAIN },
    Type { name: "d_d_texts", edges: &["'{}'", "array[make.kinds(), null, '']", "'[3:3]={NULL}'"], random: "array[make.string(5), make.string(0)]", arrays: No, is_array: true, ..TEXT },
    Type { name: "d_spans", since: 14, edges: &["'{}'", "'{[1,3),[5,8)}'", "'{(,)}'"], arrays: Text, ..TEXT },
    Type { name: "moodrange", edges: &["'[sad,ok]'", "'empty'", "'(,\"h<a>ppy\")'"], ..PLAIN },
    Type { name: "crate", edges: &["row(array[1,null], '(1,\"a,b\",)', '[1,2)', 'x', array['(1,\"\\\"\",)']::pair[])", "row(null, null, null, null, null)", "row('{}', row(null, make.kinds(), null), 'empty', '', '{}')"], random: "row(array[make.bits() % 9], row(1, make.string(5), make.moment()), null, make.string(3), null)::crate", ..PLAIN },
    Type { name: "shelf", edges: &["row(1, 'x')", "row(null, make.kinds())"], random: "row(make.bits() % 9, make.string(5))::shelf", ..PLAIN },

    Type { name: "citext", edges: TEXTS, random: "make.string(make.number(0, 40))", kinds: ESCAPES, ..TEXT },
    Type { name: "d_citext", edges: &["'Hello'", "''", "make.kinds()"], random: "make.string(9)", arrays: Text, ..TEXT },
    Type { name: "hstore", edges: &["'a=>1,\"<b>\"=>NULL'", "''", "hstore(make.kinds(), make.kinds())"], random: "hstore(make.string(3), make.string(3))", ..PLAIN },
    Type { name: "ltree", edges: &["'a.b.c'", "''"], random: "(make.word(3) || '.' || make.word(4))::ltree", ..PLAIN },
    Type { name: "cube", edges: &["'(1,2),(3,4)'", "'(0)'"], random: "cube(make.number(0, 99) / 7.0::float8)", ..PLAIN },
    Type { name: "seg", edges: &["'1.0 .. 2.5'", "'~6.5'"], ..PLAIN },
    Type { name: "isbn", edges: &["'0-393-04002-X'"], ..PLAIN },
    Type { name: "lo", edges: &["1"], json: AS_JSON, arrays: Text, ..TEXT },
];

/// SQL that creates the user-defined types.
pub(super) const USER_TYPES: &str = "
    create extension citext; create extension hstore; create extension ltree; create extension cube;
    create extension seg; create extension isn; create extension lo;
    create type mood as enum ('sad', 'ok', 'h<a>ppy', 'with \"quotes\", commas', '');
    create type \"_odd \"\"type\"\"\" as enum ('y', 'x');
    create type pair as (a int, b text, c timestamp);
    create type floatrange as range (subtype = float8, subtype_diff = float8mi);
    create type textrange as range (subtype = text, collation = \"C\");
    create type furlong;
    create function furlong_in(cstring) returns furlong language internal strict immutable as 'textin';
    create function furlong_out(furlong) returns cstring language internal strict immutable as 'textout';
    create type furlong (input = furlong_in, output = furlong_out, internallength = variable);
    create cast (text as furlong) without function;
    -- Like PostGIS's geometry, with a delimiter of its own between elements.
    create type shape;
    create function shape_in(cstring) returns shape language internal strict immutable as 'textin';
    create function shape_out(shape) returns cstring language internal strict immutable as 'textout';
    create type shape (input = shape_in, output = shape_out, internallength = variable, delimiter = ':');
    create cast (text as shape) without function;
    create domain d_text as text;
    create domain d_varchar as varchar(10);
    create domain d_int as int check (value > 0);
    create domain d_d_int as d_int check (value > 0);
    create domain d_numeric as numeric;
    create domain d_float as float8;
    create domain d_date as date;
    create domain d_time as time;
    create domain d_timetz as timetz;
    create domain d_timestamptz as timestamptz;
    create domain d_money as money;
    create domain d_bytea as bytea;
    create domain d_jsonb as jsonb;
    create domain d_range as int4range;
    create domain d_tsrange as tsrange;
    create domain d_mood as mood;
    create domain d_ints as int[];
    create domain d_texts as text[];
    create domain d_d_texts as d_texts;
    create type moodrange as range (subtype = mood);
    create type crate as (a int[], b pair, c int4range, d d_varchar, e pair[]);
    create table shelf(gone int, a int, b text);
    alter table shelf drop gone;
    create domain d_citext as citext";
