//! Settings that select tables: discovery filters, table patterns, skipped backfills.

use std::collections::HashSet;

use super::members::configuration;
use crate::error::Result;

/// Filters of discovered tables.
#[derive(Debug, Clone, Default)]
pub struct DiscoveryFilters {
    /// Schemas whose tables are discovered, including those of `advanced.discover_schemas`; all
    /// schemas if empty.
    pub include_schemas: Vec<String>,
    /// Schemas whose tables are not discovered, even if `include_schemas` has them.
    pub exclude_schemas: Vec<String>,
    /// Patterns of which a table must match one; all tables match if there are none.
    pub table_patterns: Vec<TablePattern>,
}

impl DiscoveryFilters {
    /// Returns whether a table passes the filters. The names are compared case-sensitively.
    pub fn includes(&self, schema: &str, table: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|name| name == schema);
        (self.include_schemas.is_empty() || is_in(&self.include_schemas))
            && !is_in(&self.exclude_schemas)
            && (self.table_patterns.is_empty()
                || self
                    .table_patterns
                    .iter()
                    .any(|pattern| pattern.matches(schema, table)))
    }
}

/// Compiled pattern for table names, such as `orders`, `*_log` or `sales.item?`.
///
/// `*` matches any number of characters, `?` exactly one, and a backslash escapes the next
/// character. An unescaped dot separates the pattern for the schema from that for the table; a
/// pattern without a dot matches tables of any schema. Matching is case-sensitive and covers the
/// whole name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern {
    schema: Option<Vec<Glob>>,
    table: Vec<Glob>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glob {
    Any,
    One,
    Literal(char),
}

impl TablePattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// Fails if the pattern or one of its parts is empty, if it has more than one unescaped dot, or
    /// if it ends in a backslash.
    pub fn compile(pattern: &str) -> Result<Self> {
        let invalid =
            |why: &str| configuration(format!("invalid table pattern {pattern:?}: {why}"));
        if pattern.is_empty() {
            return Err(invalid("it is empty"));
        }
        let (mut schema, mut current) = (None, Vec::new());
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            match character {
                '*' => current.push(Glob::Any),
                '?' => current.push(Glob::One),
                '\\' => match characters.next() {
                    Some(escaped) => current.push(Glob::Literal(escaped)),
                    None => return Err(invalid("it ends in a backslash")),
                },
                '.' if schema.is_some() => {
                    return Err(invalid(
                        "it has more than one dot; write '\\.' for a dot within a name",
                    ));
                }
                '.' if current.is_empty() => {
                    return Err(invalid(
                        "the schema before the dot is missing; '*' matches any schema",
                    ));
                }
                '.' => schema = Some(std::mem::take(&mut current)),
                other => current.push(Glob::Literal(other)),
            }
        }
        if current.is_empty() {
            return Err(invalid(
                "the table after the dot is missing; '*' matches any table",
            ));
        }
        Ok(Self {
            schema,
            table: current,
        })
    }

    /// Returns whether a table matches.
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        self.schema
            .as_ref()
            .is_none_or(|glob| glob_matches(glob, schema))
            && glob_matches(&self.table, table)
    }
}

