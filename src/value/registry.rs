//! Registry of the types of a database.

use std::collections::HashMap;

use protocol::Oid;

use super::builtin::{ROWS, ROWS_BY_NAME, Row, Traits};
use super::pg_type::{PgType, TypeKind};

/// Operators of a type's default order, in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operators {
    /// Equality.
    pub equal: String,
    /// Greater than or equal.
    pub at_least: String,
    /// Greater than.
    pub greater: String,
}

impl Default for Operators {
    fn default() -> Self {
        Self {
            equal: "=".to_owned(),
            at_least: ">=".to_owned(),
            greater: ">".to_owned(),
        }
    }
}

/// Types that are known: those with fixed OIDs from the start, and those that are read from the
/// catalog.
#[derive(Debug, Clone)]
pub struct TypeRegistry {
    types: HashMap<Oid, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    pg_type: PgType,
    traits: Traits,
    operators: Operators,
}

/// Number of nested domains after which a loop is assumed.
const DOMAIN_DEPTH: usize = 100;

impl TypeRegistry {
    /// Adds a type, replacing an earlier one with its OID.
    ///
    /// The kind of a type with a fixed OID is taken from the table of types, because the catalog
    /// has an element type for some that are not arrays (`name`, `point`, `int2vector`).
    pub fn insert(&mut self, mut pg_type: PgType) {
        let fixed = ROWS.iter().find(|row| row.oid == pg_type.oid.as_u32());
        let traits = match fixed {
            Some(row) => {
                pg_type.kind = row.kind;
                row.traits
            }
            None if pg_type.kind == TypeKind::Base => ROWS_BY_NAME
                .iter()
                .find(|row| row.name == pg_type.name)
                .map_or(Traits::UNKNOWN, |row| row.traits),
            None => Traits::UNKNOWN,
        };
        self.register(pg_type, traits);
    }

    /// Adds a type with its properties.
    fn register(&mut self, pg_type: PgType, traits: Traits) {
        let operators = Operators::default();
        let entry = Entry {
            pg_type,
            traits,
            operators,
        };
        self.types.insert(entry.pg_type.oid, entry);
    }

    /// Sets the operators of a type, if it is known. Types have `=`, `>=` and `>` otherwise.
    pub fn order_by(&mut self, oid: Oid, operators: Operators) {
        if let Some(entry) = self.types.get_mut(&oid) {
            entry.operators = operators;
        }
    }

    /// Returns the operators of a type that is not a domain.
    pub(super) fn operators(&self, oid: Oid) -> Operators {
        self.types
            .get(&oid)
            .map_or_else(Operators::default, |entry| entry.operators.clone())
    }

    /// Returns the type with this OID.
    pub fn get(&self, oid: Oid) -> Option<&PgType> {
        self.types.get(&oid).map(|entry| &entry.pg_type)
    }

    /// Returns the type that a domain is declared over, through any number of domains. Returns the
    /// OID itself if it is not a domain, or not known.
    pub fn ultimate(&self, oid: Oid) -> Oid {
        let mut current = oid;
        for _ in 0..DOMAIN_DEPTH {
            match self.kind(current) {
                TypeKind::Domain { base, .. } => current = base,
                _ => return current,
            }
        }
        current
    }

    /// Returns the kind of a type; an unknown one counts as a scalar.
    pub(super) fn kind(&self, oid: Oid) -> TypeKind {
        self.get(oid).map_or(TypeKind::Base, |pg_type| pg_type.kind)
    }

    pub(super) fn traits(&self, oid: Oid) -> Traits {
        self.types
            .get(&oid)
            .map_or(Traits::UNKNOWN, |entry| entry.traits)
    }

    pub(super) fn name(&self, oid: Oid) -> &str {
        self.get(oid).map_or("unknown", |pg_type| &pg_type.name)
    }
}

impl Default for TypeRegistry {
    fn default() -> Self {
        Self::of(ROWS)
    }
}

impl TypeRegistry {
    /// Makes a registry of the types in a table.
    pub(super) fn of<'r>(rows: impl IntoIterator<Item = &'r Row>) -> Self {
        let mut registry = Self {
            types: HashMap::with_capacity(2 * ROWS.len()),
        };
        for row in rows {
            let pg_type = |oid, name, kind, delimiter| PgType {
                oid: Oid(oid),
                name,
                schema: "pg_catalog".to_owned(),
                kind,
                delimiter,
            };
            let scalar = pg_type(row.oid, row.name.to_owned(), row.kind, row.delimiter);
            registry.register(scalar, row.traits);
            if row.array != 0 {
                let kind = TypeKind::Array {
                    element: Oid(row.oid),
                };
                let array = pg_type(row.array, format!("_{}", row.name), kind, row.delimiter);
                registry.register(array, Traits::UNKNOWN);
            }
        }
        registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_type(oid: u32, kind: TypeKind) -> PgType {
        let (name, schema) = (format!("type{oid}"), "shop".to_owned());
        PgType {
            oid: Oid(oid),
            name,
            schema,
            kind,
            delimiter: b',',
        }
    }

    #[test]
    fn every_fixed_oid_occurs_once() {
        let mut oids: Vec<u32> = ROWS.iter().flat_map(|row| [row.oid, row.array]).collect();
        oids.retain(|&oid| oid != 0);
        let count = oids.len();
        oids.sort_unstable();
        oids.dedup();
        assert_eq!(oids.len(), count);
    }

    #[test]
    fn ultimate_resolves_nested_domains_and_ends_in_a_loop() {
        let mut types = TypeRegistry::default();
        let domain = |base| TypeKind::Domain {
            base: Oid(base),
            not_null: false,
        };
        types.insert(user_type(20001, domain(1043)));
        types.insert(user_type(20002, domain(20001)));
        types.insert(user_type(20003, domain(20003)));
        assert_eq!(types.ultimate(Oid(20002)), Oid(1043));
        assert_eq!(types.ultimate(Oid(23)), Oid(23));
        assert_eq!(types.ultimate(Oid(20003)), Oid(20003));
        assert_eq!(types.ultimate(Oid(99999)), Oid(99999));
    }

    #[test]
    fn a_vector_with_an_element_type_in_the_catalog_is_not_an_array() {
        let mut types = TypeRegistry::default();
        let kind = TypeKind::Array { element: Oid(21) };
        types.insert(PgType {
            name: "int2vector".to_owned(),
            ..user_type(22, kind)
        });
        assert_eq!(types.kind(Oid(22)), TypeKind::Base);
    }
}
