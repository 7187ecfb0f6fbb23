//! Comparison of a key column with a parameter, in SQL.

use protocol::{Oid, quote_identifier};

use super::super::builtin::KeyForm;
use super::super::pg_type::TypeKind;
use super::super::registry::{Operators, TypeRegistry};

/// Comparison of a key column with a parameter, in SQL. The casts are empty if the server infers
/// the parameter's type from the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Cast that follows the column.
    pub column: String,
    /// Cast that follows the parameter.
    pub parameter: String,
    /// Operators between column and parameter.
    pub operators: Operators,
}

/// Returns the comparison of a column of this type with a parameter.
///
/// The server infers the type of a parameter from the comparison operator. For types that name
/// catalog objects (`regclass` and the like) that is another type, for row types it can be any
/// type, and for a domain over an enum the server finds no operator. These need casts.
pub(super) fn comparison(type_oid: Oid, form: KeyForm, types: &TypeRegistry) -> Comparison {
    let ultimate = types.ultimate(type_oid);
    let Some(named) = types.get(ultimate) else {
        return Comparison::default();
    };
    let name = format!(
        "::{}.{}",
        quote_identifier(&named.schema),
        quote_identifier(&named.name)
    );
    let none = String::new();
    let (column, parameter) = match types.kind(ultimate) {
        TypeKind::Base if form == KeyForm::Char => (none, format!("::int4{name}")),
        TypeKind::Enum if ultimate != type_oid => (name.clone(), name),
        TypeKind::Base | TypeKind::Composite if form == KeyForm::Opaque => (none, name),
        _ => (none.clone(), none),
    };
    Comparison {
        column,
        parameter,
        operators: types.operators(ultimate),
    }
}