/// Returns whether a name matches.
///
/// Backtracks to the last `*` only: whatever a longer match of an earlier `*` would allow, a longer
/// match of the last one allows too. So the time is at most the product of the two lengths.
fn glob_matches(glob: &[Glob], name: &str) -> bool {
    let (mut glob, mut name) = (glob, name.chars());
    let mut retry: Option<(&[Glob], std::str::Chars<'_>)> = None;
    loop {
        let before = name.clone();
        match (glob.split_first(), name.next()) {
            (Some((Glob::Any, rest)), _) => {
                name = before;
                retry = Some((rest, name.clone()));
                glob = rest;
            }
            (Some((Glob::One, rest)), Some(_)) => glob = rest,
            (Some((Glob::Literal(expected), rest)), Some(found)) if *expected == found => {
                glob = rest
            }
            (None, None) => return true,
            _ => {
                // The last `*` matches one more character, if there is one.
                let Some((after_any, mut skipped)) = retry else {
                    return false;
                };
                if skipped.next().is_none() {
                    return false;
                }
                (glob, name) = (after_any, skipped.clone());
                retry = Some((after_any, skipped));
            }
        }
    }
}

/// Tables whose existing rows are not captured.
#[derive(Debug, Clone, Default)]
pub struct SkipBackfills {
    all: bool,
    /// Entries `schema.table` in lower case.
    tables: HashSet<String>,
}

impl SkipBackfills {
    /// Parses the comma-separated list. Blanks are part of an entry.
    pub(super) fn parse(list: &str) -> Result<Self> {
        if list.is_empty() {
            return Ok(Self::default());
        }
        if let Some(entry) = list.split(',').find(|entry| !entry.contains('.')) {
            return Err(configuration(format!(
                "invalid 'skipBackfills' configuration: entry {entry:?} of \
                 'advanced.skip_backfills' must be <schema>.<table>"
            )));
        }
        let tables = list.split(',').map(str::to_lowercase).collect();
        Ok(Self {
            all: list == "*.*",
            tables,
        })
    }

    /// Returns whether the backfill of a table is skipped. The comparison ignores case.
    pub fn skips(&self, schema: &str, table: &str) -> bool {
        self.all
            || (!self.tables.is_empty()
                && self
                    .tables
                    .contains(&format!("{schema}.{table}").to_lowercase()))
    }

    /// Returns the entries that have blanks around them and so match no table in practice.
    pub(super) fn blank_padded(&self) -> impl Iterator<Item = &str> {
        self.tables
            .iter()
            .map(String::as_str)
            .filter(|entry| entry.trim() != *entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        for (pattern, yes, no) in [
            (
                "users",
                &["a.users", "b.users"][..],
                &["a.users_evt", "a.Users", "a.user"][..],
            ),
            (
                "*_evt",
                &["a.users_evt", "b._evt"],
                &["a.users_log", "a.users_evt2"],
            ),
            (
                "foo_*_bar",
                &["x.foo__bar", "x.foo_a_b_bar"],
                &["x.foo_bar", "x.foo__bar_"],
            ),
            ("a.*", &["a.users", "a.b"], &["b.users", "aa.users"]),
            ("*.users", &["a.users", "b.users"], &["a.users_evt"]),
            ("*", &["a.b", "x.y"], &[]),
            ("caf?", &["x.café", "x.cafe"], &["x.caf", "x.cafée"]),
            ("?*?", &["x.ab", "x.äöü"], &["x.a"]),
            (
                "a*b*c",
                &["x.abc", "x.a1b2bc", "x.abbcc"],
                &["x.ab", "x.abcd", "x.acb"],
            ),
            ("**a**", &["x.a", "x.bab"], &["x.b"]),
            ("s?.t*", &["s1.t", "s2.table"], &["s.t", "s12.t"]),
        ] {
            let compiled = TablePattern::compile(pattern).unwrap();
            for (names, expected) in [(yes, true), (no, false)] {
                for name in names {
                    let (schema, table) = name.split_once('.').unwrap();
                    assert_eq!(
                        compiled.matches(schema, table),
                        expected,
                        "{pattern} on {name}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_backslash_escapes_the_next_character() {
        let dotted = TablePattern::compile(r"ms.foo\.bar").unwrap();
        assert!(dotted.matches("ms", "foo.bar"));
        assert!(!dotted.matches("ms", "foobar") && !dotted.matches("x", "foo.bar"));
        let plain = TablePattern::compile(r"\*\?\\\x").unwrap();
        assert!(plain.matches("any", r"*?\x") && !plain.matches("any", r"ab\x"));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in ["", ".foo", ".", "foo.", "a.b.c", "..", "foo\\", "a.b\\"] {
            let error = TablePattern::compile(pattern).unwrap_err().to_string();
            assert!(
                error.starts_with("invalid table pattern"),
                "{pattern}: {error}"
            );
        }
        TablePattern::compile(r"a\.b.c\.d").unwrap();
    }

    #[test]
    fn matching_does_not_take_exponential_time() {
        let pattern = TablePattern::compile(&format!("{}b", "*a".repeat(30))).unwrap();
        assert!(!pattern.matches("x", &"a".repeat(60)));
    }

    #[test]
    fn filters_include_then_exclude_then_match() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let filters = DiscoveryFilters {
            include_schemas: names(&["a", "b"]),
            exclude_schemas: names(&["b"]),
            table_patterns: vec![
                TablePattern::compile("t*").unwrap(),
                TablePattern::compile("x.u").unwrap(),
            ],
        };
        assert!(filters.includes("a", "t1"));
        assert!(!filters.includes("b", "t1"), "excluded");
        assert!(!filters.includes("c", "t1"), "not included");
        assert!(!filters.includes("A", "t1"), "case counts");
        assert!(!filters.includes("a", "u"), "no pattern");
        assert!(DiscoveryFilters::default().includes("any", "thing"));
    }

    #[test]
    fn skipped_backfills_are_compared_ignoring_case_and_not_trimmed() {
        let skip = SkipBackfills::parse("public.Orders, public.items").unwrap();
        assert!(skip.skips("PUBLIC", "orders"));
        assert!(!skip.skips("public", "items"), "blanks count");
        assert!(!SkipBackfills::parse("").unwrap().skips("a", "b"));
        assert!(SkipBackfills::parse("*.*").unwrap().skips("a", "b"));
        assert!(!SkipBackfills::parse("*.*,a.c").unwrap().skips("a", "b"));
        for list in ["orders", "public.orders,", "a.b,,c.d", ","] {
            let error = SkipBackfills::parse(list).unwrap_err().to_string();
            assert!(
                error.starts_with("invalid 'skipBackfills' configuration"),
                "{error}"
            );
        }
    }
}
