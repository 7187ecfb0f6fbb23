//! Types as the catalog describes them.

use protocol::Oid;

/// A type as the catalog describes it.
///
/// See <https://www.postgresql.org/docs/current/catalog-pg-type.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgType {
    /// OID of the type.
    pub oid: Oid,
    /// Name of the type, without the schema.
    pub name: String,
    /// Schema of the type.
    pub schema: String,
    /// Kind of the type.
    pub kind: TypeKind,
    /// Character between two elements in the text of an array of this type.
    pub delimiter: u8,
}

/// Kind of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeKind {
    /// Scalar.
    Base,
    /// Array.
    Array {
        /// Type of the elements.
        element: Oid,
    },
    /// Domain: another type with constraints.
    Domain {
        /// Type that the domain is declared over, which may be a domain.
        base: Oid,
        /// Whether this domain, not one that it is declared over, is NOT NULL.
        not_null: bool,
    },
    /// Enum.
    Enum,
    /// Composite (row) type.
    Composite,
    /// Range.
    Range {
        /// Type of the endpoints.
        subtype: Oid,
    },
    /// Multirange.
    Multirange {
        /// Type of the ranges.
        range: Oid,
    },
    /// Pseudo-type, which no column has.
    Pseudo,
}
