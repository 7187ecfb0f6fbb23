//! Table of types: one row is all that the connector knows about a type.
//!
//! To add a type, add a row to [`ROWS`], or to [`ROWS_BY_NAME`] if its OID differs from database to
//! database. A type without a row is captured as the server's text.

use protocol::Oid;

use super::pg_type::TypeKind;

/// Conversion of the server's text of a value to JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextForm {
    Bool,
    Integer,
    Float4,
    Float8,
    /// The value of the byte, as a number.
    Char,
    /// A string of the text, truncated at the limit for large values.
    Text,
    /// A string of the text, without a limit.
    Verbatim,
    Bytea,
    Date,
    Time,
    Timetz,
    Timestamp,
    Timestamptz,
    Interval,
    Inet,
    Point,
    Geometry,
    Json,
    Range(Endpoint),
    Multirange(Endpoint),
    Tid,
}

/// Conversion of the endpoints of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Verbatim,
    Date,
    Timestamp,
    Timestamptz,
}

/// JSON schema of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SchemaForm {
    /// No constraint, because the type has no translation.
    CatchAll,
    Boolean,
    Integer,
    Float,
    String,
    /// A string of this format.
    Format(&'static str),
    Base64,
    /// Any value, of this media type.
    Media(&'static str),
    /// A string; a type modifier limits its length.
    Varchar,
    /// A string; a type modifier determines its length.
    Bpchar,
    Date,
    Time,
}

/// Form of a value in a row key, and order of these values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyForm {
    Bool,
    Integer,
    Char,
    Float4,
    Float8,
    Numeric,
    Bytes,
    Uuid,
    Date,
    Timestamp,
    Timestamptz,
    /// Text in the order of its collation, which only the server knows.
    Text,
    /// Text without its trailing blanks, in the order of its collation.
    Bpchar,
    /// Text whose case is folded by the server's locale.
    Citext,
    /// Text in the order of the collation of identifiers.
    Name,
    /// Text in the order of its bytes.
    Bytewise,
    /// Text with a number that determines its order.
    Ranked(Rank),
    /// Text in an order that the connector does not know.
    Opaque,
}

/// Computation of the number that determines the order of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    Unsigned,
    Lsn,
    Macaddr,
    Time,
    Timetz,
    Interval,
}

/// Properties of a type that the connector knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traits {
    pub(super) text: TextForm,
    pub(super) schema: SchemaForm,
    pub(super) key: KeyForm,
    /// Whether an array of the type becomes a JSON array; otherwise it becomes a string of the
    /// array's text.
    pub(super) arrays: bool,
}

impl Traits {
    /// Properties of every type without a row.
    pub(super) const UNKNOWN: Self = Self {
        text: TextForm::Text,
        schema: SchemaForm::CatchAll,
        key: KeyForm::Opaque,
        arrays: false,
    };
}

/// Row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) oid: u32,
    /// OID of the array type; 0 if there is none.
    pub(super) array: u32,
    pub(super) name: &'static str,
    pub(super) kind: TypeKind,
    pub(super) delimiter: u8,
    pub(super) traits: Traits,
}

pub(super) const fn row(
    oid: u32,
    array: u32,
    name: &'static str,
    text: TextForm,
    schema: SchemaForm,
    key: KeyForm,
) -> Row {
    let traits = Traits {
        text,
        schema,
        key,
        arrays: true,
    };
    Row {
        oid,
        array,
        name,
        kind: TypeKind::Base,
        delimiter: b',',
        traits,
    }
}

/// Makes a row for a type that is captured as the server's text, with the catch-all schema and
/// arrays as text.
const fn plain(oid: u32, array: u32, name: &'static str) -> Row {
    keyed(oid, array, name, KeyForm::Opaque)
}

/// Makes such a row for a type whose keys have another form.
const fn keyed(oid: u32, array: u32, name: &'static str, key: KeyForm) -> Row {
    let traits = Traits {
        key,
        ..Traits::UNKNOWN
    };
    Row {
        oid,
        array,
        name,
        kind: TypeKind::Base,
        delimiter: b',',
        traits,
    }
}

const fn range(oid: u32, array: u32, name: &'static str, subtype: u32, endpoint: Endpoint) -> Row {
    Row {
        kind: TypeKind::Range {
            subtype: Oid(subtype),
        },
        ..row(
            oid,
            array,
            name,
            TextForm::Range(endpoint),
            SchemaForm::CatchAll,
            KeyForm::Opaque,
        )
    }
}

const fn multirange(
    oid: u32,
    array: u32,
    name: &'static str,
    range: u32,
    endpoint: Endpoint,
) -> Row {
    Row {
        oid,
        array,
        name,
        kind: TypeKind::Multirange { range: Oid(range) },
        delimiter: b',',
        traits: Traits {
            text: TextForm::Multirange(endpoint),
            ..Traits::UNKNOWN
        },
    }
}

const JSON: &str = "application/json";
const JSONB: &str = "application/vnd.estuary.postgresql.jsonb+json";

use KeyForm as K;
use SchemaForm as S;
use TextForm as T;

