//! Data types of a database, beyond the built-in ones.

use std::collections::HashMap;

use protocol::{Oid, quote_identifier};

use crate::client::{Client, Row, Rows, Statement};
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Operators, PgType, TypeKind, TypeRegistry};

/// A type is an array if it is the array type of its element type. Having an element type is not
/// enough: `int2vector` and `name` have one, too.
const SELECT_TYPES: &str = "\
SELECT t.oid, t.typname, n.nspname, t.typtype, t.typdelim, e.oid,
       t.typbasetype, t.typnotnull, r.rngsubtype, {multirange}, {operators}
FROM pg_catalog.pg_type AS t
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem AND e.typarray = t.oid
LEFT JOIN pg_catalog.pg_range AS r ON r.rngtypid = t.oid
";

/// Comparison operators that match the order of ORDER BY, for types that were added to the database.
/// The usual names may find no operator, because it has another name or is not in the search path, or
/// may find that of another type, which sorts in another order. There are few such types, so one
/// subquery collects the operators for all rows.
const OPERATORS: &str = "\
(SELECT jsonb_object_agg(q.opcintype, q.operators) FROM (
   SELECT k.opcintype, jsonb_object_agg(s.amopstrategy, jsonb_build_array(
            h.nspname, o.oprname, pg_operator_is_visible(o.oid))) AS operators
   FROM pg_catalog.pg_opclass AS k
   JOIN pg_catalog.pg_am AS m ON m.oid = k.opcmethod AND m.amname = 'btree'
   JOIN pg_catalog.pg_amop AS s ON s.amopfamily = k.opcfamily
     AND s.amoplefttype = k.opcintype AND s.amoprighttype = k.opcintype
   JOIN pg_catalog.pg_operator AS o ON o.oid = s.amopopr
   JOIN pg_catalog.pg_namespace AS h ON h.oid = o.oprnamespace
   WHERE k.opcdefault AND k.opcintype >= 16384
   GROUP BY k.opcintype) AS q) -> t.oid::text";

/// Leaves out the row type of each table and its array type: every table has both, and hardly any
/// column is of such a type.
const WITHOUT_ROW_TYPES: &str = "\
LEFT JOIN pg_catalog.pg_class AS c ON c.oid = COALESCE(NULLIF(t.typrelid, 0), e.typrelid)
WHERE c.oid IS NULL OR c.relkind = 'c'";

/// Selects the types whose OIDs are given, and the types they are made of.
const WITH_PARTS: &str = "\
WHERE t.oid IN (
  WITH RECURSIVE part(oid) AS (
    SELECT w.oid::oid FROM unnest(string_to_array($1, ',')) AS w(oid)
    UNION
    SELECT q.oid
    FROM part AS p
    JOIN pg_catalog.pg_type AS pt ON pt.oid = p.oid
    LEFT JOIN pg_catalog.pg_range AS pr ON pr.rngtypid = p.oid
    CROSS JOIN unnest(ARRAY[pt.typelem, pt.typbasetype, pr.rngsubtype, {range}]) AS q(oid)
    WHERE q.oid <> 0
  )
  SELECT oid FROM part
)";

/// Reads all data types of the database except the row types of tables.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn load_types(client: &mut Client) -> Result<TypeRegistry> {
    let statement = types_statement(client.server_version_num());
    parse_types(&client.run(&statement).await?)
}

/// Returns the statement whose result [`parse_types`] reads.
pub fn types_statement(version: u32) -> Statement {
    Statement::new(versioned(&[SELECT_TYPES, WITHOUT_ROW_TYPES], version), &[])
}

/// Reads the result of [`types_statement`].
///
/// # Errors
///
/// Fails if a value of a row is not as expected.
pub fn parse_types(rows: &Rows) -> Result<TypeRegistry> {
    let mut types = TypeRegistry::default();
    for row in &rows.rows {
        add_type(row, &mut types)?;
    }
    Ok(types)
}

/// Reads the wanted types that are not known yet, with the types they are made of: row types of
/// tables, and types created since the others were read. A type that no longer exists stays unknown.
///
/// # Errors
///
/// Fails with the server's error, or when the connection is lost.
pub async fn complete_types(
    client: &mut Client,
    types: &mut TypeRegistry,
    wanted: impl IntoIterator<Item = Oid>,
) -> Result<()> {
    let mut missing: Vec<u32> = wanted
        .into_iter()
        .filter(|&oid| types.get(oid).is_none())
        .map(Oid::as_u32)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = missing.iter().map(u32::to_string).collect();
    let sql = versioned(&[SELECT_TYPES, WITH_PARTS], client.server_version_num());
    for row in &client.query(&sql, &[Some(&list.join(","))]).await?.rows {
        add_type(row, types)?;
    }
    Ok(())
}

