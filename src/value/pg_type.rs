//! Types as the catalog describes them.

use protocol::Oid;

/// A type as the catalog describes it.
///
/// See <https://www.postgresql.org/docs/current/catalog-pg-type.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgType {
    /// Its OID.
    pub oid: Oid,
    /// Its name, without the schema.
    pub name: String,
    /// The schema it lives in.
    pub schema: String,
    /// What sort of type it is.
    pub kind: TypeKind,
    /// The character between two elements in the text of an array of this type.
    pub delimiter: u8,
}

/// What sort of type a type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeKind {
    /// A scalar.
    Base,
    /// An array of elements.
    Array {
        /// The type of the elements.
        element: Oid,
    },
    /// Another type with constraints.
    Domain {
        /// The type directly beneath.
        base: Oid,
        /// Whether this domain itself is declared NOT NULL.
        not_null: bool,
    },
    /// One of a list of labels.
    Enum,
    /// A row type.
    Composite,
    /// A range.
    Range {
        /// The type of the endpoints.
        subtype: Oid,
    },
    /// A set of ranges.
    Multirange {
        /// The type of the ranges.
        range: Oid,
    },
    /// A pseudo-type, which no column has.
    Pseudo,
}
