//! Parser of YAML and JSON text into a JSON value.
//!
//! The value is composed from the parser's events instead of through serde: numbers keep their
//! digits, a duplicate name in a mapping is an error, and errors give the position and never repeat
//! text of the file, which may be a password.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

/// Limit of the nesting of collections, equal to that of serde_json.
const MAX_DEPTH: usize = 127;
/// Limit of the number of values after aliases are expanded, so that a small file cannot exhaust
/// memory.
const MAX_VALUES: usize = 1_000_000;

/// Error for text that is not YAML, or for YAML without an equivalent in JSON.
#[derive(Debug)]
pub(super) struct Malformed {
    line: usize,
    column: usize,
    problem: Cow<'static, str>,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            problem,
        } = self;
        write!(f, "line {line}, column {column}: {problem}")
    }
}

impl std::error::Error for Malformed {}

/// Parses one document of JSON, or of YAML 1.2 with its core schema.
///
/// # Errors
///
/// Fails for other text, and for YAML without an equivalent in JSON.
pub(super) fn parse(text: &str) -> Result<Value, Malformed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // JSON is parsed as JSON, since its strings may contain characters that YAML does not allow.
    // serde_json keeps the digits of numbers.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut composer = Composer::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Malformed {
            problem: Cow::Owned(error.info().to_owned()),
            ..malformed(*error.marker(), "")
        })?;
        composer
            .take(event)
            .map_err(|problem| malformed(span.start, problem))?;
    }
    composer.root.ok_or(Malformed {
        line: 1,
        column: 1,
        problem: Cow::Borrowed("the file contains no value"),
    })
}

fn malformed(at: Marker, problem: impl Into<Cow<'static, str>>) -> Malformed {
    Malformed {
        line: at.line(),
        column: at.col() + 1,
        problem: problem.into(),
    }
}

/// Description of a problem.
type Problem = Cow<'static, str>;

/// Collection whose end has not been reached.
enum Open {
    Sequence(Vec<Value>),
    /// Members so far, and the name whose value comes next.
    Mapping(Map<String, Value>, Option<String>),
}

/// Composes a value from events.
#[derive(Default)]
struct Composer {
    open: Vec<(Open, usize)>,
    root: Option<Value>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

impl Composer {
    fn take(&mut self, event: Event<'_>) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if let Some((Open::Mapping(members, name @ None), _)) = self.open.last_mut() {
                    *name = Some(member_name(members, &text, style)?);
                    return Ok(());
                }
                let value = scalar(&text, style, tag.as_deref())?;
                self.add(value, anchor, 1)
            }
            Event::Alias(anchor) => {
                let Some(value) = self.anchors.get(&anchor) else {
                    return Err("the alias is part of the value that it refers to".into());
                };
                let (values, depth) = measure(value);
                if depth + self.open.len() > MAX_DEPTH {
                    return Err(too_deep());
                }
                let value = value.clone();
                self.add(value, 0, values)
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(Open::Sequence(Vec::new()), anchor, tag.as_deref())
            }
            Event::MappingStart(anchor, tag) => {
                self.start(Open::Mapping(Map::new(), None), anchor, tag.as_deref())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((Open::Sequence(items), anchor)) => self.add(Value::Array(items), anchor, 1),
                Some((Open::Mapping(members, _), anchor)) => {
                    self.add(Value::Object(members), anchor, 1)
                }
                None => Ok(()),
            },
            Event::DocumentStart(_) if self.root.is_some() => {
                Err("the file must have one document, but a second one begins".into())
            }
            Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => Ok(()),
        }
    }

    fn start(&mut self, open: Open, anchor: usize, tag: Option<&Tag>) -> Result<(), Problem> {
        if matches!(self.open.last(), Some((Open::Mapping(_, None), _))) {
            return Err("the name of a member must be a string, found a collection".into());
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema()) {
            return Err(UNKNOWN_TAG.into());
        }
        self.open.push((open, anchor));
        Ok(())
    }

    fn add(&mut self, value: Value, anchor: usize, values: usize) -> Result<(), Problem> {
        self.count(values)?;
        if anchor > 0 {
            self.count(measure(&value).0)?;
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some((Open::Sequence(items), _)) => items.push(value),
            Some((Open::Mapping(members, name), _)) => match name.take() {
                Some(name) => {
                    members.insert(name, value);
                }
                None => return Err("the name of a member must be a string, found an alias".into()),
            },
        }
        Ok(())
    }

    fn count(&mut self, values: usize) -> Result<(), Problem> {
        self.values += values;
        if self.values > MAX_VALUES {
            return Err(format!("the file has more than {MAX_VALUES} values").into());
        }
        Ok(())
    }
}