/// Joins the parts of a query for a server version: multiranges exist since version 14.
fn versioned(parts: &[&str], version: u32) -> String {
    let (multirange, range) = if version >= 140_000 {
        (
            "(SELECT m.rngtypid FROM pg_catalog.pg_range AS m WHERE m.rngmultitypid = t.oid)",
            "(SELECT m.rngtypid FROM pg_catalog.pg_range AS m WHERE m.rngmultitypid = p.oid)",
        )
    } else {
        ("NULL::oid", "NULL::oid")
    };
    parts
        .concat()
        .replace("{multirange}", multirange)
        .replace("{operators}", OPERATORS)
        .replace("{range}", range)
}

fn add_type(row: &Row, types: &mut TypeRegistry) -> Result<()> {
    let pg_type = parse_type(row)?;
    let content = format_args!("the operators of type {}", pg_type.name);
    let operators: Option<OperatorNames> = row.json(10, content)?;
    let oid = pg_type.oid;
    types.insert(pg_type);
    if let Some(operators) = operators.as_ref().and_then(qualified_operators) {
        types.order_by(oid, operators);
    }
    Ok(())
}

/// Operators of a type's default B-tree operator class, by strategy number: schema, name, and
/// whether the search path finds it.
type OperatorNames = HashMap<String, (String, String, bool)>;

/// Returns the operators in SQL, qualified where needed; `None` if one of them is missing.
fn qualified_operators(names: &OperatorNames) -> Option<Operators> {
    let qualified = |strategy: &str, usual: &str| {
        let (schema, operator, visible) = names.get(strategy)?;
        Some(if *visible && operator == usual {
            usual.to_owned()
        } else {
            format!("OPERATOR({}.{operator})", quote_identifier(schema))
        })
    };
    Some(Operators {
        equal: qualified("3", "=")?,
        at_least: qualified("4", ">=")?,
        greater: qualified("5", ">")?,
    })
}

fn parse_type(row: &Row) -> Result<PgType> {
    let oid = |column| row.parse::<u32>(column).map(Oid::from);
    let kind = match row.text(3)? {
        _ if row.get(5).is_some() => TypeKind::Array { element: oid(5)? },
        "b" => TypeKind::Base,
        "c" => TypeKind::Composite,
        "d" => TypeKind::Domain {
            base: oid(6)?,
            not_null: row.bool(7)?,
        },
        "e" => TypeKind::Enum,
        "m" => TypeKind::Multirange { range: oid(9)? },
        "p" => TypeKind::Pseudo,
        "r" => TypeKind::Range { subtype: oid(8)? },
        other => {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("type {} has the unknown typtype {other:?}", row.text(1)?),
            ));
        }
    };
    Ok(PgType {
        oid: oid(0)?,
        name: row.text(1)?.to_owned(),
        schema: row.text(2)?.to_owned(),
        kind,
        delimiter: row.text(4)?.bytes().next().unwrap_or(b','),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::parse_json;

    #[test]
    fn the_queries_are_complete_for_every_version() {
        for version in 10..=18 {
            for tail in [WITHOUT_ROW_TYPES, WITH_PARTS] {
                let sql = versioned(&[SELECT_TYPES, tail], version * 10_000);
                assert!(!sql.contains(['{', '}']), "version {version}: {sql}");
                assert_eq!(sql.contains("rngmultitypid"), version >= 14);
            }
        }
    }

    #[test]
    fn operators_are_qualified_unless_the_search_path_finds_them() {
        let spelled = |text| {
            let operators = qualified_operators(&parse_json(text, "t").unwrap())?;
            Some([operators.equal, operators.at_least, operators.greater])
        };
        let usual =
            r#"{"1":["s","<",true],"3":["s","=",true],"4":["s",">=",true],"5":["s",">",true]}"#;
        assert_eq!(spelled(usual).unwrap(), ["=", ">=", ">"]);
        let others = r##"{"3":["a b","=",false],"4":["s","#>=#",true],"5":["s","#>#",true]}"##;
        assert_eq!(
            spelled(others).unwrap(),
            [
                r#"OPERATOR("a b".=)"#,
                r##"OPERATOR("s".#>=#)"##,
                r##"OPERATOR("s".#>#)"##
            ]
        );
        assert_eq!(spelled(r#"{"3":["s","=",true]}"#), None);
        assert!(parse_json::<OperatorNames>("[]", "t").is_err());
    }
}
