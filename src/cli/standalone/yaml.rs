//! YAML and JSON text as one JSON value.
//!
//! Composed from the parser's events instead of through serde: numbers keep their digits, a name
//! that stands twice in a mapping is an error, and what is said of an error is its place, never a
//! piece of the file, which may hold a password.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

/// How deep collections may be nested, as serde_json has it.
const MAX_DEPTH: usize = 127;
/// How many values there may be once all aliases are replaced, so that a small file cannot fill the
/// memory.
const MAX_VALUES: usize = 1_000_000;

/// Text that is no YAML, or YAML that has no form in JSON.
#[derive(Debug)]
pub(super) struct Malformed {
    line: usize,
    column: usize,
    what: Cow<'static, str>,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, what } = self;
        write!(f, "line {line}, column {column}: {what}")
    }
}

impl std::error::Error for Malformed {}

/// Parses one document of JSON or of YAML 1.2 in its core schema.
///
/// # Errors
///
/// Fails for other text, and for what JSON has no form for.
pub(super) fn parse(text: &str) -> Result<Value, Malformed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // What is JSON is read as JSON: its strings may hold what those of YAML may not.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut composer = Composer::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Malformed {
            what: Cow::Owned(error.info().to_owned()),
            ..malformed(*error.marker(), "")
        })?;
        composer
            .take(event)
            .map_err(|what| malformed(span.start, what))?;
    }
    composer.root.ok_or(Malformed {
        line: 1,
        column: 1,
        what: Cow::Borrowed("there is nothing in it"),
    })
}

fn malformed(at: Marker, what: impl Into<Cow<'static, str>>) -> Malformed {
    Malformed {
        line: at.line(),
        column: at.col() + 1,
        what: what.into(),
    }
}

type What = Cow<'static, str>;

/// A collection that is being read.
enum Open {
    Sequence(Vec<Value>),
    /// The members so far, and the name that waits for its value.
    Mapping(Map<String, Value>, Option<String>),
}

/// Puts events together.
#[derive(Default)]
struct Composer {
    open: Vec<(Open, usize)>,
    root: Option<Value>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

impl Composer {
    fn take(&mut self, event: Event<'_>) -> Result<(), What> {
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
                    return Err("the alias stands within what it refers to".into());
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
                Err("a second document begins, where there may be one".into())
            }
            Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => Ok(()),
        }
    }

    fn start(&mut self, open: Open, anchor: usize, tag: Option<&Tag>) -> Result<(), What> {
        if matches!(self.open.last(), Some((Open::Mapping(_, None), _))) {
            return Err("the name of a member must be a text, found a collection".into());
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

    fn add(&mut self, value: Value, anchor: usize, values: usize) -> Result<(), What> {
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
                None => return Err("the name of a member must be a text, found an alias".into()),
            },
        }
        Ok(())
    }

    fn count(&mut self, values: usize) -> Result<(), What> {
        self.values += values;
        if self.values > MAX_VALUES {
            return Err(format!("there are more than {MAX_VALUES} values").into());
        }
        Ok(())
    }
}

fn too_deep() -> What {
    format!("collections are nested more than {MAX_DEPTH} deep").into()
}

/// The tag is not named: it may be a password that lacks its quotes.
const UNKNOWN_TAG: &str = "the tag has no meaning here: put quotes around what is a text";

fn member_name(
    members: &Map<String, Value>,
    text: &str,
    style: ScalarStyle,
) -> Result<String, What> {
    if style == ScalarStyle::Plain && text == "<<" {
        return Err("mappings cannot be merged with <<: write the members out".into());
    }
    if members.contains_key(text) {
        return Err(format!("the member {text:?} is there twice").into());
    }
    Ok(text.to_owned())
}

/// The number of values in a value, itself included, and how deep they are nested.
fn measure(value: &Value) -> (usize, usize) {
    let add = |(values, depth): (usize, usize), item: &Value| {
        let (more, below) = measure(item);
        (values + more, depth.max(below + 1))
    };
    match value {
        Value::Array(items) => items.iter().fold((1, 1), add),
        Value::Object(members) => members.values().fold((1, 1), add),
        _ => (1, 0),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, What> {
    let is_text = match tag {
        None => style != ScalarStyle::Plain,
        // The tag "!" alone says that it is a text.
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
                return Err("a number must be finite: put quotes around what is a text".into());
            }
            None => Value::String(text.to_owned()),
        },
    })
}

fn is_not_finite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// Spells a number of YAML as JSON does; `None` for what is none.
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
    fn a_catalog_is_the_same_in_both_forms() {
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
    fn what_has_no_form_in_json_is_refused_with_its_place() {
        for (yaml, what) in [
            (
                "a: 1\nb: 2\na: 3",
                "line 3, column 1: the member \"a\" is there twice",
            ),
            (
                "? [1]\n: 2",
                "line 1, column 3: the name of a member must be a text, found a collection",
            ),
            (
                "a: &x 1\n*x : 2",
                "line 2, column 1: the name of a member must be a text, found an alias",
            ),
            (
                "a: !x y",
                "line 1, column 4: the tag has no meaning here: put quotes around what is a text",
            ),
            (
                "a: .inf",
                "line 1, column 4: a number must be finite: put quotes around what is a text",
            ),
            (
                "a: 1\n---\nb: 2",
                "line 2, column 1: a second document begins, where there may be one",
            ),
            (
                "a: &x [*x]",
                "line 1, column 8: the alias stands within what it refers to",
            ),
            (
                "<<: {a: 1}",
                "line 1, column 1: mappings cannot be merged with <<: write the members out",
            ),
            ("", "line 1, column 1: there is nothing in it"),
            (
                "# only a comment\n",
                "line 1, column 1: there is nothing in it",
            ),
        ] {
            assert_eq!(message(yaml), what, "{yaml}");
        }
    }

    #[test]
    fn a_small_file_cannot_fill_memory_or_stack() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{alias}]\n");
        }
        assert!(message(&bomb).ends_with("there are more than 1000000 values"));
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
    fn errors_do_not_repeat_what_is_in_the_file() {
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
