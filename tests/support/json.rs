//! JSON values: parsing with two readers, merge patches as the Flow runtime applies them, and exact
//! comparison.

use std::borrow::Cow;

use serde_json::{Map, Value};
use simd_json::{ErrorType, OwnedValue};

/// Parses JSON with serde_json, and panics if simd-json reads another value.
///
/// The value is serde_json's, which keeps the digits of every number. simd-json is not asked about
/// numbers that neither 64 bits nor an `f64` can hold, which it refuses.
pub(crate) fn parse(text: &[u8]) -> serde_json::Result<Value> {
    let value: Value = serde_json::from_slice(text)?;
    // simd-json unescapes strings in place.
    let found: simd_json::Result<Value> = simd_json::from_slice(&mut text.to_vec());
    let is_same = match &found {
        // Equal values are equal in any form; only others are compared by what simd-json can hold.
        Ok(found) => *found == value || as_machine_numbers(found) == as_machine_numbers(&value),
        Err(error) => *error.error() == ErrorType::InvalidNumber,
    };
    assert!(
        is_same,
        "serde_json reads {}, simd-json reads {found:?}",
        short(&value)
    );
    Ok(value)
}

/// Returns a value whose numbers are of 64 bits, as simd-json reads them, or `None` if a number is
/// out of range.
fn as_machine_numbers(value: &Value) -> Option<OwnedValue> {
    OwnedValue::try_from(value.clone()).ok()
}

/// Applies a merge patch (RFC 7396).
pub(crate) fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        unreachable!("it was just made an object");
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge_patch(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Returns `value` without members that are null, at any depth outside arrays.
pub(crate) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        other => other.clone(),
    }
}

/// Returns a schema without its titles and descriptions.
///
/// Only members that are strings are removed: under `properties`, `title` and `description` are
/// names of columns.
pub(crate) fn without_wording(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => members
            .iter()
            .filter(|(name, value)| {
                !(value.is_string() && matches!(name.as_str(), "title" | "description"))
            })
            .map(|(name, value)| (name.clone(), without_wording(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_wording).collect(),
        other => other.clone(),
    }
}

/// Returns the path and both values of the first difference, or `None` if the values are equal.
///
/// Numbers are compared as decimals of any length, objects without regard to the order of members.
pub(crate) fn difference(expected: &Value, found: &Value) -> Option<String> {
    difference_at("", expected, found)
}

fn difference_at(path: &str, expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected {
                let path = format!("{path}/{name}");
                let Some(found) = found.get(name) else {
                    return Some(format!(
                        "{path}: expected {}, found no such member",
                        short(value)
                    ));
                };
                if let Some(difference) = difference_at(&path, value, found) {
                    return Some(difference);
                }
            }
            let extra = found.iter().find(|(name, _)| !expected.contains_key(*name));
            extra.map(|(name, value)| {
                format!(
                    "{path}/{name}: expected no such member, found {}",
                    short(value)
                )
            })
        }
        (Value::Array(expected), Value::Array(found)) => {
            for (i, (expected, found)) in expected.iter().zip(found).enumerate() {
                let difference = difference_at(&format!("{path}/{i}"), expected, found);
                if difference.is_some() {
                    return difference;
                }
            }
            let (due, got) = (expected.len(), found.len());
            let next = expected.get(got).or_else(|| found.get(due));
            next.map(|next| {
                format!(
                    "{path}: expected {due} items, found {got}; first over: {}",
                    short(next)
                )
            })
        }
        (Value::Number(expected), Value::Number(found))
            if decimal(&expected.to_string()) == decimal(&found.to_string()) =>
        {
            None
        }
        _ if expected == found => None,
        _ => Some(format!(
            "{path}: expected {}, found {}",
            short(expected),
            short(found)
        )),
    }
}

/// Returns a value as text, truncated if it is long.
pub(crate) fn short(value: &Value) -> Cow<'static, str> {
    let text = value.to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => Cow::Owned(format!("{}... ({} bytes)", &text[..end], text.len())),
        None => Cow::Owned(text),
    }
}

/// Returns the exact value of a JSON number: sign, significant digits, and the power of ten of the
/// last digit.
fn decimal(text: &str) -> (bool, String, i64) {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().expect("an exponent")),
        None => (text, 0_i64),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return (false, String::new(), 0);
    }
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let shift =
        i64::try_from(trailing).expect("short") - i64::try_from(fraction.len()).expect("short");
    (negative, significant.to_owned(), exponent + shift)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Examples of RFC 7396, appendix A.
    #[test]
    fn merge_patches_follow_rfc_7396() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            let mut merged = target.clone();
            merge_patch(&mut merged, &patch);
            assert_eq!(merged, result, "{target} with {patch}");
        }
    }

    #[test]
    fn two_readers_agree_on_documents() {
        for text in [
            r#"{"a":[1.50,-0,0.1,1e3,18446744073709551615,null,true],"b":{"c":"\u0041\n\ud83d\ude14é"}}"#,
            // The last of several members of one name counts.
            r#"{"a":1,"a":[],"b":{}}"#,
            // Numbers that simd-json refuses.
            r#"[123456789012345678901234567890]"#,
            r#"{"a":1E400}"#,
        ] {
            let value = parse(text.as_bytes()).expect("JSON");
            assert_eq!(value, serde_json::from_str::<Value>(text).expect("JSON"));
        }
        assert!(parse(b"{\"a\":").is_err());
    }

    #[test]
    fn numbers_compare_as_decimals() {
        let same = |a: &str, b: &str| {
            let parse = |text| serde_json::from_str::<Value>(text).expect("a number");
            difference(&parse(a), &parse(b)).is_none()
        };
        assert!(same("12345678901234567890.10", "12345678901234567890.1"));
        assert!(!same("12345678901234567890.10", "12345678901234567890.11"));
        assert!(same("1e3", "1000") && same("1000", "10e2") && same("0.001", "1E-3"));
        assert!(same("0", "-0.00") && !same("1", "-1") && !same("10", "1"));
        assert!(!same("9007199254740993", "9007199254740992"));
    }

    #[test]
    fn a_difference_is_reported_with_its_path() {
        let expected = json!({"a": [1, {"b": "x"}], "c": 1});
        assert_eq!(
            difference(&expected, &json!({"c": 1.0, "a": [1, {"b": "x"}]})),
            None
        );
        let differs = |found| difference(&expected, &found).expect("they differ");
        assert_eq!(
            differs(json!({"a": [1, {"b": "y"}], "c": 1})),
            r#"/a/1/b: expected "x", found "y""#
        );
        assert!(differs(json!({"a": [1, {"b": "x"}]})).starts_with("/c: expected 1"));
        assert!(differs(json!({"a": [1], "c": 1})).starts_with("/a: expected 2 items"));
        assert!(differs(json!({"a": [1, {"b": "x"}], "c": 1, "d": null})).starts_with("/d: "));
    }

    #[test]
    fn only_titles_and_descriptions_are_removed_from_a_schema() {
        let schema = json!({
            "title": "t",
            "properties": {
                "title": {"type": "string", "description": "d"},
                "description": {"type": "string"},
            },
        });
        let left = json!({
            "properties": {"title": {"type": "string"}, "description": {"type": "string"}},
        });
        assert_eq!(without_wording(&schema), left);
    }

    #[test]
    fn members_that_are_null_are_removed() {
        let value = json!({"a": null, "b": {"c": null, "d": [null]}});
        assert_eq!(without_nulls(&value), json!({"b": {"d": [null]}}));
    }
}