/// Types that have the same OID in every database.
#[rustfmt::skip]
pub(super) static ROWS: &[Row] = &[
    row(16, 1000, "bool", T::Bool, S::Boolean, K::Bool),
    row(17, 1001, "bytea", T::Bytea, S::Base64, K::Bytes),
    row(18, 1002, "char", T::Char, S::CatchAll, K::Char),
    row(19, 1003, "name", T::Text, S::CatchAll, K::Name),
    row(20, 1016, "int8", T::Integer, S::Integer, K::Integer),
    row(21, 1005, "int2", T::Integer, S::Integer, K::Integer),
    row(23, 1007, "int4", T::Integer, S::Integer, K::Integer),
    row(25, 1009, "text", T::Text, S::String, K::Text),
    row(26, 1028, "oid", T::Integer, S::Integer, K::Integer),
    row(27, 1010, "tid", T::Tid, S::CatchAll, K::Opaque),
    row(28, 1011, "xid", T::Integer, S::CatchAll, K::Integer),
    row(29, 1012, "cid", T::Integer, S::CatchAll, K::Integer),
    row(114, 199, "json", T::Json, S::Media(JSON), K::Opaque),
    row(142, 143, "xml", T::Text, S::String, K::Opaque),
    row(600, 1017, "point", T::Point, S::String, K::Opaque),
    row(601, 1018, "lseg", T::Geometry, S::String, K::Opaque),
    row(602, 1019, "path", T::Geometry, S::String, K::Opaque),
    Row { delimiter: b';', ..row(603, 1020, "box", T::Geometry, S::String, K::Opaque) },
    row(604, 1027, "polygon", T::Geometry, S::String, K::Opaque),
    row(628, 629, "line", T::Geometry, S::String, K::Opaque),
    row(650, 651, "cidr", T::Inet, S::String, K::Opaque),
    row(700, 1021, "float4", T::Float4, S::Float, K::Float4),
    row(701, 1022, "float8", T::Float8, S::Float, K::Float8),
    row(718, 719, "circle", T::Geometry, S::String, K::Opaque),
    row(774, 775, "macaddr8", T::Verbatim, S::String, K::Ranked(Rank::Macaddr)),
    row(790, 791, "money", T::Verbatim, S::String, K::Opaque),
    row(829, 1040, "macaddr", T::Verbatim, S::String, K::Ranked(Rank::Macaddr)),
    row(869, 1041, "inet", T::Inet, S::String, K::Opaque),
    row(1033, 1034, "aclitem", T::Text, S::CatchAll, K::Opaque),
    row(1042, 1014, "bpchar", T::Text, S::Bpchar, K::Bpchar),
    row(1043, 1015, "varchar", T::Text, S::Varchar, K::Text),
    row(1082, 1182, "date", T::Date, S::Date, K::Date),
    row(1083, 1183, "time", T::Time, S::Time, K::Ranked(Rank::Time)),
    row(1114, 1115, "timestamp", T::Timestamp, S::Format("date-time"), K::Timestamp),
    row(1184, 1185, "timestamptz", T::Timestamptz, S::Format("date-time"), K::Timestamptz),
    row(1186, 1187, "interval", T::Interval, S::String, K::Ranked(Rank::Interval)),
    row(1266, 1270, "timetz", T::Timetz, S::Format("time"), K::Ranked(Rank::Timetz)),
    row(1560, 1561, "bit", T::Verbatim, S::String, K::Bytewise),
    row(1562, 1563, "varbit", T::Verbatim, S::String, K::Bytewise),
    row(1700, 1231, "numeric", T::Verbatim, S::Format("number"), K::Numeric),
    row(2950, 2951, "uuid", T::Verbatim, S::Format("uuid"), K::Uuid),
    row(3614, 3643, "tsvector", T::Text, S::String, K::Opaque),
    row(3615, 3645, "tsquery", T::Text, S::String, K::Opaque),
    row(3802, 3807, "jsonb", T::Json, S::Media(JSONB), K::Opaque),
    row(4072, 4073, "jsonpath", T::Text, S::String, K::Opaque),

    range(3904, 3905, "int4range", 23, Endpoint::Verbatim),
    range(3906, 3907, "numrange", 1700, Endpoint::Verbatim),
    range(3908, 3909, "tsrange", 1114, Endpoint::Timestamp),
    range(3910, 3911, "tstzrange", 1184, Endpoint::Timestamptz),
    range(3912, 3913, "daterange", 1082, Endpoint::Date),
    range(3926, 3927, "int8range", 20, Endpoint::Verbatim),
    multirange(4451, 6150, "int4multirange", 3904, Endpoint::Verbatim),
    multirange(4532, 6151, "nummultirange", 3906, Endpoint::Verbatim),
    multirange(4533, 6152, "tsmultirange", 3908, Endpoint::Timestamp),
    multirange(4534, 6153, "tstzmultirange", 3910, Endpoint::Timestamptz),
    multirange(4535, 6155, "datemultirange", 3912, Endpoint::Date),
    multirange(4536, 6157, "int8multirange", 3926, Endpoint::Verbatim),

    keyed(3220, 3221, "pg_lsn", K::Ranked(Rank::Lsn)),
    keyed(5069, 271, "xid8", K::Ranked(Rank::Unsigned)),
    plain(22, 1006, "int2vector"),
    plain(24, 1008, "regproc"),
    plain(30, 1013, "oidvector"),
    plain(194, 0, "pg_node_tree"),
    plain(705, 0, "unknown"),
    plain(1790, 2201, "refcursor"),
    plain(2202, 2207, "regprocedure"),
    plain(2203, 2208, "regoper"),
    plain(2204, 2209, "regoperator"),
    plain(2205, 2210, "regclass"),
    plain(2206, 2211, "regtype"),
    plain(2970, 2949, "txid_snapshot"),
    plain(3734, 3735, "regconfig"),
    plain(3769, 3770, "regdictionary"),
    plain(4089, 4090, "regnamespace"),
    plain(4096, 4097, "regrole"),
    plain(4191, 4192, "regcollation"),
    plain(5038, 5039, "pg_snapshot"),
];

/// Types of extensions, whose OIDs differ from database to database. They are recognised by name,
/// in any schema.
#[rustfmt::skip]
pub(super) static ROWS_BY_NAME: &[Row] = &[
    row(0, 0, "citext", T::Text, S::String, K::Citext),
];
