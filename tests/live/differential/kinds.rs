//! Kinds of values, recognized by the server's text, and the number of compared values of each
//! kind.

use std::collections::BTreeMap;
use std::fmt;

/// Number of compared values by column and kind.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<String, BTreeMap<&'static str, u64>>);

impl Counts {
    /// Counts a value for each of its kinds.
    pub(super) fn count(&mut self, column: &str, is_array: bool, text: Option<&str>) {
        let counts = self.0.entry(column.to_owned()).or_default();
        let mut add = |kind| *counts.entry(kind).or_insert(0) += 1;
        add("values");
        let Some(text) = text else {
            return add("NULL");
        };
        let kinds = if is_array { ARRAY_KINDS } else { KINDS };
        for (kind, is_of) in kinds {
            if is_of(text) {
                add(kind);
            }
        }
    }

    /// Returns the number of values of a kind.
    pub(super) fn of(&self, column: &str, kind: &str) -> u64 {
        let counts = self.0.get(column);
        counts
            .and_then(|counts| counts.get(kind))
            .copied()
            .unwrap_or(0)
    }

    /// Returns the number of values.
    pub(super) fn total(&self) -> u64 {
        self.0.keys().map(|column| self.of(column, "values")).sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (column, counts) in &self.0 {
            write!(f, "{column}: {} values", self.of(column, "values"))?;
            for (kind, count) in counts.iter().filter(|(kind, _)| **kind != "values") {
                write!(f, ", {count} {kind}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

type Kind = (&'static str, fn(&str) -> bool);

/// Kinds of arrays, each of which has to occur.
pub(super) const ARRAY_KINDS: &[Kind] = &[
    ("empty", |text| text == "{}"),
    ("with NULL", |text| text.contains("NULL")),
    ("of nothing but NULL", |text| text == "{NULL}"),
    ("of two dimensions", |text| depth(text) == 2),
    ("of three dimensions", |text| depth(text) == 3),
    ("of six dimensions", |text| depth(text) == 6),
    ("with bounds", |text| {
        text.starts_with('[') && depth(text) == 1
    }),
    ("of two dimensions with bounds", |text| {
        text.starts_with('[') && depth(text) == 2
    }),
    ("long", |text| text.matches([',', ';', ':']).count() > 10),
];

const KINDS: &[Kind] = &[
    ("NaN", |text| text == "NaN"),
    ("infinity", |text| matches!(text, "infinity" | "Infinity")),
    ("-infinity", |text| {
        matches!(text, "-infinity" | "-Infinity")
    }),
    ("NaN inside", |text| text.contains("NaN")),
    ("infinity inside", |text| text.contains("nfinity")),
    ("negative zero", |text| text == "-0"),
    ("exponent", |text| {
        text.contains("e+") || text.contains("e-") || text.contains("1E")
    }),
    ("zero", |text| text == "0"),
    ("zero with a scale", |text| {
        let zeros = text.strip_prefix("0.");
        zeros.is_some_and(|zeros| !zeros.is_empty() && zeros.bytes().all(|b| b == b'0'))
    }),
    ("1000 digits", |text| {
        text.bytes().filter(u8::is_ascii_digit).count() >= 1000
    }),
    ("beyond 2^53", |text| {
        text.parse::<i64>()
            .is_ok_and(|n| n.unsigned_abs() > 1 << 53)
    }),
    ("BC", |text| text.ends_with(" BC")),
    ("BC inside", |text| text.contains(" BC")),
    ("beyond 9999", |text| {
        text.find('-').is_some_and(|at| at > 4)
    }),
    ("24:00", |text| text.starts_with("24:00:00")),
    ("tenths", |text| text.contains(".5")),
    ("microseconds", |text| {
        let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
        fraction.bytes().take_while(u8::is_ascii_digit).count() == 6
    }),
    ("offset with seconds", |text| {
        text.rfind(['+', '-'])
            .is_some_and(|at| text[at..].matches(':').count() == 2)
    }),
    ("mixed signs", |text| {
        text.starts_with('-') && text.contains('+')
    }),
    ("zero interval", |text| text == "00:00:00"),
    ("hex of nothing", |text| text == "\\x"),
    ("empty range", |text| text == "empty"),
    ("unbounded", |text| text == "(,)"),
    ("empty", str::is_empty),
    ("long", |text| text.len() > 2500),
    ("quotation mark", |text| text.contains('"')),
    ("backslash", |text| text.contains('\\')),
    ("line feed", |text| text.contains('\n')),
    ("carriage return", |text| text.contains('\r')),
    ("tab", |text| text.contains('\t')),
    ("backspace", |text| text.contains('\u{8}')),
    ("form feed", |text| text.contains('\u{c}')),
    ("control", |text| {
        text.contains(['\u{1}', '\u{b}', '\u{1b}', '\u{1f}'])
    }),
    ("delete", |text| text.contains('\u{7f}')),
    ("HTML", |text| text.contains(['<', '>', '&'])),
    ("C1 control", |text| {
        text.contains(|c| ('\u{80}'..'\u{a0}').contains(&c))
    }),
    ("two bytes", |text| {
        text.contains(|c: char| c.len_utf8() == 2)
    }),
    ("three bytes", |text| {
        text.contains(|c: char| c.len_utf8() == 3)
    }),
    ("four bytes", |text| {
        text.contains(|c: char| c.len_utf8() == 4)
    }),
    ("line separator", |text| {
        text.contains(['\u{2028}', '\u{2029}'])
    }),
    ("byte order mark", |text| text.contains('\u{feff}')),
    ("replacement character", |text| text.contains('\u{fffd}')),
    ("noncharacter", |text| text.contains('\u{ffff}')),
    ("private use", |text| text.contains('\u{e000}')),
    ("duplicate keys", |text| text.matches("\"dup\"").count() > 1),
    ("deep", |text| text.matches(['[', '{']).count() >= 100),
    ("beyond 64 bits", |text| {
        text.contains("12345678901234567890.10")
    }),
    ("empty object", |text| text.trim() == "{}"),
    ("empty array", |text| text.trim() == "[]"),
    ("JSON null", |text| text.trim() == "null"),
    ("JSON escapes", |text| {
        ["\\\"", "\\\\", "\\n", "\\t"]
            .iter()
            .all(|escape| text.contains(escape))
    }),
    ("unpaired surrogate", |text| {
        text.contains("\\ud800") || text.contains("\\uDeAd")
    }),
];

/// Returns the number of dimensions of an array from its text.
fn depth(text: &str) -> usize {
    let braces = text
        .find('=')
        .filter(|_| text.starts_with('['))
        .map_or(text, |at| &text[at + 1..]);
    braces.bytes().take_while(|byte| *byte == b'{').count()
}
