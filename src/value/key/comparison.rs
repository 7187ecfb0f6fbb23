//! The comparison of a key column with a parameter, in SQL.

use protocol::{Oid, quote_identifier};

use super::super::builtin::KeyForm;
use super::super::pg_type::TypeKind;
use super::super::registry::{Operators, TypeRegistry};

/// How SQL compares a key column and a parameter. The casts are empty where the operator finds out by
/// itself what the parameter is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// A cast that has to stand behind the column.
    pub column: String,
    /// A cast that has to stand behind the parameter.
    pub parameter: String,
    /// What stands between.
    pub operators: Operators,
}

/// A parameter next to a column is of the type that the column's comparison operator takes, which is
/// another one for names of catalog objects, and anything for rows; of a domain over an enum the
/// server finds no operator.
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