fn too_deep() -> Problem {
    format!("collections are nested deeper than {MAX_DEPTH} levels").into()
}

/// Error for an unknown tag. The text does not name the tag, which may be a password without quotes.
const UNKNOWN_TAG: &str = "unknown tag: put quotes around the value if it is a string";

fn member_name(
    members: &Map<String, Value>,
    text: &str,
    style: ScalarStyle,
) -> Result<String, Problem> {
    if style == ScalarStyle::Plain && text == "<<" {
        return Err("merging mappings with << is not supported: write the members out".into());
    }
    if members.contains_key(text) {
        return Err(format!("duplicate member {text:?}").into());
    }
    Ok(text.to_owned())
}

/// Returns the number of values in a value, itself included, and the depth of their nesting.
fn measure(value: &Value) -> (usize, usize) {
    let add = |(values, depth): (usize, usize), item: &Value| {
        let (item_values, item_depth) = measure(item);
        (values + item_values, depth.max(item_depth + 1))
    };
    match value {
        Value::Array(items) => items.iter().fold((1, 1), add),
        Value::Object(members) => members.values().fold((1, 1), add),
        _ => (1, 0),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, Problem> {
    let is_text = match tag {
        None => style != ScalarStyle::Plain,
        // The tag "!" alone makes the value a string.
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => true,
        Some(tag) if tag.is_yaml_core_schema() => tag.suffix == "str",
        Some(_) => return Err(UNKNOWN_TAG.into()),
    };
    if is_text {
        return Ok(Value::String(text.to_owned()));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match number(text) {
            Some(spelled) => match spelled.parse::<Number>() {
                Ok(number) => Value::Number(number),
                Err(_) => return Err("a number is out of range".into()),
            },
            None if is_not_finite(text) => {
                return Err(
                    "a number must be finite: put quotes around the value if it is a string".into(),
                );
            }
            None => Value::String(text.to_owned()),
        },
    })
}

fn is_not_finite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// Returns a number of YAML in JSON's syntax; `None` for text that is not a number.
fn number(text: &str) -> Option<String> {
    let of_digits =
        |text: &str, radix: u32| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let number = of_digits(digits, radix).then(|| u128::from_str_radix(digits, radix));
            return number?.ok().map(|number| number.to_string());
        }
    }
    let (sign, unsigned) = match text.strip_prefix(['+', '-']) {
        Some(rest) if text.starts_with('-') => ("-", rest),
        Some(rest) => ("", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if !of_digits(digits, 10) {
                return None;
            }
            (mantissa, format!("e{exponent}"))
        }
        None => (unsigned, String::new()),
    };
    let (whole, fraction) = mantissa
        .split_once('.')
        .map_or((mantissa, None), |(whole, fraction)| {
            (whole, Some(fraction))
        });
    let all_digits = |text: &str| text.is_empty() || of_digits(text, 10);
    let is_number = all_digits(whole)
        && fraction.is_none_or(all_digits)
        && !(whole.is_empty() && fraction.is_none_or(str::is_empty));
    if !is_number {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = match fraction {
        None => String::new(),
        Some("") => ".0".to_owned(),
        Some(digits) => format!(".{digits}"),
    };
    Some(format!("{sign}{whole}{fraction}{exponent}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn a_catalog_in_yaml_equals_one_in_json() {
        let yaml = "\
# A comment.
captures:
  acme/shop:
    endpoint:
      connector: {image: '', config: {address: localhost:5432, password: \"p: #1\"}}
    bindings:
      - resource:
          stream: orders   # the table
          namespace: public
        target: acme/orders
      - {resource: {stream: \"x\\ty\"}, target: acme/x}
    note: |
      two
      lines
";
        let json = json!({"captures": {"acme/shop": {
            "endpoint": {"connector": {
                "image": "",
                "config": {"address": "localhost:5432", "password": "p: #1"},
            }},
            "bindings": [
                {"resource": {"stream": "orders", "namespace": "public"}, "target": "acme/orders"},
                {"resource": {"stream": "x\ty"}, "target": "acme/x"},
            ],
            "note": "two\nlines\n",
        }}});
        assert_eq!(parse(yaml).unwrap(), json);
        assert_eq!(parse(&json.to_string()).unwrap(), json);
        assert_eq!(parse(&format!("\u{feff}{yaml}")).unwrap(), json);
    }

    #[test]
    fn scalars_are_those_of_the_core_schema() {
        for (yaml, json) in [
            ("~", "null"),
            ("null", "null"),
            ("yes", r#""yes""#),
            ("no", r#""no""#),
            ("True", "true"),
            ("'true'", r#""true""#),
            ("!!str 12", r#""12""#),
            ("! 12", r#""12""#),
            ("!!int 12", "12"),
            ("007", "7"),
            ("+12", "12"),
            ("-0", "-0"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0x", r#""0x""#),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("1.50", "1.50"),
            (".5", "0.5"),
            ("-1.", "-1.0"),
            ("1e-3", "1e-3"),
            ("!!float 01E2", "1e+2"),
            ("1_000", r#""1_000""#),
            ("1.2.3", r#""1.2.3""#),
            ("12:30", r#""12:30""#),
            ("127.0.0.1:5432", r#""127.0.0.1:5432""#),
            (".", r#"".""#),
            ("-", "[null]"),
            ("e5", r#""e5""#),
        ] {
            assert_eq!(parse(yaml).unwrap().to_string(), json, "{yaml}");
        }
    }

    #[test]
    fn aliases_are_copies() {
        let value = parse("a: &x {n: [1, 2]}\nb: *x\nc: [*x, *x]").unwrap();
        let x = json!({"n": [1, 2]});
        assert_eq!(value, json!({"a": x, "b": x, "c": [x, x]}));
    }

    #[test]
    fn yaml_without_an_equivalent_in_json_is_refused_with_its_position() {
        for (yaml, problem) in [
            (
                "a: 1\nb: 2\na: 3",
                "line 3, column 1: duplicate member \"a\"",
            ),
            (
                "? [1]\n: 2",
                "line 1, column 3: the name of a member must be a string, found a collection",
            ),
            (
                "a: &x 1\n*x : 2",
                "line 2, column 1: the name of a member must be a string, found an alias",
            ),
            (
                "a: !x y",
                "line 1, column 4: unknown tag: put quotes around the value if it is a string",
            ),
            (
                "a: .inf",
                "line 1, column 4: a number must be finite: put quotes around the value if it is a string",
            ),
            (
                "a: 1\n---\nb: 2",
                "line 2, column 1: the file must have one document, but a second one begins",
            ),
            (
                "a: &x [*x]",
                "line 1, column 8: the alias is part of the value that it refers to",
            ),
            (
                "<<: {a: 1}",
                "line 1, column 1: merging mappings with << is not supported: write the members out",
            ),
            ("", "line 1, column 1: the file contains no value"),
            (
                "# only a comment\n",
                "line 1, column 1: the file contains no value",
            ),
        ] {
            assert_eq!(message(yaml), problem, "{yaml}");
        }
    }

    #[test]
    fn a_small_file_cannot_exhaust_memory_or_stack() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{alias}]\n");
        }
        assert!(message(&bomb).ends_with("the file has more than 1000000 values"));
        let mut deep = "a0: &a0 [x]\n".to_owned();
        for level in 1..200 {
            deep += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
        }
        for text in [
            deep,
            "[".repeat(100_000),
            "{a: ".repeat(100_000),
            "- ".repeat(100_000),
        ] {
            assert!(!message(&text).is_empty());
        }
    }

    #[test]
    fn errors_do_not_repeat_text_of_the_file() {
        for text in [
            "password: \"hunter2",
            "password: 'hunter2\n",
            "password: hunter2: hunter2",
            "password: @hunter2",
            "password: \"\\hunter2\"",
            "{password: hunter2",
            "password: |hunter2",
            "password: *hunter2",
            "- password: hunter2\n  - hunter2",
            "password: \"hunter2\" hunter2",
            "password: !hunter2",
            "password: !hunter2 [x]",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!format!("{error} {error:?}").contains("unter2"), "{error}");
        }
    }
}
